/* Packing: rows of op(A) become strips, and columns of op(B) become panels. */
#include <stddef.h>

#include "kernels/gemm_parts.h"

/* Blocks of k are equally deep, since a short one would read and write C for little work. */
static int64_t depth_of(int64_t k, int64_t max)
{
    enum { STEP = 32 };
    int64_t blocks = (k + max - 1) / max;
    return blocks < 2 ? max : ((k + blocks - 1) / blocks + STEP - 1) / STEP * STEP;
}

struct clip_gemm_mode clip_gemm_mode(bool multiply_bf16, int64_t k)
{
    const struct clip_gemm_set *set = multiply_bf16 ? clip_gemm_set(true) : NULL;
    bool pairs = set != NULL;
    if (!pairs) set = clip_gemm_set(false);
    return (struct clip_gemm_mode){set, multiply_bf16, pairs,
                                   depth_of(k, pairs ? 2 * CLIP_GEMM_DEPTH : CLIP_GEMM_DEPTH)};
}

enum clip_pack clip_gemm_pack_kind(const struct clip_gemm_mode *mode, bool bf16)
{
    if (mode->pairs) return bf16 ? CLIP_PACK_PAIRS : CLIP_PACK_PAIRS_OF_F32;
    if (bf16) return CLIP_PACK_WIDENED;
    return mode->round ? CLIP_PACK_ROUNDED : CLIP_PACK_F32;
}

bool clip_gemm_takes_unpacked(const struct clip_gemm_mode *mode, const struct clip_operand *x)
{
    return mode->set->multiply_unpacked != NULL &&
           clip_gemm_pack_kind(mode, x->bf16) == CLIP_PACK_F32;
}

int64_t clip_gemm_units(const struct clip_gemm_mode *mode, int64_t length)
{
    int64_t units = mode->pairs ? (length + 1) / 2 : length, multiple = mode->set->k_multiple;
    return divide_up(units, multiple) * multiple;
}

int64_t clip_gemm_panel_size(const struct clip_gemm_mode *mode, int64_t length)
{
    return mode->set->columns * clip_gemm_units(mode, length) + CLIP_GEMM_GAP;
}

/* The operand from its stored (row, column) on. */
static struct clip_source source(const struct clip_gemm_mode *mode, const struct clip_operand *x,
                                 int64_t row, int64_t column)
{
    int64_t at = row * x->ld + column;
    const char *data = x->data;
    return (struct clip_source){data + at * (x->bf16 ? 2 : 4), x->ld,
                                clip_gemm_pack_kind(mode, x->bf16)};
}

void clip_gemm_pack_strips(const struct clip_gemm_mode *mode, const struct clip_operand *a,
                           const struct clip_span *rows, const struct clip_span *k, uint32_t *to)
{
    int64_t mr = mode->set->rows;
    const struct clip_groups strips = {mr, mode->set->step, mode->set->strip};
    struct clip_source from = a->transpose ? source(mode, a, k->begin, rows->begin)
                                           : source(mode, a, rows->begin, k->begin);
    if (a->transpose) {
        mode->set->pack_strips_across_k(to, &from, rows->count, k->count, &strips);
        return;
    }
    for (int64_t r = 0; r < rows->count; r += mr, to += mode->set->strip) {
        from = source(mode, a, rows->begin + r, k->begin);
        mode->set->pack_strip_along_k(to, &from, clip_min_i64(mr, rows->count - r), k->count);
    }
}

void clip_gemm_pack_panels(const struct clip_gemm_mode *mode, const struct clip_operand *b,
                           const struct clip_span *columns, const struct clip_span *k, uint32_t *to)
{
    int64_t nr = mode->set->columns;
    const struct clip_groups panels = {nr, nr, clip_gemm_panel_size(mode, k->count)};
    struct clip_source from = b->transpose ? source(mode, b, columns->begin, k->begin)
                                           : source(mode, b, k->begin, columns->begin);
    if (!b->transpose) {
        mode->set->pack_panels_across_k(to, &from, columns->count, k->count, &panels);
        return;
    }
    for (int64_t c = 0; c < columns->count; c += nr, to += panels.distance) {
        from = source(mode, b, columns->begin + c, k->begin);
        mode->set->pack_panel_along_k(to, &from, clip_min_i64(nr, columns->count - c), k->count);
    }
}

struct clip_prefetch clip_gemm_prefetch(const struct clip_gemm_mode *mode,
                                        const struct clip_operand *b,
                                        const struct clip_span *columns, int64_t k, int64_t i,
                                        int64_t parts)
{
    int64_t begin = i * columns->count / parts, end = (i + 1) * columns->count / parts;
    int64_t element = b->bf16 ? 2 : 4;
    if (!b->transpose) return (struct clip_prefetch){0};
    struct clip_source from = source(mode, b, columns->begin + begin, k);
    return (struct clip_prefetch){from.data, end - begin, b->ld * element,
                                  16 * element * (mode->pairs ? 2 : 1)};
}
