/* Tar shards as a stream: a shard is opened when the first of its samples is asked for, and
 * forgotten when others were asked for since. So memory grows with the number of shards (their
 * names), and not with that of samples. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/count.h"
#include "core/progress.h"
#include "data/sets/dataset_internal.h"

enum { NOBODY = -1, UNKNOWN = -1, FIRST_TRIES = 10 };

struct shard {                /* one that was opened lately */
    int64_t number;           /* NOBODY: there is none here */
    struct clip_dataset *set; /* NULL: it could not be opened, and `error` says why */
    struct clip_error error;
    char *spooled; /* what a command wrote; NULL: it is a file of its own */
    int lock;      /* of that */
    bool opening;
    int users;    /* who read it now */
    int64_t used; /* when it was asked for last */
};

struct stream {
    struct clip_dataset base;
    struct clip_names names;
    struct clip_dataset_options how;
    struct clip_spool spool;
    struct clip_arena strings;
    int64_t per_shard; /* the most of a part's */
    /* what threads share; a const set has them as well */
    struct shared {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        struct shard *shards; /* [room] */
        int64_t room, clock;
        int32_t *held; /* [names.count] samples of a shard; UNKNOWN */
    } * shared;
    struct shard first; /* the example's */
};

static const struct stream *stream_of(const struct clip_dataset *dataset)
{
    return (const struct stream *)dataset;
}

/* ---- Shards ---- */
static void close_shard(struct shard *shard)
{
    clip_dataset_free(shard->set);
    if (shard->spooled != NULL) unlink(shard->spooled);
    if (shard->spooled != NULL) close(shard->lock);
    free(shard->spooled);
    *shard = (struct shard){.number = NOBODY};
}

/* A cut shard gives what is left of it. */
static clip_status open_tar(const struct stream *s, const char *path, bool say, struct shard *out,
                            struct clip_error *error)
{
    struct clip_tar tar = {0};
    struct clip_error damage;
    clip_status status = clip_tar_open_damaged(&tar, path, &damage, error);
    if (status != CLIP_OK) return status;
    if (damage.status != CLIP_OK && say)
        clip_warn("%s; what stands before that is read", damage.message);
    status = clip_dataset_webdataset_open(&out->set, &tar, 1, &s->how, error);
    clip_tar_close(&tar);
    if (status != CLIP_OK || out->set != NULL) return status;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s holds no pairs: expected KEY.jpg beside KEY.txt or KEY.json", path);
}

/* Fills *out; a failure stays there, but for one of the machine. */
static clip_status open_shard(const struct stream *s, int64_t number, struct shard *out,
                              struct clip_error *error)
{
    const char *name = s->names.names[number];
    clip_status status = CLIP_OK;
    pthread_mutex_lock(&s->shared->mutex);
    bool say = s->shared->held[number] == UNKNOWN; /* not each time that it is opened */
    pthread_mutex_unlock(&s->shared->mutex);
    if (clip_shards_is_pipe(name)) {
        status = clip_spool_command(&s->spool, name + 5, &out->spooled, &out->lock, error);
        if (status == CLIP_OK) status = open_tar(s, out->spooled, say, out, error);
        if (status != CLIP_OK && out->spooled != NULL) clip_error_prefix(error, "%s", name);
    } else {
        status = open_tar(s, name, say, out, error);
    }
    if (status != CLIP_OK) out->error = *error;
    return status;
}

/* The place that a shard has, or gets: of what nobody reads, what was asked for longest ago; NULL:
 * all are read. */
static struct shard *place_of(struct shared *shared, int64_t number)
{
    struct shard *oldest = NULL;
    for (int64_t i = 0; i < shared->room; i++) {
        struct shard *shard = &shared->shards[i];
        if (shard->number == number) return shard;
        if (shard->users == 0 && (oldest == NULL || shard->used < oldest->used)) oldest = shard;
    }
    return oldest;
}

static void release(const struct stream *s, struct shard *shard)
{
    pthread_mutex_lock(&s->shared->mutex);
    shard->users--;
    pthread_cond_broadcast(&s->shared->changed);
    pthread_mutex_unlock(&s->shared->mutex);
}

/* Gives a shard, opened, to the caller, who releases it. */
static clip_status acquire(const struct stream *s, int64_t number, struct shard **out,
                           struct clip_error *error)
{
    struct shared *shared = s->shared;
    struct shard *shard;
    clip_status status = CLIP_OK;
    pthread_mutex_lock(&shared->mutex);
    while ((shard = place_of(shared, number)) == NULL ||
           (shard->number == number && shard->opening))
        pthread_cond_wait(&shared->changed, &shared->mutex);
    shard->users++;
    shard->used = ++shared->clock;
    if (shard->number != number) {
        struct shard old = *shard;
        *shard = (struct shard){.number = number, .opening = true, .users = 1, .used = old.used};
        pthread_mutex_unlock(&shared->mutex);
        close_shard(&old);
        open_shard(s, number, shard, error);
        pthread_mutex_lock(&shared->mutex);
        shard->opening = false;
        shared->held[number] = shard->set != NULL ? (int32_t)shard->set->count : 0;
        pthread_cond_broadcast(&shared->changed);
    }
    if (shard->set == NULL) {
        *error = shard->error;
        status = error->status;
        shard->users--;
        if (clip_machine_failed(status)) shard->number = NOBODY; /* it may be better next time */
        pthread_cond_broadcast(&shared->changed);
    }
    pthread_mutex_unlock(&shared->mutex);
    *out = shard;
    return status;
}

/* ---- Samples ---- */
/* The shard that sample *index is in, and *index its number there. */
static clip_status enter(const struct stream *s, int64_t *index, struct shard **out,
                         struct clip_error *error)
{
    int64_t shards = s->names.count;
    clip_status status = acquire(s, *index % shards, out, error);
    if (status == CLIP_OK) *index = *index / shards % (*out)->set->count;
    return status;
}

static clip_status stream_read(const struct clip_dataset *dataset, int64_t index,
                               struct clip_rng *rng, struct clip_sample *out,
                               struct clip_error *error)
{
    const struct stream *s = stream_of(dataset);
    struct shard *shard;
    const char *name = s->names.names[index % s->names.count];
    snprintf(out->name, sizeof out->name, "%s", name);
    clip_status status = enter(s, &index, &shard, error);
    if (status != CLIP_OK) return status;
    status = shard->set->ops->read(shard->set, index, rng, out, error);
    if (shard->spooled != NULL) /* a file of no lasting name */
        snprintf(out->name, sizeof out->name, "%s (%s)", name,
                 shard->set->ops->image_name(shard->set, index));
    if (shard->spooled != NULL && status != CLIP_OK) clip_error_prefix(error, "%s", out->name);
    release(s, shard);
    return status;
}

static clip_status stream_caption(const struct clip_dataset *dataset, int64_t index,
                                  struct clip_rng *rng, struct clip_buffer *out,
                                  struct clip_error *error)
{
    const struct stream *s = stream_of(dataset);
    struct shard *shard;
    clip_status status = enter(s, &index, &shard, error);
    if (status != CLIP_OK) return status;
    status = shard->set->ops->caption(shard->set, index, rng, out, error);
    release(s, shard);
    return status;
}

/* Samples' own names are not kept. */
static const char *stream_image_name(const struct clip_dataset *dataset, int64_t index)
{
    const struct stream *s = stream_of(dataset);
    return s->names.names[index % s->names.count];
}

static void stream_identify(const struct clip_dataset *dataset, int64_t index, int64_t *same,
                            int64_t *samples)
{
    const struct stream *s = stream_of(dataset);
    int64_t shards = s->names.count, shard = index % shards;
    pthread_mutex_lock(&s->shared->mutex);
    int64_t held = s->shared->held[shard];
    pthread_mutex_unlock(&s->shared->mutex);
    *same = held > 0 ? shard + index / shards % held * shards : held == 0 ? -1 - shard : index;
    *samples = held == 0 ? s->per_shard : 1;
}

static void stream_free(struct clip_dataset *dataset)
{
    struct stream *s = (struct stream *)dataset;
    struct shared *shared = s->shared;
    for (int64_t i = 0; shared != NULL && shared->shards != NULL && i < shared->room; i++)
        close_shard(&shared->shards[i]);
    if (s->first.set != NULL) close_shard(&s->first);
    if (shared != NULL) {
        pthread_mutex_destroy(&shared->mutex);
        pthread_cond_destroy(&shared->changed);
        free(shared->shards);
        free(shared->held);
    }
    free(shared);
    clip_names_release(&s->names);
    clip_arena_release(&s->strings);
    free(s);
}

static const struct clip_dataset_ops stream_ops = {
    .name = "a stream of shards",
    .read = stream_read,
    .caption = stream_caption,
    .image_name = stream_image_name,
    .identify = stream_identify,
    .free = stream_free,
};

/* ---- Opening ---- */
clip_status clip_dataset_shard_count(const char *data, int64_t *shards, bool *pipes,
                                     struct clip_error *error)
{
    struct clip_names names = {0};
    int64_t *ends = NULL, parts;
    clip_status status = clip_shards_list(data, &names, &ends, &parts, error);
    *shards = names.count;
    *pipes = false;
    for (int64_t i = 0; i < names.count; i++)
        *pipes = *pipes || clip_shards_is_pipe(names.names[i]);
    clip_names_release(&names);
    free(ends);
    return status;
}

/* What may end before the set does is copied. */
static clip_status keep(struct stream *s, const char **text, struct clip_error *error)
{
    if (*text == NULL) return CLIP_OK;
    *text = clip_arena_string(&s->strings, *text, strlen(*text), error);
    return *text != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

static clip_status keep_options(struct stream *s, const struct clip_dataset_options *options,
                                const struct clip_stream_options *stream, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    s->how = *options;
    s->spool.folder = stream->cache_folder;
    s->spool.retries = stream->retries;
    s->spool.stop = options->stop;
    const char **texts[] = {&s->how.images_root,     &s->how.csv_separator,   &s->how.csv_img_key,
                            &s->how.csv_caption_key, &s->how.class_templates, &s->how.classes,
                            &s->spool.folder};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) CLIP_TRY(keep(s, texts[i], error));
out:
    return status;
}

static clip_status check_pipes(struct stream *s, const struct clip_stream_options *stream,
                               struct clip_error *error)
{
    int64_t i = 0;
    while (i < s->names.count && !clip_shards_is_pipe(s->names.names[i])) i++;
    if (i == s->names.count) return CLIP_OK;
    if (!stream->allow_pipe)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s is a command; set [data] allow_pipe = true where it may be run",
                         s->names.names[i]);
    if (stream->cache_folder == NULL || stream->cache_folder[0] == '\0')
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s is a command; name a [data] cache_folder, where its output lies while "
                         "it is read",
                         s->names.names[i]);
    s->spool.most = stream->cache_bytes / (s->shared->room + 1);
    return clip_spool_clean(stream->cache_folder, error);
}

/* Opens the first shard of [begin, end) that can be opened. */
static clip_status open_first(struct stream *s, int64_t begin, int64_t end, struct shard *out,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = begin; i < end && i < begin + FIRST_TRIES; i++) {
        *out = (struct shard){.number = i};
        status = open_shard(s, i, out, error);
        if (status == CLIP_OK) return status;
        close_shard(out);
        if (clip_machine_failed(status)) return status;
        if (i + 1 < end && i + 1 < begin + FIRST_TRIES)
            clip_warn("%s; the next shard says how many samples there are in one", error->message);
    }
    return status;
}

static clip_status make_parts(struct stream *s, const int64_t *ends, int64_t count,
                              struct clip_order_part *parts, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t begin = 0, samples;
    for (int64_t k = 0; k < count; k++) {
        struct shard first = {.number = NOBODY};
        CLIP_TRY(open_first(s, begin, ends[k], &first, error));
        int64_t each = first.set->count;
        parts[k] = (struct clip_order_part){.end = ends[k], .weight = 1, .per_shard = each};
        if (k == 0)
            s->first = first;
        else
            close_shard(&first);
        if (!clip_mul_i64(each, ends[k] - begin, &samples) || samples > INT64_C(1) << 40)
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "these are more than 2^40 samples"));
        if (each > s->per_shard) s->per_shard = each;
        s->base.count += samples;
        begin = ends[k];
    }
    s->base.example = s->first.set;
out:
    return status;
}

static clip_status share(struct stream *s, int64_t room, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct shared *shared = NULL;
    CLIP_NEW(shared, 1);
    s->shared = shared;
    pthread_mutex_init(&shared->mutex, NULL);
    pthread_cond_init(&shared->changed, NULL);
    CLIP_NEW(shared->held, s->names.count);
    for (int64_t i = 0; i < s->names.count; i++) shared->held[i] = UNKNOWN;
    CLIP_NEW(shared->shards, room);
    shared->room = room;
    for (int64_t i = 0; i < room; i++) shared->shards[i].number = NOBODY;
out:
    return status;
}

clip_status clip_dataset_stream_open(struct clip_dataset **out, const char *data,
                                     const struct clip_dataset_options *options,
                                     const struct clip_stream_options *stream,
                                     struct clip_order_part **parts, int64_t *part_count,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct stream *s = NULL;
    int64_t *ends = NULL, count = 0;
    *out = NULL;
    *parts = NULL;
    CLIP_NEW(s, 1);
    s->base.ops = &stream_ops;
    s->first.number = NOBODY;
    CLIP_TRY(clip_shards_list(data, &s->names, &ends, &count, error));
    if (s->names.count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                           "%s: only tar shards can be read as a stream; set [data] stream = off",
                           data));
    if (!stream->apart) ends[0] = s->names.count;
    if (!stream->apart) count = 1;
    /* a group, and the next one, which workers begin before the last sample of it is taken */
    CLIP_TRY(share(s, 2 * count * stream->shard_group, error));
    CLIP_TRY(keep_options(s, options, stream, error));
    CLIP_TRY(check_pipes(s, stream, error));
    CLIP_NEW(*parts, count);
    CLIP_TRY(make_parts(s, ends, count, *parts, error));
    s->base.shard_count = s->names.count;
    *part_count = count;
    *out = &s->base;
    s = NULL;
out:
    free(ends);
    if (s != NULL) stream_free(&s->base);
    if (status != CLIP_OK) {
        free(*parts);
        *parts = NULL;
    }
    return status;
}
