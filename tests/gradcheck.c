#include "tests/gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops.h"
#include "core/rng.h"
#include "core/threads.h"

enum { ELEMENTS = 64 }; /* checked one by one in each leaf */

float *gradcheck_normal(int64_t n, float scale, uint64_t stream)
{
    struct clip_rng rng = clip_rng_at(20210105, CLIP_RNG_TEST, 0, stream);
    float *x = calloc((size_t)(n > 0 ? n : 1), sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; scale > 0 && i < n; i++) x[i] = scale * clip_rng_normal(&rng);
    return x;
}

struct clip_tensor gradcheck_tensor(int ndim, const int64_t *shape, float scale, uint64_t stream)
{
    struct clip_tensor tensor = clip_tensor_view(CLIP_F32, NULL, ndim, shape);
    tensor.data = gradcheck_normal(clip_tensor_count(&tensor), scale, stream);
    return tensor;
}

void gradcheck_tensor_free(struct clip_tensor *tensor)
{
    free(tensor->data);
    free(tensor->grad);
    tensor->data = NULL;
    tensor->grad = NULL;
}

struct checker {
    const char *op;
    const struct gradcheck *check;
    struct clip_tape *tape;
    float *dy; /* as many as y has; NULL before the first evaluation */
    int64_t y_count;
};

static struct clip_tensor *build(struct checker *c)
{
    clip_tape_clear(c->tape);
    struct clip_tensor *y = c->check->build(c->tape, c->check->leaves, c->check->context);
    struct clip_error error = {0};
    if (clip_tape_status(c->tape, &error) != CLIP_OK) fail_msg("%s: %s", c->op, error.message);
    return y;
}

static double evaluate(struct checker *c)
{
    const struct clip_tensor *y = build(c);
    const float *data = y->data;
    double sum = 0;
    for (int64_t i = 0; i < c->y_count; i++) sum += (double)data[i] * (double)c->dy[i];
    return sum;
}

static double step_of(const struct checker *c)
{
    return c->check->step > 0 ? (double)c->check->step : 0.05;
}
static double tolerance_of(const struct checker *c)
{
    return c->check->tolerance > 0 ? c->check->tolerance : 1e-3;
}
static int64_t count_of(const struct checker *c, int leaf)
{
    return clip_tensor_count(c->check->leaves[leaf]);
}

/* L where `move` has put the leaves; dL/ds of them by differences. */
static double measure(struct checker *c, void (*move)(struct checker *, void *, double), void *what)
{
    static const double at[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    double h = step_of(c), sum = 0;
    for (int i = 0; i < 4; i++) {
        move(c, what, at[i] * h);
        sum += weight[i] * evaluate(c);
    }
    move(c, what, 0);
    return sum / (12 * h);
}

struct element {
    float *x, start;
};

static void move_element(struct checker *c, void *what, double s)
{
    (void)c;
    struct element *e = what;
    *e->x = (float)((double)e->start + s);
}

/* Gradients of the leaves that need one, new and each `start`; y's bits and these are what a run
 * gives. */
static void run_backward(struct checker *c, float start)
{
    for (int i = 0; i < c->check->n; i++) {
        struct clip_tensor *leaf = c->check->leaves[i];
        for (int64_t j = 0; leaf->grad != NULL && j < count_of(c, i); j++) leaf->grad[j] = start;
    }
    struct clip_tensor *y = build(c);
    clip_tape_backward_from(c->tape, y, c->dy);
}

static void check_elements(struct checker *c, int i, const float *grad, double largest)
{
    struct clip_tensor *leaf = c->check->leaves[i];
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 1, (uint64_t)i);
    int64_t n = count_of(c, i), picks = n < ELEMENTS ? n : ELEMENTS;
    for (int64_t k = 0; k < picks; k++) {
        int64_t j = n <= ELEMENTS ? k : (int64_t)clip_rng_below(&rng, (uint32_t)n);
        struct element e = {(float *)leaf->data + j, ((float *)leaf->data)[j]};
        double measured = measure(c, move_element, &e);
        if (fabs(measured - (double)grad[j]) > tolerance_of(c) * (largest + 1e-3))
            fail_msg("%s: gradient of leaf %d at %lld is %.7g, measured %.7g (largest %.3g)", c->op,
                     i, (long long)j, (double)grad[j], measured, largest);
    }
}

struct direction {
    float *start[GRADCHECK_LEAVES], *toward[GRADCHECK_LEAVES];
};

static void move_along(struct checker *c, void *what, double s)
{
    struct direction *d = what;
    for (int i = 0; i < c->check->n; i++)
        for (int64_t j = 0; j < count_of(c, i); j++)
            ((float *)c->check->leaves[i]->data)[j] =
                (float)((double)d->start[i][j] + s * (double)d->toward[i][j]);
}

/* Along a direction of length 1 through all leaves. */
static void check_direction(struct checker *c, float *const *grads)
{
    struct direction d = {0};
    double length = 0, expected = 0, norm = 0;
    for (int i = 0; i < c->check->n; i++) {
        d.toward[i] = gradcheck_normal(count_of(c, i), 1, 100 + (uint64_t)i);
        d.start[i] = gradcheck_normal(count_of(c, i), 0, 0);
        memcpy(d.start[i], c->check->leaves[i]->data, (size_t)count_of(c, i) * sizeof(float));
        for (int64_t j = 0; j < count_of(c, i); j++)
            length += (double)d.toward[i][j] * (double)d.toward[i][j];
    }
    for (int i = 0; i < c->check->n; i++)
        for (int64_t j = 0; j < count_of(c, i); j++) {
            d.toward[i][j] = (float)((double)d.toward[i][j] / sqrt(length));
            expected += (double)d.toward[i][j] * (double)grads[i][j];
            norm += (double)grads[i][j] * (double)grads[i][j];
        }
    double measured = measure(c, move_along, &d);
    for (int i = 0; i < c->check->n; i++) {
        free(d.toward[i]);
        free(d.start[i]);
    }
    if (fabs(measured - expected) > tolerance_of(c) * (sqrt(norm) + 1e-3))
        fail_msg("%s: along a random direction the gradient is %.7g, measured %.7g (length %.3g)",
                 c->op, expected, measured, sqrt(norm));
}

/* Backward adds: the same gradients on top of another start. */
static void check_accumulates(struct checker *c, float *const *grads, const double *largest)
{
    const float start = 0.5f;
    run_backward(c, start);
    for (int i = 0; i < c->check->n; i++)
        for (int64_t j = 0; j < count_of(c, i); j++) {
            double got = (double)c->check->leaves[i]->grad[j] - (double)start;
            if (fabs(got - (double)grads[i][j]) > 1e-5 * (largest[i] + (double)start))
                fail_msg("%s: backward does not add to the gradient of leaf %d at %lld: %.7g "
                         "became %.7g, not %.7g",
                         c->op, i, (long long)j, (double)start,
                         (double)c->check->leaves[i]->grad[j], (double)start + (double)grads[i][j]);
        }
}

/* What stands in an empty gradient is overwritten, never read. */
static void check_overwrites(struct checker *c, float *const *grads, const double *largest)
{
    for (int i = 0; i < c->check->n; i++) {
        struct clip_tensor *leaf = c->check->leaves[i];
        for (int64_t j = 0; j < count_of(c, i); j++) leaf->grad[j] = NAN;
        leaf->grad_empty = true;
    }
    struct clip_tensor *y = build(c);
    clip_tape_backward_from(c->tape, y, c->dy);
    for (int i = 0; i < c->check->n; i++) {
        if (c->check->leaves[i]->grad_empty)
            fail_msg("%s: the gradient of leaf %d is still marked as empty", c->op, i);
        for (int64_t j = 0; j < count_of(c, i); j++) {
            double got = (double)c->check->leaves[i]->grad[j];
            if (!(fabs(got - (double)grads[i][j]) <= 1e-6 * largest[i]))
                fail_msg("%s: gradient of leaf %d at %lld is %.7g where it was empty, else %.7g",
                         c->op, i, (long long)j, got, (double)grads[i][j]);
        }
    }
}

/* Does leaf k need a gradient when leaf i is the one that does? */
static bool goes_with(const struct checker *c, int k, int i)
{
    return k == i || ((c->check->together >> k & 1) && (c->check->together >> i & 1));
}

/* With leaf `i` alone needing a gradient: its gradient is as before, and nobody writes through the
 * others' NULL. */
static void check_alone(struct checker *c, int i, float *const *grads, double largest)
{
    float *own[GRADCHECK_LEAVES];
    for (int k = 0; k < c->check->n; k++) {
        struct clip_tensor *leaf = c->check->leaves[k];
        own[k] = leaf->grad;
        leaf->needs_grad = goes_with(c, k, i);
        if (!leaf->needs_grad) leaf->grad = NULL;
    }
    run_backward(c, 0);
    for (int k = 0; k < c->check->n; k++) {
        struct clip_tensor *leaf = c->check->leaves[k];
        if (!leaf->needs_grad && leaf->grad != NULL)
            fail_msg("%s: leaf %d needs no gradient and got one", c->op, k);
        leaf->grad = own[k];
        leaf->needs_grad = true;
    }
    for (int64_t j = 0; j < count_of(c, i); j++)
        if (fabs((double)own[i][j] - (double)grads[i][j]) > 1e-6 * largest)
            fail_msg("%s: gradient of leaf %d at %lld is %.7g when it alone needs one, else %.7g",
                     c->op, i, (long long)j, (double)own[i][j], (double)grads[i][j]);
}

static void check_threads(struct checker *c, float *const *grads, const float *y)
{
    int before = clip_threads_count();
    for (int threads = 1; threads <= 3; threads++) {
        clip_threads_set(threads);
        struct clip_tensor *again = build(c);
        bool same = memcmp(again->data, y, (size_t)c->y_count * sizeof *y) == 0;
        run_backward(c, 0);
        for (int i = 0; i < c->check->n; i++)
            same = same && memcmp(c->check->leaves[i]->grad, grads[i],
                                  (size_t)count_of(c, i) * sizeof(float)) == 0;
        clip_threads_set(before);
        if (!same) fail_msg("%s: other bits with %d threads than with %d", c->op, threads, before);
    }
}

/* The same with inputs and value that are the tape's own, inside a scope which gives back all that
 * no op's `reads` asks to keep. */
static void check_reads(struct checker *c, float *const *grads, const double *largest)
{
    struct clip_tensor *inputs[GRADCHECK_LEAVES];
    struct clip_scope scope;
    clip_tape_clear(c->tape);
    for (int i = 0; i < c->check->n; i++)
        memset(c->check->leaves[i]->grad, 0, (size_t)count_of(c, i) * sizeof(float));
    clip_scope_enter(c->tape, &scope);
    for (int i = 0; i < c->check->n; i++) inputs[i] = clip_scale(c->tape, c->check->leaves[i], 1);
    struct clip_tensor *y = c->check->build(c->tape, inputs, c->check->context);
    y = clip_scope_leave(c->tape, &scope, clip_scale(c->tape, y, 1));
    clip_tape_backward_from(c->tape, y, c->dy);
    for (int i = 0; i < c->check->n; i++)
        for (int64_t j = 0; j < count_of(c, i); j++) {
            double got = (double)c->check->leaves[i]->grad[j], want = (double)grads[i][j];
            if (!(fabs(got - want) <= 1e-6 * largest[i]))
                fail_msg("%s: gradient of leaf %d at %lld is %.7g inside a scope, else %.7g", c->op,
                         i, (long long)j, got, want);
        }
}

static void attach_gradients(struct checker *c)
{
    for (int i = 0; i < c->check->n; i++) {
        struct clip_tensor *leaf = c->check->leaves[i];
        free(leaf->grad);
        leaf->grad = gradcheck_normal(count_of(c, i), 0, 0);
        leaf->needs_grad = true;
    }
}

void gradcheck(const char *op, const struct gradcheck *check)
{
    struct clip_error error = {0};
    struct checker c = {.op = op, .check = check};
    float *grads[GRADCHECK_LEAVES] = {0};
    double largest[GRADCHECK_LEAVES] = {0};
    if (clip_tape_create(&c.tape, &error) != CLIP_OK) fail_msg("%s: %s", op, error.message);
    attach_gradients(&c);
    struct clip_tensor *first = build(&c);
    c.y_count = clip_tensor_count(first);
    c.dy = gradcheck_normal(c.y_count, 1, 99);
    float *y = gradcheck_normal(c.y_count, 0, 0);
    memcpy(y, first->data, (size_t)c.y_count * sizeof *y);
    run_backward(&c, 0);
    for (int i = 0; i < check->n; i++) {
        grads[i] = gradcheck_normal(count_of(&c, i), 0, 0);
        memcpy(grads[i], check->leaves[i]->grad, (size_t)count_of(&c, i) * sizeof(float));
        for (int64_t j = 0; j < count_of(&c, i); j++)
            largest[i] = fmax(largest[i], fabs((double)grads[i][j]));
    }
    check_threads(&c, grads, y);
    check_accumulates(&c, grads, largest);
    check_overwrites(&c, grads, largest);
    if (check->through_leaves) check_reads(&c, grads, largest);
    for (int i = 0; i < check->n; i++) check_alone(&c, i, grads, largest[i]);
    c.tape->record = false; /* from here on only values are wanted, and one thread is fastest */
    int threads = clip_threads_count();
    clip_threads_set(1);
    for (int i = 0; i < check->n; i++) check_elements(&c, i, grads[i], largest[i]);
    check_direction(&c, grads);
    clip_threads_set(threads);
    for (int i = 0; i < check->n; i++) free(grads[i]);
    free(y);
    free(c.dy);
    clip_tape_free(c.tape);
}
