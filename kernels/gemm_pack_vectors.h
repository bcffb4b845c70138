/* Packing by vectors of LANES units, and prefetching, for the files of sets that have vectors. Such
 * a file defines these before it includes this one:
 *     LANES, COLUMNS, K_MULTIPLE   the set's numbers (kernels/gemm_parts.h)
 *     vector                       LANES units in a register
 *     store_units, no_units        writes a vector; a vector of zeros
 *     units_along_k                reads a vector from a row that lies along k
 *     units_across_k               reads a vector from one or two rows that lie across k
 *     transpose                    transposes LANES vectors
 *     PACK_KINDS                   the kinds of elements that the set multiplies
 *     STRIP_AT(i, p)               where unit p of row i lies in a strip, p a multiple of LANES;
 *                                  it may be left out */
#ifndef CLIP_KERNELS_GEMM_PACK_VECTORS_H
#define CLIP_KERNELS_GEMM_PACK_VECTORS_H

#include <assert.h>

#include "kernels/gemm_source.h"

#define UNROLLED _Pragma("GCC unroll 16")

#ifndef STRIP_AT
#define STRIP_AT(i, p) ((i)*CLIP_GEMM_A_ROW + (p))
#endif

static inline int64_t elements_per_unit(enum clip_pack kind)
{
    return kind == CLIP_PACK_PAIRS || kind == CLIP_PACK_PAIRS_OF_F32 ? 2 : 1;
}

static inline __attribute__((always_inline)) void strip_along_k(enum clip_pack kind, uint32_t *to,
                                                                const struct clip_source *from,
                                                                int64_t n, int64_t length)
{
    int64_t each = elements_per_unit(kind), units = (length + each - 1) / each;
    for (int64_t i = 0; i < n; i++) {
        const void *row = source_row(from, i);
        for (int64_t p = 0; p < units; p += LANES)
            store_units(to + STRIP_AT(i, p), units_along_k(kind, row, p * each, length - p * each));
    }
}

static inline __attribute__((always_inline)) void panel_along_k(enum clip_pack kind, uint32_t *to,
                                                                const struct clip_source *from,
                                                                int64_t n, int64_t length)
{
    enum { PREFETCH_BYTES = 512 }; /* the processor does not follow sixteen rows by itself */
    int64_t each = elements_per_unit(kind), units = (length + each - 1) / each;
    int64_t step = LANES * each * (int64_t)source_element(from); /* bytes of a row in a block */
    for (int64_t i = 0; i < COLUMNS; i += LANES)
        for (int64_t p = 0; p < units; p += LANES) {
            vector r[LANES];
            int64_t rows = clip_min_i64(divide_up(units - p, K_MULTIPLE) * K_MULTIPLE, LANES);
            for (int64_t k = 0; k < LANES && i + k < n; k++) {
                const char *later = (const char *)source_row(from, i + k) + p / LANES * step;
                for (int64_t b = 0; b < step; b += 64)
                    __builtin_prefetch(later + PREFETCH_BYTES + b);
            }
            for (int64_t k = 0; k < LANES; k++)
                r[k] = i + k < n ? units_along_k(kind, source_row(from, i + k), p * each,
                                                 length - p * each)
                                 : no_units();
            transpose(r);
            if (rows == LANES)
                for (int64_t k = 0; k < LANES; k++) store_units(to + (p + k) * COLUMNS + i, r[k]);
            else
                for (int64_t k = 0; k < rows; k++) store_units(to + (p + k) * COLUMNS + i, r[k]);
        }
}

static inline __attribute__((always_inline)) void groups_across_k(enum clip_pack kind, uint32_t *to,
                                                                  const struct clip_source *from,
                                                                  int64_t n, int64_t length,
                                                                  const struct clip_groups *groups)
{
    enum { PREFETCH_ROWS = 8 }; /* the processor does not follow from row to row by itself */
    int64_t each = elements_per_unit(kind), width = groups->width, step = groups->step;
    size_t element = source_element(from);
    for (int64_t p = 0; p < length; p += each, to += step) {
        const void *row = source_row(from, p);
        const void *next = p + 1 < length ? source_row(from, p + 1) : NULL;
        uint32_t *group = to;
        for (int64_t i = 0; i < each && p + i + PREFETCH_ROWS < length; i++) {
            const char *later = source_row(from, p + i + PREFETCH_ROWS);
            for (size_t j = 0; j < (size_t)n * element; j += 64) __builtin_prefetch(later + j);
        }
        for (int64_t j = 0; j < n; j += width, group += groups->distance) {
            int64_t left = n - j < width ? n - j : width;
            for (int64_t i = 0; i < step; i += LANES)
                store_units(group + i, units_across_k(kind, row, next, j + i, left - i));
        }
    }
    for (int64_t units = divide_up(length, each); units % K_MULTIPLE != 0; units++, to += step)
        for (int64_t j = 0, g = 0; j < n; j += width, g += groups->distance)
            for (int64_t i = 0; i < step; i += LANES) store_units(to + g + i, no_units());
}

/* Calls the function for the source's kind as a constant. */
#define CASE(kind, call, ...)                                                                      \
    case kind:                                                                                     \
        call(kind, __VA_ARGS__);                                                                   \
        break;
#define FOR_KIND(call, ...)                                                                        \
    switch (from->kind) {                                                                          \
        PACK_KINDS(CASE, call, __VA_ARGS__)                                                        \
    default: assert(!"a kind that this set does not multiply");                                    \
    }

static void pack_strip_along_k(uint32_t *to, const struct clip_source *from, int64_t n,
                               int64_t length)
{
    FOR_KIND(strip_along_k, to, from, n, length)
}

static void pack_panel_along_k(uint32_t *to, const struct clip_source *from, int64_t n,
                               int64_t length)
{
    FOR_KIND(panel_along_k, to, from, n, length)
}

static void pack_groups_across_k(uint32_t *to, const struct clip_source *from, int64_t n,
                                 int64_t length, const struct clip_groups *groups)
{
    FOR_KIND(groups_across_k, to, from, n, length, groups)
}

/* Called at unit p of a register tile: prefetches what goes with units p to p + 16. */
static inline void prefetch(const struct clip_prefetch *what, int64_t p)
{
    if (what->data == NULL || p % 16 != 0) return;
    const char *at = what->data + p / 16 * what->bytes;
    for (int64_t i = 0; i < what->count; i++, at += what->stride)
        for (int64_t b = 0; b < what->bytes; b += 64) __builtin_prefetch(at + b, 0, 2);
}

#endif
