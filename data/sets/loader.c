#include "data/sets/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/progress.h"
#include "core/threads.h"
#include "data/sets/dataset_internal.h"
#include "data/sets/positives.h"

/* One sample in preparation: a worker fills it, the consumer takes it. */
struct slot {
    bool ready;
    int64_t epoch, index, sample;
    uint64_t key;       /* of the draw */
    clip_status status; /* not CLIP_OK: a bad sample, and `error` says why */
    struct clip_error error;
    struct clip_buffer caption;    /* its text, to find equal captions */
    struct clip_ids ids, negative; /* negative: empty if there is none */
    bool cut;
    uint8_t *pixels; /* [S,S,3] */
};

enum { FLAG_BAD = 1, FLAG_NAMED = 2 };
enum { MOST_ATTEMPTS = 1000000 }; /* to find a good sample for a place */

struct clip_loader {
    const struct clip_dataset *dataset;
    const struct clip_tokenizer *tokenizer;
    struct clip_loader_options options;
    int64_t pixel_count; /* 3 * S * S */
    const bool *usable;  /* NULL: images are read; else see clip_loader_skip_images */

    struct clip_order *order; /* draws: by who hands out samples */

    /* The ring: slots [taken, given) modulo slot_count are being prepared or are waiting. Positions
     * count samples from the seek on. Guarded by `mutex` while threads run. */
    struct slot *slots;
    int64_t slot_count, taken, given;
    struct clip_position head; /* position of the next sample to hand out */
    bool finished;             /* unshuffled: all samples are handed out */
    bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t space, arrival;
    pthread_t *threads;
    int running;

    /* Used only by the consumer. */
    struct clip_sample scratch;    /* for samples that the consumer prepares itself */
    struct clip_position position; /* position of the next batch */
    struct clip_loader_counts counts;
    struct clip_string_map marked; /* bad samples' numbers, and FLAG_... of each */
    struct clip_error failure, first_reason;
    struct clip_names bad;       /* what is wrong with the first of the bad samples */
    struct clip_buffer captions; /* the batch's caption texts, and where each one ends */
    /* the batch's hard negatives as int32, until its captions are complete */
    struct clip_buffer negatives;
    int32_t *negative_ends;
    struct clip_positives positives;
    uint8_t **images; /* [own_count] of [S,S,3], before normalisation */
    struct clip_batch batch;
};

/* ---- Preparing one sample ---- */
/* Reads the sample's hard negative as tokens; `room` is any buffer. */
static clip_status read_negative(struct clip_loader *loader, struct slot *slot,
                                 struct clip_buffer *room, struct clip_error *error)
{
    const struct clip_dataset *dataset = loader->dataset;
    const struct clip_loader_options *options = &loader->options;
    bool cut;
    if (!options->negatives || dataset->ops->negative == NULL) return CLIP_OK;
    clip_status status = dataset->ops->negative(dataset, slot->sample, room, error);
    if (status != CLIP_OK || room->size == 0) return status;
    const struct clip_encode_options how = {options->cleaning, options->context_length};
    status = clip_tokenizer_encode(loader->tokenizer, room->data, room->size, &how, &slot->negative,
                                   &cut, error);
    if (clip_tokenizer_is_empty(loader->tokenizer, slot->negative.ids, slot->negative.count))
        slot->negative.count = 0; /* if nothing is left after cleaning */
    return status;
}

/* Reads only the caption, if the image's embedding is already known. */
static clip_status read_without_image(struct clip_loader *loader, struct slot *slot,
                                      struct clip_rng *rng, struct clip_sample *sample,
                                      struct clip_error *error)
{
    const struct clip_dataset *dataset = loader->dataset;
    snprintf(sample->name, sizeof sample->name, "%s",
             dataset->ops->image_name(dataset, slot->sample));
    if (!loader->usable[slot->sample])
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the image could not be read when the locked "
                         "tower embedded it",
                         sample->name);
    return dataset->ops->caption(dataset, slot->sample, rng, &sample->caption, error);
}

static clip_status read_sample(struct clip_loader *loader, struct slot *slot,
                               struct clip_sample *sample, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_loader_options *options = &loader->options;
    struct clip_image image = {0};
    uint32_t epoch = (uint32_t)slot->epoch;
    struct clip_rng rng = clip_rng_at(options->seed, CLIP_RNG_CAPTION, epoch, slot->key);
    status = loader->usable != NULL
                 ? read_without_image(loader, slot, &rng, sample, error)
                 : loader->dataset->ops->read(loader->dataset, slot->sample, &rng, sample, error);
    if (status != CLIP_OK) return status;

    CLIP_TRY(clip_buffer_append(&slot->caption, sample->caption.data, sample->caption.size, error));
    const struct clip_encode_options how = {options->cleaning, options->context_length};
    CLIP_TRY(clip_tokenizer_encode(loader->tokenizer, sample->caption.data, sample->caption.size,
                                   &how, &slot->ids, &slot->cut, error));
    if (clip_tokenizer_is_empty(loader->tokenizer, slot->ids.ids, slot->ids.count))
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "nothing is left of the caption after cleaning; "
                           "write one or leave the sample out"));
    CLIP_TRY(read_negative(loader, slot, &sample->caption, error));
    if (loader->usable != NULL) goto out;
    CLIP_TRY(clip_image_decode((const uint8_t *)sample->image.data, sample->image.size,
                               &options->limits, &image, error));
    if (options->augment) {
        rng = clip_rng_at(options->seed, CLIP_RNG_AUGMENT, epoch, slot->key);
        CLIP_TRY(clip_augment_image(&options->preprocess, &options->augmentation, &rng, &image,
                                    slot->pixels, error));
    } else {
        CLIP_TRY(clip_preprocess_image(&options->preprocess, &image, slot->pixels, error));
    }
out:
    if (status != CLIP_OK) clip_error_prefix(error, "%s", sample->name);
    clip_image_release(&image);
    return status;
}

/* `sample` belongs to the thread and is reused from sample to sample. */
static void prepare(struct clip_loader *loader, struct slot *slot, struct clip_sample *sample)
{
    slot->caption.size = 0;
    slot->ids.count = slot->negative.count = 0;
    slot->cut = false;
    slot->status = read_sample(loader, slot, sample, &slot->error);
}

/* ---- Giving out samples ---- */
/* Is no batch left in the epoch from this position on? */
static bool epoch_is_over(const struct clip_loader *loader, struct clip_position at)
{
    int64_t left = clip_order_length(loader->order) - at.index;
    return left < (loader->options.shuffle ? loader->options.batch_size : 1);
}

/* How many samples of a batch come after this process' own. */
static int64_t behind_own(const struct clip_loader *loader)
{
    const struct clip_loader_options *o = &loader->options;
    return o->batch_size - o->own_begin - o->own_count;
}

/* The next sample's slot, or NULL if the ring is full or the pass is over. To be called with the
 * mutex held. */
static struct slot *give_slot(struct clip_loader *loader)
{
    if (loader->finished || loader->given - loader->taken == loader->slot_count) return NULL;
    struct clip_position *head = &loader->head;
    const struct clip_loader_options *options = &loader->options;
    /* which of the batch's own samples it is, counted from a seek */
    int64_t place = loader->given % options->own_count;
    if (place == 0 || !options->shuffle) {
        if (epoch_is_over(loader, *head) && !options->shuffle) {
            loader->finished = true;
            return NULL;
        }
        if (epoch_is_over(loader, *head)) *head = (struct clip_position){.epoch = head->epoch + 1};
    }
    if (place == 0) head->index += options->own_begin;
    struct slot *slot = &loader->slots[loader->given % loader->slot_count];
    slot->ready = false;
    slot->epoch = head->epoch;
    slot->index = head->index;
    const struct clip_draw draw = clip_order_at(loader->order, head->epoch, head->index++);
    slot->sample = draw.sample;
    slot->key = draw.key;
    if (place == options->own_count - 1) head->index += behind_own(loader);
    loader->given++;
    return slot;
}

static void *work(void *context)
{
    struct clip_loader *loader = context;
    struct clip_sample sample = {0};
    pthread_mutex_lock(&loader->mutex);
    while (!loader->stop) {
        struct slot *slot = give_slot(loader);
        if (slot == NULL) {
            if (loader->finished) pthread_cond_signal(&loader->arrival);
            pthread_cond_wait(&loader->space, &loader->mutex);
            continue;
        }
        pthread_mutex_unlock(&loader->mutex);
        prepare(loader, slot, &sample);
        pthread_mutex_lock(&loader->mutex);
        slot->ready = true;
        pthread_cond_signal(&loader->arrival);
    }
    pthread_mutex_unlock(&loader->mutex);
    clip_sample_release(&sample);
    return NULL;
}

static void stop_workers(struct clip_loader *loader)
{
    pthread_mutex_lock(&loader->mutex);
    loader->stop = true;
    pthread_cond_broadcast(&loader->space);
    pthread_mutex_unlock(&loader->mutex);
    for (int i = 0; i < loader->running; i++) pthread_join(loader->threads[i], NULL);
    loader->running = 0;
    loader->stop = false;
}

/* Only the main thread gets signals: workers block them all. */
static clip_status start_workers(struct clip_loader *loader, struct clip_error *error)
{
    sigset_t all, before;
    int code = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (loader->running < loader->options.workers && code == 0) {
        code = pthread_create(&loader->threads[loader->running], NULL, work, loader);
        if (code == 0) loader->running++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) return CLIP_OK;
    stop_workers(loader);
    return clip_fail(error, CLIP_ERR_MACHINE,
                     "%s could not be started: %s; set workers lower (0 loads in the main thread)",
                     CLIP_COUNT(loader->options.workers, "loader thread"), strerror(code));
}

/* Takes the next sample in order, prepared; NULL at the end of an unshuffled pass. The consumer
 * gives it back with release_slot. */
static struct slot *take_slot(struct clip_loader *loader)
{
    struct slot *slot = &loader->slots[loader->taken % loader->slot_count];
    if (loader->options.workers == 0) {
        slot = give_slot(loader);
        if (slot != NULL) prepare(loader, slot, &loader->scratch);
        return slot;
    }
    pthread_mutex_lock(&loader->mutex);
    while (!(loader->taken < loader->given && slot->ready) &&
           !(loader->finished && loader->taken == loader->given))
        pthread_cond_wait(&loader->arrival, &loader->mutex);
    if (loader->taken == loader->given) slot = NULL;
    pthread_mutex_unlock(&loader->mutex);
    return slot;
}

static void release_slot(struct clip_loader *loader)
{
    pthread_mutex_lock(&loader->mutex);
    loader->taken++;
    pthread_cond_signal(&loader->space);
    pthread_mutex_unlock(&loader->mutex);
}

/* A number that is the sample's alone, and how many are bad if this one is. */
static void identify(const struct clip_loader *loader, int64_t sample, int64_t *number,
                     int64_t *samples)
{
    *number = sample;
    *samples = 1;
    if (loader->dataset->ops->identify != NULL)
        loader->dataset->ops->identify(loader->dataset, sample, number, samples);
}

static int64_t group_of(const struct clip_loader *loader, int64_t sample)
{
    int64_t number, samples;
    if (loader->dataset->group != NULL) return loader->dataset->group[sample];
    identify(loader, sample, &number, &samples);
    return number;
}

/* ---- Bad samples ---- */
static clip_status count_bad(struct clip_loader *loader, const struct slot *slot,
                             struct clip_error *error)
{
    int64_t number, samples;
    struct clip_string_entry *mark;
    if (clip_machine_failed(slot->status)) {
        *error = slot->error; /* the machine failed, not the sample */
        return slot->status;
    }
    identify(loader, slot->sample, &number, &samples);
    clip_status status =
        clip_string_map_add(&loader->marked, (const char *)&number, sizeof number, 0, &mark, error);
    if (status != CLIP_OK || mark->value & FLAG_BAD) return status;
    if (!(mark->value & FLAG_NAMED) && !loader->options.quiet)
        clip_warn("a bad %s skipped: %s", samples > 1 ? "shard is" : "sample is",
                  slot->error.message);
    mark->value |= FLAG_BAD | FLAG_NAMED;
    if (loader->counts.bad == 0) loader->first_reason = slot->error;
    loader->counts.bad += samples;
    if (loader->bad.count < CLIP_LOADER_NAMED_BAD) {
        status = clip_names_add(&loader->bad, slot->error.message, error);
        if (status != CLIP_OK) return status;
    }
    double share = (double)loader->counts.bad / (double)loader->dataset->count;
    if (share <= loader->options.max_bad_fraction) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%lld of the data's %s %s bad so far, more than max_bad_fraction = %g allows; "
                     "mend or remove them, or raise it; the first: %.600s",
                     (long long)loader->counts.bad, CLIP_COUNT(loader->dataset->count, "sample"),
                     clip_counted_word(loader->counts.bad, "is", "are"),
                     loader->options.max_bad_fraction, loader->first_reason.message);
}

/* Puts another sample in a bad one's place: drawn from all, by (seed, epoch, position, attempt), so
 * that a batch depends on no sample outside of it. Does nothing if the slot's sample is good. */
static clip_status replace_bad(struct clip_loader *loader, struct slot *slot,
                               struct clip_error *error)
{
    struct clip_rng rng = clip_rng_at(loader->options.seed, CLIP_RNG_REPLACE, (uint32_t)slot->epoch,
                                      (uint64_t)slot->index);
    for (int64_t attempt = 0; slot->status != CLIP_OK; attempt++) {
        clip_status status = count_bad(loader, slot, error);
        if (status != CLIP_OK) return status;
        if (loader->counts.bad >= loader->dataset->count || attempt == MOST_ATTEMPTS)
            return clip_fail(error, CLIP_ERR_DATA,
                             "no sample of the data's %lld is good; the first bad one: %.600s",
                             (long long)loader->dataset->count, loader->first_reason.message);
        pthread_mutex_lock(&loader->mutex);
        slot->sample = clip_order_replace(loader->order, slot->epoch, slot->index, attempt, &rng);
        pthread_mutex_unlock(&loader->mutex);
        slot->key = (uint64_t)slot->sample;
        prepare(loader, slot, &loader->scratch);
    }
    return CLIP_OK;
}

/* ---- Batches ---- */
static clip_status add_to_batch(struct clip_loader *loader, struct slot *slot,
                                struct clip_error *error)
{
    struct clip_batch *batch = &loader->batch;
    int64_t i = batch->count;
    int32_t at = batch->offsets[i];
    clip_status status =
        clip_buffer_append(&loader->captions, slot->caption.data, slot->caption.size, error);
    if (status != CLIP_OK) return status;
    batch->caption_ends[i] = loader->captions.size;
    memcpy(batch->tokens + at, slot->ids.ids, (size_t)slot->ids.count * sizeof *batch->tokens);
    batch->offsets[i + 1] = at + (int32_t)slot->ids.count;
    /* the slot gets other memory in exchange, so nothing is copied */
    uint8_t *spare = loader->images[i];
    loader->images[i] = slot->pixels;
    slot->pixels = spare;
    batch->samples[i] = slot->sample;
    batch->keys[i] = slot->key;
    batch->groups[i] = group_of(loader, slot->sample);
    if (slot->negative.count > 0) {
        CLIP_TRY(clip_buffer_append(&loader->negatives, slot->negative.ids,
                                    (size_t)slot->negative.count * sizeof(int32_t), error));
        batch->owners[batch->negatives] = (int32_t)i;
        loader->negative_ends[batch->negatives++] =
            (int32_t)(loader->negatives.size / sizeof(int32_t));
    }
    loader->counts.cut += slot->cut;
    batch->count++;
out:
    return status;
}

/* Puts the hard negatives after the captions. */
static void add_negatives(struct clip_loader *loader)
{
    struct clip_batch *batch = &loader->batch;
    int32_t at = batch->offsets[batch->count];
    if (batch->negatives == 0) return;
    memcpy(batch->tokens + at, loader->negatives.data, loader->negatives.size);
    for (int64_t k = 0; k < batch->negatives; k++)
        batch->offsets[batch->count + 1 + k] = at + loader->negative_ends[k];
}

static void normalise_one(void *context, int64_t i)
{
    const struct clip_loader *loader = context;
    clip_preprocess_normalise(&loader->options.preprocess, loader->images[i],
                              loader->batch.pixels + i * loader->pixel_count);
}

static void empty_batch(struct clip_loader *loader, int64_t epoch)
{
    loader->batch.count = loader->batch.negatives = 0;
    loader->negatives.size = 0;
    loader->batch.epoch = epoch;
    loader->captions.size = 0;
}

/* Fills the batch from `position` on. Shuffled, it gets its own ones of batch_size samples of one
 * epoch; else bad ones are left out. */
static clip_status fill_batch(struct clip_loader *loader, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    bool shuffle = loader->options.shuffle;
    struct clip_position at = loader->position;
    empty_batch(loader, at.epoch);
    while (loader->batch.count < loader->options.own_count) {
        struct slot *slot = take_slot(loader);
        if (slot == NULL) break;
        at = (struct clip_position){.epoch = slot->epoch, .index = slot->index + 1};
        if (shuffle) status = replace_bad(loader, slot, error);
        if (status == CLIP_OK)
            status = slot->status != CLIP_OK ? count_bad(loader, slot, error)
                                             : add_to_batch(loader, slot, error);
        release_slot(loader);
        if (status != CLIP_OK) goto out;
    }
    loader->batch.epoch = at.epoch;
    if (shuffle) at.index += behind_own(loader);
    if (shuffle && epoch_is_over(loader, at)) at = (struct clip_position){.epoch = at.epoch + 1};
    loader->position = at;
    loader->batch.next = at;
out:
    return status;
}

clip_status clip_loader_next(struct clip_loader *loader, struct clip_batch *batch, double *waited,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    double began = clip_seconds();
    if (loader->failure.status != CLIP_OK) {
        *error = loader->failure;
        return error->status;
    }
    if (loader->running < loader->options.workers) CLIP_TRY(start_workers(loader, error));
    CLIP_TRY(fill_batch(loader, error));
    add_negatives(loader);
    if (loader->usable == NULL) clip_parallel_for(loader->batch.count, normalise_one, loader);
    loader->batch.captions = loader->captions.data;
    CLIP_TRY(clip_positives_number(&loader->positives, loader->batch.count, loader->batch.groups,
                                   loader->batch.captions, loader->batch.caption_ends,
                                   loader->batch.ids, error));
    *batch = loader->batch;
    if (waited != NULL) *waited = clip_seconds() - began;
out:
    if (status != CLIP_OK) loader->failure = *error;
    return status;
}

struct clip_loader_counts clip_loader_counts(const struct clip_loader *loader)
{
    return loader->counts;
}

const struct clip_names *clip_loader_bad(const struct clip_loader *loader) { return &loader->bad; }

void clip_loader_seek(struct clip_loader *loader, struct clip_position position)
{
    stop_workers(loader);
    if (loader->options.shuffle && epoch_is_over(loader, position))
        position = (struct clip_position){.epoch = position.epoch + 1};
    loader->position = loader->head = position;
    loader->taken = loader->given = 0;
    loader->finished = false;
    loader->failure = (struct clip_error){0};
    loader->counts = (struct clip_loader_counts){0};
    clip_names_release(&loader->bad);
    for (int64_t i = 0; i < loader->marked.count; i++) loader->marked.entries[i].value &= ~FLAG_BAD;
}

/* ---- Creation ---- */
static clip_status check_options(const struct clip_dataset *dataset,
                                 const struct clip_tokenizer *tokenizer,
                                 const struct clip_loader_options *options,
                                 struct clip_error *error)
{
    int64_t epoch = options->samples_per_epoch;
    int64_t vocab = tokenizer->vocab_size, tokens;
    int64_t texts = options->negatives ? 2 * options->batch_size : options->batch_size;
    if (options->batch_size < 1 || options->context_length < 3 || options->workers < 0 ||
        options->workers > 1024 || options->preprocess.image_size < 1)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "the loader needs batch_size >= 1, context_length >= 3, workers from 0 to "
                         "1024 and image_size >= 1; got %lld, %lld, %d and %lld",
                         (long long)options->batch_size, (long long)options->context_length,
                         options->workers, (long long)options->preprocess.image_size);
    if (!clip_mul_i64(texts, options->context_length, &tokens) || tokens >= INT32_MAX)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "a batch of %s of %s is too large; set batch_size or context_length lower",
                         CLIP_COUNT(options->batch_size, "caption"),
                         CLIP_COUNT(options->context_length, "token"));
    if (options->vocab_size > 0 && vocab > options->vocab_size)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "the tokenizer has a vocabulary of %lld, larger than the model's "
                         "vocab_size = %lld; set vocab_size to at least %lld or train a smaller "
                         "tokenizer",
                         (long long)vocab, (long long)options->vocab_size, (long long)vocab);
    if (options->shuffle && epoch > 0 && options->batch_size > epoch)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "batch_size = %lld is larger than samples_per_epoch = %lld; set one of "
                         "them otherwise",
                         (long long)options->batch_size, (long long)epoch);
    if (options->shuffle && epoch == 0 && options->batch_size > dataset->count)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "batch_size = %lld is larger than the data, which has %s; set batch_size "
                         "lower or add data",
                         (long long)options->batch_size, CLIP_COUNT(dataset->count, "sample"));
    return CLIP_OK;
}

static clip_status allocate_batch(struct clip_loader *loader, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = loader->options.own_count, texts = loader->options.negatives ? 2 * n : n, pixels;
    struct clip_batch *batch = &loader->batch;
    if (!clip_mul_i64(loader->pixel_count, n, &pixels))
        return clip_fail(error, CLIP_ERR_MEMORY, "a batch of %s is too large",
                         CLIP_COUNT(n, "image"));
    CLIP_NEW(loader->images, n);
    for (int64_t i = 0; i < n; i++) CLIP_NEW(loader->images[i], loader->pixel_count);
    batch->pixels = clip_pages_new(pixels, sizeof *batch->pixels, error);
    if (batch->pixels == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_NEW(batch->tokens, texts * loader->options.context_length);
    CLIP_NEW(batch->offsets, texts + 1);
    CLIP_NEW(loader->negative_ends, texts - n);
    CLIP_NEW(batch->owners, texts - n);
    CLIP_NEW(batch->ids, n);
    CLIP_NEW(batch->samples, n);
    CLIP_NEW(batch->keys, n);
    CLIP_NEW(batch->groups, n);
    CLIP_NEW(batch->caption_ends, n);
out:
    return status;
}

/* Slots for two batches ahead; without workers one slot is enough. */
static clip_status allocate_slots(struct clip_loader *loader, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    loader->slot_count = 1;
    if (loader->options.workers > 0) loader->slot_count = 2 * loader->options.own_count;
    CLIP_NEW(loader->slots, loader->slot_count);
    for (int64_t i = 0; i < loader->slot_count; i++)
        CLIP_NEW(loader->slots[i].pixels, loader->pixel_count);
    CLIP_NEW(loader->threads, loader->options.workers);
out:
    return status;
}

clip_status clip_loader_create(struct clip_loader **out, const struct clip_dataset *dataset,
                               const struct clip_tokenizer *tokenizer,
                               const struct clip_loader_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_loader *loader = NULL;
    *out = NULL;
    CLIP_TRY(check_options(dataset, tokenizer, options, error));
    CLIP_NEW(loader, 1);
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->space, NULL);
    pthread_cond_init(&loader->arrival, NULL);
    loader->dataset = dataset;
    loader->tokenizer = tokenizer;
    loader->options = *options;
    if (options->own_count == 0) loader->options.own_count = options->batch_size;
    if (options->limits.max_pixels <= 0) loader->options.limits.max_pixels = 100000000;
    int64_t side = options->preprocess.image_size;
    if (!clip_mul_i64(side, side, &loader->pixel_count) ||
        !clip_mul_i64(loader->pixel_count, 3, &loader->pixel_count))
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_MEMORY, "image_size = %lld is too large", (long long)side));
    /* a stream's order knows shards */
    bool streamed = options->shard_group > 0;
    int64_t epoch = options->samples_per_epoch;
    if (streamed && epoch == 0) epoch = dataset->count;
    const struct clip_order_options order = {.parts = options->parts,
                                             .part_count = options->part_count,
                                             .length = epoch,
                                             .shard_group = options->shard_group,
                                             .seed = options->seed,
                                             .shuffle = options->shuffle};
    CLIP_TRY(clip_order_create(&loader->order, streamed ? dataset->shard_count : dataset->count,
                               &order, error));
    CLIP_TRY(allocate_batch(loader, error));
    CLIP_TRY(allocate_slots(loader, error));
    *out = loader;
    loader = NULL;
out:
    clip_loader_free(loader);
    return status;
}

void clip_loader_skip_images(struct clip_loader *loader, const bool *usable)
{
    loader->usable = usable;
}

void clip_loader_free(struct clip_loader *loader)
{
    if (loader == NULL) return;
    stop_workers(loader);
    pthread_mutex_destroy(&loader->mutex);
    pthread_cond_destroy(&loader->space);
    pthread_cond_destroy(&loader->arrival);
    for (int64_t i = 0; loader->slots != NULL && i < loader->slot_count; i++) {
        clip_buffer_release(&loader->slots[i].caption);
        clip_ids_release(&loader->slots[i].ids);
        clip_ids_release(&loader->slots[i].negative);
        free(loader->slots[i].pixels);
    }
    for (int64_t i = 0; loader->images != NULL && i < loader->options.own_count; i++)
        free(loader->images[i]);
    clip_order_free(loader->order);
    clip_sample_release(&loader->scratch);
    clip_names_release(&loader->bad);
    clip_buffer_release(&loader->captions);
    clip_buffer_release(&loader->negatives);
    clip_string_map_release(&loader->marked);
    clip_positives_release(&loader->positives);
    struct clip_batch *batch = &loader->batch;
    void *arrays[] = {
        loader->slots,       loader->threads,       batch->keys,   loader->images, batch->groups,
        batch->caption_ends, batch->pixels,         batch->tokens, batch->offsets, batch->ids,
        batch->samples,      loader->negative_ends, batch->owners, loader};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}
