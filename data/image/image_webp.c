/* WebP by libwebp, as in Pillow: alpha is dropped, and of an animation the first frame is taken, on
 * its canvas. There is no bound on how well WebP packs (an image of one colour takes a few bytes),
 * so a header's size can only be checked against max_pixels. */
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "data/image/image_formats.h"

const bool clip_webp_decoder = true;

static clip_status fail_broken(struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the WebP image is broken or cut off; get another copy of it or leave it "
                     "out");
}

/* WebPDecodeRGBInto, which keeps to itself whether memory was short. */
static clip_status decode_still(struct clip_image_bytes bytes, struct clip_image *out,
                                struct clip_error *error)
{
    WebPDecoderConfig config;

    if (!WebPInitDecoderConfig(&config)) return fail_broken(error);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->rgb;
    config.output.u.RGBA.stride = (int)out->width * 3;
    config.output.u.RGBA.size = (size_t)(out->width * out->height * 3);
    VP8StatusCode code = WebPDecode(bytes.data, bytes.size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return clip_fail(error, CLIP_ERR_MEMORY, "there is no memory to read a WebP image");
    return code == VP8_STATUS_OK ? CLIP_OK : fail_broken(error);
}

/* The first frame of an animation, on transparent black if it is smaller than the canvas. */
static clip_status decode_animation(struct clip_image_bytes bytes, struct clip_image *out,
                                    struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const WebPData data = {bytes.data, bytes.size};
    WebPAnimDecoder *decoder = NULL;
    WebPAnimDecoderOptions options;
    WebPAnimInfo info;
    uint8_t *canvas; /* belongs to the decoder; [height,width,4] */
    int time;

    if (!WebPAnimDecoderOptionsInit(&options)) return fail_broken(error);
    options.color_mode = MODE_RGBA;
    decoder = WebPAnimDecoderNew(&data, &options);
    if (decoder == NULL || !WebPAnimDecoderGetInfo(decoder, &info) ||
        info.canvas_width != out->width || info.canvas_height != out->height ||
        !WebPAnimDecoderGetNext(decoder, &canvas, &time))
        CLIP_TRY(fail_broken(error));
    for (int64_t i = 0; i < out->width * out->height; i++)
        memcpy(out->rgb + 3 * i, canvas + 4 * i, 3);

out:
    WebPAnimDecoderDelete(decoder);
    return status;
}

static void read_orientation(struct clip_image_bytes bytes, int *orientation)
{
    const WebPData data = {bytes.data, bytes.size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    WebPChunkIterator chunk;
    size_t head;

    if (demuxer == NULL) return;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        /* some writers put JPEG's six bytes before it */
        head = chunk.chunk.size > 6 && memcmp(chunk.chunk.bytes, "Exif\0", 6) == 0 ? 6 : 0;
        *orientation = clip_exif_orientation(chunk.chunk.bytes + head, chunk.chunk.size - head);
    }
    WebPDemuxReleaseChunkIterator(&chunk);
    WebPDemuxDelete(demuxer);
}

clip_status clip_webp_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                             struct clip_image *out, int *orientation, struct clip_error *error)
{
    clip_status status;
    WebPBitstreamFeatures features;
    VP8StatusCode code = WebPGetFeatures(bytes.data, bytes.size, &features);

    if (code == VP8_STATUS_NOT_ENOUGH_DATA) return clip_image_fail_cut("WebP", bytes.size, error);
    if (code != VP8_STATUS_OK) return fail_broken(error);
    CLIP_TRY(clip_image_check_size(features.width, features.height, limits, error));
    CLIP_TRY(clip_image_allocate(out, features.width, features.height, error));
    if (features.has_animation)
        CLIP_TRY(decode_animation(bytes, out, error));
    else
        CLIP_TRY(decode_still(bytes, out, error));
    read_orientation(bytes, orientation);

out:
    return status;
}
