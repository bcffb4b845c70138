/* Pixels as they are, for packed data sets: 8 bytes that no other format begins with, width and
 * height (32 bits, little-endian), then rows of RGB. */
#include <string.h>

#include "data/image/image_formats.h"

const char clip_raw_signature[8] = {'C', 'L', 'I', 'P', 'R', 'G', 'B', 1};

static int64_t u32(const uint8_t *p)
{
    return (int64_t)p[0] | (int64_t)p[1] << 8 | (int64_t)p[2] << 16 | (int64_t)p[3] << 24;
}

clip_status clip_raw_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                            struct clip_image *out, int *orientation, struct clip_error *error)
{
    clip_status status;
    int64_t width, height;

    (void)orientation;
    if (bytes.size < 16) return clip_image_fail_cut("raw", bytes.size, error);
    width = u32(bytes.data + 8);
    height = u32(bytes.data + 12);
    CLIP_TRY(clip_image_check_size(width, height, limits, error));
    if ((int64_t)bytes.size - 16 != width * height * 3)
        CLIP_TRY(clip_image_fail_impossible("raw", width, height, bytes.size, error));
    CLIP_TRY(clip_image_allocate(out, width, height, error));
    memcpy(out->rgb, bytes.data + 16, bytes.size - 16);

out:
    return status;
}

clip_status clip_raw_encode(const struct clip_image *image, struct clip_buffer *out,
                            struct clip_error *error)
{
    clip_status status;
    uint8_t head[16];
    int64_t sizes[2] = {image->width, image->height};

    memcpy(head, clip_raw_signature, 8);
    for (int i = 0; i < 8; i++) head[8 + i] = (uint8_t)(sizes[i / 4] >> 8 * (i % 4));
    CLIP_TRY(clip_buffer_append(out, head, sizeof head, error));
    CLIP_TRY(
        clip_buffer_append(out, image->rgb, (size_t)(image->width * image->height * 3), error));

out:
    return status;
}
