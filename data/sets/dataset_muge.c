/* Chinese-CLIP's files (MUGE, Flickr30k-CN, COCO-CN), a pair by split:
 *
 *   train_imgs.tsv      one line per image: its id, a tab, the image file's bytes in base64
 *   train_texts.jsonl   one line per text: {"text_id": 8, "text": "...", "image_ids": [1, 2]}
 *
 * A sample is a text with one of its images, as cn_clip's build_lmdb_dataset.py makes them. The
 * alphabet of the base64 may be that of URLs (RFC 4648, section 5). Of two images with one id the
 * last one is taken. Only where each image stands is kept: 16 bytes and its id
 * (https://github.com/OFA-Sys/Chinese-CLIP, "Data Preparation"). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/count.h"
#include "core/markup.h"
#include "core/progress.h"
#include "data/sets/dataset_internal.h"

enum { ID_BYTES = 512, BLOCK = 1 << 20 };
static const char images_suffix[] = "_imgs.tsv", texts_suffix[] = "_texts.jsonl";

struct span { /* of base64 in the file */
    int64_t start, size;
};

struct images {
    char *path;
    int fd;
    struct clip_string_map ids; /* an id's number is its place in spans */
    struct span *spans;         /* [ids.count] */
    int64_t capacity;
};

static void images_free(void *context)
{
    struct images *images = context;
    if (images == NULL) return;
    if (images->fd >= 0) close(images->fd);
    clip_string_map_release(&images->ids);
    free(images->spans);
    free(images->path);
    free(images);
}

/* ---- One image ---- */
static clip_status read_span(const struct images *images, const struct span *span,
                             struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = clip_buffer_reserve(out, (size_t)span->size, error);
    if (status != CLIP_OK) return status;
    while (out->size < (size_t)span->size) {
        ssize_t n = pread(images->fd, out->data + out->size, (size_t)span->size - out->size,
                          (off_t)(span->start + (int64_t)out->size));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return clip_fail(error, n < 0 ? clip_status_of(errno) : CLIP_ERR_DATA,
                             "%s could not be read: %s", images->path,
                             n < 0 ? strerror(errno) : "it became shorter meanwhile");
        out->size += (size_t)n;
    }
    return CLIP_OK;
}

static clip_status images_read(const void *context, const char *id, struct clip_buffer *out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct images *images = context;
    struct clip_buffer text = {0};
    int64_t number = clip_string_map_find(&images->ids, id, strlen(id));
    out->size = 0;
    if (number < 0)
        return clip_fail(error, CLIP_ERR_NOT_FOUND, "%s has no image with the id \"%s\"",
                         images->path, id);
    const struct span *span = &images->spans[number];
    if (span->size / 4 * 3 > CLIP_IMAGE_BYTES)
        return clip_fail(
            error, CLIP_ERR_DATA,
            "the image with the id \"%s\" in %s has %s of base64, more than any image's", id,
            images->path, CLIP_COUNT(span->size, "byte"));
    CLIP_TRY(read_span(images, span, &text, error));
    while (text.size > 0 && clip_dataset_is_blank(text.data + text.size - 1, 1)) text.size--;
    for (size_t i = 0; i < text.size; i++)
        text.data[i] = text.data[i] == '-' ? '+' : text.data[i] == '_' ? '/' : text.data[i];
    status = clip_markup_from_base64(out, text.data, text.size, error);
    if (status == CLIP_ERR_FORMAT)
        status = clip_error_prefix(error, "the image with the id \"%s\" in %s", id, images->path);
    if (status == CLIP_OK && out->size == 0)
        status = clip_fail(error, CLIP_ERR_DATA, "the image with the id \"%s\" in %s is empty", id,
                           images->path);
out:
    clip_buffer_release(&text);
    return status;
}

/* ---- Where the images stand ---- */
struct scan {
    struct images *images;
    struct clip_rows *rows; /* a row per image is wanted; or NULL */
    char id[ID_BYTES];
    size_t id_size;
    bool in_id;     /* no tab was seen in this line yet */
    int64_t at;     /* of the next byte in the file */
    int64_t start;  /* of this line's base64 */
    int64_t line;   /* from 1 */
    int64_t passed; /* lines that are no image's */
};

/* The line is over. */
static clip_status end_line(struct scan *s, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct images *images = s->images;
    int64_t number;
    const char *id = s->id;
    size_t n = s->id_size;
    bool blank = s->in_id && n < ID_BYTES && clip_dataset_is_blank(id, n);
    s->id_size = 0;
    s->line++;
    if (blank) goto out;
    if (s->in_id || n == 0 || n == ID_BYTES) {
        if (images->ids.count == 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                               "%s:%lld: expected an image's id, a tab, and the image file in "
                               "base64, as Chinese-CLIP has it",
                               images->path, (long long)s->line - 1));
        s->passed++;
        goto out;
    }
    CLIP_TRY(clip_string_map_number(&images->ids, id, n, &number, error));
    CLIP_TRY(clip_array_grow(&images->spans, &images->capacity, images->ids.count,
                             sizeof *images->spans, error));
    bool again = images->spans[number].start > 0;
    images->spans[number] = (struct span){s->start, s->at - s->start};
    if (s->rows != NULL && !again)
        CLIP_TRY(clip_rows_add(
            s->rows, &(struct clip_row){.image = id, .image_size = n, .line = s->line - 1}, error));
out:
    s->in_id = true;
    return status;
}

/* The next n bytes of the file. */
static clip_status scan_block(struct scan *s, const char *bytes, size_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (size_t i = 0; i < n;) {
        if (!s->in_id) { /* to the line's end */
            const char *stop = memchr(bytes + i, '\n', n - i);
            size_t size = stop != NULL ? (size_t)(stop - bytes) - i : n - i;
            i += size;
            s->at += (int64_t)size;
            if (stop == NULL) break;
            CLIP_TRY(end_line(s, error));
        } else if (bytes[i] == '\n') {
            CLIP_TRY(end_line(s, error));
        } else if (bytes[i] == '\t') {
            s->in_id = false;
            s->start = s->at + 1;
        } else if (s->id_size < ID_BYTES) {
            s->id[s->id_size++] = bytes[i];
        }
        i++;
        s->at++;
    }
out:
    return status;
}

static clip_status scan_images(struct images *images, struct clip_rows *rows,
                               const volatile sig_atomic_t *stop, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer block = {0};
    struct scan s = {.images = images, .rows = rows, .in_id = true, .line = 1};
    CLIP_TRY(clip_buffer_reserve(&block, BLOCK, error));
    for (;;) {
        ssize_t n = read(images->fd, block.data, BLOCK);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n == 0)
            break;
        if (n < 0)
            CLIP_TRY(clip_fail(error, clip_status_of(errno), "%s could not be read: %s",
                               images->path, strerror(errno)));
        const char *bytes = block.data;
        bool bom = s.at == 0 && n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0;
        if (bom) s.at = 3;
        CLIP_TRY(scan_block(&s, bytes + (bom ? 3 : 0), (size_t)n - (bom ? 3 : 0), error));
        if (stop != NULL && *stop != 0)
            CLIP_TRY(
                clip_fail(error, CLIP_ERR_INTERRUPTED, "stopped while reading %s", images->path));
    }
    if (!s.in_id || s.id_size > 0) CLIP_TRY(end_line(&s, error));
    if (images->ids.count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s holds no image", images->path));
    if (s.passed > 0)
        clip_warn("%s: passed over: %s without an image (id, tab, base64)", images->path,
                  CLIP_COUNT(s.passed, "line"));
out:
    clip_buffer_release(&block);
    return status;
}

static clip_status images_open(struct images **out, const char *path, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct images *images = NULL;
    *out = NULL;
    CLIP_NEW(images, 1);
    images->fd = -1;
    CLIP_TRY((images->path = clip_string_copy(path, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    if (clip_path_is_special(path) || clip_path_is_folder(path))
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is not a regular file", path));
    images->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (images->fd < 0)
        CLIP_TRY(clip_fail(error, clip_status_of(errno),
                           "%s, the images of the texts beside it, could not be opened: %s", path,
                           strerror(errno)));
    *out = images;
    images = NULL;
out:
    images_free(images);
    return status;
}

/* ---- Texts ---- */
/* An id may be a number or a text; in the other file it is a text. */
static size_t write_id(const json_t *id, char *out, size_t size)
{
    int n = 0;
    if (json_is_integer(id)) n = snprintf(out, size, "%lld", (long long)json_integer_value(id));
    if (json_is_string(id)) n = snprintf(out, size, "%s", json_string_value(id));
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static clip_status add_text(struct clip_rows *rows, const json_t *object, int64_t line,
                            const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char id[ID_BYTES];
    const json_t *ids = json_object_get(object, "image_ids");
    int64_t captions = clip_json_captions(object, options->csv_caption_key);
    if (!json_is_array(ids))
        return clip_rows_add_problem(
            rows, "there are no \"image_ids\", a list of the text's images", line, error);
    if (captions == 0)
        return clip_rows_add_problem(rows, "there is no \"text\"; name its key by csv_caption_key",
                                     line, error);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        size_t n = write_id(json_array_get(ids, i), id, sizeof id);
        for (int64_t k = 0; k < captions; k++) {
            const json_t *text = clip_json_caption(object, options->csv_caption_key, k);
            const struct clip_row row = {.image = id,
                                         .image_size = n,
                                         .caption = json_string_value(text),
                                         .caption_size = json_string_length(text),
                                         .line = line};
            if (n == 0)
                CLIP_TRY(clip_rows_add_problem(rows, "an image's id is no number and no text", line,
                                               error));
            else if (!json_is_string(text))
                CLIP_TRY(clip_rows_add_problem(rows, "the caption is no text", line, error));
            else
                CLIP_TRY(clip_rows_add(rows, &row, error));
        }
    }
out:
    return status;
}

static clip_status add_texts(struct clip_rows *rows, const char *path,
                             const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status;
    struct clip_mapping file = {0};
    CLIP_TRY(clip_file_map(path, &file, error));
    const char *bytes = file.data != NULL ? (const char *)file.data : "";
    CLIP_TRY(clip_rows_add_lines(rows, bytes, file.size, add_text, options, error));
    if (clip_rows_count(rows) == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s names no images: its \"image_ids\" are empty, as in a test split "
                           "whose answers are kept back",
                           path));
    CLIP_TRY(clip_rows_check(rows, error));
out:
    clip_file_unmap(&file);
    return status;
}

clip_status clip_dataset_muge_pair(struct clip_dataset **out, const char *images, const char *texts,
                                   const struct clip_dataset_options *options,
                                   struct clip_error *error)
{
    clip_status status;
    struct clip_rows *rows = NULL;
    struct images *opened = NULL;
    struct clip_dataset_options own = *options;
    bool alone = options->images_only;
    *out = NULL;
    own.images_root = "."; /* what a row calls its image is an id */
    own.csv_negative_key = NULL;
    CLIP_TRY(clip_rows_create(&rows, "Chinese-CLIP's tsv and jsonl", alone ? images : texts, &own,
                              error));
    CLIP_TRY(images_open(&opened, images, error));
    clip_rows_read_by(rows, &(struct clip_rows_images){images_read, images_free, opened});
    CLIP_TRY(scan_images(opened, alone ? rows : NULL, options->stop, error));
    if (!alone) CLIP_TRY(add_texts(rows, texts, &own, error));
    *out = clip_rows_finish(&rows);
out:
    clip_rows_free(rows);
    return status;
}

/* ---- The pair's names ---- */
/* *other = the name with the suffix `to` in place of `from`, which it ends in. */
static clip_status replace_suffix(const char *path, const char *from, const char *to, char **other,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer name = {0};
    CLIP_TRY(
        clip_buffer_printf(&name, error, "%.*s%s", (int)(strlen(path) - strlen(from)), path, to));
    *other = name.data;
    name = (struct clip_buffer){0};
out:
    clip_buffer_release(&name);
    return status;
}

/* Of either file: the names of both. */
static clip_status name_pair(const char *path, char **images, char **texts,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    bool is_images = clip_path_has_suffix(path, images_suffix);
    char **given = is_images ? images : texts, **other = is_images ? texts : images;
    const char *mine = is_images ? images_suffix : texts_suffix;
    *images = *texts = NULL;
    CLIP_TRY((*given = clip_string_copy(path, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    CLIP_TRY(replace_suffix(path, mine, is_images ? texts_suffix : images_suffix, other, error));
out:
    return status;
}

/* Is it one of two files that both exist? */
static bool is_pair(const char *path)
{
    struct clip_error ignored;
    char *images = NULL, *texts = NULL;
    if (!clip_path_has_suffix(path, images_suffix) && !clip_path_has_suffix(path, texts_suffix))
        return false;
    bool pair = name_pair(path, &images, &texts, &ignored) == CLIP_OK && clip_path_exists(images) &&
                clip_path_exists(texts) && !clip_path_is_folder(images) &&
                !clip_path_is_folder(texts);
    free(images);
    free(texts);
    return pair;
}

/* The names of all images' files in a folder that are one of a pair; none where an image lies
 * beside them. */
static clip_status list_pairs(const char *folder, struct clip_names *pairs,
                              struct clip_error *error)
{
    clip_status status;
    struct clip_names inside = {0};
    bool others = false;
    char *path = NULL;
    CLIP_TRY(clip_folder_list(folder, &inside, error));
    for (int64_t i = 0; i < inside.count; i++) {
        others = others || clip_dataset_is_image(inside.names[i]);
        if (!clip_path_has_suffix(inside.names[i], images_suffix)) continue;
        free(path);
        CLIP_TRY((path = clip_path_join(folder, inside.names[i], error)) != NULL ? CLIP_OK
                                                                                 : error->status);
        if (is_pair(path)) CLIP_TRY(clip_names_add(pairs, path, error));
    }
    if (others) clip_names_release(pairs);
out:
    free(path);
    clip_names_release(&inside);
    return status;
}

bool clip_dataset_muge_is(const char *path)
{
    struct clip_error ignored;
    struct clip_names pairs = {0};
    if (!clip_path_is_folder(path)) return is_pair(path);
    bool any = list_pairs(path, &pairs, &ignored) == CLIP_OK && pairs.count > 0;
    clip_names_release(&pairs);
    return any;
}

static clip_status refuse_several(const char *folder, const struct clip_names *pairs,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer list = {0};
    for (int64_t i = 0; i < pairs->count && i < 8; i++)
        CLIP_TRY(clip_buffer_printf(&list, error, "%s%s", i > 0 ? ", " : "", pairs->names[i]));
    CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                       "%s holds a pair of files per split (%s%s); name one of them", folder,
                       list.data, pairs->count > 8 ? ", ..." : ""));
out:
    clip_buffer_release(&list);
    return status;
}

clip_status clip_dataset_muge_open(struct clip_dataset **out, const char *path,
                                   const struct clip_dataset_options *options,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_names pairs = {0};
    char *images = NULL, *texts = NULL;
    *out = NULL;
    if (clip_path_is_folder(path)) {
        CLIP_TRY(list_pairs(path, &pairs, error));
        if (pairs.count > 1) CLIP_TRY(refuse_several(path, &pairs, error));
        if (pairs.count == 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND, "%s holds no pair of *%s and *%s", path,
                               images_suffix, texts_suffix));
        path = pairs.names[0];
    }
    CLIP_TRY(name_pair(path, &images, &texts, error));
    status = clip_dataset_muge_pair(out, images, texts, options, error);
out:
    free(images);
    free(texts);
    clip_names_release(&pairs);
    return status;
}
