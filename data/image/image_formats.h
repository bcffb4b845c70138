/* What the decoders of the image formats share; only for data/image/.
 *
 * Each clip_FORMAT_decode gets bytes whose signature has been recognised. It fills *out (which
 * starts as {0}) and, if the file has one, *orientation: EXIF's 1 to 8; otherwise it does not
 * change it. After a failure *out may be half filled; the caller releases it. */
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
    clip_webp_decode, clip_heif_decode, clip_camera_decode, clip_raw_decode;

extern const char clip_raw_signature[8];
/* Appends the image to `out` as packed data sets hold pixels. */
clip_status clip_raw_encode(const struct clip_image *image, struct clip_buffer *out,
                            struct clip_error *error);

/* Refuses sizes of 0 x n, and of more than max_pixels. It is called before memory is taken for
 * pixels. */
clip_status clip_image_check_size(int64_t width, int64_t height,
                                  const struct clip_image_limits *limits, struct clip_error *error);
/* Fails with "FORMAT image claims W x H pixels, which its N bytes cannot hold". */
clip_status clip_image_fail_impossible(const char *format, int64_t width, int64_t height, size_t n,
                                       struct clip_error *error);
/* Fails with "FORMAT image is cut off after N bytes". */
clip_status clip_image_fail_cut(const char *format, size_t n, struct clip_error *error);
/* Takes zeroed memory for width x height pixels and sets the sizes. */
clip_status clip_image_allocate(struct clip_image *image, int64_t width, int64_t height,
                                struct clip_error *error);

/* The orientation in an EXIF block (TIFF header first): 1 to 8, or 0 if there is none. */
int clip_exif_orientation(const uint8_t *exif, size_t n);
/* Turns and mirrors the image as its orientation says. */
clip_status clip_image_turn(struct clip_image *image, int orientation, struct clip_error *error);

/* Boxes (image_boxes.c). */
struct clip_box {
    uint8_t type[4];
    struct clip_image_bytes body;
};
/* *box = the first box in *in, which then begins behind it. false at the end, and with *cut set
 * where something is left that is no whole box. */
bool clip_box_next(struct clip_image_bytes *in, struct clip_box *box, bool *cut);
/* *out = the content of the first box of that type whose content begins with the n bytes `start`
 * (any n bytes for NULL), without these. */
bool clip_box_find(struct clip_image_bytes in, const char *type, const char *start, size_t n,
                   struct clip_image_bytes *out, bool *cut);

/* The largest size that something is coded with; 0 x 0: nothing was found. */
struct clip_coded_size {
    int64_t width, height;
};
void clip_coded_size_add(struct clip_coded_size *largest, uint64_t width, uint64_t height);
/* Of a unit of HEVC (NAL), if it is a sequence parameter set. */
void clip_hevc_size(struct clip_image_bytes unit, struct clip_coded_size *largest);
/* Of the sequence and the frame headers of AV1. false: a frame has no sequence header before it. */
bool clip_av1_size(struct clip_image_bytes data, struct clip_coded_size *largest);
/* Refuses a HEIF file in which more pixels than max_pixels are coded, whatever size it states. */
clip_status clip_heif_check_coded(struct clip_image_bytes file,
                                  const struct clip_image_limits *limits, struct clip_error *error);

/* The previews of a camera's raw file. */
struct clip_camera_previews {
    struct clip_image_bytes largest; /* a JPEG in the file; of equal ones the first */
    int64_t width, height;           /* its size; 0: there is none */
    int orientation;                 /* EXIF's, as the raw file says; 0: it does not */
    bool camera;                     /* it is a camera's, not any TIFF */
    bool cut;                        /* something is said to lie behind the file's end */
};
enum { CLIP_CAMERA_PREVIEW = 1024 }; /* pixels that a preview's longer side has to have */
/* Takes the n bytes at `at` for a preview if they begin as a JPEG that can be read here, and if it
 * is larger than what was found so far. */
void clip_camera_add(struct clip_camera_previews *found, struct clip_image_bytes file, uint64_t at,
                     uint64_t n);
/* Finds those of a file that begins as TIFF, or as its relatives (IIRO, IIRS, MMOR, IIU) do. */
clip_status clip_camera_read_tiff(struct clip_image_bytes file, struct clip_camera_previews *found,
                                  struct clip_error *error);

/* One segment of a JPEG (T.81, B.1.1.4); the segment of a scan (SOS) includes its entropy-coded
 * data. */
struct clip_jpeg_segment {
    int marker;           /* 0xc0 (SOF0) and so on; 0xd9 (EOI), which has no body, at the end */
    const uint8_t *body;  /* after marker and length */
    int64_t n;            /* bytes of the body, without a scan's data */
    const uint8_t *whole; /* the whole segment, from its marker on */
    size_t size;          /* bytes of the whole segment */
};
/* Finds the segment at or after *at, and moves *at behind it; begin with 2. It checks only
 * lengths. */
clip_status clip_jpeg_next(struct clip_image_bytes bytes, size_t *at, struct clip_jpeg_segment *out,
                           struct clip_error *error);
/* Fails with "the JPEG image is broken (WHAT)". */
clip_status clip_jpeg_fail_broken(const char *what, struct clip_error *error);
/* The size of a JPEG, by its frame header; false for bytes that are none, or one that is coded in a
 * way that is not read here (lossless, as sensors' data are). */
bool clip_jpeg_measure(struct clip_image_bytes bytes, int64_t *width, int64_t *height);
/* Decodes the pixels of a JPEG whose structure and size image_jpeg.c has checked: in
 * image_jpeg_turbo.c if there is libjpeg-turbo, else in image_jpeg_stb.c. */
clip_status clip_jpeg_pixels(struct clip_image_bytes bytes, int components,
                             const struct clip_image_limits *limits, struct clip_image *out,
                             struct clip_error *error);

/* stb_image's JPEG decoder, for bytes that image_jpeg_stb.c has checked. It returns RGB, to be
 * released with free(); NULL with *reason set to stb's few words. */
uint8_t *clip_stb_decode(const uint8_t *bytes, int n, int *width, int *height, const char **reason);

/* Computes the w x h part, from (x, y), of what resizing src to width x height gives; dst
 * [h,w,channels]. Rows of src are `stride` bytes apart, so src may itself be a part of a larger
 * image. */
struct clip_resize {
    const uint8_t *src;
    int64_t src_width, src_height, stride;
    int channels;
    double box[4];
    enum clip_interpolation interpolation;
    int64_t width, height; /* the whole result's */
    int64_t x, y, w, h;    /* the wanted part's */
};
clip_status clip_resize_part(uint8_t *dst, const struct clip_resize *resize,
                             struct clip_error *error);

#endif
