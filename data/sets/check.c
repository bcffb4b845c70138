#include "data/sets/check_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/progress.h"
#include "core/threads.h"
#include "data/sets/dataset_internal.h"

enum { PIECE = 512 };

struct work { /* the work on one sample of a piece, reused from piece to piece */
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
    struct clip_check_fact *facts; /* [count] */
    struct work *works;            /* [PIECE] */
    int64_t *todo;                 /* [count] the samples that a pass works on */
    int64_t first;                 /* where the piece begins in todo */
};

/* ---- One sample ---- */
/* Counts UTF-8 code points: the bytes that do not continue one. */
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
    struct clip_check_fact *fact = &check->facts[index];
    const struct clip_check_options *options = &check->options;
    struct clip_buffer *caption = &work->caption;
    work->status = check->dataset->ops->caption(check->dataset, index, NULL, caption, &work->error);
    fact->empty = work->status == CLIP_ERR_DATA;
    if (work->status != CLIP_OK) return;
    fact->text = clip_hash64(caption->data, caption->size);
    fact->characters = count_characters(caption);
    if (options->tokenizer == NULL) return;
    work->ids.count = 0;
    const struct clip_encode_options how = {options->cleaning};
    work->status = clip_tokenizer_encode(options->tokenizer, caption->data, caption->size, &how,
                                         &work->ids, NULL, &work->error);
    if (work->status != CLIP_OK) return;
    if (clip_tokenizer_is_empty(options->tokenizer, work->ids.ids, work->ids.count)) {
        fact->empty = true;
        work->status = clip_fail(&work->error, CLIP_ERR_DATA,
                                 "%s: nothing is left of the caption after cleaning; write one or "
                                 "leave the sample out",
                                 check->dataset->ops->image_name(check->dataset, index));
        return;
    }
    fact->tokens = work->ids.count < INT32_MAX ? (int32_t)work->ids.count : INT32_MAX;
}

static void check_image(void *context, int64_t place)
{
    struct check *check = context;
    int64_t index = check->todo[check->first + place];
    struct work *work = &check->works[place];
    struct clip_check_fact *fact = &check->facts[index];
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
    work->status = clip_look_of(&image, &fact->look, &work->error);
    fact->content = clip_hash64(sample->image.data, sample->image.size);
    fact->bytes = (int64_t)sample->image.size;
    fact->width = (int32_t)image.width;
    fact->height = (int32_t)image.height;
    clip_image_release(&image);
}

/* ---- Passes ---- */
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

/* Calls `look` for todo[0, n), piece by piece; failures are added to the report. */
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
            if (clip_machine_failed(work->status)) {
                *error = work->error;
                return work->status;
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

/* Chooses for each image the first sample with a good caption, which will read it, and counts
 * images. */
static clip_status choose_readers(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = check->dataset->count;
    struct pair *pairs = NULL;
    CLIP_NEW(pairs, n);
    for (int64_t i = 0; i < n; i++) {
        uintptr_t image = (uintptr_t)check->dataset->ops->image_name(check->dataset, i);
        pairs[i] = (struct pair){.key = image, .sample = i};
    }
    qsort(pairs, (size_t)n, sizeof *pairs, compare_pairs);
    int64_t reader = -1;
    for (int64_t i = 0; i < n; i++) {
        bool new_image = i == 0 || pairs[i].key != pairs[i - 1].key;
        struct clip_check_fact *fact = &check->facts[pairs[i].sample];
        if (new_image) reader = -1;
        check->report->images += new_image;
        if (reader < 0 && !fact->bad) reader = pairs[i].sample;
        fact->reader = fact->bad ? -1 : reader;
    }
out:
    free(pairs);
    return status;
}

/* Visits first every caption, then every image once, then the other samples of bad images. */
static clip_status run_passes(struct check *check, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const int64_t n = check->dataset->count;
    struct clip_check_fact *facts = check->facts;
    struct clip_progress progress;
    int64_t readers = 0, others = 0;
    for (int64_t i = 0; i < n; i++) check->todo[i] = i;
    if (!check->options.images_only) CLIP_TRY(run_pass(check, n, check_caption, NULL, error));
    CLIP_TRY(choose_readers(check, error));
    for (int64_t i = 0; i < n; i++)
        if (facts[i].reader == i) check->todo[readers++] = i;
    clip_progress_start(&progress, "checking", "image", 0, readers, check->options.quiet);
    status = run_pass(check, readers, check_image, &progress, error);
    clip_progress_end(&progress);
    if (status != CLIP_OK) return status;
    for (int64_t i = 0; i < n; i++) {
        int64_t reader = facts[i].reader;
        if (reader >= 0 && reader != i && facts[reader].bad) check->todo[others++] = i;
    }
    CLIP_TRY(run_pass(check, others, check_image, NULL, error));
out:
    return status;
}

/* ---- Running ---- */
static int compare_bad(const void *a, const void *b)
{
    const struct clip_check_bad *x = a, *y = b;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* Reads and measures every sample: facts [dataset->count]. What is bad is added to the report. */
static clip_status measure(struct clip_check_report *report, struct clip_check_fact *facts,
                           const struct clip_dataset *dataset,
                           const struct clip_check_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct check check = {
        .dataset = dataset, .options = *options, .report = report, .facts = facts};
    CLIP_NEW(check.todo, dataset->count);
    CLIP_NEW(check.works, PIECE);
    CLIP_TRY(run_passes(&check, error));
    if (report->bad_count > 1)
        qsort(report->bad, (size_t)report->bad_count, sizeof *report->bad, compare_bad);
out:
    for (int64_t i = 0; check.works != NULL && i < PIECE; i++) {
        clip_sample_release(&check.works[i].sample);
        clip_buffer_release(&check.works[i].caption);
        clip_ids_release(&check.works[i].ids);
    }
    free(check.works);
    free(check.todo);
    return status;
}

/* Measures the other set, and keeps what it shares with this one. */
static clip_status compare_with(struct clip_check_report *out, const struct clip_check_fact *facts,
                                const struct clip_dataset *dataset,
                                const struct clip_dataset *against,
                                const struct clip_check_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_check_report other = {0};
    struct clip_check_fact *others = NULL;
    CLIP_NEW(others, against->count);
    CLIP_TRY(measure(&other, others, against, options, error));
    out->against_samples = against->count;
    out->against_bad = other.bad_count;
    CLIP_TRY(clip_check_leaks(out, facts, dataset, against, others, error));
out:
    free(others);
    clip_check_release(&other);
    return status;
}

clip_status clip_check_run(struct clip_check_report *out, const struct clip_dataset *dataset,
                           const struct clip_dataset *against, const char *against_name,
                           const struct clip_check_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_check_options use = *options;
    struct clip_check_fact *facts = NULL;
    *out = (struct clip_check_report){.format = dataset->ops->name, .samples = dataset->count};
    if (use.limits.max_pixels <= 0) use.limits.max_pixels = CLIP_IMAGE_MAX_PIXELS;
    if (use.context_length <= 0) use.context_length = 77;
    if (use.tiny <= 0) use.tiny = 32;
    out->tiny_below = use.tiny;
    if (use.tokenizer != NULL) out->context_length = use.context_length;
    CLIP_NEW(facts, dataset->count);
    CLIP_TRY(measure(out, facts, dataset, &use, error));
    CLIP_TRY(clip_check_count(out, facts, dataset, &use, error));
    if (against != NULL) {
        out->against = clip_arena_string(&out->arena, against_name, strlen(against_name), error);
        if (out->against == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        CLIP_TRY(compare_with(out, facts, dataset, against, &use, error));
    }
out:
    free(facts);
    if (status != CLIP_OK) clip_check_release(out);
    return status;
}

void clip_check_release(struct clip_check_report *report)
{
    free(report->verdicts);
    free(report->bad);
    free(report->duplicates.items);
    free(report->near.items);
    free(report->leaks.items);
    clip_arena_release(&report->arena);
    *report = (struct clip_check_report){0};
}
