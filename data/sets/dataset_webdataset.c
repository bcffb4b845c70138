/* webdataset: uncompressed tars in which neighbouring files with the same key are one sample, such
 * as 000123.jpg, 000123.txt, 000123.json. The key is the folder and the file's name up to its first
 * dot; what follows is the field (https://github.com/webdataset/webdataset, "The WebDataset
 * Format"). Here, an image is recognised by its suffix; the caption is .txt, else "caption" in
 * .json. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/json.h"
#include "data/sets/dataset_internal.h"

enum { NONE = -1 };

struct item {
    int32_t shard;
    bool json;       /* the caption is in a .json */
    int64_t image;   /* index in the shard's entries; NONE: bad sample */
    int64_t caption; /* the same */
};

struct webdataset {
    struct clip_dataset base;
    struct clip_tar *tars;
    int64_t tar_count;
    struct item *items; /* [base.count] */
    int64_t capacity;
    bool images_only;
};

static const struct webdataset *webdataset_of(const struct clip_dataset *dataset)
{
    return (const struct webdataset *)dataset;
}

/* Writes the sample's name: "shards/000.tar (000123.jpg)". */
static void item_name(const struct webdataset *set, int64_t index, char *name, size_t size)
{
    const struct item *item = &set->items[index];
    const struct clip_tar *tar = &set->tars[item->shard];
    int64_t entry = item->image != NONE ? item->image : item->caption;
    snprintf(name, size, "%s (%s)", tar->path, tar->entries[entry].name);
}

/* out = the "caption" of the JSON object that `out` holds. */
static clip_status caption_of_json(struct clip_buffer *out, const char *name,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *object = clip_json_parse(out->data, out->size, name, error);
    if (object == NULL) return error->status;
    json_t *caption = json_object_get(object, "caption");
    if (!json_is_string(caption))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: its JSON has no \"caption\" that is a text",
                           name));
    CLIP_TRY(clip_dataset_set(out, json_string_value(caption), json_string_length(caption), error));
out:
    json_decref(object);
    return status;
}

static clip_status take_caption(const struct webdataset *set, int64_t index, const char *name,
                                struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct item *item = &set->items[index];
    const struct clip_tar *tar = &set->tars[item->shard];
    CLIP_TRY(clip_dataset_set(out, "", 0, error));
    if (set->images_only) return CLIP_OK;
    if (item->caption == NONE)
        return clip_fail(error, CLIP_ERR_NOT_FOUND,
                         "%s: there is no caption beside the image; add a .txt or a .json with "
                         "\"caption\" right behind it",
                         name);
    const struct clip_tar_entry *entry = &tar->entries[item->caption];
    if (entry->size > 0) CLIP_TRY(clip_tar_read(tar, entry, CLIP_CAPTION_BYTES, out, error));
    if (item->json && out->size > 0) CLIP_TRY(caption_of_json(out, name, error));
    CLIP_TRY(clip_dataset_caption_check(out, name, error));
out:
    return status;
}

static clip_status webdataset_caption(const struct clip_dataset *dataset, int64_t index,
                                      struct clip_rng *rng, struct clip_buffer *out,
                                      struct clip_error *error)
{
    char name[512];
    (void)rng;
    item_name(webdataset_of(dataset), index, name, sizeof name);
    return take_caption(webdataset_of(dataset), index, name, out, error);
}

static clip_status webdataset_read(const struct clip_dataset *dataset, int64_t index,
                                   struct clip_rng *rng, struct clip_sample *out,
                                   struct clip_error *error)
{
    const struct webdataset *set = webdataset_of(dataset);
    const struct item *item = &set->items[index];
    (void)rng;
    item_name(set, index, out->name, sizeof out->name);
    clip_status status = take_caption(set, index, out->name, &out->caption, error);
    if (status != CLIP_OK) return status;
    if (item->image == NONE)
        return clip_fail(error, CLIP_ERR_NOT_FOUND,
                         "%s: there is no image beside the caption (.jpg, .jpeg, .png, .gif, "
                         ".bmp, .webp)",
                         out->name);
    const struct clip_tar *tar = &set->tars[item->shard];
    return clip_tar_read(tar, &tar->entries[item->image], CLIP_IMAGE_BYTES, &out->image, error);
}

static const char *webdataset_image_name(const struct clip_dataset *dataset, int64_t index)
{
    const struct webdataset *set = webdataset_of(dataset);
    const struct item *item = &set->items[index];
    int64_t entry = item->image != NONE ? item->image : item->caption;
    return set->tars[item->shard].entries[entry].name;
}

static void webdataset_free(struct clip_dataset *dataset)
{
    struct webdataset *set = (struct webdataset *)dataset;
    for (int64_t i = 0; i < set->tar_count; i++) clip_tar_close(&set->tars[i]);
    free(set->tars);
    free(set->items);
    free(set->base.group);
    free(set);
}

static const struct clip_dataset_ops webdataset_ops = {
    .name = "webdataset",
    .read = webdataset_read,
    .caption = webdataset_caption,
    .image_name = webdataset_image_name,
    .free = webdataset_free,
};

/* ---- Keys ---- */
enum field { FIELD_OTHER, FIELD_IMAGE, FIELD_TEXT, FIELD_JSON };

/* The length of the key, and the field; 0 for names without a key or a field. */
static size_t split_name(const char *name, enum field *field)
{
    const char *base = clip_path_name(name);
    const char *dot = strchr(base, '.');
    *field = FIELD_OTHER;
    if (dot == NULL || dot == base) return 0;
    if (strcasecmp(dot, ".txt") == 0)
        *field = FIELD_TEXT;
    else if (strcasecmp(dot, ".json") == 0)
        *field = FIELD_JSON;
    else if (strchr(dot + 1, '.') == NULL && clip_dataset_is_image(name))
        *field = FIELD_IMAGE;
    return (size_t)(dot - name);
}

bool clip_dataset_webdataset_is(const struct clip_tar *tar)
{
    size_t before = 0;
    bool image = false, caption = false;
    for (int64_t i = 0; i < tar->count; i++) {
        enum field field;
        const char *name = tar->entries[i].name;
        size_t n = split_name(name, &field);
        bool same = i > 0 && n > 0 && n == before && memcmp(name, tar->entries[i - 1].name, n) == 0;
        image = (same && image) || field == FIELD_IMAGE;
        caption = (same && caption) || field == FIELD_TEXT || field == FIELD_JSON;
        if (image && caption) return true;
        before = n;
    }
    return false;
}

/* ---- Opening ---- */
static clip_status keep_item(struct webdataset *set, const struct item *item,
                             struct clip_error *error)
{
    bool wanted = item->image != NONE || (item->caption != NONE && !set->images_only);
    if (!wanted) return CLIP_OK;
    clip_status status = clip_array_grow(&set->items, &set->capacity, set->base.count + 1,
                                         sizeof *set->items, error);
    if (status == CLIP_OK) set->items[set->base.count++] = *item;
    return status;
}

/* Adds the samples of one shard: each is a run of entries with the same key. */
static clip_status add_shard(struct webdataset *set, int32_t shard, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_tar *tar = &set->tars[shard];
    const struct item empty = {.shard = shard, .image = NONE, .caption = NONE};
    struct item item = empty;
    const char *key = NULL;
    size_t key_size = 0;
    for (int64_t i = 0; i < tar->count; i++) {
        const char *name = tar->entries[i].name;
        enum field field;
        size_t n = split_name(name, &field);
        if (n == 0) continue;
        if (key == NULL || n != key_size || memcmp(key, name, n) != 0) {
            CLIP_TRY(keep_item(set, &item, error));
            item = empty;
            key = name;
            key_size = n;
        }
        if (field == FIELD_IMAGE && item.image == NONE) item.image = i;
        if (field == FIELD_TEXT || (field == FIELD_JSON && item.caption == NONE)) {
            item.caption = i;
            item.json = field == FIELD_JSON;
        }
    }
    CLIP_TRY(keep_item(set, &item, error));
out:
    return status;
}

clip_status clip_dataset_webdataset_open(struct clip_dataset **out, struct clip_tar *tars,
                                         int64_t count, const struct clip_dataset_options *options,
                                         struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct webdataset *set = NULL;
    *out = NULL;
    CLIP_NEW(set, 1);
    set->base.ops = &webdataset_ops;
    set->images_only = options->images_only;
    CLIP_NEW(set->tars, count);
    for (int64_t i = 0; i < count; i++) {
        set->tars[i] = tars[i];
        tars[i] = (struct clip_tar){0};
    }
    set->tar_count = count;
    for (int64_t i = 0; i < count; i++) CLIP_TRY(add_shard(set, (int32_t)i, error));
    if (set->base.count == 0)
        CLIP_TRY(clip_fail(
            error, CLIP_ERR_DATA, "%s%s no sample; expected KEY.jpg beside KEY.txt or KEY.json",
            set->tars[0].path, count > 1 ? " and the shards behind it hold" : " holds"));
    CLIP_NEW(set->base.group, set->base.count);
    for (int64_t i = 0; i < set->base.count; i++) set->base.group[i] = i;
    *out = &set->base;
    set = NULL;
out:
    if (set != NULL) webdataset_free(&set->base);
    return status;
}
