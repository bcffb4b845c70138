/* The loader: batches in a shuffled order, prepared in advance by worker threads.
 *
 * What a batch holds depends only on (seed, epoch, position), not on the number of workers. A
 * batch takes the next batch_size samples of the epoch's order (order.h). In a bad one's place
 * stands another, drawn by (seed, epoch, position, attempt), so that every epoch has the same
 * number of batches. What is left at the end of an epoch
 * and does not fill a batch is dropped (as in open_clip). Then the next epoch begins. Without
 * shuffling bad samples are left out.
 *
 * A bad sample is one whose image cannot be read or decoded, or whose caption is missing, empty or
 * not UTF-8. It is named once on stderr and counted; it ends the run only when there are more than
 * max_bad_fraction of them. */
#ifndef CLIP_DATA_SETS_LOADER_H
#define CLIP_DATA_SETS_LOADER_H

#include "data/image/image.h"
#include "data/sets/dataset.h"
#include "data/sets/order.h"
#include "data/text/tokenizer.h"

struct clip_loader_options {
    int64_t batch_size;
    /* shuffled: of each batch only samples [own_begin, own_begin + own_count) are read, those of
     * this process; 0, 0: all */
    int64_t own_begin, own_count;
    int64_t context_length;
    /* the model's vocabulary, which the tokenizer's must not exceed. 0: not checked */
    int64_t vocab_size;
    int workers; /* 0: samples are prepared in the caller's thread */
    uint64_t seed;
    /* shuffled: sets that are mixed by weights, and the samples of an epoch; 0: as order.h says */
    const struct clip_order_part *parts;
    int64_t part_count, samples_per_epoch;
    int64_t shard_group; /* of a stream (dataset.h), whose parts are needed then; else 0 */
    bool shuffle;        /* false: in order; the last batch of the only epoch may be smaller */
    bool augment;        /* training augmentation; false: evaluation's preprocessing */
    struct clip_preprocess preprocess;
    struct clip_augment augmentation;
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    enum clip_text_cleaning cleaning;
    double max_bad_fraction; /* share of the data set that may be bad; above it next() fails */
    bool quiet;              /* bad samples are not named on stderr */
    bool negatives;          /* hard negatives follow the captions, if the data has them */
};

struct clip_position { /* where the next batch begins; a checkpoint stores it */
    int64_t epoch, index;
};

struct clip_batch { /* in the loader's memory; valid until the next call of next() */
    int64_t count;  /* of samples here, those of this process */
    /* the number of hard negatives, which are in the order of their samples; 0 to count */
    int64_t negatives;
    float *pixels;    /* [count,3,S,S] normalised */
    int32_t *tokens;  /* packed captions, then hard negatives, each with its start and end */
    int32_t *offsets; /* [count+negatives+1] */
    /* [count] equal for positives of each other: samples with the same group or the same caption
     * text, joined transitively. It is the number of the first of them in the batch */
    int32_t *ids;
    int64_t *samples; /* [count] the samples' numbers in the data set */
    uint64_t *keys;   /* [count] of their draws (order.h) */
    /* what ids come from: each sample's group (dataset.h), and its caption's text, which ends at
     * caption_ends[i] of `captions` */
    int64_t *groups;
    const char *captions;
    size_t *caption_ends;
    int32_t *owners; /* [negatives] the row of the sample that each one belongs to */
    int64_t epoch;
    /* where to resume after this batch. Shuffled, the rest of an epoch that is too short for a
     * batch is already skipped: {epoch + 1, 0} */
    struct clip_position next;
};

struct clip_loader_counts {
    /* since the start or the seek: samples skipped (each counted once), and captions cut to the
     * context (each time) */
    int64_t bad, cut;
};

struct clip_loader;
/* Creates a loader that borrows dataset and tokenizer. It fails if an epoch is smaller than one
 * batch (shuffle) or if the tokenizer's vocabulary is larger than vocab_size. Threads start with
 * the first next(). */
clip_status clip_loader_create(struct clip_loader **out, const struct clip_dataset *dataset,
                               const struct clip_tokenizer *tokenizer,
                               const struct clip_loader_options *options, struct clip_error *error);
void clip_loader_free(struct clip_loader *loader); /* accepts NULL */
/* From now on no image is read or decoded, and a batch's pixels mean nothing, because the caller
 * has the embeddings. usable [dataset's count] is borrowed: samples for which it is false are bad.
 * Call it before the first next(). */
void clip_loader_skip_images(struct clip_loader *loader, const bool *usable);
/* Goes to a position; drops what was prepared in advance and sets the counts to 0. For another pass
 * of an unshuffled loader, seek to {0, 0}. */
void clip_loader_seek(struct clip_loader *loader, struct clip_position position);
/* Fills *batch; its count is 0 at the end of an unshuffled pass. *waited (may be NULL) becomes the
 * seconds that it blocked. An error stays: every further call returns it again, until a seek. */
clip_status clip_loader_next(struct clip_loader *loader, struct clip_batch *batch, double *waited,
                             struct clip_error *error);
struct clip_loader_counts clip_loader_counts(const struct clip_loader *loader);
/* What is wrong with the first bad samples: one sentence each, which names the sample. */
enum { CLIP_LOADER_NAMED_BAD = 20 };
const struct clip_names *clip_loader_bad(const struct clip_loader *loader);

#endif
