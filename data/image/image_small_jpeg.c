/* Thumbnails as JPEG, by libjpeg. Without it, data/image/image_small_png.c takes this file's
 * place. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "data/image/image.h"

enum { QUALITY = 82 };

const char *const clip_image_small_type = "image/jpeg";

struct session {
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr manager;
    jmp_buf failed;
    unsigned char *bytes; /* allocated by libjpeg with malloc */
    unsigned long size;
    struct clip_error *error;
};

/* Called by libjpeg on an error; it must not return. */
static void on_error(j_common_ptr info)
{
    struct session *session = info->client_data;
    char reason[JMSG_LENGTH_MAX];
    info->err->format_message(info, reason);
    clip_fail(session->error, CLIP_ERR_MEMORY, "a thumbnail could not be made: %s", reason);
    longjmp(session->failed, 1);
}

static void encode(struct session *session, const struct clip_image *image)
{
    struct jpeg_compress_struct *info = &session->info;
    jpeg_mem_dest(info, &session->bytes, &session->size);
    info->image_width = (JDIMENSION)image->width;
    info->image_height = (JDIMENSION)image->height;
    info->input_components = 3;
    info->in_color_space = JCS_RGB;
    jpeg_set_defaults(info);
    jpeg_set_quality(info, QUALITY, TRUE);
    jpeg_start_compress(info, TRUE);
    while (info->next_scanline < info->image_height) {
        JSAMPROW row = image->rgb + (size_t)info->next_scanline * 3 * (size_t)image->width;
        jpeg_write_scanlines(info, &row, 1);
    }
    jpeg_finish_compress(info);
}

clip_status clip_image_encode_small(const struct clip_image *image, struct clip_buffer *out,
                                    struct clip_error *error)
{
    clip_status status;
    struct session *session = clip_array_new(1, sizeof *session, error);
    if (session == NULL) return CLIP_ERR_MEMORY;
    session->error = error;
    session->info.err = jpeg_std_error(&session->manager);
    session->info.client_data = session;
    session->manager.error_exit = on_error;
    if (setjmp(session->failed) == 0) {
        jpeg_create_compress(&session->info);
        encode(session, image);
        status = clip_buffer_append(out, session->bytes, session->size, error);
    } else {
        status = error->status;
    }
    jpeg_destroy_compress(&session->info);
    free(session->bytes);
    free(session);
    return status;
}
