/* Boxes, which HEIF and Canon's CR3 are made of (ISO/IEC 14496-12, 4.2): 32 bits of size with the
 * header, four letters, content. A size of 1: 64 bits of it follow; of 0: to the end. */
#include <string.h>

#include "data/image/image_formats.h"

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool clip_box_next(struct clip_image_bytes *in, struct clip_box *box, bool *cut)
{
    uint64_t size, head = 8;

    if (in->size < 8) return false;
    size = u32(in->data);
    if (size == 1 && in->size >= 16) {
        head = 16;
        size = (uint64_t)u32(in->data + 8) << 32 | u32(in->data + 12);
    }
    if (size == 0) size = in->size;
    if (size < head || size > in->size) {
        *cut = true;
        return false;
    }
    memcpy(box->type, in->data + 4, 4);
    box->body = (struct clip_image_bytes){in->data + head, (size_t)(size - head)};
    *in = (struct clip_image_bytes){in->data + size, in->size - (size_t)size};
    return true;
}

bool clip_box_find(struct clip_image_bytes in, const char *type, const char *start, size_t n,
                   struct clip_image_bytes *out, bool *cut)
{
    struct clip_box box;

    while (clip_box_next(&in, &box, cut)) {
        if (memcmp(box.type, type, 4) != 0 || box.body.size < n) continue;
        if (start != NULL && memcmp(box.body.data, start, n) != 0) continue;
        *out = (struct clip_image_bytes){box.body.data + n, box.body.size - n};
        return true;
    }
    return false;
}
