/* COCO's captions JSON (https://cocodataset.org/#format-data, 4 and 1): an object with "images",
 * which have "id" and "file_name", and "annotations", which have "image_id" and "caption". Each
 * caption is a sample. Samples are in the order of the images, with an image's captions together.
 *
 * The file is read element by element, so its hundreds of megabytes are never in memory as a tree.
 * A .json that is an array of pairs is read here, too, by the rules of jsonl. */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "data/sets/dataset_internal.h"

struct cursor { /* where the reading is in the file */
    const char *at, *end;
    const char *name; /* for messages */
    int64_t line;     /* line number of `at`, from 1 */
};

struct caption {
    int64_t image; /* the image's number among `ids` */
    size_t end;    /* where it ends in `texts` */
    bool good;     /* false: the caption is no text */
};

struct coco {
    struct clip_string_map ids; /* ids of images; numbers are written out */
    struct clip_buffer names;   /* file names, one after another, each with a NUL */
    size_t *starts;             /* [images] where an image's name begins in `names` */
    bool *known;                /* [images] is it in "images"? */
    int64_t *listed;            /* [listed_count] the images in "images", in that order */
    struct clip_buffer texts;
    struct caption *captions;
    int64_t image_capacity[3], listed_count, count, capacity;
    bool has_images, has_annotations;
};

/* ---- Walking ---- */
static char peek(struct cursor *cursor)
{
    for (; cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) != NULL; cursor->at++) {
        if (*cursor->at == '\0') break;
        cursor->line += *cursor->at == '\n';
    }
    return cursor->at < cursor->end ? *cursor->at : '\0';
}

static clip_status fail_at(const struct cursor *cursor, const char *what, struct clip_error *error)
{
    const char *where = cursor->at >= cursor->end ? ", where the file ends" : "";
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s:%lld: this is not valid JSON (%s%s); get a whole copy of it", cursor->name,
                     (long long)cursor->line, what, where);
}

static clip_status expect(struct cursor *cursor, char wanted, struct clip_error *error)
{
    char what[] = "'?' is missing";
    what[1] = wanted;
    if (peek(cursor) != wanted) return fail_at(cursor, what, error);
    cursor->at++;
    return CLIP_OK;
}

/* Reads one value, which the caller must json_decref. */
static clip_status read_value(struct cursor *cursor, json_t **out, struct clip_error *error)
{
    json_error_t fault;
    peek(cursor);
    *out = clip_json_load(cursor->at, (size_t)(cursor->end - cursor->at),
                          JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &fault);
    if (*out == NULL && json_error_code(&fault) == json_error_out_of_memory)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for reading line %lld",
                         (long long)cursor->line);
    if (*out == NULL) {
        cursor->line += fault.line > 1 ? fault.line - 1 : 0;
        return fail_at(cursor, fault.text, error);
    }
    const char *end = cursor->at + fault.position;
    for (; cursor->at < end; cursor->at++) cursor->line += *cursor->at == '\n';
    return CLIP_OK;
}

/* Reads what follows a member of an object or array: *more, or the bracket that closes it. */
static clip_status next_member(struct cursor *cursor, char closing, bool *more,
                               struct clip_error *error)
{
    *more = peek(cursor) == ',';
    if (!*more) return expect(cursor, closing, error);
    cursor->at++;
    return CLIP_OK;
}

/* Called with each element of the array and the line where it begins. */
typedef clip_status element_user(void *context, const json_t *element, int64_t line,
                                 struct clip_error *error);
static clip_status walk_array(struct cursor *cursor, element_user *use, void *context,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *element = NULL;
    CLIP_TRY(expect(cursor, '[', error));
    bool more = peek(cursor) != ']';
    if (!more) cursor->at++;
    while (more) {
        peek(cursor);
        int64_t line = cursor->line;
        CLIP_TRY(read_value(cursor, &element, error));
        CLIP_TRY(use(context, element, line, error));
        json_decref(element);
        element = NULL;
        CLIP_TRY(next_member(cursor, ']', &more, error));
    }
out:
    json_decref(element);
    return status;
}

/* ---- COCO's two lists ---- */
/* The number of the image with this id, which is a number or a text; -1 if it is neither. */
static clip_status number_of(struct coco *coco, const json_t *id, int64_t *number,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char digits[32];
    const char *text = json_string_value(id);
    *number = -1;
    if (json_is_integer(id)) {
        snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(id));
        text = digits;
    }
    if (text == NULL) return CLIP_OK;
    CLIP_TRY(clip_string_map_number(&coco->ids, text, strlen(text), number, error));
    CLIP_TRY(clip_array_grow(&coco->starts, &coco->image_capacity[0], *number + 1,
                             sizeof *coco->starts, error));
    CLIP_TRY(clip_array_grow(&coco->known, &coco->image_capacity[1], *number + 1,
                             sizeof *coco->known, error));
out:
    return status;
}

static clip_status add_image(void *context, const json_t *element, int64_t line,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct coco *coco = context;
    const char *name = json_string_value(json_object_get(element, "file_name"));
    int64_t number;
    (void)line;
    CLIP_TRY(number_of(coco, json_object_get(element, "id"), &number, error));
    if (number < 0 || coco->known[number]) return CLIP_OK;
    CLIP_TRY(clip_array_grow(&coco->listed, &coco->image_capacity[2], coco->listed_count + 1,
                             sizeof *coco->listed, error));
    coco->listed[coco->listed_count++] = number;
    coco->known[number] = true;
    coco->starts[number] = coco->names.size;
    if (name == NULL) name = "";
    CLIP_TRY(clip_buffer_append(&coco->names, name, strlen(name) + 1, error));
out:
    return status;
}

static clip_status add_annotation(void *context, const json_t *element, int64_t line,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct coco *coco = context;
    const json_t *text = json_object_get(element, "caption");
    struct caption caption = {.good = json_is_string(text)};
    (void)line;
    CLIP_TRY(number_of(coco, json_object_get(element, "image_id"), &caption.image, error));
    if (caption.good)
        CLIP_TRY(clip_buffer_append(&coco->texts, json_string_value(text), json_string_length(text),
                                    error));
    caption.end = coco->texts.size;
    CLIP_TRY(clip_array_grow(&coco->captions, &coco->capacity, coco->count + 1,
                             sizeof *coco->captions, error));
    coco->captions[coco->count++] = caption;
out:
    return status;
}

static clip_status walk_object(struct cursor *cursor, struct coco *coco, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *key = NULL, *value = NULL;
    CLIP_TRY(expect(cursor, '{', error));
    bool more = peek(cursor) != '}';
    while (more) {
        if (peek(cursor) != '"') CLIP_TRY(fail_at(cursor, "a key is missing", error));
        CLIP_TRY(read_value(cursor, &key, error));
        CLIP_TRY(expect(cursor, ':', error));
        bool list = peek(cursor) == '[';
        if (list && strcmp(json_string_value(key), "images") == 0) {
            coco->has_images = true;
            CLIP_TRY(walk_array(cursor, add_image, coco, error));
        } else if (list && strcmp(json_string_value(key), "annotations") == 0) {
            coco->has_annotations = true;
            CLIP_TRY(walk_array(cursor, add_annotation, coco, error));
        } else {
            CLIP_TRY(read_value(cursor, &value, error));
        }
        json_decref(key);
        json_decref(value);
        key = value = NULL;
        CLIP_TRY(next_member(cursor, '}', &more, error));
    }
out:
    json_decref(key);
    json_decref(value);
    return status;
}

/* ---- Rows ---- */
static clip_status add_row(struct clip_rows *rows, const struct coco *coco, int64_t image,
                           int64_t caption, struct clip_error *error)
{
    struct clip_row row = {0};
    if (image >= 0 && coco->known[image]) row.image = coco->names.data + coco->starts[image];
    if (row.image != NULL) row.image_size = strlen(row.image);
    if (caption >= 0) {
        size_t start = caption > 0 ? coco->captions[caption - 1].end : 0;
        row.caption = coco->texts.data + start;
        row.caption_size = coco->captions[caption].end - start;
    }
    if (row.image == NULL)
        row.problem = "a caption's \"image_id\" is the \"id\" of none of \"images\"";
    else if (row.image_size == 0)
        row.problem = "one of \"images\" has no \"file_name\"";
    else if (caption >= 0 && !coco->captions[caption].good)
        row.problem = "one of \"annotations\" has no \"caption\" that is a text; COCO's captions "
                      "are in the files named captions_*.json";
    return clip_rows_add(rows, &row, error);
}

/* Adds the captions image by image, in the images' order: first[image] begins a chain through
 * next[caption]. Captions of unknown images come last. */
static clip_status add_rows(struct clip_rows *rows, const struct coco *coco, bool images_only,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t images = coco->ids.count, *first = NULL, *next = NULL;
    CLIP_NEW(first, images + 1);
    CLIP_NEW(next, coco->count);
    for (int64_t i = 0; i <= images; i++) first[i] = -1;
    for (int64_t i = coco->count - 1; i >= 0; i--) {
        int64_t image = coco->captions[i].image;
        if (image < 0 || !coco->known[image]) image = images;
        next[i] = first[image];
        first[image] = i;
    }
    for (int64_t i = 0; i < coco->listed_count; i++) {
        int64_t image = coco->listed[i];
        if (images_only) CLIP_TRY(add_row(rows, coco, image, -1, error));
        for (int64_t c = first[image]; c >= 0 && !images_only; c = next[c])
            CLIP_TRY(add_row(rows, coco, image, c, error));
    }
    for (int64_t c = first[images]; c >= 0 && !images_only; c = next[c])
        CLIP_TRY(add_row(rows, coco, -1, c, error));
out:
    free(first);
    free(next);
    return status;
}

static void coco_release(struct coco *coco)
{
    clip_string_map_release(&coco->ids);
    clip_buffer_release(&coco->names);
    clip_buffer_release(&coco->texts);
    free(coco->starts);
    free(coco->known);
    free(coco->listed);
    free(coco->captions);
}

static clip_status read_coco(struct cursor *cursor, struct clip_rows *rows,
                             const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct coco coco = {0};
    /* so that it is not NULL if all are empty */
    CLIP_TRY(clip_buffer_append(&coco.texts, "", 0, error));
    CLIP_TRY(walk_object(cursor, &coco, error));
    if (!coco.has_images || !(coco.has_annotations || options->images_only))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s is no COCO captions file: it has no list \"%s\"", cursor->name,
                           coco.has_images ? "annotations" : "images"));
    CLIP_TRY(add_rows(rows, &coco, options->images_only, error));
out:
    coco_release(&coco);
    return status;
}

/* ---- An array of pairs ---- */
struct pairs {
    struct clip_rows *rows;
    const struct clip_dataset_options *options;
};

static clip_status add_pair(void *context, const json_t *element, int64_t line,
                            struct clip_error *error)
{
    const struct pairs *pairs = context;
    return clip_rows_add_json(pairs->rows, element, line, pairs->options, error);
}

/* ---- Opening ---- */
clip_status clip_dataset_coco_parse(struct clip_dataset **out, const char *bytes, size_t n,
                                    const char *path, const struct clip_dataset_options *options,
                                    struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct cursor cursor = {.at = bytes, .end = bytes + n, .name = path, .line = 1};
    struct clip_rows *rows = NULL;
    *out = NULL;
    if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) cursor.at += 3;
    bool array = peek(&cursor) == '[';
    CLIP_TRY(clip_rows_create(&rows, array ? "json" : "coco", path, options, error));
    if (array)
        CLIP_TRY(walk_array(&cursor, add_pair, &(struct pairs){rows, options}, error));
    else
        CLIP_TRY(read_coco(&cursor, rows, options, error));
    if (peek(&cursor) != '\0' || cursor.at < cursor.end)
        CLIP_TRY(fail_at(&cursor, "something follows behind the end", error));
    if (clip_rows_count(rows) == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s holds no captions", path));
    CLIP_TRY(clip_rows_check(rows, error));
    *out = clip_rows_finish(&rows);
out:
    clip_rows_free(rows);
    return status;
}

clip_status clip_dataset_coco_open(struct clip_dataset **out, const char *path,
                                   const struct clip_dataset_options *options,
                                   struct clip_error *error)
{
    return clip_dataset_parse_file(out, path, clip_dataset_coco_parse, options, error);
}
