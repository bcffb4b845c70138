/* Gradients that several ops hand on in the same way. */
#include <string.h>

#include "autograd/ops/parallel.h"

enum { PIECE = 16384 };

struct pieces {
    float *y;
    const float *x;
    int64_t n;
};

static int64_t piece(const struct pieces *p, int64_t i)
{
    return p->n - i * PIECE < PIECE ? p->n - i * PIECE : PIECE;
}

static void accumulate_piece(void *context, int64_t i)
{
    const struct pieces *p = context;
    clip_kernels()->accumulate(p->y + i * PIECE, p->x + i * PIECE, piece(p, i));
}

static void copy_piece(void *context, int64_t i)
{
    const struct pieces *p = context;
    memcpy(p->y + i * PIECE, p->x + i * PIECE, (size_t)piece(p, i) * sizeof *p->y);
}

void clip_op_pass(const struct clip_node *node, struct clip_tensor *in)
{
    struct pieces pieces = {in->grad, node->out->grad, clip_tensor_count(in)};
    if (in->grad == NULL) return;
    clip_parallel_for((pieces.n + PIECE - 1) / PIECE,
                      clip_grad_adds(in) ? accumulate_piece : copy_piece, &pieces);
}

enum { COLUMNS = 64 };

struct columns {
    float *sums;
    const void *x;
    bool bf16;
    int64_t rows, width;
};

static void sum_columns(void *context, int64_t i)
{
    const struct columns *c = context;
    int64_t begin = i * COLUMNS, n = c->width - begin;
    const char *x = (const char *)c->x + (size_t)begin * (c->bf16 ? 2 : sizeof(float));
    clip_kernels()->column_sum(c->sums + begin, x, c->bf16, c->rows, n < COLUMNS ? n : COLUMNS,
                               c->width);
}

void clip_op_bias(struct clip_tensor *b, const void *dy, bool dy_bf16, int64_t rows)
{
    int64_t width = clip_tensor_count(b);
    struct columns columns = {b->grad, dy, dy_bf16, rows, width};
    if (!clip_grad_adds(b)) clip_op_zero(b->grad, width);
    clip_parallel_for((width + COLUMNS - 1) / COLUMNS, sum_columns, &columns);
}
