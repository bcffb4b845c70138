/* The images themselves, by their numbers: as they are, small, and what is known of one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "data/image/image.h"
#include "serve/api_parts.h"

/* The content type of an image file that browsers show, NULL for any other. */
static const char *image_type(const struct clip_buffer *file)
{
    static const struct {
        const char *start, *type;
        size_t at, n;
    } kinds[] = {
        {"\xff\xd8\xff", "image/jpeg", 0, 3}, {"\x89PNG\r\n\x1a\n", "image/png", 0, 8},
        {"GIF8", "image/gif", 0, 4},          {"BM", "image/bmp", 0, 2},
        {"WEBP", "image/webp", 8, 4},         {"ftypavif", "image/avif", 4, 8},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (file->size > kinds[i].at + kinds[i].n &&
            memcmp(file->data + kinds[i].at, kinds[i].start, kinds[i].n) == 0)
            return kinds[i].type;
    return NULL;
}

enum form { SHOWN, SMALL, FILE_ITSELF };

static clip_status take_form(const struct clip_api_call *call, int64_t row, enum form form,
                             struct clip_api_response *out, struct clip_error *error)
{
    clip_status status;
    out->type = clip_image_small_type;
    if (form == SMALL)
        return clip_store_thumbnail(call->api->store, call->index, row, &out->body, error);
    CLIP_TRY(clip_store_image(call->api->store, call->index, row, &out->body, error));
    const char *type = image_type(&out->body);
    if (type != NULL || form == FILE_ITSELF)
        out->type = type != NULL ? type : "application/octet-stream";
    else
        CLIP_TRY(clip_store_convert(call->api->store, &out->body, error));
out:
    if (status != CLIP_OK) clip_buffer_release(&out->body);
    return status;
}

static void answer_image(const struct clip_api_call *call, enum form form,
                         struct clip_api_response *out)
{
    static const char *const marks[] = {"", "t", "f"};
    struct clip_error error;
    const struct clip_index *index = call->index;
    int64_t number = clip_api_number(call->rest), row;
    if (number < 0) {
        clip_api_refuse(out, 400, "an image is asked for by its number, as in /image/12");
        return;
    }
    if (!clip_api_find_row(call, "", number, &row, out)) return;
    const struct clip_index_segment *s = clip_index_segment_of(index, row);
    snprintf(out->etag, sizeof out->etag, "\"%016llx%s\"",
             (unsigned long long)s->hashes[row - s->first], marks[form]);
    if (call->request.etag != NULL && strcmp(call->request.etag, out->etag) == 0) {
        out->code = 304;
        return;
    }
    if (take_form(call, row, form, out, &error) == CLIP_OK) {
        out->code = 200;
        return;
    }
    out->etag[0] = '\0';
    if (form == SHOWN && (error.status == CLIP_ERR_FORMAT || error.status == CLIP_ERR_DATA))
        clip_api_refuse(out, 410, "image %lld is no image any more; bring the index up to date",
                        (long long)number);
    else
        clip_api_refuse_failure(out, false, &error);
}

void clip_api_thumbnail(const struct clip_api_call *call, struct clip_api_response *out)
{
    answer_image(call, SMALL, out);
}

void clip_api_image(const struct clip_api_call *call, struct clip_api_response *out)
{
    answer_image(call, SHOWN, out);
}

void clip_api_file(const struct clip_api_call *call, struct clip_api_response *out)
{
    answer_image(call, FILE_ITSELF, out);
}

/* ---- what is known of one ---- */

static clip_status add_place(const struct clip_api_call *call, int64_t row, json_t *places,
                             struct clip_error *error)
{
    clip_status status;
    const char *path = clip_index_name(call->index, row);
    char *file = clip_path_join(call->index->base, path, error);
    if (file == NULL) return CLIP_ERR_MEMORY;
    status = clip_json_add(places, error, "{s:I, s:s, s:s}", "number",
                           (json_int_t)(call->shown->first + row), "path", path, "file", file);
    free(file);
    return status;
}

/* Where it lies, and then where those that are the same file do. */
static clip_status add_copies(const struct clip_api_call *call, int64_t row, json_t *places,
                              struct clip_error *error)
{
    clip_status status;
    const int64_t *group = call->shown->copies.group;
    CLIP_TRY(add_place(call, row, places, error));
    for (int64_t i = 0; i < call->index->count && json_array_size(places) < CLIP_API_LIMIT; i++)
        if (i != row && group[i] == group[row] && !call->shown->all.skip[i])
            CLIP_TRY(add_place(call, i, places, error));
out:
    return status;
}

static clip_status describe(const struct clip_api_call *call, int64_t row, json_t **answer,
                            struct clip_error *error)
{
    clip_status status;
    struct clip_error gone;
    const struct clip_copies *copies = &call->shown->copies;
    json_t *places = json_array(), *size = NULL, *time = NULL;
    int64_t bytes, changed;
    CLIP_TRY(add_copies(call, row, places, error));
    if (clip_store_stat(call->api->store, call->index, row, &bytes, &changed, &gone) == CLIP_OK) {
        CLIP_TRY(clip_json_pack(&size, error, "I", (json_int_t)bytes));
        CLIP_TRY(clip_json_pack(&time, error, "I", (json_int_t)(changed / 1000000000)));
    }
    CLIP_TRY(clip_json_pack(answer, error, "{s:I, s:s, s:O*, s:O*, s:I, s:O}", "number",
                            (json_int_t)(call->shown->first + row), "path",
                            clip_index_name(call->index, row), "size", size, "time", time, "copies",
                            (json_int_t)copies->size[copies->group[row]], "places", places));
out:
    json_decref(places);
    json_decref(size);
    json_decref(time);
    return status;
}

void clip_api_detail(const struct clip_api_call *call, struct clip_api_response *out)
{
    struct clip_api_asked asked;
    struct clip_error error;
    json_t *answer = NULL;
    if (clip_api_take(call, CLIP_API_DETAIL, &asked, out)) {
        if (asked.query.count == 0)
            clip_api_refuse(out, 400, "say which image: its number, or its path in the index");
        else if (describe(call, asked.query.terms[0].row, &answer, &error) != CLIP_OK)
            clip_api_refuse_failure(out, false, &error);
        else
            clip_api_answer_json(out, answer);
    }
    clip_api_asked_release(&asked);
}
