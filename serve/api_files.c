/* The images themselves, by their numbers: as they are, and small. */
#include <stdio.h>
#include <string.h>

#include "data/image/image.h"
#include "serve/api_parts.h"

/* The content type of an image file, NULL for what is none. */
static const char *image_type(const struct clip_buffer *file)
{
    static const struct {
        const char *start, *type;
        size_t n;
    } kinds[] = {
        {"\xff\xd8\xff", "image/jpeg", 3},
        {"\x89PNG\r\n\x1a\n", "image/png", 8},
        {"GIF8", "image/gif", 4},
        {"BM", "image/bmp", 2},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (file->size > kinds[i].n && memcmp(file->data, kinds[i].start, kinds[i].n) == 0)
            return kinds[i].type;
    if (file->size > 12 && memcmp(file->data, "RIFF", 4) == 0 &&
        memcmp(file->data + 8, "WEBP", 4) == 0)
        return "image/webp";
    return NULL;
}

static void answer_image(const struct clip_api_call *call, bool small,
                         struct clip_api_response *out)
{
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
             (unsigned long long)s->hashes[row - s->first], small ? "t" : "");
    if (call->request.etag != NULL && strcmp(call->request.etag, out->etag) == 0) {
        out->code = 304;
        return;
    }
    clip_status status =
        small ? clip_store_thumbnail(call->api->store, index, row, &out->body, &error)
              : clip_store_image(call->api->store, index, row, &out->body, &error);
    if (status != CLIP_OK) {
        out->etag[0] = '\0';
        clip_api_refuse_failure(out, false, &error);
        return;
    }
    out->code = 200;
    out->type = small ? clip_image_small_type : image_type(&out->body);
    if (out->type != NULL) return;
    out->etag[0] = '\0';
    clip_api_refuse(out, 410, "image %lld is no image any more; bring the index up to date",
                    (long long)number);
}

void clip_api_thumbnail(const struct clip_api_call *call, struct clip_api_response *out)
{
    answer_image(call, true, out);
}

void clip_api_image(const struct clip_api_call *call, struct clip_api_response *out)
{
    answer_image(call, false, out);
}
