/* Positions for another grid: bicubic interpolation with antialiasing, in float32 as in PyTorch. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "model/model.h"

/* Keys' cubic filter with a = -1/2, as in PyTorch's and Pillow's antialiased resizing. */
static float cubic(float x)
{
    float t = fabsf(x);
    if (t < 1) return (1.5f * t - 2.5f) * t * t + 1;
    if (t < 2) return ((-0.5f * t + 2.5f) * t - 4) * t + 2;
    return 0;
}

/* weights [to,from]: how much each of `from` places counts for each of `to`, with half-pixel
 * centres. The filter widens as the grid becomes smaller. */
static void line_weights(float *weights, int64_t to, int64_t from)
{
    float scale = (float)from / (float)to, wide = scale > 1 ? scale : 1, support = 2 * wide;
    for (int64_t i = 0; i < to; i++) {
        float centre = scale * ((float)i + 0.5f), total = 0;
        int64_t first = (int64_t)fmaxf(centre - support + 0.5f, 0);
        int64_t end = (int64_t)fminf(centre + support + 0.5f, (float)from);
        float *row = weights + i * from;
        for (int64_t k = first; k < end; k++) {
            row[k] = cubic(((float)k - centre + 0.5f) / wide);
            total += row[k];
        }
        for (int64_t k = first; k < end; k++) row[k] /= total;
    }
}

clip_status clip_resize_positions(float *to, int64_t to_grid, const float *from, int64_t from_grid,
                                  int64_t first, int64_t width, struct clip_error *error)
{
    clip_status status;
    /* rows: resized in one direction, [from_grid, to_grid, width] */
    float *weights = NULL, *rows = NULL;
    CLIP_NEW(weights, to_grid * from_grid);
    CLIP_NEW(rows, from_grid * to_grid * width);
    line_weights(weights, to_grid, from_grid);
    for (int64_t i = 0; i < first * width; i++) to[i] = from[i];
    from += first * width;
    to += first * width;
    for (int64_t y = 0; y < from_grid; y++)
        for (int64_t x = 0; x < to_grid; x++)
            for (int64_t k = 0; k < from_grid; k++) {
                float w = weights[x * from_grid + k];
                const float *place = from + (y * from_grid + k) * width;
                for (int64_t d = 0; w != 0 && d < width; d++)
                    rows[(y * to_grid + x) * width + d] += w * (float)place[d];
            }
    for (int64_t y = 0; y < to_grid; y++)
        for (int64_t x = 0; x < to_grid; x++)
            for (int64_t d = 0; d < width; d++) {
                float sum = 0;
                for (int64_t k = 0; k < from_grid; k++)
                    sum += weights[y * from_grid + k] * rows[(k * to_grid + x) * width + d];
                to[(y * to_grid + x) * width + d] = (float)sum;
            }
out:
    free(weights);
    free(rows);
    return status;
}
