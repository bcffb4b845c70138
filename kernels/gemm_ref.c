/* float32 products in plain C, for every processor: register tiles of 4 x 8. */
#include <string.h>

#include "kernels/bf16.h"
#include "kernels/gemm_sets.h"
#include "kernels/gemm_source.h"

enum { ROWS = 4, COLUMNS = 8, STEP = 4 };

/* Element p of row i of the strip is a[i * row + p * step]. */
static inline void multiply(const struct clip_strip_product *x, int64_t row, int64_t step)
{
    const float *a = (const float *)x->a, *b = (const float *)x->b;
    for (int64_t at = 0; at < x->columns; at += COLUMNS, b += x->panel) {
        int64_t columns = clip_min_i64(COLUMNS, x->columns - at);
        float sum[ROWS][COLUMNS] = {{0}}, *c = x->c + at;
        for (int64_t p = 0; p < x->k; p++)
            for (int64_t i = 0; i < ROWS; i++)
                for (int64_t j = 0; j < COLUMNS; j++)
                    sum[i][j] += a[i * row + p * step] * b[p * COLUMNS + j];
        for (int64_t i = 0; i < x->rows; i++, c += x->ldc)
            for (int64_t j = 0; j < columns; j++)
                c[j] = x->alpha * sum[i][j] + (x->add ? c[j] : 0.0f);
    }
}

static void multiply_along_k(const struct clip_strip_product *x)
{
    multiply(x, CLIP_GEMM_A_ROW, 1);
}

static void multiply_across_k(const struct clip_strip_product *x) { multiply(x, 1, STEP); }

static uint32_t unit_of_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Element i of a stored row, as a unit of float32. */
static uint32_t unit(enum clip_pack kind, const void *row, int64_t i)
{
    if (kind == CLIP_PACK_WIDENED) return (uint32_t)((const uint16_t *)row)[i] << 16;
    float x = ((const float *)row)[i];
    if (kind == CLIP_PACK_ROUNDED) return (uint32_t)clip_bf16_round(x) << 16;
    return unit_of_f32(x);
}

static void pack_strip_along_k(uint32_t *restrict to, const struct clip_source *from, int64_t n,
                               int64_t length)
{
    for (int64_t i = 0; i < n; i++) {
        const void *row = source_row(from, i);
        for (int64_t p = 0; p < length; p++) to[i * CLIP_GEMM_A_ROW + p] = unit(from->kind, row, p);
    }
}

static void pack_panel_along_k(uint32_t *restrict to, const struct clip_source *from, int64_t n,
                               int64_t length)
{
    for (int64_t i = 0; i < COLUMNS; i++) {
        const void *row = source_row(from, i);
        for (int64_t p = 0; p < length; p++)
            to[p * COLUMNS + i] = i < n ? unit(from->kind, row, p) : 0;
    }
}

static void pack_groups_across_k(uint32_t *restrict to, const struct clip_source *from, int64_t n,
                                 int64_t length, const struct clip_groups *groups)
{
    for (int64_t p = 0; p < length; p++) {
        const void *row = source_row(from, p);
        for (int64_t j = 0; j < n; j += groups->width) {
            int64_t width = n - j < groups->width ? n - j : groups->width;
            uint32_t *at = to + j / groups->width * groups->distance + p * groups->step;
            for (int64_t i = 0; i < width; i++) at[i] = unit(from->kind, row, j + i);
            for (int64_t i = width; i < groups->step; i++) at[i] = 0;
        }
    }
}

const struct clip_gemm_set clip_gemm_ref = {
    .name = "ref",
    .rows = ROWS,
    .columns = COLUMNS,
    .k_multiple = 1,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = CLIP_TILE_N,
    .multiply = {multiply_along_k, multiply_across_k},
    .pack_strip_along_k = pack_strip_along_k,
    .pack_panel_along_k = pack_panel_along_k,
    .pack_panels_across_k = pack_groups_across_k,
    .pack_strips_across_k = pack_groups_across_k,
};
