/* Reading a struct clip_source, for the packing of every instruction set. */
#ifndef CLIP_KERNELS_GEMM_SOURCE_H
#define CLIP_KERNELS_GEMM_SOURCE_H

#include <stddef.h>

#include "kernels/gemm_parts.h"

static inline size_t source_element(const struct clip_source *from) /* bytes */
{
    return from->kind == CLIP_PACK_WIDENED || from->kind == CLIP_PACK_PAIRS ? 2 : 4;
}

/* Row i of the source. */
static inline const void *source_row(const struct clip_source *from, int64_t i)
{
    return (const char *)from->data + i * from->ld * (int64_t)source_element(from);
}

#endif
