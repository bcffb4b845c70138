/* webdataset: uncompressed tars in which files beside each other with one key are one sample, as in
 * 000123.jpg, 000123.txt, 000123.json. The key is the folder and the file's name up to its first
 * dot, what follows tells the field (https://github.com/webdataset/webdataset, "The WebDataset
 * Format"). A name without a key, as ._000123.jpg of macOS, is nobody's and parts nothing.
 * Here: an image by its suffix; the caption is .txt, else .caption, else a key of .json, of which
 * a list holds several captions; the label is .cls, a line number of the class file from 0. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/count.h"
#include "core/json.h"
#include "core/progress.h"
#include "core/threads.h"
#include "data/image/image.h"
#include "data/sets/dataset_internal.h"

enum { NONE = -1, LABEL_BYTES = 64 };

struct item {
    int32_t shard;
    int32_t which;   /* of the captions in its .json */
    bool json;       /* the caption is in a .json */
    bool apart;      /* what it lacks stands elsewhere in the shard */
    int64_t image;   /* in the shard's entries; NONE: bad sample */
    int64_t caption; /* the same */
    int64_t label;   /* the entry, NONE without; once labels are read, the class */
};

struct webdataset {
    struct clip_dataset base;
    struct clip_tar *tars;
    int64_t tar_count;
    struct item *items; /* [base.count] */
    int64_t capacity;
    bool images_only;
    char *caption_key;     /* of the .json; NULL: "caption", else the usual ones */
    bool labelled;         /* captions are templates filled with the class's name */
    int64_t pairs, labels; /* samples with an image and a caption, with an image and a label */
    int64_t apart;         /* samples whose other half stands elsewhere */
    struct clip_class_list classes;
    struct clip_templates templates; /* count 0: captions are empty */
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

/* The captions' key in this object: the one asked for, else "caption", else NULL: a usual one. */
static const char *key_in(const struct webdataset *set, const json_t *object)
{
    if (set->caption_key != NULL) return set->caption_key;
    return json_object_get(object, "caption") != NULL ? "caption" : NULL;
}

/* out = the caption at `which` of the JSON object that it holds. */
static clip_status caption_of_json(const struct webdataset *set, int64_t which,
                                   struct clip_buffer *out, const char *name,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *object = clip_json_parse(out->data, out->size, name, error);
    if (object == NULL) return error->status;
    const json_t *caption = clip_json_caption(object, key_in(set, object), which);
    if (!json_is_string(caption))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: its JSON has no \"%s\" that is a text; name the caption's key by "
                           "csv_caption_key",
                           name, set->caption_key != NULL ? set->caption_key : "caption"));
    CLIP_TRY(clip_dataset_set(out, json_string_value(caption), json_string_length(caption), error));
out:
    json_decref(object);
    return status;
}

static clip_status no_caption(const struct item *item, const char *name, struct clip_error *error)
{
    if (item->apart)
        return clip_fail(error, CLIP_ERR_NOT_FOUND,
                         "%s: there is no caption beside the image: its caption stands elsewhere "
                         "in the tar, where files of one key are to be neighbours; make the tar "
                         "again with tar --sort=name",
                         name);
    return clip_fail(error, CLIP_ERR_NOT_FOUND,
                     "%s: there is no caption beside the image; add a .txt or a .json with "
                     "\"caption\" right behind it (tar --sort=name)",
                     name);
}

static clip_status take_caption(const struct webdataset *set, int64_t index, const char *name,
                                struct clip_rng *rng, struct clip_buffer *out,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct item *item = &set->items[index];
    const struct clip_tar *tar = &set->tars[item->shard];
    CLIP_TRY(clip_dataset_set(out, "", 0, error));
    if (set->images_only) return CLIP_OK;
    if (set->labelled) {
        if (set->templates.count == 0) return CLIP_OK;
        uint32_t choice = 0;
        if (rng != NULL) choice = clip_rng_below(rng, (uint32_t)set->templates.count);
        return clip_template_fill(set->templates.lines[choice], set->classes.names[item->label],
                                  out, error);
    }
    if (item->caption == NONE) return no_caption(item, name, error);
    const struct clip_tar_entry *entry = &tar->entries[item->caption];
    if (entry->size > 0) CLIP_TRY(clip_tar_read(tar, entry, CLIP_CAPTION_BYTES, out, error));
    if (item->json && out->size > 0) CLIP_TRY(caption_of_json(set, item->which, out, name, error));
    CLIP_TRY(clip_dataset_caption_check(out, name, error));
out:
    return status;
}

static clip_status webdataset_caption(const struct clip_dataset *dataset, int64_t index,
                                      struct clip_rng *rng, struct clip_buffer *out,
                                      struct clip_error *error)
{
    char name[512];
    item_name(webdataset_of(dataset), index, name, sizeof name);
    return take_caption(webdataset_of(dataset), index, name, rng, out, error);
}

static clip_status webdataset_read(const struct clip_dataset *dataset, int64_t index,
                                   struct clip_rng *rng, struct clip_sample *out,
                                   struct clip_error *error)
{
    const struct webdataset *set = webdataset_of(dataset);
    const struct item *item = &set->items[index];
    item_name(set, index, out->name, sizeof out->name);
    clip_status status = take_caption(set, index, out->name, rng, &out->caption, error);
    if (status != CLIP_OK) return status;
    if (item->image == NONE)
        return clip_fail(error, CLIP_ERR_NOT_FOUND, "%s: there is no image beside the caption (%s)",
                         out->name,
                         item->apart ? "it stands elsewhere in the tar; make the tar again with "
                                       "tar --sort=name"
                                     : clip_image_suffixes());
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
    clip_class_list_release(&set->classes);
    clip_templates_release(&set->templates);
    free(set->caption_key);
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
static const struct clip_dataset_ops label_ops = {
    .name = "webdataset with labels",
    .read = webdataset_read,
    .caption = webdataset_caption,
    .image_name = webdataset_image_name,
    .free = webdataset_free,
};

/* ---- Keys ---- */
enum field { FIELD_OTHER, FIELD_IMAGE, FIELD_TEXT, FIELD_CAPTION, FIELD_JSON, FIELD_LABEL };

/* The key's length and the field; 0 for names without a key. */
static size_t split_name(const char *name, enum field *field)
{
    const char *base = clip_path_name(name);
    const char *dot = strchr(base, '.');
    *field = FIELD_OTHER;
    if (dot == NULL || dot == base || strncmp(name, "PaxHeader", 9) == 0 ||
        strstr(name, "/PaxHeader") != NULL || strncmp(name, "__MACOSX/", 9) == 0)
        return 0;
    if (strcasecmp(dot, ".txt") == 0)
        *field = FIELD_TEXT;
    else if (strcasecmp(dot, ".caption") == 0)
        *field = FIELD_CAPTION;
    else if (strcasecmp(dot, ".json") == 0)
        *field = FIELD_JSON;
    else if (strcasecmp(dot, ".cls") == 0)
        *field = FIELD_LABEL;
    else if (strchr(dot + 1, '.') == NULL && clip_dataset_is_image(name))
        *field = FIELD_IMAGE;
    return (size_t)(dot - name);
}

/* ---- Collecting ---- */
static clip_status keep_item(struct webdataset *set, const struct item *item,
                             struct clip_error *error)
{
    if (item->image == NONE && item->caption == NONE) return CLIP_OK;
    clip_status status = clip_array_grow(&set->items, &set->capacity, set->base.count + 1,
                                         sizeof *set->items, error);
    if (status != CLIP_OK) return status;
    set->items[set->base.count++] = *item;
    set->pairs += item->image != NONE && item->caption != NONE;
    set->labels += item->image != NONE && item->label != NONE;
    return CLIP_OK;
}

/* Is this entry, of a .txt, .caption or .json, a better caption than what the item has? A key that
 * was asked for is the JSON's. */
static bool is_better_caption(const struct webdataset *set, const struct item *item,
                              enum field field)
{
    if (item->caption == NONE) return true;
    enum field now;
    split_name(set->tars[item->shard].entries[item->caption].name, &now);
    if (now == FIELD_JSON || field == FIELD_JSON)
        return now != field && (field == FIELD_JSON) == (set->caption_key != NULL);
    return field <= now;
}

/* Adds the samples of one shard: each is a run of entries with the same key. */
static clip_status add_shard(struct webdataset *set, int32_t shard, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_tar *tar = &set->tars[shard];
    const struct item empty = {.shard = shard, .image = NONE, .caption = NONE, .label = NONE};
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
        if (field == FIELD_LABEL) item.label = i;
        if (field >= FIELD_TEXT && field <= FIELD_JSON && is_better_caption(set, &item, field)) {
            item.caption = i;
            item.json = field == FIELD_JSON;
        }
    }
    CLIP_TRY(keep_item(set, &item, error));
out:
    return status;
}

/* Finds the samples from `first` on, all of one shard, whose other half stands elsewhere in it. */
static clip_status find_apart(struct webdataset *set, int64_t first, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map keys = {.borrows = false};
    int64_t count = set->base.count - first, number;
    unsigned char *halves = NULL; /* by key: 1 an image alone, 2 a caption alone */
    if (count == 0) return CLIP_OK;
    CLIP_NEW(halves, count);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = first; i < set->base.count; i++) {
            struct item *item = &set->items[i];
            if (item->image != NONE && item->caption != NONE) continue;
            int64_t entry = item->image != NONE ? item->image : item->caption;
            enum field field;
            const char *name = set->tars[item->shard].entries[entry].name;
            CLIP_TRY(clip_string_map_number(&keys, name, split_name(name, &field), &number, error));
            if (pass == 0) halves[number] |= item->image != NONE ? 1 : 2;
            item->apart = pass == 1 && halves[number] == 3;
            set->apart += item->apart;
        }
out:
    free(halves);
    clip_string_map_release(&keys);
    return status;
}

/* Without captions only what has an image is a sample. */
static void keep_images(struct webdataset *set)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < set->base.count; i++)
        if (set->items[i].image != NONE) set->items[kept++] = set->items[i];
    set->base.count = kept;
}

/* Takes the tars over and finds what they hold. */
static clip_status collect(struct webdataset **out, struct clip_tar *tars, int64_t count,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct webdataset *set = *out;
    CLIP_NEW(set->tars, count);
    for (int64_t i = 0; i < count; i++) {
        set->tars[i] = tars[i];
        tars[i] = (struct clip_tar){0};
    }
    set->tar_count = count;
    for (int64_t i = 0; i < count; i++) {
        int64_t first = set->base.count;
        CLIP_TRY(add_shard(set, (int32_t)i, error));
        CLIP_TRY(find_apart(set, first, error));
    }
out:
    return status;
}

/* ---- Lists of captions ---- */
struct counting {
    const struct webdataset *set;
    int32_t *captions; /* [base.count] of each sample */
};

static void count_captions(void *context, int64_t i)
{
    struct counting *c = context;
    const struct item *item = &c->set->items[i];
    const struct clip_tar *tar = &c->set->tars[item->shard];
    struct clip_buffer text = {0};
    struct clip_error error;
    json_t *object = NULL;
    c->captions[i] = 1; /* what cannot be read is one bad sample */
    if (!item->json || item->image == NONE) return;
    if (clip_tar_read(tar, &tar->entries[item->caption], CLIP_CAPTION_BYTES, &text, &error) ==
        CLIP_OK)
        object = clip_json_parse(text.data, text.size, "", &error);
    int64_t n = object != NULL ? clip_json_captions(object, key_in(c->set, object)) : 1;
    if (n > 1) c->captions[i] = (int32_t)n;
    json_decref(object);
    clip_buffer_release(&text);
}

/* A list of captions in a .json is one sample each; and groups: samples of one image. */
static clip_status spread_captions(struct webdataset *set, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct item *items = NULL;
    struct counting counting = {.set = set};
    int64_t all = 0, at = 0;
    CLIP_NEW(counting.captions, set->base.count);
    for (int64_t i = 0; i < set->base.count; i++) counting.captions[i] = 1;
    if (!set->images_only && !set->labelled)
        clip_parallel_for(set->base.count, count_captions, &counting);
    for (int64_t i = 0; i < set->base.count; i++) all += counting.captions[i];
    CLIP_NEW(items, all);
    CLIP_NEW(set->base.group, all);
    for (int64_t i = 0; i < set->base.count; i++)
        for (int32_t k = 0; k < counting.captions[i]; k++) {
            items[at] = set->items[i];
            items[at].which = k;
            set->base.group[at++] = set->labelled ? set->items[i].label : i;
        }
    free(set->items);
    set->items = items;
    set->base.count = all;
out:
    free(counting.captions);
    return status;
}

/* ---- Labels ---- */
static clip_status read_label(const struct webdataset *set, struct item *item,
                              struct clip_buffer *text, struct clip_error *error)
{
    clip_status status;
    const struct clip_tar *tar = &set->tars[item->shard];
    const struct clip_tar_entry *entry = &tar->entries[item->label];
    char *end;
    CLIP_TRY(clip_tar_read(tar, entry, LABEL_BYTES, text, error));
    CLIP_TRY(clip_buffer_append(text, "", 1, error));
    errno = 0;
    long long label = strtoll(text->data, &end, 10);
    if (end == text->data || errno != 0 || !clip_dataset_is_blank(end, strlen(end)))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s (%s): \"%.20s\" is no label; expected a line number of the class "
                           "file, from 0",
                           tar->path, entry->name, text->data));
    if (label < 0 || label >= set->classes.count)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s (%s): the label %lld is no line of the class file, which has %s, "
                           "counted from 0; give the class file that belongs to the set",
                           tar->path, entry->name, label, CLIP_COUNT(set->classes.count, "class")));
    item->label = label;
out:
    return status;
}

/* Only samples with an image and a label stay; the label becomes the class. */
static clip_status read_labels(struct webdataset *set, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    int64_t kept = 0;
    for (int64_t i = 0; i < set->base.count; i++) {
        struct item item = set->items[i];
        if (item.image == NONE || item.label == NONE) continue;
        CLIP_TRY(read_label(set, &item, &text, error));
        set->items[kept++] = item;
    }
    if (kept < set->base.count)
        clip_warn("%s: left out: %s without a label (.cls)", set->tars[0].path,
                  CLIP_COUNT(set->base.count - kept, "sample"));
    set->base.count = kept;
    set->labelled = true;
    set->base.ops = &label_ops;
    set->base.classes = &set->classes;
    set->base.templates = &set->templates;
out:
    clip_buffer_release(&text);
    return status;
}

static bool has_labels(const struct clip_tar *tars, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < tars[i].count; k++) {
            enum field field;
            split_name(tars[i].entries[k].name, &field);
            if (field == FIELD_LABEL) return true;
        }
    return false;
}

clip_status clip_dataset_labels_open(struct clip_dataset **out, struct clip_tar *tars,
                                     int64_t count, const struct clip_class_list *classes,
                                     const struct clip_templates *templates,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct webdataset *set = NULL;
    *out = NULL;
    if (!has_labels(tars, count)) return CLIP_OK;
    CLIP_NEW(set, 1);
    set->base.ops = &label_ops;
    CLIP_TRY(collect(&set, tars, count, error));
    CLIP_TRY(clip_class_list_copy(&set->classes, classes, error));
    if (templates != NULL) CLIP_TRY(clip_templates_copy(&set->templates, templates, error));
    if (set->labels == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: no label (.cls) stands beside an image; make the tar again with "
                           "tar --sort=name",
                           set->tars[0].path));
    CLIP_TRY(read_labels(set, error));
    CLIP_TRY(spread_captions(set, error));
    *out = &set->base;
    set = NULL;
out:
    if (set != NULL) webdataset_free(&set->base);
    return status;
}

/* ---- Opening ---- */
/* A set of labels without captions: these are made from the classes' names. */
static clip_status take_classes(struct webdataset *set, const struct clip_dataset_options *options,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *found = NULL;
    const char *classes = options->classes, *templates = options->class_templates;
    char braces[] = "{}", *line = braces;
    const struct clip_templates name_alone = {.lines = &line, .count = 1};
    if (classes == NULL || classes[0] == '\0') {
        CLIP_TRY(clip_dataset_companion(set->tars[0].path, "classnames.txt", &found, error));
        classes = found;
    }
    if (classes == NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s holds labels (.cls) and no captions, and there is no classnames.txt "
                           "beside it that names the classes; clip_eval zeroshot --classes FILE "
                           "measures on such a set",
                           set->tars[0].path));
    CLIP_TRY(clip_class_list_read(classes, &set->classes, error));
    if (templates != NULL && templates[0] != '\0')
        CLIP_TRY(clip_templates_read(templates, &set->templates, error));
    else if (options->names_are_captions)
        CLIP_TRY(clip_templates_copy(&set->templates, &name_alone, error));
    else
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s holds labels (.cls) and no captions, which are templates filled "
                           "with the class's name then; name a template file: class_templates in "
                           "[data], --class-templates on a command line",
                           set->tars[0].path));
    CLIP_TRY(read_labels(set, error));
out:
    free(found);
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
    if (clip_key_is_asked(options->csv_caption_key, clip_caption_keys)) {
        set->caption_key = clip_string_copy(options->csv_caption_key, error);
        if (set->caption_key == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
    CLIP_TRY(collect(&set, tars, count, error));
    if (count == 1 && set->pairs == 0 && set->labels == 0 && set->apart == 0) {
        tars[0] = set->tars[0];
        set->tars[0] = (struct clip_tar){0};
        goto out;
    }
    if (set->images_only) keep_images(set);
    if (set->base.count == 0)
        CLIP_TRY(clip_fail(
            error, CLIP_ERR_DATA, "%s%s no sample; expected KEY.jpg beside KEY.txt or KEY.json",
            set->tars[0].path, count > 1 ? " and the shards behind it hold" : " holds"));
    if (!set->images_only && set->pairs == 0 && set->labels > 0)
        CLIP_TRY(take_classes(set, options, error));
    CLIP_TRY(spread_captions(set, error));
    *out = &set->base;
    set = NULL;
out:
    if (set != NULL) webdataset_free(&set->base);
    return status;
}
