/* Packing: rows of A become strips, columns of B panels. */
#include <stddef.h>

#include "kernels/gemm_parts.h"

/* Equal blocks: a short one would add its sums to C for little work. */
static int64_t depth_of(int64_t k, int64_t most)
{
    enum { STEP = 32 };
    int64_t blocks = (k + most - 1) / most;
    return blocks < 2 ? most : ((k + blocks - 1) / blocks + STEP - 1) / STEP * STEP;
}

struct clip_pace clip_gemm_pace(bool multiply_bf16, int64_t k)
{
    const struct clip_gemm_set *set = multiply_bf16 ? clip_gemm_set(true) : NULL;
    bool pairs = set != NULL;
    if (!pairs) set = clip_gemm_set(false);
    return (struct clip_pace){set, multiply_bf16, pairs,
                              depth_of(k, pairs ? 2 * CLIP_GEMM_DEPTH : CLIP_GEMM_DEPTH)};
}

enum clip_pack clip_gemm_pack_kind(const struct clip_pace *pace, bool bf16)
{
    if (pace->pairs) return bf16 ? CLIP_PACK_PAIRS : CLIP_PACK_PAIRS_OF_F32;
    if (bf16) return CLIP_PACK_WIDENED;
    return pace->round ? CLIP_PACK_ROUNDED : CLIP_PACK_F32;
}

bool clip_gemm_lines(const struct clip_pace *pace, const struct clip_operand *x)
{
    return pace->set->multiply_lines != NULL && clip_gemm_pack_kind(pace, x->bf16) == CLIP_PACK_F32;
}

int64_t clip_gemm_units(const struct clip_pace *pace, int64_t length)
{
    int64_t units = pace->pairs ? (length + 1) / 2 : length, whole = pace->set->whole;
    return divide_up(units, whole) * whole;
}

int64_t clip_gemm_panel_size(const struct clip_pace *pace, int64_t length)
{
    return pace->set->columns * clip_gemm_units(pace, length) + CLIP_GEMM_GAP;
}

/* The operand from (row, column) on, as stored. */
static struct clip_source source(const struct clip_pace *pace, const struct clip_operand *x,
                                 int64_t row, int64_t column)
{
    int64_t at = row * x->ld + column;
    const char *data = x->data;
    return (struct clip_source){data + at * (x->bf16 ? 2 : 4), x->ld,
                                clip_gemm_pack_kind(pace, x->bf16)};
}

void clip_gemm_pack_strips(const struct clip_pace *pace, const struct clip_operand *a,
                           const struct clip_span *rows, const struct clip_span *k, uint32_t *to)
{
    int64_t mr = pace->set->rows;
    const struct clip_groups strips = {mr, pace->set->step, pace->set->strip};
    struct clip_source from = a->transpose ? source(pace, a, k->begin, rows->begin)
                                           : source(pace, a, rows->begin, k->begin);
    if (a->transpose) {
        pace->set->pack_strips(to, &from, rows->count, k->count, &strips);
        return;
    }
    for (int64_t r = 0; r < rows->count; r += mr, to += pace->set->strip) {
        from = source(pace, a, rows->begin + r, k->begin);
        pace->set->pack_lines(to, &from, least(mr, rows->count - r), k->count);
    }
}

void clip_gemm_pack_panels(const struct clip_pace *pace, const struct clip_operand *b,
                           const struct clip_span *columns, const struct clip_span *k, uint32_t *to)
{
    int64_t nr = pace->set->columns;
    const struct clip_groups panels = {nr, nr, clip_gemm_panel_size(pace, k->count)};
    struct clip_source from = b->transpose ? source(pace, b, columns->begin, k->begin)
                                           : source(pace, b, k->begin, columns->begin);
    if (!b->transpose) {
        pace->set->pack_panels(to, &from, columns->count, k->count, &panels);
        return;
    }
    for (int64_t c = 0; c < columns->count; c += nr, to += panels.distance) {
        from = source(pace, b, columns->begin + c, k->begin);
        pace->set->pack_lines_across(to, &from, least(nr, columns->count - c), k->count);
    }
}

struct clip_ahead clip_gemm_ahead(const struct clip_pace *pace, const struct clip_operand *b,
                                  const struct clip_span *columns, int64_t k, int64_t i,
                                  int64_t parts)
{
    int64_t begin = i * columns->count / parts, end = (i + 1) * columns->count / parts;
    int64_t element = b->bf16 ? 2 : 4;
    if (!b->transpose) return (struct clip_ahead){0};
    struct clip_source from = source(pace, b, columns->begin + begin, k);
    return (struct clip_ahead){from.data, end - begin, b->ld * element,
                               16 * element * (pace->pairs ? 2 : 1)};
}
