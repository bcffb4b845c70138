/* Tensors as operands of a product (kernels/gemm.h), and the precision that it is computed in. */
#ifndef CLIP_AUTOGRAD_OPS_OPERAND_H
#define CLIP_AUTOGRAD_OPS_OPERAND_H

#include "autograd/tape.h"
#include "kernels/gemm.h"

/* A matrix with rows of `width` elements, as it is or transposed. */
static inline struct clip_operand clip_op_operand(const struct clip_tensor *x, int64_t width)
{
    return (struct clip_operand){x->data, width, .bf16 = x->dtype == CLIP_BF16,
                                 .panels = x->panels};
}

static inline struct clip_operand clip_op_transposed(const struct clip_tensor *x, int64_t width)
{
    return (struct clip_operand){x->data, width, .transpose = true, .bf16 = x->dtype == CLIP_BF16,
                                 .panels = x->panels};
}

/* The matrix x, or none if x is NULL. */
static inline struct clip_matrix clip_op_matrix(const struct clip_tensor *x, int64_t width)
{
    if (x == NULL) return (struct clip_matrix){0};
    return (struct clip_matrix){x->data, width, x->dtype == CLIP_BF16};
}

static inline bool clip_op_bf16(const struct clip_node *n) { return n->tape->dtype == CLIP_BF16; }

#endif
