/* Any bytes as an image, all the way to what a model would see. Where they look like PNG, the
 * chunks' checksums are made right first, or hardly any input would get past them. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libheif 1.15 keeps a few bytes of its decoders' where a damaged image makes them fail. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libheif.so\nleak:libdav1d.so\nleak:libde265.so\n";
}

static void mend_checksums(uint8_t *bytes, size_t size)
{
    size_t at = 8;

    if (size < 8 || memcmp(bytes, "\x89PNG", 4) != 0) return;
    while (size - at >= 12) {
        size_t n = (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 |
                   (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        uLong crc;

        if (n > size - at - 12) return;
        crc = crc32(0, bytes + at + 4, (uInt)n + 4);
        for (int i = 0; i < 4; i++) bytes[at + 8 + n + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + n;
    }
}

/* Rules and draws come from the size, so that the bytes stay a plain image. */
static void use(const struct clip_image *image, size_t size)
{
    enum { S = 20 };
    static const double scales[3] = {1, 0.5, 0.08};
    struct clip_preprocess rules = {
        .image_size = S,
        .interpolation = size % 2 == 0 ? CLIP_BICUBIC : CLIP_BILINEAR,
        .resize_mode = (enum clip_resize_mode)(size / 2 % 3),
        .crop = size / 6 % 2 == 0 ? CLIP_CROP_HUGGINGFACE : CLIP_CROP_OPEN_CLIP,
        .std = {1, 1, 1},
    };
    struct clip_augment augment = {.scale_min = scales[size % 3],
                                   .flip = size % 5 == 0,
                                   .pad = size % 7 == 0 ? (int64_t)(size % 50) : 0};
    struct clip_rng rng = clip_rng_at(size, CLIP_RNG_TEST, 0, 0);
    struct clip_error error;
    uint8_t out[S * S * 3];
    float pixels[S * S * 3];

    if (clip_preprocess_image(&rules, image, out, &error) == CLIP_OK)
        clip_preprocess_normalise(&rules, out, pixels);
    if (clip_augment_image(&rules, &augment, &rng, image, out, &error) == CLIP_OK)
        clip_preprocess_normalise(&rules, out, pixels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clip_image_limits limits = {
        .max_pixels = 1 << 13, .upright = size % 3 == 0, .enough = size % 4 == 0 ? 9 : 0};
    struct clip_image image;
    struct clip_error error;
    uint8_t *bytes = malloc(size + 1);

    if (bytes == NULL) abort();
    memcpy(bytes, data, size);
    mend_checksums(bytes, size);
    if (clip_image_decode(bytes, size, &limits, &image, &error) == CLIP_OK) {
        use(&image, size);
        clip_image_release(&image);
    }
    free(bytes);
    return 0;
}
