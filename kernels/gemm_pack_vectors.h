/* Packing by vectors of LANES units, and asking ahead, for the files of sets that have them. They
 * say before: LANES, COLUMNS, WHOLE (the set's); vector, store_units, no_units (zeros); line_units,
 * row_units, which read a vector; transpose, of LANES vectors; PACK_KINDS, what they multiply;
 * STRIP_AT, where unit p of line i lies in a strip, p a multiple of LANES. */
#ifndef CLIP_KERNELS_GEMM_PACK_VECTORS_H
#define CLIP_KERNELS_GEMM_PACK_VECTORS_H

#include <assert.h>

#include "kernels/gemm_source.h"

#define UNROLLED _Pragma("GCC unroll 16")

#ifndef STRIP_AT
#define STRIP_AT(i, p) ((i)*CLIP_GEMM_A_ROW + (p))
#endif

static inline int64_t elements_a_unit(enum clip_pack kind)
{
    return kind == CLIP_PACK_PAIRS || kind == CLIP_PACK_PAIRS_OF_F32 ? 2 : 1;
}

static inline __attribute__((always_inline)) void lines_of(enum clip_pack kind, uint32_t *to,
                                                           const struct clip_source *from,
                                                           int64_t n, int64_t length)
{
    int64_t each = elements_a_unit(kind), units = (length + each - 1) / each;
    for (int64_t i = 0; i < n; i++) {
        const void *line = source_line(from, i);
        for (int64_t p = 0; p < units; p += LANES)
            store_units(to + STRIP_AT(i, p), line_units(kind, line, p * each, length - p * each));
    }
}

static inline __attribute__((always_inline)) void lines_across_of(enum clip_pack kind, uint32_t *to,
                                                                  const struct clip_source *from,
                                                                  int64_t n, int64_t length)
{
    enum { AHEAD = 512 }; /* bytes: sixteen lines at once are more than the processor follows */
    int64_t each = elements_a_unit(kind), units = (length + each - 1) / each;
    int64_t step = LANES * each * (int64_t)source_element(from); /* bytes of a line in a block */
    for (int64_t i = 0; i < COLUMNS; i += LANES)
        for (int64_t p = 0; p < units; p += LANES) {
            vector r[LANES];
            int64_t rows = least(divide_up(units - p, WHOLE) * WHOLE, LANES);
            for (int64_t k = 0; k < LANES && i + k < n; k++) {
                const char *later = (const char *)source_line(from, i + k) + p / LANES * step;
                for (int64_t b = 0; b < step; b += 64) __builtin_prefetch(later + AHEAD + b);
            }
            for (int64_t k = 0; k < LANES; k++)
                r[k] = i + k < n
                           ? line_units(kind, source_line(from, i + k), p * each, length - p * each)
                           : no_units();
            transpose(r);
            if (rows == LANES)
                for (int64_t k = 0; k < LANES; k++) store_units(to + (p + k) * COLUMNS + i, r[k]);
            else
                for (int64_t k = 0; k < rows; k++) store_units(to + (p + k) * COLUMNS + i, r[k]);
        }
}

static inline __attribute__((always_inline)) void rows_of(enum clip_pack kind, uint32_t *to,
                                                          const struct clip_source *from, int64_t n,
                                                          int64_t length,
                                                          const struct clip_groups *groups)
{
    enum { AHEAD = 8 }; /* rows: the processor does not follow from row to row by itself */
    int64_t each = elements_a_unit(kind), width = groups->width, step = groups->step;
    size_t element = source_element(from);
    for (int64_t p = 0; p < length; p += each, to += step) {
        const void *row = source_line(from, p);
        const void *next = p + 1 < length ? source_line(from, p + 1) : NULL;
        uint32_t *group = to;
        for (int64_t i = 0; i < each && p + i + AHEAD < length; i++) {
            const char *later = source_line(from, p + i + AHEAD);
            for (size_t j = 0; j < (size_t)n * element; j += 64) __builtin_prefetch(later + j);
        }
        for (int64_t j = 0; j < n; j += width, group += groups->distance) {
            int64_t left = n - j < width ? n - j : width;
            for (int64_t i = 0; i < step; i += LANES)
                store_units(group + i, row_units(kind, row, next, j + i, left - i));
        }
    }
    for (int64_t units = divide_up(length, each); units % WHOLE != 0; units++, to += step)
        for (int64_t j = 0, g = 0; j < n; j += width, g += groups->distance)
            for (int64_t i = 0; i < step; i += LANES) store_units(to + g + i, no_units());
}

/* The kind becomes a constant. */
#define CASE(kind, call, ...)                                                                      \
    case kind:                                                                                     \
        call(kind, __VA_ARGS__);                                                                   \
        break;
#define FOR_KIND(call, ...)                                                                        \
    switch (from->kind) {                                                                          \
        PACK_KINDS(CASE, call, __VA_ARGS__)                                                        \
    default: assert(!"a kind that this set does not multiply");                                    \
    }

static void pack_lines(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length)
{
    FOR_KIND(lines_of, to, from, n, length)
}

static void pack_lines_across(uint32_t *to, const struct clip_source *from, int64_t n,
                              int64_t length)
{
    FOR_KIND(lines_across_of, to, from, n, length)
}

static void pack_rows(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                      const struct clip_groups *groups)
{
    FOR_KIND(rows_of, to, from, n, length, groups)
}

/* Before a register tile's step p: asks for what comes with the next 16 units of k. */
static inline void ask(const struct clip_ahead *ahead, int64_t p)
{
    if (ahead->data == NULL || p % 16 != 0) return;
    const char *at = ahead->data + p / 16 * ahead->bytes;
    for (int64_t i = 0; i < ahead->lines; i++, at += ahead->stride)
        for (int64_t b = 0; b < ahead->bytes; b += 64) __builtin_prefetch(at + b, 0, 2);
}

#endif
