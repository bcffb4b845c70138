#include "train/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"

enum { LARGEST = 1 << 30 }; /* bytes of a log */

void clip_history_release(struct clip_history *h)
{
    for (int64_t i = 0; i < h->count; i++) free(h->columns[i].values);
    free(h->columns);
    clip_arena_release(&h->names);
    *h = (struct clip_history){0};
}

static struct clip_history_column *column_of(struct clip_history *h, const char *key)
{
    for (int64_t i = 0; i < h->count; i++)
        if (strcmp(h->columns[i].key, key) == 0) return &h->columns[i];
    return NULL;
}

const double *clip_history_find(const struct clip_history *h, const char *key)
{
    const struct clip_history_column *c = column_of((struct clip_history *)(uintptr_t)h, key);
    return c != NULL ? c->values : NULL;
}

bool clip_history_is_position(const char *key)
{
    return strcmp(key, "step") == 0 || strcmp(key, "epoch") == 0 || strcmp(key, "samples") == 0 ||
           strcmp(key, "seconds") == 0;
}

double clip_history_last(const struct clip_history *h, const char *key)
{
    const double *values = clip_history_find(h, key);
    for (int64_t i = h->rows - 1; values != NULL && i >= 0; i--)
        if (isfinite(values[i])) return values[i];
    return NAN;
}

static clip_status add_column(struct clip_history *h, const char *key, struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(clip_array_grow(&h->columns, &h->capacity, h->count + 1, sizeof *h->columns, error));
    const char *copy = clip_arena_string(&h->names, key, strlen(key), error);
    CLIP_TRY(copy != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    h->columns[h->count++] = (struct clip_history_column){.key = copy};
out:
    return status;
}

/* Grows every column to one more row, NaN. */
static clip_status add_row(struct clip_history *h, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < h->count; i++) {
        struct clip_history_column *c = &h->columns[i];
        int64_t had = c->capacity > 0 ? h->rows : 0;
        CLIP_TRY(clip_array_grow(&c->values, &c->capacity, h->rows + 1, sizeof *c->values, error));
        for (int64_t r = had; r <= h->rows; r++) c->values[r] = NAN;
    }
    h->rows++;
out:
    return status;
}

static clip_status add_line(struct clip_history *h, const json_t *line, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)line, key,
                        value) if (json_is_number(value) && column_of(h, key) == NULL)
        CLIP_TRY(add_column(h, key, error));
    CLIP_TRY(add_row(h, error));
    json_object_foreach((json_t *)(uintptr_t)line, key, value) if (json_is_number(value))
        column_of(h, key)
            ->values[h->rows - 1] = json_number_value(value);
out:
    return status;
}

clip_status clip_history_read(struct clip_history *out, const char *path, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    json_t *line = NULL;
    *out = (struct clip_history){0};
    if (!clip_path_exists(path)) return CLIP_OK;
    CLIP_TRY(clip_file_read(path, LARGEST, &text, error));
    for (const char *at = text.data, *end = at + text.size, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) break;
        json_decref(line);
        line = clip_json_parse(at, (size_t)(stop - at), path, error);
        CLIP_TRY(line != NULL ? CLIP_OK : error->status);
        if (!json_is_object(line))
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: row %lld is no object", path,
                               (long long)out->rows + 1));
        CLIP_TRY(add_line(out, line, error));
    }
out:
    json_decref(line);
    clip_buffer_release(&text);
    if (status != CLIP_OK) clip_history_release(out);
    return status;
}
