/* Products in plain C, for every processor. */
#include "kernels/gemm_plain.h"
#include "kernels/gemm_sets.h"

enum { ROWS = 4, COLUMNS = 8 };

static inline void multiply(int64_t row, int64_t step, int64_t rows, int64_t columns, int64_t k,
                            float alpha, const float *a, const float *b, float *c, int64_t ldc,
                            bool add)
{
    float sum[ROWS][COLUMNS] = {{0}};
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < ROWS; i++)
            for (int64_t j = 0; j < COLUMNS; j++)
                sum[i][j] += a[i * row + p * step] * b[p * COLUMNS + j];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            c[i * ldc + j] = alpha * sum[i][j] + (add ? c[i * ldc + j] : 0.0f);
}

static void by_rows(int64_t rows, int64_t columns, int64_t k, float alpha, const void *a,
                    const void *b, float *c, int64_t ldc, bool add,
                    const struct clip_ahead *ahead)
{
    (void)ahead;
    multiply(CLIP_GEMM_A_ROW, 1, rows, columns, k, alpha, a, b, c, ldc, add);
}

static void by_columns(int64_t rows, int64_t columns, int64_t k, float alpha, const void *a,
                       const void *b, float *c, int64_t ldc, bool add,
                       const struct clip_ahead *ahead)
{
    (void)ahead;
    multiply(1, CLIP_GEMM_A_STEP, rows, columns, k, alpha, a, b, c, ldc, add);
}

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
    .multiply = {by_rows, by_columns},
    .pack_lines = pack_lines,
    .pack_lines_across = pack_lines_across,
    .pack_rows = pack_rows,
};
