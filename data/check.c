#include "data/check.h"

#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "core/threads.h"
#include "data/dataset_internal.h"

enum { PIECE = 512 };

struct fact { /* what is kept of a sample; 0 where it was not measured */
    uint64_t content, text; /* hashes of the picture's bytes and of the caption's */
    int64_t reader;         /* the sample that reads this one's picture; -1: its caption is bad */
    int32_t width, height;
    int32_t characters, tokens;
    bool bad, empty;
};

struct work { /* one place of a piece, reused from piece to piece */
    struct clip_sample sample;
    struct clip_buffer caption;
    struct clip_ids ids;
    struct clip_error error;
    clip_status status;
};

struct check {
    const struct clip_dataset *dataset;
    struct clip_check_options options;
    struct clip_check_report *report;
    struct fact *facts; /* [count] */
    struct work *works; /* [PIECE] */
    int64_t *todo;      /* [count] the samples that a pass looks at */
    int64_t first;      /* of the piece, in todo */
};

/* One sample ----------------------------------------------------------------------------------- */
/* UTF-8 code points: the bytes that continue none. */
static int32_t count_characters(const struct clip_buffer *text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text->size; i++) n += ((unsigned char)text->data[i] & 0xc0) != 0x80;
    return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

static void check_caption(void *context, int64_t place)
{
    struct check *check = context;
    int64_t index = check->todo[check->first + place];
    struct work *work = &check->works[place];
    struct fact *fact = &check->facts[index];
    const struct clip_check_options *options = &check->options;
    struct clip_buffer *caption = &work->caption;
    work->status = check->dataset->ops->caption(check->dataset, index, NULL, caption, &work->error);
    fact->empty = work->status == CLIP_ERR_DATA;
    if (work->status != CLIP_OK) return;
    fact->text = clip_dataset_hash(caption->data, caption->size);
    fact->characters = count_characters(caption);
    if (options->tokenizer == NULL) return;
    work->ids.count = 0;
    work->status = clip_tokenizer_encode(options->tokenizer, caption->data, caption->size,
                                         options->cleaning, 0, &work->ids, NULL, &work->error);
    if (work->status == CLIP_OK && work->ids.count <= 2) {
        fact->empty = true;
        work->status = clip_fail(&work->error, CLIP_ERR_DATA,
                                 "%s: nothing is left of the caption after cleaning; write one or "
                                 "leave the sample out",
                                 check->dataset->ops->image_name(check->dataset, index));
    }
    fact->tokens = work->ids.count < INT32_MAX ? (int32_t)work->ids.count : INT32_MAX;
}

static void check_picture(void *context, int64_t place)
{
    struct check *check = context;
    int64_t index = check->todo[check->first + place];
    struct work *work = &check->works[place];
    struct fact *fact = &check->facts[index];
    struct clip_image image = {0};
    struct clip_sample *sample = &work->sample;
    work->status = check->dataset->ops->read(check->dataset, index, NULL, sample, &work->error);
    if (work->status != CLIP_OK) return;
    work->status = clip_image_decode((const uint8_t *)sample->image.data, sample->image.size,
                                     &check->options.limits, &image, &work->error);
    if (work->status != CLIP_OK) {
        clip_error_prefix(&work->error, "%s", sample->name);
        return;
    }
    fact->content = clip_dataset_hash(sample->image.data, sample->image.size);
    fact->width = (int32_t)image.width;
    fact->height = (int32_t)image.height;
    clip_image_release(&image);
}

/* Passes --------------------------------------------------------------------------------------- */
static clip_status add_bad(struct check *check, int64_t index, const struct clip_error *reason,
                           struct clip_error *error)
{
    struct clip_check_report *report = check->report;
    const char *message = reason->message, *name;
    clip_status status = clip_array_grow(&report->bad, &report->bad_capacity, report->bad_count + 1,
                                         sizeof *report->bad, error);
    if (status != CLIP_OK) return status;
    name = check->dataset->ops->image_name(check->dataset, index);
    struct clip_check_bad *bad = &report->bad[report->bad_count];
    *bad = (struct clip_check_bad){.sample = index, .name = name};
    bad->reason = clip_arena_string(&report->arena, message, strlen(message), error);
    if (bad->reason == NULL) return CLIP_ERR_MEMORY;
    report->bad_count++;
    check->facts[index].bad = true;
    return CLIP_OK;
}

/* Looks at todo[0, n) by `look`, a piece at a time; what fails is added to the report. */
static clip_status run_pass(struct check *check, int64_t n, void (*look)(void *, int64_t),
                            struct clip_progress *progress, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (check->first = 0; check->first < n; check->first += PIECE) {
        int64_t left = n - check->first, piece = left < PIECE ? left : PIECE;
        clip_parallel_for(piece, look, check);
        for (int64_t i = 0; i < piece; i++) {
            const struct work *work = &check->works[i];
            if (work->status == CLIP_OK) continue;
            if (work->status == CLIP_ERR_MEMORY) {
                *error = work->error;
                return CLIP_ERR_MEMORY;
            }
            CLIP_TRY(add_bad(check, check->todo[check->first + i], &work->error, error));
        }
        if (progress != NULL) clip_progress_update(progress, check->first + piece, NULL);
    }
out:
    return status;
}

struct pair {
    uint64_t key;
    int64_t sample;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* Chooses for each picture the first sample with a good caption as its reader; counts pictures. */
static clip_status choose_readers(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = check->dataset->count;
    struct pair *pairs = NULL;
    CLIP_NEW(pairs, n);
    for (int64_t i = 0; i < n; i++) {
        uintptr_t picture = (uintptr_t)check->dataset->ops->image_name(check->dataset, i);
        pairs[i] = (struct pair){.key = picture, .sample = i};
    }
    qsort(pairs, (size_t)n, sizeof *pairs, compare_pairs);
    int64_t reader = -1;
    for (int64_t i = 0; i < n; i++) {
        bool new_picture = i == 0 || pairs[i].key != pairs[i - 1].key;
        struct fact *fact = &check->facts[pairs[i].sample];
        if (new_picture) reader = -1;
        check->report->pictures += new_picture;
        if (reader < 0 && !fact->bad) reader = pairs[i].sample;
        fact->reader = fact->bad ? -1 : reader;
    }
out:
    free(pairs);
    return status;
}

/* First every caption, then every picture once, then the other samples of bad pictures. */
static clip_status run_passes(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const int64_t n = check->dataset->count;
    struct fact *facts = check->facts;
    struct clip_progress progress;
    int64_t readers = 0, others = 0;
    for (int64_t i = 0; i < n; i++) check->todo[i] = i;
    if (!check->options.images_only)
        CLIP_TRY(run_pass(check, n, check_caption, NULL, error));
    CLIP_TRY(choose_readers(check, error));
    for (int64_t i = 0; i < n; i++)
        if (facts[i].reader == i) check->todo[readers++] = i;
    clip_progress_start(&progress, "checking", "pictures", 0, readers, check->options.quiet);
    status = run_pass(check, readers, check_picture, &progress, error);
    clip_progress_end(&progress);
    if (status != CLIP_OK) return status;
    for (int64_t i = 0; i < n; i++) {
        int64_t reader = facts[i].reader;
        if (reader >= 0 && reader != i && facts[reader].bad) check->todo[others++] = i;
    }
    CLIP_TRY(run_pass(check, others, check_picture, NULL, error));
out:
    return status;
}

/* Counting ------------------------------------------------------------------------------------- */
static int compare_values(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Sorts the values; the median is the lower of the two in the middle. */
static struct clip_check_range range_of(int32_t *values, int64_t n)
{
    if (n == 0) return (struct clip_check_range){0};
    qsort(values, (size_t)n, sizeof *values, compare_values);
    return (struct clip_check_range){values[0], values[(n - 1) / 2], values[n - 1]};
}

/* Bins of 1, 2, 5, 10, 20, ... so that they reach the largest value or four times the median. */
static struct clip_check_histogram histogram_of(int32_t *values, int64_t n)
{
    struct clip_check_histogram histogram = {.width = 1, .measured = n};
    struct clip_check_range range = range_of(values, n);
    int64_t reach = range.max < 4 * range.median ? range.max : 4 * range.median;
    for (int step = 0; histogram.width * CLIP_CHECK_BINS <= reach; step++)
        histogram.width = step % 3 == 1 ? histogram.width / 2 * 5 : histogram.width * 2;
    histogram.range = range;
    for (int64_t i = 0; i < n; i++) {
        int64_t bin = values[i] / histogram.width;
        histogram.bins[bin < CLIP_CHECK_BINS ? bin : CLIP_CHECK_BINS - 1]++;
    }
    return histogram;
}

static clip_status count_lengths(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_check_report *report = check->report;
    const struct fact *facts = check->facts;
    const int64_t n = check->dataset->count;
    int32_t *values = NULL;
    int64_t m = 0;
    CLIP_NEW(values, n);
    for (int64_t i = 0; i < n; i++)
        if (facts[i].characters > 0 && !facts[i].empty) values[m++] = facts[i].characters;
    report->characters = histogram_of(values, m);
    m = 0;
    for (int64_t i = 0; i < n; i++) {
        if (facts[i].tokens <= 2) continue;
        values[m++] = facts[i].tokens;
        report->over_context += facts[i].tokens > report->context_length;
    }
    report->tokens = histogram_of(values, m);
    m = 0;
    for (int64_t i = 0; i < n; i++)
        if (facts[i].width > 0) values[m++] = facts[i].width;
    report->width = range_of(values, m);
    m = 0;
    for (int64_t i = 0; i < n; i++)
        if (facts[i].width > 0) values[m++] = facts[i].height;
    report->height = range_of(values, m);
out:
    free(values);
    return status;
}

static clip_status count_captions(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct fact *facts = check->facts;
    struct pair *pairs = NULL;
    int64_t m = 0;
    CLIP_NEW(pairs, check->dataset->count);
    for (int64_t i = 0; i < check->dataset->count; i++) {
        check->report->empty_captions += facts[i].empty;
        if (facts[i].characters > 0 && !facts[i].empty)
            pairs[m++] = (struct pair){.key = facts[i].text, .sample = i};
    }
    qsort(pairs, (size_t)m, sizeof *pairs, compare_pairs);
    for (int64_t i = 0; i < m; i++)
        check->report->captions += i == 0 || pairs[i].key != pairs[i - 1].key;
    check->report->repeated_captions = m - check->report->captions;
out:
    free(pairs);
    return status;
}

/* Pictures with equal bytes: each but the first one of a content is listed beside that first. */
static clip_status count_duplicates(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_check_report *report = check->report;
    const struct clip_dataset *dataset = check->dataset;
    struct pair *pairs = NULL;
    int64_t *first_of = NULL, m = 0, first = 0;
    CLIP_NEW(pairs, dataset->count);
    CLIP_NEW(first_of, dataset->count);
    for (int64_t i = 0; i < dataset->count; i++)
        if (check->facts[i].width > 0)
            pairs[m++] = (struct pair){.key = check->facts[i].content, .sample = i};
    qsort(pairs, (size_t)m, sizeof *pairs, compare_pairs);
    for (int64_t i = 0; i < m; i++) {
        if (i == 0 || pairs[i].key != pairs[i - 1].key) first = pairs[i].sample;
        first_of[pairs[i].sample] = first + 1;
        report->duplicate_pictures += pairs[i].sample != first;
    }
    CLIP_NEW(report->duplicates, 2 * report->duplicate_pictures);
    m = 0;
    for (int64_t i = 0; i < dataset->count; i++) {
        if (first_of[i] == 0 || first_of[i] == i + 1) continue;
        report->duplicates[m++] = dataset->ops->image_name(dataset, i);
        report->duplicates[m++] = dataset->ops->image_name(dataset, first_of[i] - 1);
    }
out:
    free(pairs);
    free(first_of);
    return status;
}

/* Running -------------------------------------------------------------------------------------- */
static int compare_bad(const void *a, const void *b)
{
    const struct clip_check_bad *x = a, *y = b;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

clip_status clip_check_run(struct clip_check_report *out, const struct clip_dataset *dataset,
                           const struct clip_check_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct check check = {.dataset = dataset, .options = *options, .report = out};
    *out = (struct clip_check_report){.format = dataset->ops->name, .samples = dataset->count};
    if (check.options.limits.max_pixels <= 0) check.options.limits.max_pixels = 100000000;
    if (check.options.context_length <= 0) check.options.context_length = 77;
    if (options->tokenizer != NULL) out->context_length = check.options.context_length;
    CLIP_NEW(check.facts, dataset->count);
    CLIP_NEW(check.todo, dataset->count);
    CLIP_NEW(check.works, PIECE);
    CLIP_TRY(run_passes(&check, error));
    if (out->bad_count > 1)
        qsort(out->bad, (size_t)out->bad_count, sizeof *out->bad, compare_bad);
    out->good = out->samples - out->bad_count;
    CLIP_TRY(count_captions(&check, error));
    CLIP_TRY(count_lengths(&check, error));
    CLIP_TRY(count_duplicates(&check, error));
out:
    for (int64_t i = 0; check.works != NULL && i < PIECE; i++) {
        clip_sample_release(&check.works[i].sample);
        clip_buffer_release(&check.works[i].caption);
        clip_ids_release(&check.works[i].ids);
    }
    free(check.works);
    free(check.facts);
    free(check.todo);
    if (status != CLIP_OK) clip_check_release(out);
    return status;
}

void clip_check_release(struct clip_check_report *report)
{
    free(report->bad);
    free(report->duplicates);
    clip_arena_release(&report->arena);
    *report = (struct clip_check_report){0};
}
