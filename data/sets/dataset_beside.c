/* A folder of images with the caption of each in a file of the same name beside it: x.png and
 * x.txt, x.caption or x.json. So write kohya's and OneTrainer's tools (10_name/x.png: the number is
 * not read) and img2dataset's output "files". And a folder with metadata.csv or metadata.jsonl, as
 * Hugging Face's imagefolder has it: a list of file_name and text. */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "data/sets/dataset_internal.h"

enum kind { TXT, CAPTION, JSON, KINDS };
static const char *const suffixes[] = {".txt", ".caption", ".json"};

bool clip_dataset_is_caption(const char *name)
{
    for (enum kind kind = TXT; kind < KINDS; kind++)
        if (clip_path_has_suffix(name, suffixes[kind])) return true;
    return false;
}

/* *out = the path of FOLDER/image with the suffix in place of its own. */
static clip_status beside(const char *folder, const char *image, enum kind kind,
                          struct clip_buffer *out, struct clip_error *error)
{
    clip_status status;
    const char *dot = strrchr(image, '.'); /* an image has a suffix */
    CLIP_TRY(clip_dataset_set(out, "", 0, error));
    CLIP_TRY(clip_buffer_printf(out, error, "%s/%.*s%s", folder, (int)(dot - image), image,
                                suffixes[kind]));
out:
    return status;
}

static bool is_file(const char *path)
{
    return clip_path_exists(path) && !clip_path_is_folder(path);
}

/* The captions in the .json at `path`; 0 where it has none. */
static int64_t json_captions(const char *path, const char *key)
{
    struct clip_error error;
    json_t *object = clip_json_read(path, CLIP_CAPTION_BYTES, &error);
    int64_t n = object != NULL ? clip_json_captions(object, key) : 0;
    json_decref(object);
    return n;
}

/* Does a caption stand beside any of the images? A .json counts where it holds one: other tools
 * write boxes there. */
static clip_status any_beside(const char *folder, const struct clip_names *images, const char *key,
                              bool *any, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer path = {0};
    bool json = true; /* none was looked at yet */
    *any = false;
    for (int64_t i = 0; i < images->count && !*any; i++)
        for (enum kind kind = TXT; kind < KINDS && !*any; kind++) {
            if (kind == JSON && !json) continue;
            CLIP_TRY(beside(folder, images->names[i], kind, &path, error));
            if (!is_file(path.data)) continue;
            *any = kind != JSON || json_captions(path.data, key) > 0;
            if (kind == JSON) json = *any;
        }
out:
    clip_buffer_release(&path);
    return status;
}

static clip_status add_captions(struct clip_rows *rows, const char *image, const char *path,
                                enum kind kind, const char *key, struct clip_buffer *text,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_error fault;
    struct clip_row row = {.image = image, .image_size = strlen(image)};
    json_t *object = NULL;
    clip_buffer_release(text); /* reading a file starts a new one */
    status = clip_file_read(path, CLIP_CAPTION_BYTES, text, &fault);
    if (clip_machine_failed(status)) return clip_fail(error, status, "%s", fault.message);
    if (status == CLIP_OK && kind == JSON) {
        object = clip_json_parse(text->data, text->size, path, &fault);
        if (object == NULL) status = fault.status;
    }
    if (status != CLIP_OK) {
        row.problem = fault.message;
        return clip_rows_add(rows, &row, error);
    }
    int64_t captions = kind == JSON ? clip_json_captions(object, key) : 1;
    row.caption = text->data;
    row.caption_size = text->size;
    if (captions == 0)
        row.problem = "the .json beside the image has no caption; name its key by csv_caption_key";
    for (int64_t k = 0; k < (captions > 0 ? captions : 1); k++) {
        const json_t *caption = kind == JSON ? clip_json_caption(object, key, k) : NULL;
        if (kind == JSON && captions > 0 && !json_is_string(caption))
            row.problem = "the caption is no text";
        if (json_is_string(caption)) {
            row.caption = json_string_value(caption);
            row.caption_size = json_string_length(caption);
        }
        CLIP_TRY(clip_rows_add(rows, &row, error));
    }
out:
    json_decref(object);
    return status;
}

/* What a folder is read into, and with. */
struct reading {
    struct clip_rows *rows;
    const char *folder, *key;
    bool used[KINDS];              /* the kinds of files that captions were found in */
    struct clip_buffer path, text; /* of one image's */
};

/* The .txt, else the .caption, else the .json; a key that was asked for is the JSON's. */
static clip_status add_image(struct reading *r, const char *image, struct clip_error *error)
{
    static const enum kind usual[] = {TXT, CAPTION, JSON}, asked[] = {JSON, TXT, CAPTION};
    clip_status status = CLIP_OK;
    const enum kind *order = clip_key_is_asked(r->key, clip_caption_keys) ? asked : usual;
    for (int i = 0; i < KINDS; i++) {
        CLIP_TRY(beside(r->folder, image, order[i], &r->path, error));
        if (!is_file(r->path.data)) continue;
        r->used[order[i]] = true;
        return add_captions(r->rows, image, r->path.data, order[i], r->key, &r->text, error);
    }
    const struct clip_row row = {
        .image = image,
        .image_size = strlen(image),
        .problem = "there is no caption beside the image, as there is beside others; add a .txt "
                   "(or .caption, .json) of the same name",
    };
    status = clip_rows_add(r->rows, &row, error);
out:
    return status;
}

/* ".txt", ".txt, .json" */
static void say_kinds(const bool used[KINDS], char *out, size_t size)
{
    size_t n = 0;
    for (enum kind kind = TXT; kind < KINDS; kind++)
        if (used[kind] && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", suffixes[kind]);
}

clip_status clip_dataset_beside_open(struct clip_dataset **out, const char *folder,
                                     const struct clip_names *images,
                                     const struct clip_dataset_options *options,
                                     struct clip_error *error)
{
    clip_status status;
    struct reading r = {.folder = folder, .key = options->csv_caption_key};
    struct clip_dataset_options own = *options;
    bool any;
    *out = NULL;
    own.images_root = folder;
    own.csv_negative_key = NULL;
    CLIP_TRY(any_beside(folder, images, options->csv_caption_key, &any, error));
    if (!any) goto out;
    CLIP_TRY(clip_rows_create(&r.rows, "captions beside images", folder, &own, error));
    for (int64_t i = 0; i < images->count; i++) CLIP_TRY(add_image(&r, images->names[i], error));
    *out = clip_rows_finish(&r.rows);
    say_kinds(r.used, (*out)->captions, sizeof(*out)->captions);
out:
    clip_rows_free(r.rows);
    clip_buffer_release(&r.path);
    clip_buffer_release(&r.text);
    return status;
}

/* ---- Lists beside images ---- */
static const char *const lists[] = {"metadata.csv", "metadata.jsonl"};

static clip_status find_list(const char *folder, char **path, struct clip_error *error)
{
    *path = NULL;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char *list = clip_path_join(folder, lists[i], error);
        if (list == NULL) return error->status;
        if (is_file(list)) {
            *path = list;
            return CLIP_OK;
        }
        free(list);
    }
    return CLIP_OK;
}

clip_status clip_dataset_imagefolder_open(struct clip_dataset **out, const char *folder,
                                          const struct clip_dataset_options *options,
                                          struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_dataset_options own = *options;
    struct clip_names inside = {0};
    char *path = NULL, *below = NULL;
    *out = NULL;
    own.images_root = NULL; /* paths are below the list's folder */
    CLIP_TRY(find_list(folder, &path, error));
    if (path != NULL) {
        status = clip_path_has_suffix(path, ".csv")
                     ? clip_dataset_csv_open(out, path, &own, error)
                     : clip_dataset_jsonl_open(out, path, &own, error);
        goto out;
    }
    CLIP_TRY(clip_folder_list(folder, &inside, error));
    for (int64_t i = 0; i < inside.count && path == NULL; i++) {
        free(below);
        below = clip_path_join(folder, inside.names[i], error);
        if (below == NULL) CLIP_TRY(error->status);
        if (clip_path_is_folder(below)) CLIP_TRY(find_list(below, &path, error));
    }
    if (path != NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                           "%s is a folder of sets with a metadata list each; name one of them, as "
                           "in %s",
                           folder, below));
out:
    free(path);
    free(below);
    clip_names_release(&inside);
    return status;
}
