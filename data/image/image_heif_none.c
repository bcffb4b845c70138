/* HEIC and AVIF in a build without libheif: an error that says what to do. */
#include "data/image/image_formats.h"

const bool clip_heif_decoder = false;

clip_status clip_heif_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                             struct clip_image *out, int *orientation, struct clip_error *error)
{
    (void)bytes, (void)limits, (void)out, (void)orientation;
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the image is HEIC or AVIF, which this build does not read; install "
                     "libheif-dev and build again, or convert the image to PNG or JPEG");
}
