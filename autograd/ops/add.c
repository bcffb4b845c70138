/* y = a + b
 *   a, b, y of one shape
 *   da += dy    db += dy
 * Backward reads nothing. */

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { A, B, GRAIN = 16384 };

static void add_range(struct clip_node *n, int64_t begin, int64_t end)
{
    clip_kernels()->add((float *)n->out->data + begin, (const float *)n->in[A]->data + begin,
                        (const float *)n->in[B]->data + begin, end - begin);
}

static void add_forward(struct clip_node *n)
{
    clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, add_range);
}

static void add_backward(struct clip_node *n)
{
    for (int i = A; i <= B; i++)
        if (n->in[i]->needs_grad) clip_op_pass(n, n->in[i]);
}

static const struct clip_op add = {
    .name = "add",
    .forward = add_forward,
    .backward = add_backward,
    .overwrites = true,
    .passes = 1 + A,
};

struct clip_tensor *clip_add(struct clip_tape *t, struct clip_tensor *a, struct clip_tensor *b)
{
    CLIP_OP_ASSERT(t, clip_tensor_count(a) == clip_tensor_count(b));
    const struct clip_op_call call = {.ndim = a->ndim, .shape = a->shape, .inputs = {a, b}};
    return clip_tape_record(t, &add, &call);
}
