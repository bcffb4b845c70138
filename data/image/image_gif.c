/* GIF's first frame, through giflib (GIF89a specification).
 *
 * As in Pillow, the image is as large as the screen, or larger if the frame extends beyond it.
 * Outside the frame is the transparent colour if there is one, else colour 0. The colours are the
 * frame's or the screen's, or greys 0 to 255 if neither has any. */
#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

#include "data/image/image_formats.h"

struct source {
    struct clip_image_bytes bytes;
    size_t at;
};

static int read_bytes(GifFileType *gif, GifByteType *to, int n)
{
    struct source *source = gif->UserData;
    size_t left = source->bytes.size - source->at, count = (size_t)n < left ? (size_t)n : left;

    memcpy(to, source->bytes.data + source->at, count);
    source->at += count;
    return (int)count;
}

static clip_status fail_gif(const struct source *source, int code, struct clip_error *error)
{
    const char *reason = GifErrorString(code);

    if (code == D_GIF_ERR_NOT_ENOUGH_MEM)
        return clip_fail(error, CLIP_ERR_MEMORY, "there is no memory to read a GIF image");
    if (source->at == source->bytes.size)
        return clip_image_fail_cut("GIF", source->bytes.size, error);
    return clip_fail(error, CLIP_ERR_FORMAT, "the GIF image is broken (giflib: %s); leave it out",
                     reason != NULL ? reason : "unknown");
}

/* Reads up to the first frame's pixels; *transparent becomes the number of the transparent colour,
 * or -1. */
static clip_status find_frame(GifFileType *gif, const struct source *source, int *transparent,
                              struct clip_error *error)
{
    GifRecordType type;
    GifByteType *block; /* a length byte, then the data */
    int code;

    *transparent = -1;
    for (;;) {
        if (DGifGetRecordType(gif, &type) != GIF_OK) return fail_gif(source, gif->Error, error);
        if (type == IMAGE_DESC_RECORD_TYPE) break;
        if (type != EXTENSION_RECORD_TYPE)
            return clip_fail(error, CLIP_ERR_DATA, "the GIF image has no frame; leave it out");
        if (DGifGetExtension(gif, &code, &block) != GIF_OK)
            return fail_gif(source, gif->Error, error);
        if (code == GRAPHICS_EXT_FUNC_CODE && block != NULL && block[0] >= 4 && (block[1] & 1) != 0)
            *transparent = block[4];
        while (block != NULL)
            if (DGifGetExtensionNext(gif, &block) != GIF_OK)
                return fail_gif(source, gif->Error, error);
    }
    return DGifGetImageDesc(gif) == GIF_OK ? CLIP_OK : fail_gif(source, gif->Error, error);
}

static void put_colour(uint8_t *rgb, int index, const ColorMapObject *colours)
{
    if (colours == NULL) {
        memset(rgb, index, 3);
    } else if (index < colours->ColorCount) {
        rgb[0] = colours->Colors[index].Red;
        rgb[1] = colours->Colors[index].Green;
        rgb[2] = colours->Colors[index].Blue;
    }
}

/* Reads the frame. The rows of an interlaced one come in four passes: every 8th from 0, every 8th
 * from 4, every 4th from 2, every 2nd from 1 (appendix E). */
static clip_status read_frame(GifFileType *gif, const struct source *source,
                              const ColorMapObject *colours, uint8_t *row, struct clip_image *out,
                              struct clip_error *error)
{
    static const int first[5] = {0, 4, 2, 1, 0}, every[5] = {8, 8, 4, 2, 1};
    const GifImageDesc *frame = &gif->Image;

    int pass = frame->Interlace ? 0 : 4, last = frame->Interlace ? 3 : 4;

    for (; pass <= last; pass++) {
        for (int y = first[pass]; y < frame->Height; y += every[pass]) {
            uint8_t *rgb = out->rgb + ((frame->Top + y) * out->width + frame->Left) * 3;

            if (DGifGetLine(gif, row, frame->Width) != GIF_OK)
                return fail_gif(source, gif->Error, error);
            for (int x = 0; x < frame->Width; x++) put_colour(rgb + 3 * x, row[x], colours);
        }
    }
    return CLIP_OK;
}

/* Can n bytes hold the frame? A code of 12 bits stands for at most 4096 pixels. */
static bool frame_fits(const GifImageDesc *frame, size_t n)
{
    return (uint64_t)frame->Width * (uint64_t)frame->Height / 4096 <= (uint64_t)n * 8 / 12 + 1;
}

static clip_status decode(GifFileType *gif, const struct source *source,
                          const struct clip_image_limits *limits, struct clip_image *out,
                          struct clip_error *error)
{
    clip_status status;
    const GifImageDesc *frame = &gif->Image;
    const ColorMapObject *colours;
    int64_t width, height;
    uint8_t *row = NULL;
    int transparent;

    CLIP_TRY(find_frame(gif, source, &transparent, error));
    width = frame->Left + frame->Width;
    height = frame->Top + frame->Height;
    if (width < gif->SWidth) width = gif->SWidth;
    if (height < gif->SHeight) height = gif->SHeight;
    CLIP_TRY(clip_image_check_size(width, height, limits, error));
    CLIP_TRY(clip_image_check_size(frame->Width, frame->Height, limits, error));
    if (!frame_fits(frame, source->bytes.size)) {
        status = clip_image_fail_impossible("GIF", frame->Width, frame->Height, source->bytes.size,
                                            error);
        goto out;
    }
    CLIP_TRY(clip_image_allocate(out, width, height, error));
    CLIP_NEW(row, frame->Width);
    colours = frame->ColorMap != NULL ? frame->ColorMap : gif->SColorMap;
    for (int64_t i = 0; i < width * height; i++)
        put_colour(out->rgb + 3 * i, transparent < 0 ? 0 : transparent, colours);
    CLIP_TRY(read_frame(gif, source, colours, row, out, error));

out:
    free(row);
    return status;
}

clip_status clip_gif_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                            struct clip_image *out, int *orientation, struct clip_error *error)
{
    clip_status status;
    struct source source = {.bytes = bytes};
    int code = 0;
    GifFileType *gif = DGifOpen(&source, read_bytes, &code);

    (void)orientation;
    if (gif == NULL) return fail_gif(&source, code, error);
    status = decode(gif, &source, limits, out, error);
    DGifCloseFile(gif, &code);
    return status;
}
