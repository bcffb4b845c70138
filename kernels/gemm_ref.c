/* Products in plain C, for every processor. */
#include "kernels/gemm_plain.h"
#include "kernels/gemm_sets.h"

enum { ROWS = 4, COLUMNS = 8, STEP = 4 };

static inline void multiply(const struct clip_by_panels *x, int64_t row, int64_t step)
{
    const float *a = (const float *)x->a, *b = (const float *)x->b;
    for (int64_t at = 0; at < x->columns; at += COLUMNS, b += x->panel) {
        int64_t columns = least(COLUMNS, x->columns - at);
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

static void by_rows(const struct clip_by_panels *x) { multiply(x, CLIP_GEMM_A_ROW, 1); }

static void by_columns(const struct clip_by_panels *x) { multiply(x, 1, STEP); }

static void pack_lines(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length)
{
    plain_lines(to, from, n, length);
}

static void pack_lines_across(uint32_t *to, const struct clip_source *from, int64_t n,
                              int64_t length)
{
    plain_lines_across(to, from, n, length, COLUMNS);
}

static void pack_rows(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                      const struct clip_groups *groups)
{
    plain_rows(to, from, n, length, groups);
}

const struct clip_gemm_set clip_gemm_ref = {
    .name = "ref",
    .rows = ROWS,
    .columns = COLUMNS,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = CLIP_TILE_N,
    .multiply = {by_rows, by_columns},
    .pack_lines = pack_lines,
    .pack_lines_across = pack_lines_across,
    .pack_rows = pack_rows,
};
