/* csv and tsv files, one sample a row, read as Python's csv module and pandas read them: a field
 * that begins with a quote runs to the closing quote, separators and line ends included, "" in it
 * is one quote; a quote elsewhere is a quote; rows end at LF, CR or CRLF; blank lines are passed
 * over.
 *
 * The whole file is indexed at once: captions in one byte string, picture paths in another, each
 * path once. About 30 bytes a row come on top of the texts. */
#include <stdlib.h>
#include <string.h>

#include "data/dataset_internal.h"

/* Rows ----------------------------------------------------------------------------------------- */
struct row_reader {
    const char *at, *end;
    const char *name; /* for messages */
    int64_t line;     /* where `at` stands, from 1 */
    char separator;
};

struct row {
    struct clip_buffer text; /* the fields, one after the other */
    size_t *ends;            /* [fields] where field i ends in text */
    int64_t fields, capacity;
    int64_t line; /* where it began */
};

static const char *row_field(const struct row *row, int64_t i, size_t *n)
{
    size_t start = i > 0 ? row->ends[i - 1] : 0;
    *n = row->ends[i] - start;
    return row->text.data + start;
}

static void row_release(struct row *row)
{
    clip_buffer_release(&row->text);
    free(row->ends);
}

static void skip_blank_lines(struct row_reader *reader)
{
    for (;;) {
        const char *p = reader->at;
        while (p < reader->end && (*p == ' ' || *p == '\t') && *p != reader->separator) p++;
        if (p < reader->end && *p != '\n' && *p != '\r') return;
        if (p < reader->end && *p == '\r' && p + 1 < reader->end && p[1] == '\n') p++;
        if (p < reader->end) reader->line++;
        reader->at = p < reader->end ? p + 1 : p;
        if (reader->at == reader->end) return;
    }
}

/* The quoted beginning of a field, the opening quote already read; ends behind the closing one. */
static clip_status read_quoted(struct row_reader *reader, struct row *row,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t opened = reader->line;
    for (;;) {
        const char *quote = memchr(reader->at, '"', (size_t)(reader->end - reader->at));
        if (quote == NULL)
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s:%lld: the quote that opens a field here is never closed; close "
                             "it, or write a quote at a field's beginning as \"\"\"",
                             reader->name, (long long)opened);
        bool doubled = quote + 1 < reader->end && quote[1] == '"';
        CLIP_TRY(clip_buffer_append(&row->text, reader->at, (size_t)(quote - reader->at) + doubled,
                                    error));
        for (const char *p = reader->at; p < quote; p++)
            if (*p == '\n' || (*p == '\r' && p[1] != '\n')) reader->line++;
        reader->at = quote + 1 + doubled;
        if (!doubled) break;
    }
out:
    return status;
}

/* Reads the next row; *more false at the end of the file. */
static clip_status read_row(struct row_reader *reader, struct row *row, bool *more,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    skip_blank_lines(reader);
    row->text.size = 0;
    row->fields = 0;
    row->line = reader->line;
    *more = reader->at < reader->end;
    for (bool last = !*more; !last;) {
        if (reader->at < reader->end && *reader->at == '"') {
            reader->at++;
            CLIP_TRY(read_quoted(reader, row, error));
        }
        const char *p = reader->at;
        while (p < reader->end && *p != reader->separator && *p != '\n' && *p != '\r') p++;
        CLIP_TRY(clip_buffer_append(&row->text, reader->at, (size_t)(p - reader->at), error));
        CLIP_TRY(clip_array_grow(&row->ends, &row->capacity, row->fields + 1, sizeof *row->ends,
                                 error));
        row->ends[row->fields++] = row->text.size;
        last = p == reader->end || *p != reader->separator;
        if (last && p < reader->end) {
            if (*p == '\r' && p + 1 < reader->end && p[1] == '\n') p++;
            reader->line++;
        }
        reader->at = p < reader->end ? p + 1 : p;
    }
out:
    return status;
}

/* The data set --------------------------------------------------------------------------------- */
struct csv {
    struct clip_dataset base;
    char *path;
    bool images_only;
    struct clip_intern pictures; /* paths as they can be opened; base.group[i] is row i's */
    char *root;                  /* what was put before a relative path: "" or "FOLDER/" */
    struct clip_buffer captions;
    size_t *ends;    /* [count] where row i's caption ends in captions */
    int64_t *lines;  /* [count] where row i begins in the file */
    int32_t *fields; /* [count] how many the row has, where not as many as the header; else 0 */
    int64_t columns;
    int64_t capacity[4];
};

static const struct csv *csv_of(const struct clip_dataset *dataset)
{
    return (const struct csv *)dataset;
}

static const char *csv_image_name(const struct clip_dataset *dataset, int64_t index)
{
    return clip_intern_string(&csv_of(dataset)->pictures, dataset->group[index]);
}

/* The picture's path as the row has it. */
static const char *csv_picture(const struct csv *csv, int64_t index)
{
    const char *path = csv_image_name(&csv->base, index);
    size_t root = strlen(csv->root);
    return strncmp(path, csv->root, root) == 0 ? path + root : path;
}

/* "pairs.csv:14 (a/b.jpg)" */
static void csv_name(const struct csv *csv, int64_t index, char *name, size_t size)
{
    const char *picture = csv_picture(csv, index);
    if (picture[0] != '\0')
        snprintf(name, size, "%s:%lld (%s)", csv->path, (long long)csv->lines[index], picture);
    else
        snprintf(name, size, "%s:%lld", csv->path, (long long)csv->lines[index]);
}

static clip_status csv_take_caption(const struct csv *csv, int64_t index, const char *name,
                                    struct clip_buffer *out, struct clip_error *error)
{
    out->size = 0;
    if (csv->fields[index] != 0)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the row has %d field%s where the header has %lld; put quotes around "
                         "a caption that holds the separator",
                         name, csv->fields[index], csv->fields[index] == 1 ? "" : "s",
                         (long long)csv->columns);
    size_t start = index > 0 ? csv->ends[index - 1] : 0;
    clip_status status =
        clip_dataset_set(out, csv->captions.data + start, csv->ends[index] - start, error);
    if (status != CLIP_OK || csv->images_only) return status;
    return clip_dataset_caption_check(out, name, error);
}

static clip_status csv_caption(const struct clip_dataset *dataset, int64_t index,
                               struct clip_rng *rng, struct clip_buffer *out,
                               struct clip_error *error)
{
    char name[512];
    (void)rng;
    csv_name(csv_of(dataset), index, name, sizeof name);
    return csv_take_caption(csv_of(dataset), index, name, out, error);
}

static clip_status csv_read(const struct clip_dataset *dataset, int64_t index, struct clip_rng *rng,
                            struct clip_sample *out, struct clip_error *error)
{
    const struct csv *csv = csv_of(dataset);
    (void)rng;
    csv_name(csv, index, out->name, sizeof out->name);
    clip_status status = csv_take_caption(csv, index, out->name, &out->caption, error);
    if (status != CLIP_OK) return status;
    if (csv_picture(csv, index)[0] == '\0')
        return clip_fail(error, CLIP_ERR_DATA, "%s: the row names no picture", out->name);
    status = clip_dataset_read_file(csv_image_name(dataset, index), &out->image, error);
    return status == CLIP_OK ? CLIP_OK : clip_error_prefix(error, "%s", out->name);
}

static void csv_free(struct clip_dataset *dataset)
{
    struct csv *csv = (struct csv *)dataset;
    free(csv->path);
    free(csv->root);
    clip_intern_release(&csv->pictures);
    clip_buffer_release(&csv->captions);
    free(csv->ends);
    free(csv->lines);
    free(csv->fields);
    free(csv->base.group);
    free(csv);
}

static const struct clip_dataset_ops csv_ops = {
    .name = "csv",
    .read = csv_read,
    .caption = csv_caption,
    .image_name = csv_image_name,
    .free = csv_free,
};

/* The header ----------------------------------------------------------------------------------- */
static const char *or_default(const char *value, const char *fallback)
{
    return value != NULL && value[0] != '\0' ? value : fallback;
}

/* auto: a tab for .tsv or where the header's line holds one, else a comma. */
static clip_status find_separator(const struct row_reader *reader, const char *path,
                                  const char *asked, char *separator, struct clip_error *error)
{
    asked = or_default(asked, "auto");
    if (strcmp(asked, "comma") == 0)
        *separator = ',';
    else if (strcmp(asked, "tab") == 0 || strcmp(asked, "\\t") == 0)
        *separator = '\t';
    else if (strcmp(asked, "auto") == 0) {
        const char *p = reader->at;
        while (p < reader->end && *p != '\n' && *p != '\r' && *p != '\t') p++;
        bool tab = p < reader->end && *p == '\t';
        *separator = tab || clip_path_has_suffix(path, ".tsv") ? '\t' : ',';
    } else if (strlen(asked) == 1 && strchr("\"\r\n", asked[0]) == NULL)
        *separator = asked[0];
    else
        return clip_fail(error, CLIP_ERR_USAGE,
                         "csv_separator = \"%s\" is none; expected auto, comma, tab or one "
                         "character",
                         asked);
    return CLIP_OK;
}

static clip_status column_missing(const struct row *header, const struct row_reader *reader,
                                  const char *key, const char *option, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer list = {0};
    for (int64_t i = 0; i < header->fields && list.size < 400; i++) {
        size_t n;
        const char *field = row_field(header, i, &n);
        CLIP_TRY(clip_buffer_printf(&list, error, "%s\"%.*s\"", i > 0 ? ", " : "",
                                    n < 80 ? (int)n : 80, field));
    }
    char separator[2] = {reader->separator, '\0'};
    status = clip_fail(error, CLIP_ERR_DATA,
                       "%s:%lld: there is no column \"%s\"; the columns, separated by %s, are %s; "
                       "set %s to one of them, or csv_separator",
                       reader->name, (long long)header->line, key,
                       separator[0] == '\t'  ? "tab"
                       : separator[0] == ',' ? "comma"
                                             : separator,
                       list.data, option);
out:
    clip_buffer_release(&list);
    return status;
}

static clip_status find_column(const struct row *header, const struct row_reader *reader,
                               const char *key, const char *option, int64_t *column,
                               struct clip_error *error)
{
    int64_t found = 0;
    for (int64_t i = 0; i < header->fields; i++) {
        size_t n;
        const char *field = row_field(header, i, &n);
        if (n != strlen(key) || memcmp(field, key, n) != 0) continue;
        found++;
        *column = i;
    }
    if (found == 1) return CLIP_OK;
    if (found == 0) return column_missing(header, reader, key, option, error);
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s:%lld: %lld columns are called \"%s\"; rename all but one", reader->name,
                     (long long)header->line, (long long)found, key);
}

/* Opening -------------------------------------------------------------------------------------- */
static clip_status add_row(struct csv *csv, const struct row *row, int64_t image_column,
                           int64_t caption_column, struct clip_buffer *path,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t i = csv->base.count, *capacity = csv->capacity;
    CLIP_TRY(
        clip_array_grow(&csv->base.group, &capacity[0], i + 1, sizeof *csv->base.group, error));
    CLIP_TRY(clip_array_grow(&csv->ends, &capacity[1], i + 1, sizeof *csv->ends, error));
    CLIP_TRY(clip_array_grow(&csv->lines, &capacity[2], i + 1, sizeof *csv->lines, error));
    CLIP_TRY(clip_array_grow(&csv->fields, &capacity[3], i + 1, sizeof *csv->fields, error));
    csv->lines[i] = row->line;
    CLIP_TRY(clip_dataset_set(path, "", 0, error));
    if (row->fields != csv->columns) {
        csv->fields[i] = row->fields < INT32_MAX ? (int32_t)row->fields : INT32_MAX;
    } else {
        size_t n;
        const char *field = row_field(row, image_column, &n);
        size_t whole = strnlen(field, n); /* a NUL ends the path: what follows cannot be opened */
        if (whole == 0 || field[0] != '/')
            CLIP_TRY(clip_buffer_append(path, csv->root, strlen(csv->root), error));
        CLIP_TRY(clip_buffer_append(path, field, whole, error));
        if (caption_column >= 0) {
            field = row_field(row, caption_column, &n);
            CLIP_TRY(clip_buffer_append(&csv->captions, field, n, error));
        }
    }
    csv->ends[i] = csv->captions.size;
    CLIP_TRY(clip_intern_add(&csv->pictures, path->data, path->size, &csv->base.group[i], error));
    csv->base.count++;
out:
    return status;
}

/* What stands before a relative picture path: "" or "FOLDER/". free() it; NULL: *error filled. */
static char *root_of(const char *csv_path, const char *images_root, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer path = {0};
    char *folder = NULL;
    if (images_root == NULL || images_root[0] == '\0') {
        folder = clip_path_folder(csv_path, error);
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

static clip_status begin(struct row_reader *reader, const char *bytes, size_t n, const char *path,
                         const struct clip_dataset_options *options, struct clip_error *error)
{
    *reader = (struct row_reader){.at = bytes, .end = bytes + n, .name = path, .line = 1};
    if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) reader->at += 3;
    const char *line = n > 0 ? memchr(bytes, '\n', n) : NULL;
    size_t head = line != NULL ? (size_t)(line - bytes) : n;
    if (n >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0))
        return clip_fail(error, CLIP_ERR_FORMAT, "%s is UTF-16; save it as UTF-8", path);
    if (head > 0 && memchr(bytes, '\0', head) != NULL)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s holds NUL bytes; it is no csv or not UTF-8 text: save it as UTF-8",
                         path);
    return find_separator(reader, path, options->csv_separator, &reader->separator, error);
}

clip_status clip_dataset_csv_parse(struct clip_dataset **out, const char *bytes, size_t n,
                                   const char *path, const struct clip_dataset_options *options,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct row_reader reader;
    struct row row = {0};
    struct clip_buffer picture = {0};
    struct csv *csv = NULL;
    int64_t image_column = -1, caption_column = -1;
    bool more;
    *out = NULL;
    CLIP_NEW(csv, 1);
    csv->base.ops = &csv_ops;
    csv->images_only = options->images_only;
    CLIP_TRY((csv->path = clip_string_copy(path, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    CLIP_TRY(begin(&reader, bytes, n, path, options, error));
    CLIP_TRY(read_row(&reader, &row, &more, error));
    if (!more)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s is empty; expected a header line as in filepath,title", path));
    csv->columns = row.fields;
    CLIP_TRY(clip_buffer_append(&csv->captions, "", 0, error)); /* never NULL: all may be empty */
    CLIP_TRY(find_column(&row, &reader, or_default(options->csv_img_key, "filepath"),
                         "csv_img_key", &image_column, error));
    if (!options->images_only)
        CLIP_TRY(find_column(&row, &reader, or_default(options->csv_caption_key, "title"),
                             "csv_caption_key", &caption_column, error));
    csv->root = root_of(path, options->images_root, error);
    if (csv->root == NULL) CLIP_TRY(error->status);
    for (;;) {
        CLIP_TRY(read_row(&reader, &row, &more, error));
        if (!more) break;
        CLIP_TRY(add_row(csv, &row, image_column, caption_column, &picture, error));
    }
    if (csv->base.count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s has a header and no rows; each row is a picture and its caption",
                           path));
    *out = &csv->base;
    csv = NULL;
out:
    row_release(&row);
    clip_buffer_release(&picture);
    if (csv != NULL) csv_free(&csv->base);
    return status;
}

clip_status clip_dataset_csv_open(struct clip_dataset **out, const char *path,
                                  const struct clip_dataset_options *options,
                                  struct clip_error *error)
{
    struct clip_mapping file;
    *out = NULL;
    clip_status status = clip_file_map(path, &file, error);
    if (status != CLIP_OK) return status;
    const char *bytes = file.data != NULL ? (const char *)file.data : "";
    status = clip_dataset_csv_parse(out, bytes, file.size, path, options, error);
    clip_file_unmap(&file);
    return status;
}
