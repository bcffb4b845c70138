/* Data sets that are a list in one text file (csv, jsonl, COCO captions): a row has an image's path
 * and a caption. The whole file is indexed: captions in one byte string, paths in a map, each path
 * once. Beside the texts this takes about 30 bytes per row and about 45 per path. */
#include <stdlib.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

struct clip_rows {
    struct clip_dataset base;
    struct clip_dataset_ops ops;
    char *path;
    bool images_only;
    /* paths by which images can be opened; base.group[i] is the number of row i's */
    struct clip_string_map images;
    struct clip_string_map problems; /* what is wrong with rows, each text once */
    char *root;                      /* what is put before a relative path: "" or "FOLDER/" */
    /* with negatives: text 2i is row i's caption, 2i + 1 its negative */
    struct clip_buffer captions;
    struct clip_buffer scratch; /* a row's path while it is added */
    size_t *ends; /* [count], or [2 count] with negatives: where text i ends in captions */
    bool negatives;
    int64_t *lines;   /* [count] the line of row i in the file; 0: it is not reported */
    int32_t *problem; /* [count] its number in problems, or NONE */
    int64_t capacity[4];
    struct clip_rows_images images_by; /* read NULL: images are files */
};
enum { NONE = -1 };

static const struct clip_rows *rows_of(const struct clip_dataset *dataset)
{
    return (const struct clip_rows *)dataset;
}

/* ---- One sample ---- */
static const char *image_name(const struct clip_dataset *dataset, int64_t index)
{
    return rows_of(dataset)->images.entries[dataset->group[index]].key;
}

/* The image's path as in the row. */
static const char *image_of(const struct clip_rows *rows, int64_t index)
{
    const char *path = image_name(&rows->base, index);
    size_t root = strlen(rows->root);
    return strncmp(path, rows->root, root) == 0 ? path + root : path;
}

/* Writes the row's name: "pairs.csv:14 (a/b.jpg)". */
static void name_row(const struct clip_rows *rows, int64_t index, char *name, size_t size)
{
    const char *image = image_of(rows, index);
    int n = snprintf(name, size, "%s", rows->path);
    if (rows->lines[index] > 0 && n >= 0 && (size_t)n < size)
        n += snprintf(name + n, size - (size_t)n, ":%lld", (long long)rows->lines[index]);
    if (image[0] != '\0' && n >= 0 && (size_t)n < size)
        snprintf(name + n, size - (size_t)n, " (%s)", image);
}

static clip_status take_text(const struct clip_rows *rows, int64_t i, struct clip_buffer *out,
                             struct clip_error *error)
{
    size_t start = i > 0 ? rows->ends[i - 1] : 0;
    return clip_dataset_set(out, rows->captions.data + start, rows->ends[i] - start, error);
}

static clip_status take_caption(const struct clip_rows *rows, int64_t index, const char *name,
                                struct clip_buffer *out, struct clip_error *error)
{
    out->size = 0;
    if (rows->problem[index] != NONE)
        return clip_fail(error, CLIP_ERR_FORMAT, "%s: %s", name,
                         rows->problems.entries[rows->problem[index]].key);
    clip_status status = take_text(rows, rows->negatives ? 2 * index : index, out, error);
    if (status != CLIP_OK || rows->images_only) return status;
    return clip_dataset_caption_check(out, name, error);
}

static clip_status read_caption(const struct clip_dataset *dataset, int64_t index,
                                struct clip_rng *rng, struct clip_buffer *out,
                                struct clip_error *error)
{
    char name[512];
    (void)rng;
    name_row(rows_of(dataset), index, name, sizeof name);
    return take_caption(rows_of(dataset), index, name, out, error);
}

static clip_status read_negative(const struct clip_dataset *dataset, int64_t index,
                                 struct clip_buffer *out, struct clip_error *error)
{
    char name[512];
    const struct clip_rows *rows = rows_of(dataset);
    out->size = 0;
    if (!rows->negatives) return CLIP_OK;
    clip_status status = take_text(rows, 2 * index + 1, out, error);
    if (status != CLIP_OK) return status;
    if (clip_dataset_is_blank(out->data, out->size)) {
        out->size = 0;
        return CLIP_OK;
    }
    name_row(rows, index, name, sizeof name);
    status = clip_dataset_caption_check(out, name, error);
    return status == CLIP_OK ? CLIP_OK : clip_error_prefix(error, "the hard negative of");
}

static clip_status read_row(const struct clip_dataset *dataset, int64_t index, struct clip_rng *rng,
                            struct clip_sample *out, struct clip_error *error)
{
    const struct clip_rows *rows = rows_of(dataset);
    (void)rng;
    name_row(rows, index, out->name, sizeof out->name);
    clip_status status = take_caption(rows, index, out->name, &out->caption, error);
    if (status != CLIP_OK) return status;
    if (image_of(rows, index)[0] == '\0')
        return clip_fail(error, CLIP_ERR_DATA, "%s: the row names no image", out->name);
    const struct clip_rows_images *by = &rows->images_by;
    const char *image = image_name(dataset, index);
    status = by->read != NULL ? by->read(by->context, image, &out->image, error)
                              : clip_dataset_read_file(image, &out->image, error);
    return status == CLIP_OK ? CLIP_OK : clip_error_prefix(error, "%s", out->name);
}

static void free_rows(struct clip_dataset *dataset) { clip_rows_free((struct clip_rows *)dataset); }

/* ---- Building ---- */
/* What is put before a relative image path, "" or "FOLDER/", which the caller must free(); NULL
 * with *error filled. */
static char *root_of(const char *list, const char *images_root, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer path = {0};
    char *folder = NULL;
    if (images_root == NULL || images_root[0] == '\0') {
        folder = clip_path_folder(list, error);
        if (folder == NULL) return NULL;
        images_root = folder;
    }
    CLIP_TRY(clip_buffer_append(&path, "", 0, error));
    if (strcmp(images_root, ".") != 0)
        CLIP_TRY(clip_buffer_printf(&path, error, "%s%s", images_root,
                                    images_root[strlen(images_root) - 1] == '/' ? "" : "/"));
out:
    free(folder);
    if (status != CLIP_OK) clip_buffer_release(&path);
    return path.data;
}

clip_status clip_rows_create(struct clip_rows **out, const char *format, const char *path,
                             const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_rows *rows = NULL;
    *out = NULL;
    if (strncmp(clip_path_name(path), "metadata.", 9) == 0) format = "imagefolder";
    CLIP_NEW(rows, 1);
    rows->ops = (struct clip_dataset_ops){.name = format,
                                          .read = read_row,
                                          .caption = read_caption,
                                          .negative = read_negative,
                                          .image_name = image_name,
                                          .free = free_rows};
    rows->base.ops = &rows->ops;
    rows->base.paths = true;
    rows->images_only = options->images_only;
    rows->negatives = !options->images_only && options->csv_negative_key != NULL &&
                      options->csv_negative_key[0] != '\0';
    CLIP_TRY((rows->path = clip_string_copy(path, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    rows->root = root_of(path, options->images_root, error);
    if (rows->root == NULL) CLIP_TRY(error->status);
    /* so that it is not NULL if all are empty */
    CLIP_TRY(clip_buffer_append(&rows->captions, "", 0, error));
    *out = rows;
    rows = NULL;
out:
    clip_rows_free(rows);
    return status;
}

/* scratch = the path by which the image can be opened. */
static clip_status make_path(struct clip_rows *rows, const char *image, size_t n,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    /* a NUL ends the path: with what follows it cannot be opened */
    size_t whole = image == NULL ? 0 : strnlen(image, n);
    CLIP_TRY(clip_dataset_set(&rows->scratch, "", 0, error));
    if (whole == 0 || image[0] != '/')
        CLIP_TRY(clip_buffer_append(&rows->scratch, rows->root, strlen(rows->root), error));
    CLIP_TRY(clip_buffer_append(&rows->scratch, image, whole, error));
out:
    return status;
}

clip_status clip_rows_add(struct clip_rows *rows, const struct clip_row *row,
                          struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t i = rows->base.count, number = NONE, *capacity = rows->capacity;
    int64_t texts = rows->negatives ? 2 : 1;
    CLIP_TRY(
        clip_array_grow(&rows->base.group, &capacity[0], i + 1, sizeof *rows->base.group, error));
    CLIP_TRY(
        clip_array_grow(&rows->ends, &capacity[1], texts * (i + 1), sizeof *rows->ends, error));
    CLIP_TRY(clip_array_grow(&rows->lines, &capacity[2], i + 1, sizeof *rows->lines, error));
    CLIP_TRY(clip_array_grow(&rows->problem, &capacity[3], i + 1, sizeof *rows->problem, error));
    CLIP_TRY(clip_dataset_set(&rows->scratch, "", 0, error));
    if (row->problem != NULL)
        CLIP_TRY(clip_string_map_number(&rows->problems, row->problem, strlen(row->problem),
                                        &number, error));
    if (row->problem == NULL || row->image != NULL)
        CLIP_TRY(make_path(rows, row->image, row->image_size, error));
    if (row->problem == NULL && row->caption != NULL)
        CLIP_TRY(clip_buffer_append(&rows->captions, row->caption, row->caption_size, error));
    rows->problem[i] = (int32_t)number;
    rows->lines[i] = row->line;
    rows->ends[texts * i] = rows->captions.size;
    if (row->problem == NULL && rows->negatives && row->negative != NULL)
        CLIP_TRY(clip_buffer_append(&rows->captions, row->negative, row->negative_size, error));
    rows->ends[texts * i + texts - 1] = rows->captions.size;
    CLIP_TRY(clip_string_map_number(&rows->images, rows->scratch.data, rows->scratch.size,
                                    &rows->base.group[i], error));
    rows->base.count++;
out:
    return status;
}

void clip_rows_read_by(struct clip_rows *rows, const struct clip_rows_images *images)
{
    rows->images_by = *images;
    rows->base.paths = false;
}

clip_status clip_rows_add_problem(struct clip_rows *rows, const char *problem, int64_t line,
                                  struct clip_error *error)
{
    return clip_rows_add(rows, &(struct clip_row){.line = line, .problem = problem}, error);
}

int64_t clip_rows_count(const struct clip_rows *rows) { return rows->base.count; }

clip_status clip_rows_check(const struct clip_rows *rows, struct clip_error *error)
{
    for (int64_t i = 0; i < rows->base.count; i++)
        if (rows->problem[i] == NONE) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_FORMAT, "%s: no row is of use; the first one: %s", rows->path,
                     rows->problems.entries[rows->problem[0]].key);
}

struct clip_dataset *clip_rows_finish(struct clip_rows **rows)
{
    struct clip_dataset *dataset = &(*rows)->base;
    clip_buffer_release(&(*rows)->scratch);
    *rows = NULL;
    return dataset;
}

void clip_rows_free(struct clip_rows *rows)
{
    if (rows == NULL) return;
    if (rows->images_by.free != NULL) rows->images_by.free(rows->images_by.context);
    free(rows->path);
    free(rows->root);
    clip_string_map_release(&rows->images);
    clip_string_map_release(&rows->problems);
    clip_buffer_release(&rows->captions);
    clip_buffer_release(&rows->scratch);
    free(rows->ends);
    free(rows->lines);
    free(rows->problem);
    free(rows->base.group);
    clip_names_release(&rows->base.unread);
    free(rows);
}

clip_status clip_dataset_parse_file(struct clip_dataset **out, const char *path,
                                    clip_dataset_parser *parse,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error)
{
    struct clip_mapping file;
    *out = NULL;
    clip_status status = clip_file_map(path, &file, error);
    if (status != CLIP_OK) return status;
    const char *bytes = file.data != NULL ? (const char *)file.data : "";
    status = parse(out, bytes, file.size, path, options, error);
    clip_file_unmap(&file);
    return status;
}
