#include "train/train_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/count.h"

enum { INDEXED_SHARDS = 10000 }; /* stream = auto: with more there is no index */

const char *clip_stream_name(int stream)
{
    static const char *const names[] = {
        [CLIP_STREAM_AUTO] = "auto",
        [CLIP_STREAM_ON] = "on",
        [CLIP_STREAM_OFF] = "off",
    };
    return CLIP_NAME_OF(names, stream);
}

/* [data] train_data_weights = 1::2, one for each set. */
static clip_status read_weights(struct clip_setup *s, struct clip_error *error)
{
    const char *text = s->config->data.train_data_weights, *at = text;
    int64_t said = 1;
    for (const char *joint = text; (joint = strstr(joint, "::")) != NULL; joint += 2) said++;
    if (said != s->part_count)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[data] train_data_weights = %s has %s, but train_data has %s joined by "
                         "\"::\"; give one for each",
                         text, CLIP_COUNT(said, "weight"), CLIP_COUNT(s->part_count, "set"));
    for (int64_t k = 0; k < s->part_count; k++, at += 2) {
        char *end;
        double weight = strtod(at, &end);
        if (end == at || strncmp(end, k + 1 < s->part_count ? "::" : "", 2) != 0 ||
            !(weight > 0 && isfinite(weight)))
            return clip_fail(error, CLIP_ERR_USAGE,
                             "[data] train_data_weights = %s: the weight of set %lld is not a "
                             "number above 0; write them as in 1::2.5",
                             text, (long long)k + 1);
        s->parts[k].weight = weight;
        at = end;
    }
    return CLIP_OK;
}

/* Is it to be read as a stream? */
static clip_status choose(const struct clip_config *c, bool *stream, struct clip_error *error)
{
    int64_t shards;
    bool pipes;
    clip_status status = clip_dataset_shard_count(c->data.train_data, &shards, &pipes, error);
    if (status != CLIP_OK) return status;
    if (pipes && c->data.stream == CLIP_STREAM_OFF)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[data] stream = off: the output of the commands in train_data is only "
                         "read as a stream; set stream = auto");
    *stream = c->data.stream == CLIP_STREAM_ON ||
              (c->data.stream == CLIP_STREAM_AUTO && (pipes || shards > INDEXED_SHARDS));
    return CLIP_OK;
}

/* What needs to know each sample from the start. */
static clip_status check_stream(const struct clip_config *c, struct clip_error *error)
{
    const char *key = NULL;
    if (c->data.val_data[0] == '\0' && c->data.val_share > 0) key = "[data] val_share";
    if (c->train.teacher_embeddings[0] != '\0') key = "[train] teacher_embeddings";
    if (c->data.csv_negative_key[0] != '\0') key = "[data] csv_negative_key";
    if (key == NULL) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%s needs an index of all samples, which a stream has not; leave it out, or "
                     "set [data] stream = off",
                     key);
}

static clip_status open_stream(struct clip_setup *s, const struct clip_dataset_options *options,
                               struct clip_error *error)
{
    const struct clip_config *c = s->config;
    const struct clip_stream_options stream = {.apart = c->data.train_data_weights[0] != '\0',
                                               .shard_group = c->data.shard_group,
                                               .allow_pipe = c->data.allow_pipe,
                                               .retries = c->data.retries,
                                               .cache_folder = c->data.cache_folder,
                                               .cache_bytes = c->data.cache_bytes};
    clip_status status = check_stream(c, error);
    if (status != CLIP_OK) return status;
    s->shard_group = c->data.shard_group;
    return clip_dataset_stream_open(&s->train_data, c->data.train_data, options, &stream, &s->parts,
                                    &s->part_count, error);
}

static clip_status open_parts(struct clip_setup *s, const struct clip_dataset_options *options,
                              struct clip_error *error)
{
    clip_status status;
    int64_t *ends = NULL;
    CLIP_TRY(clip_dataset_open_parts(&s->train_data, s->config->data.train_data, options, &ends,
                                     &s->part_count, error));
    CLIP_NEW(s->parts, s->part_count);
    for (int64_t k = 0; k < s->part_count; k++) s->parts[k].end = ends[k];
out:
    free(ends);
    return status;
}

clip_status clip_train_data_open(struct clip_setup *s, const struct clip_dataset_options *options,
                                 struct clip_error *error)
{
    clip_status status;
    const struct clip_config *c = s->config;
    bool stream = false, weights = c->data.train_data_weights[0] != '\0';
    CLIP_TRY(choose(c, &stream, error));
    if (stream)
        CLIP_TRY(open_stream(s, options, error));
    else if (weights)
        CLIP_TRY(open_parts(s, options, error));
    else
        CLIP_TRY(clip_dataset_open(&s->train_data, c->data.train_data, options, error));
    if (weights) CLIP_TRY(read_weights(s, error));
out:
    return status;
}

clip_status clip_train_data_check(const struct clip_setup *s, struct clip_error *error)
{
    if (s->part_count == 0) return CLIP_OK;
    clip_status status = clip_order_check(s->parts, s->part_count, error);
    if (status != CLIP_OK)
        clip_error_prefix(error, "[data] train_data_weights = %s",
                          s->config->data.train_data_weights);
    return status;
}
