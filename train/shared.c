#include "train/shared.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

clip_status clip_shared_create(struct clip_shared **out, struct clip_comm *comm, int64_t batch_size,
                               int64_t dim, bool negatives, struct clip_error *error)
{
    clip_status status;
    struct clip_shared *s = NULL;
    int size = clip_comm_size(comm);
    int64_t texts = negatives ? 2 * batch_size : batch_size;
    CLIP_NEW(s, 1);
    *s = (struct clip_shared){.comm = comm,
                              .dim = dim,
                              .batch_size = batch_size,
                              .own = batch_size / size,
                              .first = batch_size / size * clip_comm_rank(comm),
                              .may_negatives = negatives};
    CLIP_NEW(s->image, batch_size * dim);
    CLIP_NEW(s->text, texts * dim);
    CLIP_NEW(s->image_grad, batch_size * dim);
    CLIP_NEW(s->text_grad, texts * dim);
    CLIP_NEW(s->samples, batch_size);
    CLIP_NEW(s->ids, batch_size);
    CLIP_NEW(s->groups, batch_size);
    CLIP_NEW(s->caption_ends, batch_size);
    CLIP_NEW(s->bounds, size + 1);
    CLIP_NEW(s->numbers, size + 1);
    for (int r = 0; r <= size; r++) s->numbers[r] = r * (int64_t)sizeof *s->numbers;
    *out = s;
    return CLIP_OK;
out:
    clip_shared_free(s);
    return status;
}

void clip_shared_free(struct clip_shared *s)
{
    if (s == NULL) return;
    clip_buffer_release(&s->captions);
    clip_positives_release(&s->positives);
    void *arrays[] = {s->image,  s->text,         s->image_grad, s->text_grad, s->samples, s->ids,
                      s->groups, s->caption_ends, s->bounds,     s->numbers,   s};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

/* bounds of the processes' rows, of so many bytes, of the batch. */
static const int64_t *rows(struct clip_shared *s, size_t bytes)
{
    for (int r = 0; r <= clip_comm_size(s->comm); r++) s->bounds[r] = s->own * r * (int64_t)bytes;
    return s->bounds;
}

/* bounds of as many bytes as each process has; returns how many are before this one's. */
static int64_t unequal(struct clip_shared *s, int64_t own)
{
    int size = clip_comm_size(s->comm), rank = clip_comm_rank(s->comm);
    s->bounds[0] = 0;
    s->bounds[rank + 1] = own;
    clip_comm_all_gather(s->comm, s->bounds + 1, s->numbers);
    for (int r = 0; r < size; r++) s->bounds[r + 1] += s->bounds[r];
    return s->bounds[rank];
}

void clip_shared_begin(struct clip_shared *s, const struct clip_batch *batch)
{
    s->own_negatives = s->negatives = batch->negatives;
    s->first_negative = 0;
    if (!s->may_negatives) return;
    s->first_negative = unequal(s, batch->negatives);
    s->negatives = s->bounds[clip_comm_size(s->comm)];
}

int64_t clip_shared_image_row(const struct clip_shared *s, int64_t i) { return s->first + i; }

int64_t clip_shared_text_row(const struct clip_shared *s, int64_t i)
{
    return i < s->own ? s->first + i : s->batch_size + s->first_negative + i - s->own;
}

void clip_shared_rows(void *shared, void *all, size_t bytes)
{
    struct clip_shared *s = shared;
    clip_comm_all_gather(s->comm, all, rows(s, bytes));
}

void clip_shared_embeddings(struct clip_shared *s)
{
    size_t row = (size_t)s->dim * sizeof(float);
    clip_comm_all_gather(s->comm, s->image, rows(s, row));
    clip_comm_all_gather(s->comm, s->text, rows(s, row));
    if (s->negatives == 0) return;
    unequal(s, s->own_negatives * (int64_t)row);
    clip_comm_all_gather(s->comm, s->text + s->batch_size * s->dim, s->bounds);
}

void clip_shared_samples(struct clip_shared *s, const struct clip_batch *batch)
{
    memcpy(s->samples + s->first, batch->samples, (size_t)s->own * sizeof *s->samples);
    clip_comm_all_gather(s->comm, s->samples, rows(s, sizeof *s->samples));
}

clip_status clip_shared_ids(struct clip_shared *s, const struct clip_batch *batch,
                            struct clip_error *error)
{
    clip_status status;
    if (clip_comm_size(s->comm) == 1) {
        memcpy(s->ids, batch->ids, (size_t)s->own * sizeof *s->ids);
        return CLIP_OK;
    }
    memcpy(s->groups + s->first, batch->groups, (size_t)s->own * sizeof *s->groups);
    clip_comm_all_gather(s->comm, s->groups, rows(s, sizeof *s->groups));
    int64_t bytes = s->own > 0 ? (int64_t)batch->caption_ends[s->own - 1] : 0;
    int64_t before = unequal(s, bytes);
    int64_t all = s->bounds[clip_comm_size(s->comm)];
    CLIP_TRY(
        clip_comm_agree(s->comm, clip_buffer_reserve(&s->captions, (size_t)all, error), error));
    if (bytes > 0) memcpy(s->captions.data + before, batch->captions, (size_t)bytes);
    clip_comm_all_gather(s->comm, s->captions.data, s->bounds);
    for (int64_t i = 0; i < s->own; i++)
        s->caption_ends[s->first + i] = (size_t)before + batch->caption_ends[i];
    clip_comm_all_gather(s->comm, s->caption_ends, rows(s, sizeof *s->caption_ends));
    CLIP_TRY(
        clip_comm_agree(s->comm,
                        clip_positives_number(&s->positives, s->batch_size, s->groups,
                                              s->captions.data, s->caption_ends, s->ids, error),
                        error));
out:
    return status;
}
