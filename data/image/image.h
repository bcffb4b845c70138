/* Images: decoding, Pillow-exact resizing, CLIP's preprocessing, training augmentation.
 *
 * An image is 8-bit RGB in memory from the moment it is decoded; everything after that is exact
 * whole-number arithmetic, equal to Pillow 13 and torchvision 0.28 to the bit. The same bytes in
 * give the same bytes out on every machine. All functions are thread-safe. docs/preprocessing.md
 * says what is done to an image and why. Messages speak of "the image": callers put its name
 * before them. */
#ifndef CLIP_DATA_IMAGE_IMAGE_H
#define CLIP_DATA_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/status.h"

struct clip_image { /* 8-bit RGB, rows from the top, no padding; start from {0} */
    int64_t width, height;
    uint8_t *rgb;
};
void clip_image_release(struct clip_image *image);

/* Does a file of this name look like an image of a format that is read here? (.jpg, .PNG, ...) */
bool clip_image_has_suffix(const char *path);

struct clip_image_limits {
    int64_t max_pixels; /* width * height above it is refused before anything is decoded; the usual
                         * limit is CLIP_IMAGE_MAX_PIXELS */
    bool upright;       /* turn as the EXIF orientation says */
    int64_t enough;     /* 0: exactly as Pillow. > 0: a JPEG may come out at 1/2, 1/4 or 1/8 of its
                         * size, both sides at least this many pixels, at a fraction of the time
                         * (libjpeg-turbo's scaled transform; other decoders pass it over) */
};
#define CLIP_IMAGE_MAX_PIXELS 100000000
extern const char *const clip_jpeg_decoder; /* "libjpeg-turbo" or "stb_image": as it was built */
extern const bool clip_webp_decoder;        /* was it built with libwebp? */

/* JPEG, PNG, GIF and WebP (first frame) and BMP; found out by content, not by name. Converted as
 * Pillow's convert("RGB"): alpha and transparency dropped, palettes looked up, 16-bit colour by its
 * high byte, 16-bit grey without alpha cut off at 255, CMYK as Pillow. The header is checked
 * against max_pixels and against what the file's size can hold before memory is taken. A cut file,
 * a wrong checksum and zero pixels are errors. *out is {0} after a failure; release it after
 * success. */
clip_status clip_image_decode(const uint8_t *bytes, size_t n,
                              const struct clip_image_limits *limits, struct clip_image *out,
                              struct clip_error *error);
/* The same from a file; its name stands before the message. */
clip_status clip_image_decode_file(const char *path, const struct clip_image_limits *limits,
                                   struct clip_image *out, struct clip_error *error);
/* 8-bit RGB PNG, through zlib; the file is replaced atomically. encode appends to `out`. */
clip_status clip_image_write_png(const char *path, const struct clip_image *image,
                                 struct clip_error *error);
clip_status clip_image_encode_png(const struct clip_image *image, struct clip_buffer *out,
                                  struct clip_error *error);

/* For showing, not for computing: a JPEG where libjpeg is built in, else a PNG; appended to `out`.
 * At most 65500 pixels a side. */
clip_status clip_image_encode_small(const struct clip_image *image, struct clip_buffer *out,
                                    struct clip_error *error);
extern const char *const clip_image_small_type; /* "image/jpeg" or "image/png" */

enum clip_interpolation { CLIP_BICUBIC, CLIP_BILINEAR };
enum clip_resize_mode { CLIP_RESIZE_SHORTEST, CLIP_RESIZE_LONGEST, CLIP_RESIZE_SQUASH };
/* Whose centre crop where half a pixel more is left at one side: to even (open_clip, torchvision),
 * or down (transformers). */
enum clip_crop { CLIP_CROP_OPEN_CLIP, CLIP_CROP_HUGGINGFACE };
/* Their words (core/choice.h): "bicubic", ...; "shortest", ...; "open_clip", ... */
const char *clip_interpolation_name(int interpolation);
const char *clip_resize_mode_name(int mode);
const char *clip_crop_name(int crop);

/* Pillow's Image.resize((out->width, out->height), BICUBIC or BILINEAR): antialiased, fixed-point,
 * equal to the bit. `out` has its sides set, and its pixels are the caller's; it does not overlap
 * the image. */
clip_status clip_image_resize(struct clip_image *out, const struct clip_image *image,
                              enum clip_interpolation interpolation, struct clip_error *error);

struct clip_preprocess {
    int64_t image_size; /* S */
    enum clip_interpolation interpolation;
    enum clip_resize_mode resize_mode;
    int64_t shortest; /* with SHORTEST, what the short side becomes before the crop, at least S;
                       * 0: S (transformers' "size" beside "crop_size") */
    enum clip_crop crop;
    float mean[3], std[3];
};
/* Evaluation: resize, centre crop. out [S,S,3].
 *   SHORTEST  torchvision's Resize(S) and CenterCrop(S): the short side becomes S (or `shortest`)
 *   LONGEST   open_clip's ResizeKeepRatio and CenterCropOrPad: the long side becomes S, black bars;
 *             CLIP_ERR_DATA where the short side would round to 0
 *   SQUASH    both sides become S */
clip_status clip_preprocess_image(const struct clip_preprocess *preprocess,
                                  const struct clip_image *image, uint8_t *out,
                                  struct clip_error *error);
/* (pixel / 255 - mean) / std in float32, channels first: in [S,S,3] -> out [3,S,S]. */
void clip_preprocess_normalise(const struct clip_preprocess *preprocess, const uint8_t *in,
                               float *out);

struct clip_augment {
    double scale_min; /* RandomResizedCrop's area from scale_min to 1, aspect 3/4 to 4/3;
                       * 1 with pad 0: evaluation's preprocessing */
    bool flip;        /* horizontal, half of the time */
    int64_t pad;      /* > 0: instead, the preprocessed image padded by so many black pixels on
                       * each side and cropped back at a random place */
};
/* What to set as limits.enough for such images: the side at which no crop that can be drawn has
 * to be enlarged because of it. */
int64_t clip_augment_enough(const struct clip_preprocess *preprocess,
                            const struct clip_augment *augment);
/* Training. out [S,S,3]. Draws from rng in this order: with pad, the crop's left and then its
 * top in [0, 2 pad]; without and scale_min < 1, up to ten times a share of the area, the
 * logarithm of the aspect, and where that fits the crop's top and left (torchvision's order);
 * last, with flip, one coin. Interpolation is the preprocess's; the crop is squashed to S x S. */
clip_status clip_augment_image(const struct clip_preprocess *preprocess,
                               const struct clip_augment *augment, struct clip_rng *rng,
                               const struct clip_image *image, uint8_t *out,
                               struct clip_error *error);

#endif
