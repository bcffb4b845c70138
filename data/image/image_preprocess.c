/* What is done to an image before the model gets it: torchvision's and open_clip's transforms. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "data/image/image_formats.h"

const char *clip_interpolation_name(int interpolation)
{
    static const char *const names[] = {[CLIP_BICUBIC] = "bicubic", [CLIP_BILINEAR] = "bilinear"};
    return CLIP_NAME_OF(names, interpolation);
}

const char *clip_resize_mode_name(int mode)
{
    static const char *const names[] = {
        [CLIP_RESIZE_SHORTEST] = "shortest",
        [CLIP_RESIZE_LONGEST] = "longest",
        [CLIP_RESIZE_SQUASH] = "squash",
    };
    return CLIP_NAME_OF(names, mode);
}

const char *clip_crop_name(int crop)
{
    static const char *const names[] = {
        [CLIP_CROP_OPEN_CLIP] = "open_clip",
        [CLIP_CROP_HUGGINGFACE] = "huggingface",
    };
    return CLIP_NAME_OF(names, crop);
}

/* Python's round(): halves are rounded to even, as the processor does it. */
static int64_t round_even(double x) { return (int64_t)nearbyint(x); }

/* Where a centre crop of `size` begins in `whole` >= size samples. */
static int64_t crop_start(int64_t whole, int64_t size, enum clip_crop crop)
{
    return crop == CLIP_CROP_HUGGINGFACE ? (whole - size) / 2
                                         : round_even((double)(whole - size) / 2);
}

static struct clip_resize whole_image(const struct clip_preprocess *preprocess,
                                      const struct clip_image *image)
{
    int64_t S = preprocess->image_size;

    return (struct clip_resize){
        .src = image->rgb,
        .src_width = image->width,
        .src_height = image->height,
        .stride = image->width * 3,
        .channels = 3,
        .interpolation = preprocess->interpolation,
        .box = {0, 0, (double)image->width, (double)image->height},
        .width = S,
        .height = S,
        .w = S,
        .h = S,
    };
}

/* The short side becomes S (or `shortest`), the long one int(S long / short), and the S x S pixels
 * in the middle are kept. Only those are computed. */
static clip_status shortest(const struct clip_preprocess *preprocess,
                            const struct clip_image *image, uint8_t *out, struct clip_error *error)
{
    struct clip_resize resize = whole_image(preprocess, image);
    int64_t S = preprocess->image_size, side = preprocess->shortest > 0 ? preprocess->shortest : S;
    double w = (double)image->width, h = (double)image->height;

    resize.width = resize.height = side;
    if (image->width <= image->height)
        resize.height = (int64_t)((double)side * h / w);
    else
        resize.width = (int64_t)((double)side * w / h);
    resize.x = crop_start(resize.width, S, preprocess->crop);
    resize.y = crop_start(resize.height, S, preprocess->crop);
    return clip_resize_part(out, &resize, error);
}

/* The long side becomes S; there are black bars beside the short one, of which the smaller is at
 * the left or the top. */
static clip_status longest(const struct clip_preprocess *preprocess, const struct clip_image *image,
                           uint8_t *out, struct clip_error *error)
{
    clip_status status;
    struct clip_resize resize = whole_image(preprocess, image);
    int64_t S = preprocess->image_size, left, top;
    double rw = (double)image->width / (double)S, rh = (double)image->height / (double)S;
    double ratio = rw > rh ? rw : rh;
    uint8_t *small = NULL;

    resize.width = resize.w = round_even((double)image->width / ratio);
    resize.height = resize.h = round_even((double)image->height / ratio);
    if (resize.width < 1 || resize.height < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "an image of %lld x %lld pixels has no side left when its long side "
                         "becomes %lld; leave it out or use resize_mode = shortest",
                         (long long)image->width, (long long)image->height, (long long)S);
    left = (S - resize.width) / 2;
    top = (S - resize.height) / 2;
    CLIP_NEW(small, resize.width * resize.height * 3);
    CLIP_TRY(clip_resize_part(small, &resize, error));
    memset(out, 0, (size_t)(S * S * 3));
    for (int64_t y = 0; y < resize.height; y++)
        memcpy(out + ((top + y) * S + left) * 3, small + y * resize.width * 3,
               (size_t)resize.width * 3);

out:
    free(small);
    return status;
}

/* Checks that sizes are within the limits of the arithmetic here and in the resizing. */
static clip_status check_sizes(const struct clip_preprocess *preprocess,
                               const struct clip_image *image, struct clip_error *error)
{
    if (preprocess->image_size < 1 || preprocess->image_size > 16384)
        return clip_fail(error, CLIP_ERR_USAGE, "image_size = %lld is not between 1 and 16384",
                         (long long)preprocess->image_size);
    if (preprocess->shortest != 0 &&
        (preprocess->shortest < preprocess->image_size || preprocess->shortest > 16384))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "images cannot be resized to a short side of %lld for a crop of %lld",
                         (long long)preprocess->shortest, (long long)preprocess->image_size);
    if (image->width < 1 || image->height < 1 || image->width > INT32_MAX ||
        image->height > INT32_MAX)
        return clip_fail(error, CLIP_ERR_DATA, "an image of %lld x %lld pixels cannot be used",
                         (long long)image->width, (long long)image->height);
    return CLIP_OK;
}

clip_status clip_preprocess_image(const struct clip_preprocess *preprocess,
                                  const struct clip_image *image, uint8_t *out,
                                  struct clip_error *error)
{
    clip_status status = check_sizes(preprocess, image, error);
    struct clip_resize squash;

    if (status != CLIP_OK) return status;
    switch (preprocess->resize_mode) {
    case CLIP_RESIZE_SHORTEST: return shortest(preprocess, image, out, error);
    case CLIP_RESIZE_LONGEST: return longest(preprocess, image, out, error);
    case CLIP_RESIZE_SQUASH: break;
    }
    squash = whole_image(preprocess, image);
    return clip_resize_part(out, &squash, error);
}

void clip_preprocess_normalise(const struct clip_preprocess *preprocess, const uint8_t *in,
                               float *out)
{
    int64_t n = preprocess->image_size * preprocess->image_size;
    float table[3][256];

    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)v / 255.0f - preprocess->mean[c]) / preprocess->std[c];
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) out[c * n + i] = table[c][in[3 * i + c]];
}

/* ---- Augmentation ---- */

struct crop {
    int64_t x, y, w, h;
};

/* torchvision's RandomResizedCrop.get_params with ratio (3/4, 4/3). */
static struct crop draw_crop(double scale_min, struct clip_rng *rng, int64_t width, int64_t height)
{
    const double narrow = 3.0 / 4.0, wide = 4.0 / 3.0;
    double area = (double)width * (double)height, ratio = (double)width / (double)height;
    struct crop crop;

    for (int i = 0; i < 10; i++) {
        double share = area * clip_rng_range(rng, scale_min, 1.0);
        double aspect = exp(clip_rng_range(rng, log(narrow), log(wide)));

        crop.w = round_even(sqrt(share * aspect));
        crop.h = round_even(sqrt(share / aspect));
        if (crop.w < 1 || crop.w > width || crop.h < 1 || crop.h > height) continue;
        crop.y = clip_rng_below(rng, (uint32_t)(height - crop.h + 1));
        crop.x = clip_rng_below(rng, (uint32_t)(width - crop.w + 1));
        return crop;
    }
    crop.w = width;
    crop.h = height;
    if (ratio < narrow)
        crop.h = round_even((double)width / narrow);
    else if (ratio > wide)
        crop.w = round_even((double)height * wide);
    crop.y = (height - crop.h) / 2;
    crop.x = (width - crop.w) / 2;
    return crop;
}

/* The narrowest crop has the share scale_min of a square and sides of 3 to 4, so its short side is
 * sqrt(3/4 scale_min) of the square's. */
int64_t clip_augment_enough(const struct clip_preprocess *preprocess,
                            const struct clip_augment *augment)
{
    bool crops = augment->pad == 0 && augment->scale_min < 1;

    return (int64_t)ceil((double)preprocess->image_size /
                         (crops ? sqrt(0.75 * augment->scale_min) : 1));
}

/* The crop is resized as an image by itself: what lies outside it has no weight at its edges. */
static clip_status random_resized_crop(const struct clip_preprocess *preprocess, double scale_min,
                                       struct clip_rng *rng, const struct clip_image *image,
                                       uint8_t *out, struct clip_error *error)
{
    struct crop crop = draw_crop(scale_min, rng, image->width, image->height);
    struct clip_resize resize = whole_image(preprocess, image);

    resize.src += (crop.y * image->width + crop.x) * 3;
    resize.src_width = crop.w;
    resize.src_height = crop.h;
    resize.box[2] = (double)crop.w;
    resize.box[3] = (double)crop.h;
    return clip_resize_part(out, &resize, error);
}

/* Crops S x S pixels at a random place out of the preprocessed image with `pad` black pixels around
 * it. */
static clip_status padded_crop(const struct clip_preprocess *preprocess, int64_t pad,
                               struct clip_rng *rng, const struct clip_image *image, uint8_t *out,
                               struct clip_error *error)
{
    clip_status status;
    int64_t S = preprocess->image_size;
    int64_t left = clip_rng_below(rng, (uint32_t)(2 * pad + 1));
    int64_t top = clip_rng_below(rng, (uint32_t)(2 * pad + 1));
    uint8_t *whole = NULL;

    CLIP_NEW(whole, S * S * 3);
    CLIP_TRY(clip_preprocess_image(preprocess, image, whole, error));
    memset(out, 0, (size_t)(S * S * 3));
    for (int64_t y = 0; y < S; y++) {
        int64_t from_y = y + top - pad, from_x = left > pad ? left - pad : 0;
        int64_t to_x = left < pad ? pad - left : 0, n = S - from_x - to_x;

        if (from_y < 0 || from_y >= S || n <= 0) continue;
        memcpy(out + (y * S + to_x) * 3, whole + (from_y * S + from_x) * 3, (size_t)n * 3);
    }

out:
    free(whole);
    return status;
}

static void flip(uint8_t *rgb, int64_t S)
{
    for (int64_t y = 0; y < S; y++) {
        uint8_t *left = rgb + y * S * 3, *right = left + (S - 1) * 3;

        for (; left < right; left += 3, right -= 3) {
            uint8_t kept[3];

            memcpy(kept, left, 3);
            memcpy(left, right, 3);
            memcpy(right, kept, 3);
        }
    }
}

clip_status clip_augment_image(const struct clip_preprocess *preprocess,
                               const struct clip_augment *augment, struct clip_rng *rng,
                               const struct clip_image *image, uint8_t *out,
                               struct clip_error *error)
{
    clip_status status;

    CLIP_TRY(check_sizes(preprocess, image, error));
    if (augment->pad < 0 || augment->pad > 16384 || !(augment->scale_min > 0) ||
        augment->scale_min > 1)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "aug_pad = %lld is not between 0 and 16384, or aug_scale_min = %g is not "
                         "above 0 and up to 1",
                         (long long)augment->pad, augment->scale_min);
    if (augment->pad > 0)
        CLIP_TRY(padded_crop(preprocess, augment->pad, rng, image, out, error));
    else if (augment->scale_min < 1)
        CLIP_TRY(random_resized_crop(preprocess, augment->scale_min, rng, image, out, error));
    else
        CLIP_TRY(clip_preprocess_image(preprocess, image, out, error));
    if (augment->flip && clip_rng_below(rng, 2) == 1) flip(out, preprocess->image_size);

out:
    return status;
}
