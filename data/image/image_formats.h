/* What the decoders of the image formats share; not for use outside data/image*.c.
 *
 * Each clip_FORMAT_decode gets bytes whose signature has been recognised, fills *out (which
 * starts as {0}) and, where the file has one, *orientation: EXIF's 1 to 8, left alone otherwise.
 * It may leave *out half filled after a failure: the caller releases it. */
#ifndef CLIP_DATA_IMAGE_IMAGE_FORMATS_H
#define CLIP_DATA_IMAGE_IMAGE_FORMATS_H

#include "data/image/image.h"

struct clip_image_bytes {
    const uint8_t *data;
    size_t size;
};

typedef clip_status clip_image_decoder(struct clip_image_bytes bytes,
                                       const struct clip_image_limits *limits,
                                       struct clip_image *out, int *orientation,
                                       struct clip_error *error);
clip_image_decoder clip_jpeg_decode, clip_png_decode, clip_gif_decode, clip_bmp_decode,
    clip_webp_decode, clip_raw_decode;

extern const char clip_raw_signature[8];
/* The image as packed data sets hold pixels, appended to `out`. */
clip_status clip_raw_encode(const struct clip_image *image, struct clip_buffer *out,
                            struct clip_error *error);

/* Refuses 0 x n, and more than max_pixels. Called before memory is taken for pixels. */
clip_status clip_image_check_size(int64_t width, int64_t height,
                                  const struct clip_image_limits *limits, struct clip_error *error);
/* "FORMAT image claims W x H pixels, which its N bytes cannot hold". */
clip_status clip_image_fail_impossible(const char *format, int64_t width, int64_t height, size_t n,
                                       struct clip_error *error);
/* "FORMAT image is cut off after N bytes". */
clip_status clip_image_fail_cut(const char *format, size_t n, struct clip_error *error);
/* Takes zeroed memory for width x height pixels and sets the sizes. */
clip_status clip_image_allocate(struct clip_image *image, int64_t width, int64_t height,
                                struct clip_error *error);

/* The orientation in an EXIF block (TIFF header first): 1 to 8, or 0 where there is none. */
int clip_exif_orientation(const uint8_t *exif, size_t n);
/* Turns and mirrors the image so that it stands as its orientation says. */
clip_status clip_image_turn(struct clip_image *image, int orientation, struct clip_error *error);

/* One segment of a JPEG (T.81, B.1.1.4); that of a scan (SOS) ends with its entropy-coded data. */
struct clip_jpeg_segment {
    int marker;           /* 0xc0 (SOF0) and so on; 0xd9 (EOI), without a body, at the end */
    const uint8_t *body;  /* behind marker and length */
    int64_t n;            /* bytes of it, without a scan's data */
    const uint8_t *whole; /* from the marker on */
    size_t size;          /* bytes of that */
};
/* The segment at or after *at, which then lies behind it; begin with 2. Checks lengths alone. */
clip_status clip_jpeg_next(struct clip_image_bytes bytes, size_t *at, struct clip_jpeg_segment *out,
                           struct clip_error *error);
/* "the JPEG image is broken (WHAT)" */
clip_status clip_jpeg_fail_broken(const char *what, struct clip_error *error);
/* The pixels of a JPEG whose structure and size image_jpeg.c has found good: in
 * image_jpeg_turbo.c where there is libjpeg-turbo, else in image_jpeg_stb.c. */
clip_status clip_jpeg_pixels(struct clip_image_bytes bytes, int components,
                             const struct clip_image_limits *limits, struct clip_image *out,
                             struct clip_error *error);

/* stb_image's JPEG decoder on bytes that image_jpeg_stb.c has checked. RGB, to be released with
 * free(); NULL with *reason set to stb's few words. */
uint8_t *clip_stb_decode(const uint8_t *bytes, int n, int *width, int *height, const char **reason);

/* A w x h part, from (x, y), of what resizing src to width x height gives; dst [h,w,channels].
 * src rows are `stride` bytes apart, so that src may itself be a part of a larger image. */
struct clip_resize {
    const uint8_t *src;
    int64_t src_width, src_height, stride;
    int channels;
    double box[4];
    enum clip_interpolation interpolation;
    int64_t width, height; /* of the whole result */
    int64_t x, y, w, h;    /* the part wanted */
};
clip_status clip_resize_part(uint8_t *dst, const struct clip_resize *resize,
                             struct clip_error *error);

#endif
