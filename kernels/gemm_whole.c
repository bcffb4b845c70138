/* Operands packed whole, block after block of k: what attention keeps of a head. */
#include <stddef.h>

#include "kernels/gemm_parts.h"

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

struct clip_pace clip_gemm_pace(bool multiply_bf16)
{
    const struct clip_gemm_set *set = clip_gemm_set();
    bool pairs = multiply_bf16 && set->multiply_pairs[0] != NULL;
    return (struct clip_pace){set, multiply_bf16, pairs,
                              pairs ? 2 * CLIP_GEMM_DEPTH : CLIP_GEMM_DEPTH,
                              pairs ? set->multiply_pairs : set->multiply};
}

enum clip_pack clip_gemm_pack_kind(const struct clip_pace *pace, bool bf16)
{
    if (pace->pairs) return bf16 ? CLIP_PACK_PAIRS : CLIP_PACK_PAIRS_OF_F32;
    if (bf16) return CLIP_PACK_WIDENED;
    return pace->round ? CLIP_PACK_ROUNDED : CLIP_PACK_F32;
}

static int64_t units_of(const struct clip_pace *pace, int64_t length)
{
    return pace->pairs ? (length + 1) / 2 : length;
}

static int64_t panel_size(const struct clip_pace *pace, int64_t length)
{
    return pace->set->columns * units_of(pace, length) + CLIP_GEMM_GAP;
}

int64_t clip_whole_size(const struct clip_pace *pace, int64_t n, int64_t k)
{
    int64_t panels = (n + pace->set->columns - 1) / pace->set->columns, size = 0;
    for (int64_t p = 0; p < k; p += pace->depth)
        size += panels * panel_size(pace, least(pace->depth, k - p));
    return size;
}

struct clip_whole clip_whole_pack(const struct clip_pace *pace, const struct clip_operand *b,
                                  int64_t n, int64_t k, uint32_t *to)
{
    int64_t nr = pace->set->columns;
    size_t element = b->bf16 ? 2 : 4;
    struct clip_whole whole = {to, n, k};
    struct clip_source from = {b->data, b->ld, clip_gemm_pack_kind(pace, b->bf16)};
    for (int64_t p = 0; p < k; p += pace->depth) {
        int64_t length = least(pace->depth, k - p), size = panel_size(pace, length);
        const struct clip_groups panels = {nr, nr, size};
        size_t at = (size_t)(b->transpose ? p : p * b->ld) * element;
        const char *block = (const char *)b->data + at;
        from.data = block;
        if (!b->transpose) pace->set->pack_rows(to, &from, n, length, &panels);
        for (int64_t j = 0; b->transpose && j < n; j += nr) {
            from.data = block + (size_t)(j * b->ld) * element;
            pace->set->pack_lines_across(to + j / nr * size, &from, least(nr, n - j), length);
        }
        to += (n + nr - 1) / nr * size;
    }
    return whole;
}

void clip_strip_times(const struct clip_pace *pace, const struct clip_strip *a,
                      const struct clip_whole *b, int64_t n, int64_t k, float alpha, float *c,
                      int64_t ldc, bool add)
{
    int64_t nr = pace->set->columns, panels = (b->n + nr - 1) / nr;
    const uint32_t *strip = a->units, *block = b->units;
    for (int64_t p = 0; p < k; p += pace->depth, strip += CLIP_GEMM_STRIP) {
        int64_t size = panel_size(pace, least(pace->depth, b->k - p));
        for (int64_t j = 0; j < n; j += nr)
            pace->multiply[a->by_columns](a->rows, least(nr, n - j),
                                          units_of(pace, least(pace->depth, k - p)), alpha, strip,
                                          block + j / nr * size, c + j, ldc, add || p > 0);
        block += panels * size;
    }
}

void clip_strip_pack(const struct clip_pace *pace, const struct clip_source *from, int64_t rows,
                     int64_t k, uint32_t *to)
{
    struct clip_source at = *from;
    size_t element = from->kind == CLIP_PACK_WIDENED || from->kind == CLIP_PACK_PAIRS ? 2 : 4;
    for (int64_t p = 0; p < k; p += pace->depth, to += CLIP_GEMM_STRIP) {
        at.data = (const char *)from->data + (size_t)p * element;
        pace->set->pack_lines(to, &at, rows, least(pace->depth, k - p));
    }
}
