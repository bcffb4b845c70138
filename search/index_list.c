/* The list of the segments of an index is one JSON object:
 *
 *   {"format": "clip.c index 2", "kind": "images", "precision": "int8", "exact": true, "dim": 512,
 *    "model": "/runs/small/best.h5", "model_checksum": "0123abcd", "base": "/home/me", "next": 3,
 *    "segments": [{"file": "seg_000001.h5", "rows": 1024, "bytes": 2215424,
 *                  "time": 1764000000000000000, "removed": [[3, 3], [100, 199]]}, ...]}
 *
 * "removed" lists ranges of the segment's rows, including both ends; they ascend and do not
 * overlap, and no file is named twice, so reading takes time linear in the list and its rows. */
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/file.h"
#include "core/json.h"
#include "core/string_map.h"
#include "search/index.h"

static const char FORMAT[] = "clip.c index 2";
enum {
    LIST_BYTES = 1 << 30,
    MOST_ROWS = 1 << 28,
    MOST_DIM = 1 << 20
}; /* rows and width of an index */

const char *clip_index_precision_name(int precision)
{
    static const char *const names[] = {
        [CLIP_INDEX_F32] = "f32", [CLIP_INDEX_BF16] = "bf16", [CLIP_INDEX_INT8] = "int8"};
    return CLIP_NAME_OF(names, precision);
}

clip_status clip_index_precision_from(const char *name, enum clip_index_precision *out,
                                      struct clip_error *error)
{
    char all[64];
    int value = clip_choice_find(clip_index_precision_name, name);
    if (value < 0)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "\"%.50s\" is no precision of an index; expected one of %s", name,
                         clip_choice_list(clip_index_precision_name, "|", all, sizeof all));
    *out = (enum clip_index_precision)value;
    return CLIP_OK;
}

char *clip_index_folder(const char *path, struct clip_error *error)
{
    struct clip_buffer folder = {0};
    if (clip_buffer_printf(&folder, error, "%s.d", path) == CLIP_OK) return folder.data;
    clip_buffer_release(&folder);
    return NULL;
}

/* ---- writing ---- */

static clip_status add_removed(json_t *ranges, const struct clip_index_segment *s,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < s->count && status == CLIP_OK; i++) {
        if (!s->removed[i]) continue;
        int64_t begin = i;
        while (i + 1 < s->count && s->removed[i + 1]) i++;
        status = clip_json_add(ranges, error, "[I, I]", (json_int_t)begin, (json_int_t)i);
    }
    return status;
}

static clip_status add_segment(json_t *segments, const struct clip_index_segment *s,
                               struct clip_error *error)
{
    clip_status status;
    json_t *ranges = json_array();
    CLIP_TRY(add_removed(ranges, s, error));
    CLIP_TRY(clip_json_add(segments, error, "{s:s, s:I, s:I, s:I, s:O}", "file", s->file, "rows",
                           (json_int_t)s->count, "bytes", (json_int_t)s->bytes, "time",
                           (json_int_t)s->time, "removed", ranges));
out:
    json_decref(ranges);
    return status;
}

clip_status clip_index_list_write(const struct clip_index *index, const char *path,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    json_t *list = NULL, *segments = json_array();
    for (int64_t i = 0; i < index->segment_count; i++)
        CLIP_TRY(add_segment(segments, &index->segments[i], error));
    status = clip_json_pack(
        &list, error, "{s:s, s:s, s:s, s:b, s:b, s:s*, s:I, s:s, s:s, s:s, s:I, s:O}", "format",
        FORMAT, "kind", index->texts ? "texts" : "images", "precision",
        clip_index_precision_name(index->precision), "exact", (int)index->keeps_exact, "upright",
        (int)index->upright, "weights", index->raw ? "raw" : NULL, "dim", (json_int_t)index->dim,
        "model", index->model, "model_checksum", index->model_checksum, "base", index->base, "next",
        (json_int_t)index->next_segment, "segments", segments);
    if (status == CLIP_ERR_DATA)
        clip_fail(error, status,
                  "%s: the model's path or this folder's is not UTF-8; rename what it lies in",
                  path);
    CLIP_TRY(status);
    CLIP_TRY(clip_json_append(&text, list, error));
    CLIP_TRY(clip_buffer_append(&text, "\n", 1, error));
    CLIP_TRY(clip_file_write(path, text.data, text.size, error));
out:
    json_decref(segments);
    json_decref(list);
    clip_buffer_release(&text);
    return status;
}

/* ---- reading ---- */

static clip_status not_a_list(struct clip_error *error, const char *path, const char *what)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s is no index: \"%s\" is missing or not as it should be; make it anew with "
                     "clip_search index",
                     path, what);
}

static clip_status take_text(const json_t *list, const char *key, const char *path, char **out,
                             struct clip_error *error)
{
    const char *value = json_string_value(json_object_get(list, key));
    if (value == NULL) return not_a_list(error, path, key);
    *out = clip_string_copy(value, error);
    return *out != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

static clip_status take_number(const json_t *list, const char *key, const char *path, int64_t least,
                               int64_t most, int64_t *out, struct clip_error *error)
{
    const json_t *value = json_object_get(list, key);
    *out = json_integer_value(value);
    if (json_is_integer(value) && *out >= least && *out <= most) return CLIP_OK;
    return not_a_list(error, path, key);
}

static clip_status take_removed(struct clip_index_segment *s, const json_t *ranges,
                                const char *path, struct clip_error *error)
{
    size_t i;
    const json_t *range;
    json_int_t last = -1; /* they ascend, so each row is marked once */
    if (!json_is_array(ranges)) return not_a_list(error, path, "removed");
    json_array_foreach(ranges, i, range)
    {
        json_int_t begin = json_integer_value(json_array_get(range, 0));
        json_int_t end = json_integer_value(json_array_get(range, 1));
        if (json_array_size(range) != 2 || begin <= last || end < begin || end >= s->count)
            return not_a_list(error, path, "removed");
        memset(s->removed + begin, 1, (size_t)(end - begin + 1));
        last = end;
    }
    return CLIP_OK;
}

/* Is it a name like seg_000001.h5, which cannot lead to another folder? */
static bool is_segment_name(const char *name)
{
    size_t digits = strncmp(name, "seg_", 4) == 0 ? strspn(name + 4, "0123456789") : 0;
    return digits >= 6 && digits <= 18 && strcmp(name + 4 + digits, ".h5") == 0;
}

/* `names` holds the files of the segments before: each file is a segment once. */
static clip_status take_segment(struct clip_index *index, const json_t *item,
                                struct clip_string_map *names, const char *path,
                                struct clip_error *error)
{
    clip_status status;
    int64_t number;
    CLIP_TRY(clip_array_grow(&index->segments, &index->segment_capacity, index->segment_count + 1,
                             sizeof *index->segments, error));
    struct clip_index_segment *s = &index->segments[index->segment_count++];
    *s = (struct clip_index_segment){.first = index->count};
    CLIP_TRY(take_text(item, "file", path, &s->file, error));
    CLIP_TRY(clip_string_map_number(names, s->file, strlen(s->file), &number, error));
    if (!is_segment_name(s->file) || number + 1 < index->segment_count)
        CLIP_TRY(not_a_list(error, path, "file"));
    CLIP_TRY(take_number(item, "rows", path, 1, MOST_ROWS - index->count, &s->count, error));
    CLIP_TRY(take_number(item, "bytes", path, 1, INT64_MAX, &s->bytes, error));
    CLIP_TRY(take_number(item, "time", path, INT64_MIN, INT64_MAX, &s->time, error));
    if (s->bytes < s->count) CLIP_TRY(not_a_list(error, path, "rows"));
    CLIP_NEW(s->removed, s->count);
    CLIP_TRY(take_removed(s, json_object_get(item, "removed"), path, error));
    index->count += s->count;
    for (int64_t i = 0; i < s->count; i++) index->live += !s->removed[i];
out:
    return status;
}

static clip_status take_list(struct clip_index *index, const json_t *list, const char *path,
                             struct clip_error *error)
{
    clip_status status;
    size_t i;
    const json_t *item;
    struct clip_string_map names = {0};
    const json_t *segments = json_object_get(list, "segments"), *exact;
    const char *format = json_string_value(json_object_get(list, "format"));
    const char *kind = json_string_value(json_object_get(list, "kind"));
    const char *weights = json_string_value(json_object_get(list, "weights")); /* NULL: ema */
    const char *precision = json_string_value(json_object_get(list, "precision"));
    if (format == NULL) return not_a_list(error, path, "format");
    if (strcmp(format, FORMAT) != 0)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: its format is \"%.100s\"; this program reads \"%s\"", path, format,
                         FORMAT);
    if (kind == NULL || (strcmp(kind, "texts") != 0 && strcmp(kind, "images") != 0))
        return not_a_list(error, path, "kind");
    index->texts = strcmp(kind, "texts") == 0;
    if (precision == NULL ||
        clip_index_precision_from(precision, &index->precision, error) != CLIP_OK)
        return not_a_list(error, path, "precision");
    exact = json_object_get(list, "exact");
    if (!json_is_boolean(exact)) return not_a_list(error, path, "exact");
    index->keeps_exact = json_is_true(exact) && index->precision != CLIP_INDEX_F32;
    index->upright = json_is_true(json_object_get(list, "upright")); /* older lists have none */
    index->raw = weights != NULL && strcmp(weights, "raw") == 0;
    CLIP_TRY(take_number(list, "dim", path, 1, MOST_DIM, &index->dim, error));
    CLIP_TRY(take_number(list, "next", path, 1, INT64_MAX / 2, &index->next_segment, error));
    CLIP_TRY(take_text(list, "model", path, &index->model, error));
    CLIP_TRY(take_text(list, "model_checksum", path, &index->model_checksum, error));
    CLIP_TRY(take_text(list, "base", path, &index->base, error));
    if (!json_is_array(segments)) CLIP_TRY(not_a_list(error, path, "segments"));
    json_array_foreach(segments, i, item) CLIP_TRY(take_segment(index, item, &names, path, error));
out:
    clip_string_map_release(&names);
    return status;
}

clip_status clip_index_list_parse(struct clip_index *out, const char *bytes, size_t n,
                                  const char *path, struct clip_error *error)
{
    *out = (struct clip_index){0};
    json_t *list = clip_json_parse(bytes, n, path, error);
    if (list == NULL) return error->status;
    clip_status status = take_list(out, list, path, error);
    json_decref(list);
    if (status != CLIP_OK) clip_index_release(out);
    return status;
}

clip_status clip_index_list_read(struct clip_index *out, const char *path, struct clip_error *error)
{
    struct clip_buffer text = {0};
    *out = (struct clip_index){0};
    clip_status status = clip_file_read(path, LIST_BYTES, &text, error);
    if (status == CLIP_OK && clip_hdf5_is(path))
        status = clip_fail(error, CLIP_ERR_FORMAT,
                           "%s is an index of an older clip.c, or a checkpoint; make the index "
                           "anew under another name",
                           path);
    if (status == CLIP_OK) status = clip_index_list_parse(out, text.data, text.size, path, error);
    clip_buffer_release(&text);
    return status;
}
