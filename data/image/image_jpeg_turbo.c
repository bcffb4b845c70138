/* JPEG's pixels by libjpeg-turbo: Pillow's decoder, used in Pillow's way, so that the bits are the
 * same. (JpegDecode.c and JpegImagePlugin.py of Pillow 13: slow integer transform, fancy
 * upsampling, four components as inverted CMYK. What the library only warns of, such as codes that
 * make no sense, is ignored; if the bytes end before the image does, that is an error.)
 *
 * Fast decoding: the transform itself can give a half, a quarter or an eighth of the size, which
 * saves most of the time. The smallest of them is taken whose sides are both still at least
 * limits->enough. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "data/image/image_formats.h"

const char *const clip_jpeg_decoder = "libjpeg-turbo";

struct session {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr manager;
    jmp_buf failed;
    clip_status status;
    size_t size;
    struct clip_error *error;
    uint8_t *row; /* [width,4] of a CMYK image */
};

/* Called by libjpeg on an error; it must not return. */
static void on_error(j_common_ptr info)
{
    struct session *session = info->client_data;
    char reason[JMSG_LENGTH_MAX];

    if (info->err->msg_code == JERR_OUT_OF_MEMORY) {
        session->status = clip_fail(session->error, CLIP_ERR_MEMORY,
                                    "memory is short for decoding the JPEG image");
    } else {
        info->err->format_message(info, reason);
        session->status = clip_jpeg_fail_broken(reason, session->error);
    }
    longjmp(session->failed, 1);
}

static void on_message(j_common_ptr info, int level)
{
    struct session *session = info->client_data;

    if (level >= 0 || info->err->msg_code != JWRN_JPEG_EOF) return;
    session->status = clip_image_fail_cut("JPEG", session->size, session->error);
    longjmp(session->failed, 1);
}

/* Chooses the largest allowed divisor, which is the fastest. */
static void choose_scale(struct jpeg_decompress_struct *info, int64_t enough)
{
    int64_t least = info->image_width < info->image_height ? info->image_width : info->image_height;

    info->scale_num = info->scale_denom = 1;
    if (enough < 1) return;
    while (info->scale_denom < 8 && least / (2 * info->scale_denom) >= enough)
        info->scale_denom *= 2;
}

/* Converts Pillow's CMYK, inverted as Adobe stores it, to RGB: (255 - k) (255 - c) / 255,
 * rounded. */
static void convert_row(uint8_t *rgb, const uint8_t *stored, int64_t n)
{
    for (int64_t i = 0; i < n; i++, rgb += 3, stored += 4)
        for (int c = 0; c < 3; c++) {
            int white = stored[3], product = (255 - stored[c]) * white + 128;

            rgb[c] = (uint8_t)(white - (((product >> 8) + product) >> 8));
        }
}

/* All calls of libjpeg that may end in on_error. */
static void read_pixels(struct session *session, struct clip_image_bytes bytes, int components,
                        const struct clip_image_limits *limits, struct clip_image *out)
{
    struct jpeg_decompress_struct *info = &session->info;

    jpeg_create_decompress(info);
    jpeg_mem_src(info, bytes.data, bytes.size);
    jpeg_read_header(info, TRUE);
    session->status =
        clip_image_check_size(info->image_width, info->image_height, limits, session->error);
    if (session->status != CLIP_OK) return;
    info->out_color_space = components == 4 ? JCS_CMYK : JCS_RGB;
    choose_scale(info, limits->enough);
    jpeg_start_decompress(info);
    session->status =
        clip_image_allocate(out, info->output_width, info->output_height, session->error);
    if (session->status == CLIP_OK && components == 4) {
        session->row = clip_array_new(out->width, 4, session->error);
        if (session->row == NULL) session->status = CLIP_ERR_MEMORY;
    }
    if (session->status != CLIP_OK) return;
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = out->rgb + (int64_t)info->output_scanline * out->width * 3;
        JSAMPROW row = components == 4 ? session->row : rgb;

        jpeg_read_scanlines(info, &row, 1);
        if (components == 4) convert_row(rgb, row, out->width);
    }
    jpeg_finish_decompress(info);
}

clip_status clip_jpeg_pixels(struct clip_image_bytes bytes, int components,
                             const struct clip_image_limits *limits, struct clip_image *out,
                             struct clip_error *error)
{
    struct session session = {.size = bytes.size, .error = error};

    session.info.err = jpeg_std_error(&session.manager);
    session.info.client_data = &session;
    session.manager.error_exit = on_error;
    session.manager.emit_message = on_message;
    if (setjmp(session.failed) == 0) read_pixels(&session, bytes, components, limits, out);
    jpeg_destroy_decompress(&session.info);
    free(session.row);
    return session.status;
}
