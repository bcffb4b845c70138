/* What every process has to know of a batch before the loss: the embeddings of all pairs, and which
 * sample each pair is. */
#ifndef CLIP_TRAIN_SHARED_H
#define CLIP_TRAIN_SHARED_H

#include "core/comm.h"
#include "data/sets/loader.h"
#include "data/sets/positives.h"

struct clip_shared {
    struct clip_comm *comm; /* borrowed; NULL: one process */
    int64_t dim;            /* E, of an embedding */
    int64_t batch_size;     /* B, pairs of all processes */
    int64_t own, first;     /* pairs of this process, and the first of them in the batch */
    bool may_negatives;     /* H, the hard negatives of a batch, is at most B; else it is 0 */

    /* of a batch, set by clip_shared_begin */
    int64_t negatives;                     /* H */
    int64_t own_negatives, first_negative; /* of this process */

    float *image, *text;           /* [B,E], [B+H,E]: captions, and negatives behind them */
    float *image_grad, *text_grad; /* the loss' gradient by them */
    int64_t *samples;              /* [B] */
    int32_t *ids;                  /* [B] as clip_batch's, over all */
    int64_t *bounds, *numbers;     /* [processes + 1], scratch memory; bytes of a number each */
    int64_t *groups;
    size_t *caption_ends;
    struct clip_buffer captions;
    struct clip_positives positives;
};

clip_status clip_shared_create(struct clip_shared **out, struct clip_comm *comm, int64_t batch_size,
                               int64_t dim, bool negatives, struct clip_error *error);
void clip_shared_free(struct clip_shared *shared); /* NULL is fine */

/* Before the process' rows are written. Collective, and so are the others. */
void clip_shared_begin(struct clip_shared *shared, const struct clip_batch *batch);
/* Where row i of the process' images, and of its captions and behind them its negatives, stands in
 * the rows of all. */
int64_t clip_shared_image_row(const struct clip_shared *shared, int64_t i);
int64_t clip_shared_text_row(const struct clip_shared *shared, int64_t i);
/* Gives everybody's rows to all. */
void clip_shared_embeddings(struct clip_shared *shared);
/* For struct clip_loss_share: `shared` is a struct clip_shared. */
void clip_shared_rows(void *shared, void *rows, size_t bytes);
/* samples, for the rows of a teacher. */
void clip_shared_samples(struct clip_shared *shared, const struct clip_batch *batch);
/* ids: who is whose positive, among the pairs of all. Without memory it returns CLIP_ERR_MEMORY, on
 * every process. */
clip_status clip_shared_ids(struct clip_shared *shared, const struct clip_batch *batch,
                            struct clip_error *error);

#endif
