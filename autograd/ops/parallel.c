#include "autograd/ops/parallel.h"

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

enum { ACCUMULATE_GRAIN = 16384 };

struct sum {
    float *y;
    const float *x;
    int64_t n;
};

static void accumulate_piece(void *context, int64_t i)
{
    const struct sum *s = context;
    int64_t begin = i * ACCUMULATE_GRAIN, n = s->n - begin;
    clip_kernels()->accumulate(s->y + begin, s->x + begin,
                               n < ACCUMULATE_GRAIN ? n : ACCUMULATE_GRAIN);
}

void clip_op_accumulate(float *y, const float *x, int64_t n)
{
    struct sum sum = {y, x, n};
    clip_parallel_for((n + ACCUMULATE_GRAIN - 1) / ACCUMULATE_GRAIN, accumulate_piece, &sum);
}
