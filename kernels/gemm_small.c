/* Products of small matrices, of which op(B) is packed as a whole, block after block of k: what
 * attention keeps of a head. */
#include <stddef.h>

#include "kernels/gemm_source.h"

int64_t clip_packed_b_size(const struct clip_gemm_mode *mode, int64_t n, int64_t k)
{
    int64_t panels = (n + mode->set->columns - 1) / mode->set->columns, size = 0;
    for (int64_t p = 0; p < k; p += mode->depth)
        size += panels * clip_gemm_panel_size(mode, clip_min_i64(mode->depth, k - p));
    return size;
}

struct clip_packed_b clip_pack_b(const struct clip_gemm_mode *mode, const struct clip_operand *b,
                                 int64_t n, int64_t k, uint32_t *to)
{
    int64_t panels = (n + mode->set->columns - 1) / mode->set->columns;
    struct clip_packed_b packed = {to, n, k};
    for (int64_t p = 0; p < k; p += mode->depth) {
        const struct clip_span columns = {0, n}, block = {p, clip_min_i64(mode->depth, k - p)};
        clip_gemm_pack_panels(mode, b, &columns, &block, to);
        to += panels * clip_gemm_panel_size(mode, block.count);
    }
    return packed;
}

void clip_multiply_strip(const struct clip_gemm_mode *mode, const struct clip_strip *a,
                         const struct clip_packed_b *b, int64_t k,
                         const struct clip_strip_result *result)
{
    int64_t panels = divide_up(b->n, mode->set->columns);
    struct clip_strip_product x = {.rows = a->rows,
                                   .columns = result->n,
                                   .alpha = result->alpha,
                                   .a = a->units,
                                   .b = b->units,
                                   .c = result->c,
                                   .ldc = result->ldc};
    for (int64_t p = 0; p < k; p += mode->depth) {
        x.k = clip_gemm_units(mode, clip_min_i64(mode->depth, k - p));
        x.panel = clip_gemm_panel_size(mode, clip_min_i64(mode->depth, b->k - p));
        x.add = result->add || p > 0;
        mode->set->multiply[a->across_k](&x);
        x.a += mode->set->strip;
        x.b += panels * x.panel;
    }
}

void clip_pack_strip(const struct clip_gemm_mode *mode, const struct clip_source *from,
                     int64_t rows, int64_t k, uint32_t *to)
{
    struct clip_source at = *from;
    size_t element = source_element(from);
    for (int64_t p = 0; p < k; p += mode->depth, to += mode->set->strip) {
        at.data = (const char *)from->data + (size_t)p * element;
        mode->set->pack_strip_along_k(to, &at, rows, clip_min_i64(mode->depth, k - p));
    }
}
