/* What the decoders of the image formats share: limits, sentences, memory. */
#include <stdlib.h>

#include "core/count.h"
#include "data/image/image_formats.h"

void clip_image_release(struct clip_image *image)
{
    free(image->rgb);
    *image = (struct clip_image){0};
}

clip_status clip_image_check_size(int64_t width, int64_t height,
                                  const struct clip_image_limits *limits, struct clip_error *error)
{
    int64_t pixels;

    if (width <= 0 || height <= 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "the image has no pixels (%lld x %lld); leave it out", (long long)width,
                         (long long)height);
    if (!clip_mul_i64(width, height, &pixels) || pixels > limits->max_pixels)
        return clip_fail(error, CLIP_ERR_DATA,
                         "the image has %lld x %lld pixels, more than max_pixels = %lld allows; "
                         "scale it down or raise max_pixels",
                         (long long)width, (long long)height, (long long)limits->max_pixels);
    return CLIP_OK;
}

clip_status clip_image_fail_impossible(const char *format, int64_t width, int64_t height, size_t n,
                                       struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the %s image claims %lld x %lld pixels, which its file of %s cannot hold; "
                     "get a whole copy of it or leave it out",
                     format, (long long)width, (long long)height, CLIP_COUNT(n, "byte"));
}

clip_status clip_image_fail_cut(const char *format, size_t n, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the %s image is cut off: it ends after %s, before the image does; get a "
                     "whole copy of it or leave it out",
                     format, CLIP_COUNT(n, "byte"));
}

clip_status clip_jpeg_fail_broken(const char *what, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the JPEG image is broken (%s); get another copy of it or leave it out", what);
}

clip_status clip_image_allocate(struct clip_image *image, int64_t width, int64_t height,
                                struct clip_error *error)
{
    int64_t pixels;

    if (!clip_mul_i64(width, height, &pixels))
        return clip_fail(error, CLIP_ERR_MEMORY, "an image of %lld x %lld pixels is too large",
                         (long long)width, (long long)height);
    image->rgb = clip_array_new(pixels, 3, error);
    if (image->rgb == NULL) return CLIP_ERR_MEMORY;
    image->width = width;
    image->height = height;
    return CLIP_OK;
}
