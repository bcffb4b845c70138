/* Images: decoding, Pillow-exact resizing, CLIP's preprocessing, training augmentation.
 *
 * From the moment it is decoded an image is 8-bit RGB in memory. Everything after that is exact
 * integer arithmetic, equal to Pillow 13 and torchvision 0.28 to the bit: the same input bytes give
 * the same output bytes on every machine. All functions are thread-safe. docs/preprocessing.md says
 * what is done to an image and why. Error messages speak of "the image"; callers put its name
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

/* Does the file's name have the suffix of a format that is read here (.jpg, .PNG, ...)? */
bool clip_image_has_suffix(const char *path);
const char *clip_image_suffixes(void); /* all of them, with a blank between two */
/* Would it have one if the program had been built with libheif? */
bool clip_image_needs_libheif(const char *path);

struct clip_image_limits {
    /* an image with a larger width * height is refused before anything is decoded; the usual limit
     * is CLIP_IMAGE_MAX_PIXELS */
    int64_t max_pixels;
    bool upright; /* turn the image as its EXIF orientation says */
    /* 0: exactly as in Pillow. > 0: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long
     * as both sides have at least this many pixels, in a fraction of the time (libjpeg-turbo's
     * scaled transform; other decoders ignore it) */
    int64_t enough;
};
#define CLIP_IMAGE_MAX_PIXELS 100000000
/* "libjpeg-turbo" or "stb_image", by how it was built */
extern const char *const clip_jpeg_decoder;
extern const bool clip_webp_decoder; /* was it built with libwebp? */
extern const bool clip_heif_decoder; /* was it built with libheif? */

/* Decodes JPEG, PNG, GIF and WebP (the first frame), BMP, HEIC and AVIF (the primary image), and of
 * cameras' raw files the largest preview, recognised by their content and not by a name. The image
 * is converted as by Pillow's convert("RGB"): alpha and transparency are dropped, palettes are
 * looked up, 16-bit colours become their high bytes, 16-bit grey without alpha is cut off at 255,
 * CMYK is as in Pillow. The header is checked against max_pixels, and against what a file of this
 * size can hold, before memory is taken. A file that is cut off, a wrong checksum and zero pixels
 * are errors. *out is {0} after a failure; release it after success. */
clip_status clip_image_decode(const uint8_t *bytes, size_t n,
                              const struct clip_image_limits *limits, struct clip_image *out,
                              struct clip_error *error);
/* The same from a file, whose name comes before the message. */
clip_status clip_image_decode_file(const char *path, const struct clip_image_limits *limits,
                                   struct clip_image *out, struct clip_error *error);
/* Writes an 8-bit RGB PNG through zlib; the file is replaced atomically. encode appends it to
 * `out`. */
clip_status clip_image_write_png(const char *path, const struct clip_image *image,
                                 struct clip_error *error);
clip_status clip_image_encode_png(const struct clip_image *image, struct clip_buffer *out,
                                  struct clip_error *error);

/* Appends the image to `out` as a JPEG if libjpeg is built in, else as a PNG: for showing, not for
 * computing. At most 65500 pixels on a side. */
clip_status clip_image_encode_small(const struct clip_image *image, struct clip_buffer *out,
                                    struct clip_error *error);
extern const char *const clip_image_small_type; /* "image/jpeg" or "image/png" */

enum clip_interpolation { CLIP_BICUBIC, CLIP_BILINEAR };
enum clip_resize_mode { CLIP_RESIZE_SHORTEST, CLIP_RESIZE_LONGEST, CLIP_RESIZE_SQUASH };
/* Whose centre crop is taken where one side gets half a pixel more: rounded to even (open_clip,
 * torchvision), or down (transformers). */
enum clip_crop { CLIP_CROP_OPEN_CLIP, CLIP_CROP_HUGGINGFACE };
/* Their words (core/choice.h): "bicubic", ...; "shortest", ...; "open_clip", ... */
const char *clip_interpolation_name(int interpolation);
const char *clip_resize_mode_name(int mode);
const char *clip_crop_name(int crop);

/* Pillow's Image.resize((out->width, out->height), BICUBIC or BILINEAR): antialiased, in fixed
 * point, equal to the bit. The caller sets the sides of `out` and owns its pixels, which must not
 * overlap the image. */
clip_status clip_image_resize(struct clip_image *out, const struct clip_image *image,
                              enum clip_interpolation interpolation, struct clip_error *error);

struct clip_preprocess {
    int64_t image_size; /* S */
    enum clip_interpolation interpolation;
    enum clip_resize_mode resize_mode;
    /* with SHORTEST, what the short side becomes before the crop, at least S; 0: S (transformers'
     * "size" beside "crop_size") */
    int64_t shortest;
    enum clip_crop crop;
    float mean[3], std[3];
};
/* Evaluation's preprocessing: resizes and crops the centre. out [S,S,3].
 *   SHORTEST  torchvision's Resize(S) and CenterCrop(S): the short side becomes S (or `shortest`)
 *   LONGEST   open_clip's ResizeKeepRatio and CenterCropOrPad: the long side becomes S, with black
 *             bars; CLIP_ERR_DATA if the short side would round to 0
 *   SQUASH    both sides become S */
clip_status clip_preprocess_image(const struct clip_preprocess *preprocess,
                                  const struct clip_image *image, uint8_t *out,
                                  struct clip_error *error);
/* out = (pixel / 255 - mean) / std in float32, channels first: in [S,S,3] -> out [3,S,S]. */
void clip_preprocess_normalise(const struct clip_preprocess *preprocess, const uint8_t *in,
                               float *out);

struct clip_augment {
    /* RandomResizedCrop takes an area from scale_min to 1 with an aspect of 3/4 to 4/3; 1 with pad
     * 0: evaluation's preprocessing */
    double scale_min;
    bool flip; /* mirror left and right, half of the time */
    /* > 0: instead, the preprocessed image is padded by so many black pixels on each side and
     * cropped back at a random place */
    int64_t pad;
};
/* The value for limits.enough for such images: a side so large that no crop that may be drawn has
 * to be enlarged because of it. */
int64_t clip_augment_enough(const struct clip_preprocess *preprocess,
                            const struct clip_augment *augment);
/* Training's preprocessing. out [S,S,3]. It draws from rng in this order: with pad, the crop's left
 * and then its top in [0, 2 pad]; without pad and with scale_min < 1, up to ten times a share of
 * the area and the logarithm of the aspect, and, if that crop fits, its top and left (torchvision's
 * order); last, with flip, one coin. The interpolation is the preprocess's; the crop is squashed to
 * S x S. */
clip_status clip_augment_image(const struct clip_preprocess *preprocess,
                               const struct clip_augment *augment, struct clip_rng *rng,
                               const struct clip_image *image, uint8_t *out,
                               struct clip_error *error);

#endif
