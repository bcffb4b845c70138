/* The loader: batches in a shuffled order, prepared ahead by worker threads.
 *
 * What a batch holds depends on (seed, epoch, position) alone, not on the number of workers. The
 * order of an epoch is a permutation keyed by (seed, epoch); a batch takes samples from it,
 * skipping bad ones, until it has batch_size good ones; what is left at the end of an epoch and
 * does not fill a batch is dropped (as open_clip does). Then the next epoch begins.
 *
 * A bad sample is one whose image cannot be read or decoded, or whose caption is missing, empty
 * or not UTF-8. It is named once on stderr, counted, and ends the run only past
 * max_bad_fraction. */
#ifndef CLIP_DATA_SETS_LOADER_H
#define CLIP_DATA_SETS_LOADER_H

#include "data/image/image.h"
#include "data/sets/dataset.h"
#include "data/text/tokenizer.h"

struct clip_loader_options {
    int64_t batch_size;
    int64_t context_length;
    int64_t vocab_size; /* the model's; the tokenizer's must not be larger. 0: not checked */
    int workers;        /* 0: in the caller's thread */
    uint64_t seed;
    bool shuffle; /* false: in order, and the last batch of the (single) epoch may be smaller */
    bool augment; /* training augmentation; false: evaluation's preprocessing */
    struct clip_preprocess preprocess;
    struct clip_augment augmentation;
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    enum clip_text_cleaning cleaning;
    double max_bad_fraction; /* of the data set, by distinct samples; past it next() fails */
    bool quiet;              /* do not name each bad sample on stderr */
    bool negatives;          /* hard negatives behind the captions, where the data has them */
};

struct clip_position { /* where the next batch begins; what a checkpoint stores */
    int64_t epoch, index;
};

struct clip_batch { /* the loader's memory, valid until the next call of next() */
    int64_t count;
    int64_t negatives; /* hard negatives, in the order of their samples; 0 to count */
    float *pixels;     /* [count,3,S,S] normalised */
    int32_t *tokens;   /* packed captions, then hard negatives, each with start and end */
    int32_t *offsets;  /* [count+negatives+1] */
    int32_t *ids;     /* [count] equal for positives of each other: same group or same caption text,
                         joined transitively; the number of the first of them in the batch */
    int64_t *samples; /* [count] numbers in the data set */
    int64_t epoch;
    struct clip_position next; /* resume here after this batch; shuffled, an epoch's rest that is
                                  too short for a batch is already passed over: {epoch + 1, 0} */
};

struct clip_loader_counts {
    int64_t bad, cut; /* samples skipped (distinct), captions cut to the context (every time), since
                         the start or the seek */
};

struct clip_loader;
/* Borrows dataset and tokenizer. Fails when the set is smaller than one batch (shuffle) or the
 * tokenizer's vocabulary is larger than vocab_size. Threads start with the first next(). */
clip_status clip_loader_create(struct clip_loader **out, const struct clip_dataset *dataset,
                               const struct clip_tokenizer *tokenizer,
                               const struct clip_loader_options *options, struct clip_error *error);
void clip_loader_free(struct clip_loader *loader); /* NULL is fine */
/* From now on no image is read or decoded, and a batch's pixels mean nothing: somebody has their
 * embeddings. usable [dataset's count], borrowed: samples that are not are bad. Before the first
 * next(). */
void clip_loader_skip_images(struct clip_loader *loader, const bool *usable);
/* Goes to a position; drops what was prefetched and sets the counts to 0. Also for another pass of
 * an unshuffled loader: seek to {0, 0}. */
void clip_loader_seek(struct clip_loader *loader, struct clip_position position);
/* CLIP_OK and *batch filled; batch->count 0 at the end of an unshuffled pass. *waited (may be
 * NULL): seconds it blocked. An error stays: every further call gives it again, until a seek. */
clip_status clip_loader_next(struct clip_loader *loader, struct clip_batch *batch, double *waited,
                             struct clip_error *error);
struct clip_loader_counts clip_loader_counts(const struct clip_loader *loader);
/* What is wrong with the first bad samples, a sentence each that names it. */
enum { CLIP_LOADER_NAMED_BAD = 20 };
const struct clip_names *clip_loader_bad(const struct clip_loader *loader);

#endif
