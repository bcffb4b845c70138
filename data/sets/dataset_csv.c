/* csv and tsv files with one sample per row, read as by Python's csv module and pandas: a field
 * that begins with a quote ends at the closing quote, and separators and line ends in between
 * belong to it; "" in it is one quote. A quote elsewhere is a quote. Rows end at LF, CR or CRLF;
 * blank lines are skipped. */
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "data/sets/dataset_internal.h"

/* ---- Rows ---- */
struct row_reader {
    const char *at, *end;
    const char *name; /* for messages */
    int64_t line;     /* the line number of `at`, from 1 */
    char separator;
};

struct row {
    struct clip_buffer text; /* the fields, one after another */
    size_t *ends;            /* [fields] where each field ends in text */
    int64_t fields, capacity;
    int64_t line; /* the line where the row begins */
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

/* Reads the quoted beginning of a field, after its opening quote, up to and with the closing
 * one. */
static clip_status read_quoted(struct row_reader *reader, struct row *row, struct clip_error *error)
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

/* Reads the next row; *more becomes false at the end of the file. */
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
        const char *from = reader->at, *to = p;
        if (reader->separator == '|') { /* it stands with spaces around it */
            while (from < to && *from == ' ') from++;
            while (from < to && to[-1] == ' ') to--;
        }
        CLIP_TRY(clip_buffer_append(&row->text, from, (size_t)(to - from), error));
        CLIP_TRY(
            clip_array_grow(&row->ends, &row->capacity, row->fields + 1, sizeof *row->ends, error));
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

/* ---- The header ---- */
static const char *or_default(const char *value, const char *fallback)
{
    return value != NULL && value[0] != '\0' ? value : fallback;
}

/* auto: a tab for .tsv or where the header's line holds one, else a comma; a | where it holds that
 * and no comma (Flickr30k's results.csv). */
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
        size_t n = (size_t)(p - reader->at);
        bool bar = n > 0 && memchr(reader->at, '|', n) != NULL &&
                   memchr(reader->at, ',', n) == NULL;
        *separator = tab || clip_path_has_suffix(path, ".tsv") ? '\t' : bar ? '|' : ',';
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

/* How many columns have this name, spaces around it aside; *column: the last. */
static int64_t count_columns(const struct row *header, const char *key, int64_t *column)
{
    int64_t found = 0;
    for (int64_t i = 0; i < header->fields; i++) {
        size_t n;
        const char *field = row_field(header, i, &n);
        while (n > 0 && *field == ' ') {
            field++;
            n--;
        }
        while (n > 0 && field[n - 1] == ' ') n--;
        if (n != strlen(key) || memcmp(field, key, n) != 0) continue;
        found++;
        *column = i;
    }
    return found;
}

/* Lists that others write, by their columns; looked for where no column is asked for. */
struct form {
    const char *image, *caption;
};
static const struct form forms[] = {
    {"filepath", "title"},     /* open_clip, and the default */
    {"file_name", "text"},     /* Hugging Face's metadata.csv */
    {"file_name", "caption"},  /* the same */
    {"image", "caption"},      /* Flickr8k's captions.txt */
    {"image_name", "comment"}, /* Flickr30k's results.csv */
    {"image_name", "caption"},
};

/* The form whose columns the header has; NULL: none. */
static const struct form *form_of(const struct row *header)
{
    int64_t column;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (count_columns(header, forms[i].image, &column) > 0 &&
            count_columns(header, forms[i].caption, &column) > 0)
            return &forms[i];
    return NULL;
}

static clip_status find_column(const struct row *header, const struct row_reader *reader,
                               const char *key, const char *option, int64_t *column,
                               struct clip_error *error)
{
    int64_t found = count_columns(header, key, column);
    if (found == 1) return CLIP_OK;
    if (found == 0) return column_missing(header, reader, key, option, error);
    return clip_fail(error, CLIP_ERR_DATA, "%s:%lld: %s are called \"%s\"; rename all but one",
                     reader->name, (long long)header->line, CLIP_COUNT(found, "column"), key);
}

/* ---- Opening ---- */
enum { CAPTIONS_MOST = 16 };

/* How many columns the header has, and where those that matter stand; -1: not wanted. */
struct columns {
    int64_t count, image, negative;
    int64_t captions[CAPTIONS_MOST], caption_count;
};

static clip_status find_image(const struct row *header, const struct row_reader *reader,
                              const char *asked, struct columns *columns, struct clip_error *error)
{
    const struct form *form = form_of(header);
    if (!clip_key_is_asked(asked, clip_image_keys))
        asked = form != NULL ? form->image : clip_image_keys[0];
    return find_column(header, reader, asked, "csv_img_key", &columns->image, error);
}

static clip_status find_captions(const struct row *header, const struct row_reader *reader,
                                 const char *asked, struct columns *columns,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char key[256];
    int64_t column;
    const struct form *form = form_of(header);
    if (!clip_key_is_asked(asked, clip_caption_keys))
        asked = form != NULL ? form->caption : clip_caption_keys[0];
    if (strchr(asked, ',') == NULL || count_columns(header, asked, &column) > 0) {
        columns->caption_count = 1;
        return find_column(header, reader, asked, "csv_caption_key", &columns->captions[0], error);
    }
    while (*asked != '\0') {
        if (clip_key_next(&asked, key, sizeof key) == 0) continue;
        if (columns->caption_count == CAPTIONS_MOST)
            return clip_fail(error, CLIP_ERR_USAGE,
                             "csv_caption_key names more than %d columns; name fewer",
                             CAPTIONS_MOST);
        CLIP_TRY(find_column(header, reader, key, "csv_caption_key",
                             &columns->captions[columns->caption_count], error));
        columns->caption_count++;
    }
out:
    return status;
}

/* A caption is a sample. Of several columns, those that are empty are passed over, unless all are:
 * that is a bad sample. */
static clip_status add_row(struct clip_rows *rows, const struct row *row,
                           const struct columns *columns, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_row added = {.line = row->line};
    char problem[128];
    int64_t kept = 0;
    if (row->fields != columns->count) {
        snprintf(problem, sizeof problem,
                 "the row has %lld field%s where the header has %lld; put quotes around a caption "
                 "that holds the separator",
                 (long long)row->fields, row->fields == 1 ? "" : "s", (long long)columns->count);
        added.problem = problem;
        return clip_rows_add(rows, &added, error);
    }
    added.image = row_field(row, columns->image, &added.image_size);
    if (columns->negative >= 0)
        added.negative = row_field(row, columns->negative, &added.negative_size);
    for (int64_t i = 0; i < columns->caption_count; i++) {
        added.caption = row_field(row, columns->captions[i], &added.caption_size);
        bool blank = clip_dataset_is_blank(added.caption, added.caption_size);
        if (columns->caption_count > 1 && blank) continue;
        CLIP_TRY(clip_rows_add(rows, &added, error));
        kept++;
    }
    if (kept == 0) CLIP_TRY(clip_rows_add(rows, &added, error));
out:
    return status;
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
    struct clip_rows *rows = NULL;
    struct columns columns = {.negative = -1};
    bool more;
    *out = NULL;
    CLIP_TRY(clip_rows_create(&rows, "csv", path, options, error));
    CLIP_TRY(begin(&reader, bytes, n, path, options, error));
    CLIP_TRY(read_row(&reader, &row, &more, error));
    if (!more)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s is empty; expected a header line as in filepath,title", path));
    columns.count = row.fields;
    CLIP_TRY(find_image(&row, &reader, options->csv_img_key, &columns, error));
    if (!options->images_only)
        CLIP_TRY(find_captions(&row, &reader, options->csv_caption_key, &columns, error));
    if (!options->images_only && or_default(options->csv_negative_key, "")[0] != '\0')
        CLIP_TRY(find_column(&row, &reader, options->csv_negative_key, "csv_negative_key",
                             &columns.negative, error));
    for (;;) {
        CLIP_TRY(read_row(&reader, &row, &more, error));
        if (!more) break;
        CLIP_TRY(add_row(rows, &row, &columns, error));
    }
    if (clip_rows_count(rows) == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s has a header and no rows; each row is an image and its caption",
                           path));
    *out = clip_rows_finish(&rows);
out:
    row_release(&row);
    clip_rows_free(rows);
    return status;
}

clip_status clip_dataset_csv_open(struct clip_dataset **out, const char *path,
                                  const struct clip_dataset_options *options,
                                  struct clip_error *error)
{
    return clip_dataset_parse_file(out, path, clip_dataset_csv_parse, options, error);
}

bool clip_dataset_csv_is(const char *path)
{
    const struct clip_dataset_options options = {0};
    struct clip_mapping file;
    struct clip_error error;
    struct row_reader reader;
    struct row row = {0};
    bool more = false;
    if (clip_file_map(path, &file, &error) != CLIP_OK) return false;
    const char *bytes = file.data != NULL ? (const char *)file.data : "";
    bool is = begin(&reader, bytes, file.size, path, &options, &error) == CLIP_OK &&
              read_row(&reader, &row, &more, &error) == CLIP_OK && more && form_of(&row) != NULL;
    row_release(&row);
    clip_file_unmap(&file);
    return is;
}
