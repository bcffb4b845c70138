/* Packing in plain C, for any instruction set. */
#ifndef CLIP_KERNELS_GEMM_PLAIN_H
#define CLIP_KERNELS_GEMM_PLAIN_H

#include <string.h>

#include "kernels/bf16.h"
#include "kernels/gemm_parts.h"

static inline uint32_t unit_of_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Element i of a line, as a unit of float32. */
static inline uint32_t plain_unit(enum clip_pack kind, const void *line, int64_t i)
{
    if (kind == CLIP_PACK_WIDENED) return (uint32_t)((const uint16_t *)line)[i] << 16;
    float x = ((const float *)line)[i];
    if (kind == CLIP_PACK_ROUNDED) return (uint32_t)clip_bf16_round(x) << 16;
    return unit_of_f32(x);
}

static inline size_t source_element(const struct clip_source *from) /* bytes */
{
    return from->kind == CLIP_PACK_WIDENED || from->kind == CLIP_PACK_PAIRS ? 2 : 4;
}

/* Line i of the source. */
static inline const void *source_line(const struct clip_source *from, int64_t i)
{
    return (const char *)from->data + i * from->ld * (int64_t)source_element(from);
}

static inline void plain_lines(uint32_t *restrict to, const struct clip_source *from, int64_t n,
                               int64_t length)
{
    for (int64_t i = 0; i < n; i++) {
        const void *line = source_line(from, i);
        for (int64_t p = 0; p < length; p++)
            to[i * CLIP_GEMM_A_ROW + p] = plain_unit(from->kind, line, p);
    }
}

static inline void plain_lines_across(uint32_t *restrict to, const struct clip_source *from,
                                      int64_t n, int64_t length, int64_t columns)
{
    for (int64_t i = 0; i < columns; i++) {
        const void *line = source_line(from, i);
        for (int64_t p = 0; p < length; p++)
            to[p * columns + i] = i < n ? plain_unit(from->kind, line, p) : 0;
    }
}

static inline void plain_rows(uint32_t *restrict to, const struct clip_source *from, int64_t n,
                              int64_t length, const struct clip_groups *groups)
{
    for (int64_t p = 0; p < length; p++) {
        const void *line = source_line(from, p);
        for (int64_t j = 0; j < n; j += groups->width) {
            int64_t width = n - j < groups->width ? n - j : groups->width;
            uint32_t *at = to + j / groups->width * groups->distance + p * groups->step;
            for (int64_t i = 0; i < width; i++) at[i] = plain_unit(from->kind, line, j + i);
            for (int64_t i = width; i < groups->step; i++) at[i] = 0;
        }
    }
}

#endif
