/* Operands packed whole, block after block of k: what attention keeps of a head. */
#include <stddef.h>

#include "kernels/gemm_source.h"

int64_t clip_whole_size(const struct clip_pace *pace, int64_t n, int64_t k)
{
    int64_t panels = (n + pace->set->columns - 1) / pace->set->columns, size = 0;
    for (int64_t p = 0; p < k; p += pace->depth)
        size += panels * clip_gemm_panel_size(pace, least(pace->depth, k - p));
    return size;
}

struct clip_whole clip_whole_pack(const struct clip_pace *pace, const struct clip_operand *b,
                                  int64_t n, int64_t k, uint32_t *to)
{
    int64_t panels = (n + pace->set->columns - 1) / pace->set->columns;
    struct clip_whole whole = {to, n, k};
    for (int64_t p = 0; p < k; p += pace->depth) {
        const struct clip_span columns = {0, n}, block = {p, least(pace->depth, k - p)};
        clip_gemm_pack_panels(pace, b, &columns, &block, to);
        to += panels * clip_gemm_panel_size(pace, block.count);
    }
    return whole;
}

void clip_strip_times(const struct clip_pace *pace, const struct clip_strip *a,
                      const struct clip_whole *b, int64_t n, int64_t k, float alpha, float *c,
                      int64_t ldc, bool add)
{
    int64_t panels = divide_up(b->n, pace->set->columns);
    struct clip_by_panels x = {.rows = a->rows,
                               .columns = n,
                               .alpha = alpha,
                               .a = a->units,
                               .b = b->units,
                               .c = c,
                               .ldc = ldc};
    for (int64_t p = 0; p < k; p += pace->depth) {
        x.k = clip_gemm_units(pace, least(pace->depth, k - p));
        x.panel = clip_gemm_panel_size(pace, least(pace->depth, b->k - p));
        x.add = add || p > 0;
        pace->set->multiply[a->by_columns](&x);
        x.a += pace->set->strip;
        x.b += panels * x.panel;
    }
}

void clip_strip_pack(const struct clip_pace *pace, const struct clip_source *from, int64_t rows,
                     int64_t k, uint32_t *to)
{
    struct clip_source at = *from;
    size_t element = source_element(from);
    for (int64_t p = 0; p < k; p += pace->depth, to += pace->set->strip) {
        at.data = (const char *)from->data + (size_t)p * element;
        pace->set->pack_lines(to, &at, rows, least(pace->depth, k - p));
    }
}
