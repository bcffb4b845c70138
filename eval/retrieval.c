#include "eval/retrieval.h"

#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/memory.h"
#include "core/progress.h"
#include "embed/images.h"
#include "embed/texts.h"
#include "kernels/gemm.h"

enum { BLOCK = 128 }; /* queries whose scores are in memory at once */

/* The captions of image i are list[start[i]..start[i+1]). */
struct grouping {
    int64_t *start, *list;
};

static clip_status group(struct grouping *g, const int64_t *text_image, int64_t m, int64_t n,
                         struct clip_error *error)
{
    clip_status status;
    int64_t *next = NULL;
    CLIP_NEW(g->start, n + 1);
    CLIP_NEW(g->list, m);
    CLIP_NEW(next, n + 1);
    for (int64_t j = 0; j < m; j++) g->start[text_image[j] + 1]++;
    for (int64_t i = 0; i < n; i++) g->start[i + 1] += g->start[i];
    memcpy(next, g->start, (size_t)(n + 1) * sizeof *next);
    for (int64_t j = 0; j < m; j++) g->list[next[text_image[j]]++] = j;
out:
    free(next);
    return status;
}

/* The rank, from 1, of the best `wanted` item among n scores. Lower numbers come first among
 * equals. */
static int64_t best_rank(const float *scores, int64_t n, const int64_t *wanted, int64_t count)
{
    int64_t best = wanted[0], before = 0;
    for (int64_t k = 1; k < count; k++)
        if (scores[wanted[k]] > scores[best])
            best = wanted[k]; /* `wanted` is ascending, so among equals the first stays */
    for (int64_t j = 0; j < n; j++)
        before += scores[j] > scores[best] || (scores[j] == scores[best] && j < best);
    return before + 1;
}

static int compare_ranks(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts the ranks and counts them. A rank of 0 does not count. */
static struct clip_recalls recalls(int64_t *ranks, int64_t n)
{
    struct clip_recalls r = {0};
    qsort(ranks, (size_t)n, sizeof *ranks, compare_ranks);
    while (n > 0 && ranks[0] == 0) {
        ranks++;
        n--;
    }
    if (n == 0) return r;
    int64_t hits[3] = {0}, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        hits[0] += ranks[i] <= 1;
        hits[1] += ranks[i] <= 5;
        hits[2] += ranks[i] <= 10;
        sum += ranks[i];
    }
    r.at_1 = (double)hits[0] / (double)n;
    r.at_5 = (double)hits[1] / (double)n;
    r.at_10 = (double)hits[2] / (double)n;
    r.mean_rank = (double)sum / (double)n;
    r.median_rank = (double)(ranks[(n - 1) / 2] + ranks[n / 2]) / 2;
    return r;
}

struct side { /* queries, and the items that they look for */
    const float *queries, *items;
    int64_t query_count, item_count, dim;
    const struct grouping *wanted; /* NULL: query j wants only item wanted_one[j] */
    const int64_t *wanted_one;
};

static clip_status rank_all(const struct side *s, int64_t *ranks, struct clip_error *error)
{
    clip_status status;
    int64_t size;
    float *scores = NULL;
    if (!clip_mul_i64(BLOCK, s->item_count, &size))
        return clip_fail(error, CLIP_ERR_MEMORY, "%s are too many",
                         CLIP_COUNT(s->item_count, "item"));
    CLIP_NEW(scores, size);
    for (int64_t i = 0; i < s->query_count; i += BLOCK) {
        int64_t rows = s->query_count - i < BLOCK ? s->query_count - i : BLOCK;
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = s->item_count,
                                      .k = s->dim,
                                      .alpha = 1,
                                      .a = {s->queries + i * s->dim, s->dim},
                                      .b = {s->items, s->dim, .transpose = true},
                                      .c = {scores, s->item_count}});
        for (int64_t r = 0; r < rows; r++) {
            const int64_t *start = s->wanted != NULL ? s->wanted->start + i + r : NULL;
            const int64_t *wanted = start != NULL ? s->wanted->list + start[0]
                                                  : s->wanted_one + i + r;
            int64_t count = start != NULL ? start[1] - start[0] : 1;
            const float *row = scores + r * s->item_count;
            ranks[i + r] = count > 0 ? best_rank(row, s->item_count, wanted, count) : 0;
        }
    }
out:
    free(scores);
    return status;
}

clip_status clip_retrieval_score(const struct clip_retrieval_rows *rows, int64_t *text_rank,
                                 int64_t *image_rank, struct clip_retrieval_result *result,
                                 struct clip_error *error)
{
    clip_status status;
    int64_t n = rows->n, m = rows->m, dim = rows->dim;
    struct grouping captions = {0};
    int64_t *ranks = NULL;
    *result = (struct clip_retrieval_result){.images = n, .texts = m};
    if (n < 1 || m < 1)
        return clip_fail(error, CLIP_ERR_DATA, "there is no image with a caption to retrieve");
    CLIP_NEW(ranks, n > m ? n : m);
    CLIP_TRY(group(&captions, rows->text_image, m, n, error));
    const struct side to_image = {rows->texts, rows->images, m, n, dim, NULL, rows->text_image};
    const struct side to_text = {rows->images, rows->texts, n, m, dim, &captions, NULL};
    CLIP_TRY(rank_all(&to_image, ranks, error));
    if (text_rank != NULL) memcpy(text_rank, ranks, (size_t)m * sizeof *ranks);
    result->image_retrieval = recalls(ranks, m);
    CLIP_TRY(rank_all(&to_text, ranks, error));
    if (image_rank != NULL) memcpy(image_rank, ranks, (size_t)n * sizeof *ranks);
    result->text_retrieval = recalls(ranks, n);
out:
    free(captions.start);
    free(captions.list);
    free(ranks);
    return status;
}

/* ---- a data set ---- */

struct pairs {
    struct clip_images images;
    int64_t *image;        /* [count] the row of each sample's image; -1 if it cannot be used */
    int64_t *distinct;     /* [count] the first sample of each image: these are embedded */
    int64_t *text_image;   /* [texts] */
    int64_t *text_sample;  /* [texts] */
    const char **captions; /* [texts] */
    float *image_rows, *text_rows;
    bool *good;
    int64_t image_count, text_count;
    struct clip_arena arena;
};

static void release_pairs(struct pairs *p)
{
    clip_images_release(&p->images);
    clip_arena_release(&p->arena);
    free(p->image);
    free(p->distinct);
    free(p->text_image);
    free(p->text_sample);
    free(p->captions);
    free(p->image_rows);
    free(p->text_rows);
    free(p->good);
}

/* Embeds each image once, and numbers those that can be read in the order in which they appear. */
static clip_status embed_images(struct pairs *p, const struct clip_embedder *embedder, bool quiet,
                                struct clip_error *error)
{
    clip_status status;
    int64_t count = p->images.count, dim = clip_embedder_dim(embedder);
    int64_t distinct = 0, bad = 0, size;
    CLIP_TRY(clip_images_unique(&p->images, p->image, error));
    for (int64_t i = 0; i < count; i++)
        if (p->image[i] == i) p->distinct[distinct++] = i;
    if (!clip_mul_i64(distinct, dim, &size)) size = -1;
    CLIP_NEW(p->image_rows, size);
    const struct clip_images_options options = {
        .which = p->distinct, .n = distinct, .quiet = quiet};
    CLIP_TRY(
        clip_images_embed(&p->images, embedder, &options, p->image_rows, p->good, &bad, error));
    for (int64_t k = 0; k < distinct; k++) {
        int64_t i = p->distinct[k];
        float *to = p->image_rows + p->image_count * dim;
        if (p->good[k]) memmove(to, p->image_rows + k * dim, (size_t)dim * sizeof *to);
        p->image[i] = p->good[k] ? p->image_count++ : -1;
    }
    /* The first sample of an image comes before the others, whose `image` is still its number. */
    int64_t k = 0;
    for (int64_t i = 0; i < count; i++)
        if (k < distinct && p->distinct[k] == i)
            k++;
        else
            p->image[i] = p->image[p->image[i]];
out:
    return status;
}

static clip_status embed_captions(struct pairs *p, const struct clip_embedder *embedder,
                                  const struct clip_dataset *dataset, bool quiet, int64_t *cut,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer caption = {0};
    int64_t size, dim = clip_embedder_dim(embedder);
    for (int64_t i = 0; i < dataset->count; i++) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_CAPTION, 0, (uint64_t)i);
        if (p->image[i] < 0) continue;
        caption.size = 0;
        status = dataset->ops->caption(dataset, i, &rng, &caption, error);
        if (clip_machine_failed(status)) goto out;
        if (status != CLIP_OK) {
            clip_warn("skipped: %s", error->message);
            status = CLIP_OK;
            continue;
        }
        p->captions[p->text_count] =
            clip_arena_string(&p->arena, caption.data, caption.size, error);
        if (p->captions[p->text_count] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        p->text_sample[p->text_count] = i;
        p->text_image[p->text_count++] = p->image[i];
    }
    if (!clip_mul_i64(p->text_count, dim, &size)) size = -1;
    CLIP_NEW(p->text_rows, size);
    const struct clip_texts_options options = {.quiet = quiet};
    CLIP_TRY(
        clip_texts_embed(embedder, p->captions, p->text_count, &options, p->text_rows, cut, error));
out:
    clip_buffer_release(&caption);
    return status;
}

static double dot(const float *a, const float *b, int64_t dim)
{
    double sum = 0;
    for (int64_t d = 0; d < dim; d++) sum += (double)a[d] * (double)b[d];
    return sum;
}

/* Compares each caption with its hard negative, if it has one: which of them fits the image
 * better? */
static clip_status compare_negatives(const struct pairs *p, const struct clip_embedder *embedder,
                                     const struct clip_dataset *dataset, bool quiet,
                                     struct clip_retrieval_result *result, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    struct clip_arena arena = {0};
    const char **wrong = NULL;
    int64_t *of = NULL, n = 0, cut, right = 0, dim = clip_embedder_dim(embedder), size;
    float *rows = NULL;
    if (dataset->ops->negative == NULL) return CLIP_OK;
    CLIP_NEW(wrong, p->text_count);
    CLIP_NEW(of, p->text_count);
    for (int64_t j = 0; j < p->text_count; j++) {
        CLIP_TRY(dataset->ops->negative(dataset, p->text_sample[j], &text, error));
        if (text.size == 0) continue;
        wrong[n] = clip_arena_string(&arena, text.data, text.size, error);
        if (wrong[n] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        of[n++] = j;
    }
    if (!clip_mul_i64(n, dim, &size)) size = -1;
    CLIP_NEW(rows, size);
    const struct clip_texts_options options = {.quiet = quiet};
    CLIP_TRY(clip_texts_embed(embedder, wrong, n, &options, rows, &cut, error));
    for (int64_t k = 0; k < n; k++) {
        const float *image = p->image_rows + p->text_image[of[k]] * dim;
        right += dot(image, p->text_rows + of[k] * dim, dim) > dot(image, rows + k * dim, dim);
    }
    result->negatives = n;
    result->negative_accuracy = n > 0 ? (double)right / (double)n : 0;
out:
    clip_buffer_release(&text);
    clip_arena_release(&arena);
    free(wrong);
    free(of);
    free(rows);
    return status;
}

clip_status clip_retrieval_run(const struct clip_embedder *embedder,
                               const struct clip_dataset *dataset, bool quiet,
                               struct clip_retrieval_result *result, struct clip_error *error)
{
    clip_status status;
    struct pairs p = {0};
    int64_t cut = 0;
    CLIP_TRY(clip_images_over(&p.images, dataset, error));
    CLIP_NEW(p.image, dataset->count);
    CLIP_NEW(p.distinct, dataset->count);
    CLIP_NEW(p.text_image, dataset->count);
    CLIP_NEW(p.text_sample, dataset->count);
    CLIP_NEW(p.captions, dataset->count);
    CLIP_NEW(p.good, dataset->count);
    CLIP_TRY(embed_images(&p, embedder, quiet, error));
    CLIP_TRY(embed_captions(&p, embedder, dataset, quiet, &cut, error));
    const struct clip_retrieval_rows rows = {.images = p.image_rows,
                                             .n = p.image_count,
                                             .texts = p.text_rows,
                                             .m = p.text_count,
                                             .text_image = p.text_image,
                                             .dim = clip_embedder_dim(embedder)};
    CLIP_TRY(clip_retrieval_score(&rows, NULL, NULL, result, error));
    result->skipped = dataset->count - p.text_count;
    result->cut = cut;
    CLIP_TRY(compare_negatives(&p, embedder, dataset, quiet, result, error));
out:
    release_pairs(&p);
    return status;
}
