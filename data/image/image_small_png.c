/* Thumbnails as PNG, for builds without libjpeg: larger, and as good. */
#include "data/image/image.h"

const char *const clip_image_small_type = "image/png";

clip_status clip_image_encode_small(const struct clip_image *image, struct clip_buffer *out,
                                    struct clip_error *error)
{
    return clip_image_encode_png(image, out, error);
}
