/* The only file that compiles Debian's stb_image.h, and of that only the JPEG decoder.
 *
 * PNG, GIF and BMP have their own readers: stb 2.27 does not check PNG's checksums, and its GIF,
 * BMP, HDR, PIC, PNM, PSD and TGA readers have known memory errors. What is known of its JPEG
 * decoder, and what is done about it:
 *   - a Huffman table with more than 256 codes overruns its arrays, and one with exactly 256 takes
 *     the number 255 for "not in the fast table": image_jpeg_stb.c refuses both, and passes a copy
 *     with only the segments that it has checked;
 *   - tables that a scan uses but no segment defines are read uninitialised: that is refused, too,
 *     and all of stb's memory is zeroed, so that the same bytes always give the same image;
 *   - sums of damaged coefficients wrap around: this file is compiled with -fwrapv (see Makefile);
 *   - thousands of scans of a large image take forever: image_jpeg.c limits their number;
 *   - the last column but one of a 4:2:2 image mixes its two neighbours the wrong way round: it is
 *     left so, a little chroma in one column. */
#include <stdlib.h>

#include "data/image/image_formats.h"

#if defined(__GNUC__) /* this is not popped, because some warnings come at the end of the file */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#endif

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 65535
#define STBI_MALLOC(size) calloc(1, size)
#define STBI_REALLOC(p, size) realloc(p, size)
#define STBI_FREE(p) free(p)
#include <stb/stb_image.h>

uint8_t *clip_stb_decode(const uint8_t *bytes, int n, int *width, int *height, const char **reason)
{
    int channels;
    uint8_t *rgb = stbi_load_from_memory(bytes, n, width, height, &channels, 3);

    if (rgb == NULL) *reason = stbi_failure_reason() != NULL ? stbi_failure_reason() : "unknown";
    return rgb;
}
