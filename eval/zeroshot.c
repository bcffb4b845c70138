#include "eval/zeroshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/memory.h"
#include "core/progress.h"
#include "embed/images.h"
#include "embed/share.h"
#include "kernels/gemm.h"

enum { BLOCK = 256 }; /* images whose logits are in memory at once */

void clip_zeroshot_release(struct clip_zeroshot_result *result)
{
    free(result->recall);
    free(result->count);
    free(result->labels);
    free(result->predictions);
    *result = (struct clip_zeroshot_result){0};
}

void clip_zeroshot_average(float *prompts, int64_t classes, int64_t templates, int64_t dim,
                           float *out)
{
    clip_rows_normalise(prompts, classes * templates, dim);
    for (int64_t c = 0; c < classes; c++)
        for (int64_t d = 0; d < dim; d++) {
            double sum = 0;
            for (int64_t p = 0; p < templates; p++)
                sum += (double)prompts[(c * templates + p) * dim + d];
            out[c * dim + d] = (float)(sum / (double)templates);
        }
    clip_rows_normalise(out, classes, dim);
}

/* Finds the next name of a class. Names are separated by '|', and empty ones do not count. */
static bool next_name(const char **at, const char **name, size_t *n)
{
    while (**at == '|') (*at)++;
    if (**at == '\0') return false;
    *name = *at;
    *n = strcspn(*at, "|");
    *at += *n;
    return true;
}

clip_status clip_zeroshot_called(const char *name, struct clip_buffer *out,
                                 struct clip_error *error)
{
    const char *first;
    size_t n;
    if (!next_name(&name, &first, &n)) return clip_buffer_append(out, "", 0, error);
    return clip_buffer_append(out, first, n, error);
}

struct prompts { /* the texts of one class */
    struct clip_buffer *items;
    const char **texts;
    float *rows;
    int64_t count, capacity, text_capacity, row_capacity;
};

static clip_status add_prompt(struct prompts *p, const char *line, const char *name,
                              struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&p->items, &p->capacity, p->count + 1, sizeof *p->items, error);
    if (status != CLIP_OK) return status;
    p->items[p->count].size = 0;
    status = clip_template_fill(line, name, &p->items[p->count], error);
    if (status == CLIP_OK) p->count++;
    return status;
}

/* Puts every name of the class into every template. */
static clip_status fill_prompts(struct prompts *p, const char *names,
                                const struct clip_templates *templates, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *at = names, *name;
    size_t n;
    char *one = NULL;
    p->count = 0;
    while (next_name(&at, &name, &n)) {
        free(one);
        one = clip_string_copy_n(name, n, error);
        if (one == NULL) return CLIP_ERR_MEMORY;
        for (int64_t t = 0; t < templates->count; t++)
            CLIP_TRY(add_prompt(p, templates->lines[t], one, error));
    }
    if (p->count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "a class \"%.100s\" has no name", names));
out:
    free(one);
    return status;
}

static clip_status embed_prompts(struct prompts *p, const struct clip_embedder *embedder,
                                 float *out, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(embedder);
    CLIP_TRY(clip_array_grow(&p->texts, &p->text_capacity, p->count, sizeof *p->texts, error));
    CLIP_TRY(clip_array_grow(&p->rows, &p->row_capacity, p->count * dim, sizeof *p->rows, error));
    for (int64_t i = 0; i < p->count; i++) p->texts[i] = p->items[i].data;
    CLIP_TRY(clip_embedder_texts(embedder, p->texts, p->count, CLIP_RAW, p->rows, NULL, error));
    clip_zeroshot_average(p->rows, 1, p->count, dim, out);
out:
    return status;
}

clip_status clip_zeroshot_classifier(const struct clip_embedder *embedder, char *const *names,
                                     int64_t classes, const struct clip_templates *templates,
                                     float *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t dim = clip_embedder_dim(embedder);
    struct prompts prompts = {0};
    struct clip_share share = {0};
    if (templates->count < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "there is no template; write at least one, as in \"a photo of a {}\"");
    CLIP_TRY(clip_share_begin(&share, clip_embedder_comm(embedder), classes, error));
    for (int64_t c = share.begin; c < share.end; c++) {
        CLIP_TRY(fill_prompts(&prompts, names[c], templates, error));
        CLIP_TRY(embed_prompts(&prompts, embedder, out + c * dim, error));
    }
out:
    status = clip_share_rows(&share, status, out, (size_t)dim * sizeof *out, error);
    clip_share_end(&share);
    for (int64_t i = 0; i < prompts.capacity; i++) clip_buffer_release(&prompts.items[i]);
    free(prompts.items);
    free(prompts.texts);
    free(prompts.rows);
    return status;
}

void clip_zeroshot_interval(int64_t hits, int64_t n, double *low, double *high)
{
    const double z = 1.959963984540054; /* 95 % of a normal distribution are within z of its mean */
    *low = 0;
    *high = 1;
    if (n < 1) return;
    double count = (double)n, share = (double)hits / count;
    double middle = (share + z * z / (2 * count)) / (1 + z * z / count);
    double half = z / (1 + z * z / count) *
                  sqrt(share * (1 - share) / count + z * z / (4 * count * count));
    *low = hits == 0 ? 0 : middle - half;
    *high = hits == n ? 1 : middle + half;
}

/* How many classes come before `label`: higher logits first, and lower classes among equals. */
static int64_t rank_of(const float *logits, int64_t classes, int64_t label)
{
    int64_t before = 0;
    for (int64_t c = 0; c < classes; c++)
        before += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    return before;
}

static int64_t best_of(const float *logits, int64_t classes)
{
    int64_t best = 0;
    for (int64_t c = 1; c < classes; c++)
        if (logits[c] > logits[best]) best = c;
    return best;
}

clip_status clip_zeroshot_score(const struct clip_zeroshot_rows *rows, int64_t *predictions,
                                struct clip_zeroshot_result *result, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = rows->n, classes = rows->classes, dim = rows->dim;
    float *logits = NULL;
    int64_t hits1 = 0, hits5 = 0, present = 0, size;
    *result = (struct clip_zeroshot_result){.n = n, .classes = classes};
    if (n < 1) return clip_fail(error, CLIP_ERR_DATA, "there is no image to classify");
    if (!clip_mul_i64(BLOCK, classes, &size))
        return clip_fail(error, CLIP_ERR_MEMORY, "%s are too many", CLIP_COUNT(classes, "class"));
    CLIP_NEW(logits, size);
    CLIP_NEW(result->recall, classes);
    CLIP_NEW(result->count, classes);
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t b = clip_min_i64(n - i, BLOCK);
        clip_gemm(&(struct clip_gemm){.m = b,
                                      .n = classes,
                                      .k = dim,
                                      .alpha = 100,
                                      .a = {rows->images + i * dim, dim},
                                      .b = {rows->classifier, dim, .transpose = true},
                                      .c = {logits, classes}});
        for (int64_t r = 0; r < b; r++) {
            int64_t label = rows->labels[i + r],
                    rank = rank_of(logits + r * classes, classes, label);
            hits1 += rank < 1;
            hits5 += rank < 5;
            result->recall[label] += rank < 1;
            result->count[label]++;
            if (predictions != NULL) predictions[i + r] = best_of(logits + r * classes, classes);
        }
    }
    result->acc1 = (double)hits1 / (double)n;
    result->acc5 = classes >= 5 ? (double)hits5 / (double)n : (double)NAN;
    for (int64_t c = 0; c < classes; c++) {
        if (result->count[c] == 0) {
            result->recall[c] = (double)NAN;
            continue;
        }
        result->recall[c] /= (double)result->count[c];
        result->mean_per_class_recall += result->recall[c];
        present++;
    }
    result->mean_per_class_recall /= (double)present;
out:
    free(logits);
    if (status != CLIP_OK) clip_zeroshot_release(result);
    return status;
}

clip_status clip_zeroshot_run(const struct clip_embedder *embedder, const char *path,
                              const struct clip_class_list *classes,
                              const struct clip_templates *templates, bool quiet,
                              struct clip_zeroshot_result *result, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(embedder), bad = 0, kept = 0, size;
    struct clip_dataset *dataset = NULL;
    struct clip_images images = {0};
    float *classifier = NULL, *rows = NULL;
    int64_t *labels = NULL, *predictions = NULL;
    bool *good = NULL;
    *result = (struct clip_zeroshot_result){0};
    CLIP_TRY(clip_dataset_open_classes(&dataset, path, classes, templates, error));
    CLIP_TRY(clip_images_over(&images, dataset, error));
    CLIP_TRY(clip_mul_i64(images.count, dim, &size)
                 ? CLIP_OK
                 : clip_fail(error, CLIP_ERR_MEMORY, "%s has too many images", path));
    CLIP_NEW(classifier, classes->count * dim);
    CLIP_NEW(rows, size);
    CLIP_NEW(labels, images.count);
    CLIP_NEW(good, images.count);
    CLIP_TRY(clip_zeroshot_classifier(embedder, classes->names, classes->count, templates,
                                      classifier, error));
    const struct clip_images_options options = {.quiet = quiet};
    CLIP_TRY(clip_images_embed(&images, embedder, &options, rows, good, &bad, error));
    for (int64_t i = 0; i < images.count; i++) {
        if (!good[i]) continue;
        memmove(rows + kept * dim, rows + i * dim, (size_t)dim * sizeof *rows);
        labels[kept++] = clip_dataset_label(dataset, i);
    }
    if (kept == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "no image of %lld in %s can be read",
                           (long long)images.count, path));
    CLIP_NEW(predictions, kept);
    const struct clip_zeroshot_rows scored = {.images = rows,
                                              .labels = labels,
                                              .n = kept,
                                              .classifier = classifier,
                                              .classes = classes->count,
                                              .dim = dim};
    CLIP_TRY(clip_zeroshot_score(&scored, predictions, result, error));
    result->skipped = bad + images.unread.count;
    result->labels = labels;
    result->predictions = predictions;
    labels = predictions = NULL;
out:
    free(good);
    free(labels);
    free(predictions);
    free(rows);
    free(classifier);
    clip_images_release(&images);
    clip_dataset_free(dataset);
    return status;
}
