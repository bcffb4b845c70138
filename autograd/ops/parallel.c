#include "autograd/ops/parallel.h"

#include <string.h>

#include "core/memory.h"

struct ranges {
    struct clip_node *node;
    int64_t n, grain;
    clip_range_fn fn;
};

static void call_range(void *context, int64_t i)
{
    const struct ranges *r = context;
    int64_t begin = i * r->grain, end = begin + r->grain;
    r->fn(r->node, begin, end < r->n ? end : r->n);
}

void clip_op_ranges(struct clip_node *node, int64_t n, int64_t grain, clip_range_fn fn)
{
    struct ranges ranges = {node, n, grain, fn};
    clip_parallel_for((n + grain - 1) / grain, call_range, &ranges);
}

void clip_op_rows(struct clip_node *node, int64_t rows, int64_t width, clip_range_fn fn)
{
    int64_t grain = 16384 / (width > 0 ? width : 1);
    clip_op_ranges(node, rows, grain > 0 ? grain : 1, fn);
}

enum { PIECE = 16384 };

struct zeros {
    float *y;
    int64_t n;
};

static void zero_piece(void *context, int64_t i)
{
    const struct zeros *z = context;
    int64_t begin = i * PIECE;
    memset(z->y + begin, 0, (size_t)clip_min_i64(PIECE, z->n - begin) * sizeof *z->y);
}

void clip_op_zero(float *y, int64_t n)
{
    struct zeros zeros = {y, n};
    clip_parallel_for((n + PIECE - 1) / PIECE, zero_piece, &zeros);
}
