/* HEIF by libheif: HEIC (HEVC) and AVIF (AV1), of several images the primary one, as in
 * pillow-heif: more than 8 bits are shifted down to 8, and alpha is dropped.
 *
 * libheif turns, mirrors and crops as the file's irot, imir and clap say, which belong to the
 * format (ISO/IEC 23008-12, 6.5.10 and 6.5.12). An orientation in EXIF repeats them and is not
 * to be followed, so *orientation stays as it is.
 *
 * libheif is C++ behind C: where a small allocation of its own fails it ends the program. */
#include <stdio.h>
#include <string.h>

#include <libheif/heif.h>

#include "data/image/image_formats.h"

const bool clip_heif_decoder = true;

static const char *name_of(struct clip_image_bytes bytes)
{
    return memcmp(bytes.data + 8, "avi", 3) == 0 ? "AVIF" : "HEIF";
}

/* libheif's sentence ends in a line end, or holds one. */
static clip_status fail(struct clip_image_bytes bytes, struct heif_error why,
                        struct clip_error *error)
{
    const char *name = name_of(bytes);

    if (why.subcode == heif_suberror_Security_limit_exceeded)
        return clip_fail(error, CLIP_ERR_DATA,
                         "the %s image asks for more than libheif allows (%.*s); scale it down or "
                         "leave it out",
                         name, (int)strcspn(why.message, "\r\n"), why.message);
    /* (with another subcode it is the file's fault: an image of 0 x n) */
    if (why.code == heif_error_Memory_allocation_error && why.subcode == heif_suberror_Unspecified)
        return clip_fail(error, CLIP_ERR_MEMORY, "there is no memory to read the image");
    if (why.subcode == heif_suberror_Unsupported_codec)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the %s image is coded in a way that this machine's libheif has no "
                         "decoder for; install libheif-plugin-libde265 (HEIC) or "
                         "libheif-plugin-dav1d (AVIF), or convert the image to PNG or JPEG",
                         name);
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the %s image is broken, cut off or of a kind that libheif does not read "
                     "(%.*s); get another copy of it or leave it out",
                     name, (int)strcspn(why.message, "\r\n"), why.message);
}

/* What decoding may ask for, now that the file has said how large its image is: a grid of tiles has
 * sizes of its own. */
#if LIBHEIF_NUMERIC_VERSION >= 0x01130000
static void limit(struct heif_context *context, const struct clip_image_limits *limits,
                  int64_t longest)
{
    (void)longest;
    heif_context_get_security_limits(context)->max_image_size_pixels = (uint64_t)limits->max_pixels;
}
#else
static void limit(struct heif_context *context, const struct clip_image_limits *limits,
                  int64_t longest)
{
    (void)limits; /* a side can be limited, not an area */
    heif_context_set_maximum_image_size_limit(context, (int)longest + 1);
}
#endif

/* Both sizes that the file states: of what is shown, and of what is coded before it is turned and
 * cropped. */
static clip_status check_sizes(struct heif_context *context, const struct heif_image_handle *handle,
                               const struct clip_image_limits *limits, struct clip_error *error)
{
    clip_status status;
    int64_t width = heif_image_handle_get_ispe_width(handle);
    int64_t height = heif_image_handle_get_ispe_height(handle);

    CLIP_TRY(clip_image_check_size(heif_image_handle_get_width(handle),
                                   heif_image_handle_get_height(handle), limits, error));
    CLIP_TRY(clip_image_check_size(width, height, limits, error));
    limit(context, limits, width > height ? width : height);

out:
    return status;
}

/* A colour under alpha that it was multiplied with, as Pillow's RGBa becomes RGB. */
static uint8_t undo_alpha(int value, int alpha)
{
    int whole = alpha == 0 ? value : 255 * value / alpha;

    return (uint8_t)(whole > 255 ? 255 : whole);
}

static void copy_row(uint8_t *to, const uint8_t *from, int64_t width, bool alpha, bool multiplied)
{
    if (!alpha) {
        memcpy(to, from, (size_t)width * 3);
        return;
    }
    for (int64_t x = 0; x < width; x++, to += 3, from += 4)
        for (int c = 0; c < 3; c++) to[c] = multiplied ? undo_alpha(from[c], from[3]) : from[c];
}

/* The size is that of the pixels: some cameras' files state another one (sides exchanged). */
static clip_status copy_pixels(const struct heif_image *image, bool multiplied,
                               const struct clip_image_limits *limits, struct clip_image *out,
                               struct clip_error *error)
{
    clip_status status;
    int stride;
    int64_t width = heif_image_get_primary_width(image);
    int64_t height = heif_image_get_primary_height(image);
    bool alpha = heif_image_get_chroma_format(image) == heif_chroma_interleaved_RGBA;
    const uint8_t *plane = heif_image_get_plane_readonly(image, heif_channel_interleaved, &stride);

    CLIP_TRY(clip_image_check_size(width, height, limits, error));
    if (plane == NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "libheif gave no pixels; convert the image to PNG or JPEG"));
    CLIP_TRY(clip_image_allocate(out, width, height, error));
    for (int64_t y = 0; y < height; y++)
        copy_row(out->rgb + y * width * 3, plane + y * stride, width, alpha, multiplied);

out:
    return status;
}

static clip_status decode_handle(struct clip_image_bytes bytes,
                                 const struct heif_image_handle *handle,
                                 const struct clip_image_limits *limits, struct clip_image *out,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct heif_image *image = NULL;
    struct heif_decoding_options *options = heif_decoding_options_alloc();
    struct heif_error failed;
    bool alpha = heif_image_handle_has_alpha_channel(handle) != 0;

    if (options == NULL)
        return clip_fail(error, CLIP_ERR_MEMORY, "there is no memory to read an image");
    options->convert_hdr_to_8bit = 1;
    failed = heif_decode_image(handle, &image, heif_colorspace_RGB,
                               alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB,
                               options);
    if (failed.code != heif_error_Ok) CLIP_TRY(fail(bytes, failed, error));
    CLIP_TRY(copy_pixels(image, heif_image_handle_is_premultiplied_alpha(handle) != 0, limits, out,
                         error));

out:
    if (image != NULL) heif_image_release(image);
    heif_decoding_options_free(options);
    return status;
}

/* heif_init counts its calls. It is never matched here: the decoders are looked for once. */
clip_status clip_heif_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                             struct clip_image *out, int *orientation, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct heif_image_handle *handle = NULL;
    struct heif_error failed = heif_init(NULL);
    struct heif_context *context = failed.code == heif_error_Ok ? heif_context_alloc() : NULL;

    (void)orientation;
    if (context == NULL)
        return clip_fail(error, CLIP_ERR_MEMORY, "libheif cannot be started: %s", failed.message);
    heif_context_set_max_decoding_threads(context, 0); /* the loader has threads of its own */
    failed = heif_context_read_from_memory_without_copy(context, bytes.data, bytes.size, NULL);
    if (failed.code != heif_error_Ok) CLIP_TRY(fail(bytes, failed, error));
    failed = heif_context_get_primary_image_handle(context, &handle);
    if (failed.code != heif_error_Ok) CLIP_TRY(fail(bytes, failed, error));
    CLIP_TRY(check_sizes(context, handle, limits, error));
    CLIP_TRY(clip_heif_check_coded(bytes, limits, error));
    CLIP_TRY(decode_handle(bytes, handle, limits, out, error));

out:
    if (handle != NULL) heif_image_handle_release(handle);
    heif_context_free(context);
    return status;
}
