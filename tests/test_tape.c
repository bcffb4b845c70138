/* The tape: gradients that meet in one value, what is released when, planning, running out of
 * memory, and that a step which repeats asks the system for nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "autograd/workspace.h"
#include "tests/fixture.h"
#include "tests/gradcheck.h"

static struct clip_tensor leaf(int64_t rows, int64_t width, uint64_t stream)
{
    struct clip_tensor x = gradcheck_tensor(2, (const int64_t[]){rows, width}, 1, stream);
    x.grad = gradcheck_normal(rows * width, 0, 0);
    x.needs_grad = true;
    return x;
}

/* y = 2 x + 3 x + (2 x + 3 x) = 10 x: a value used three times collects three gradients. */
static void gradients_of_every_use_are_added(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(4, 5, 1);
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *two = clip_scale(tape, &x, 2),
                       *five = clip_add(tape, two, clip_scale(tape, &x, 3));
    struct clip_tensor *y = clip_add(tape, five, five);
    float ones[20], ten[20];
    for (int i = 0; i < 20; i++) {
        ones[i] = 1;
        ten[i] = 10;
    }
    clip_tape_backward_from(tape, y, ones);
    test_same_f32("dx", x.grad, ten, 20);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
}

/* Two losses on one tape, walked back one after the other, share nothing but the leaf. */
static void two_backward_walks(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(2, 3, 1);
    struct clip_tape *tape = fixture_tape();
    float ones[6] = {1, 1, 1, 1, 1, 1}, five[6] = {5, 5, 5, 5, 5, 5};
    struct clip_tensor *a = clip_scale(tape, clip_scale(tape, &x, 2), 1),
                       *b = clip_scale(tape, &x, 3);
    clip_tape_backward_from(tape, a, ones);
    clip_tape_backward_from(tape, b, ones);
    test_same_f32("dx", x.grad, five, 6);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
}

static void what_needs_no_gradient_gets_none(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(2, 3, 1), constant = leaf(2, 3, 2);
    float ones[6] = {1, 1, 1, 1, 1, 1}, zeros[6] = {0};
    constant.needs_grad = false;
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *side = clip_gelu(tape, &constant),
                       *y = clip_add(tape, clip_scale(tape, &x, 2), side);
    assert_false(side->needs_grad);
    assert_true(y->needs_grad);
    clip_tape_backward_from(tape, y, ones);
    test_same_f32("the constant's gradient", constant.grad, zeros, 6);
    clip_tape_backward_from(tape, side, ones); /* nothing there to reach: returns */
    test_same_f32("the constant's gradient", constant.grad, zeros, 6);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&constant);
}

/* Twenty layers of linear and GELU. */
static struct clip_tensor *layers(struct clip_tape *tape, struct clip_tensor *x,
                                  struct clip_tensor *w, bool scopes)
{
    for (int i = 0; i < 20; i++) {
        struct clip_scope scope;
        if (scopes) clip_scope_enter(tape, &scope);
        struct clip_tensor *before = x;
        x = clip_add(tape, clip_gelu(tape, clip_linear(tape, x, w, NULL, NULL)), x);
        if (scopes) {
            x = clip_scope_leave(tape, &scope, x);
            clip_tape_release(tape, before);
        }
    }
    return x;
}

static void scopes_change_memory_and_nothing_else(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(64, 32, 1), w = leaf(32, 32, 2);
    float *ones = gradcheck_normal(64 * 32, 1, 3), *plain = gradcheck_normal(64 * 32, 0, 0);
    float *dw = gradcheck_normal(32 * 32, 0, 0);
    size_t peak[2][2];
    for (int record = 0; record < 2; record++)
        for (int scopes = 0; scopes < 2; scopes++) {
            struct clip_tape *tape = fixture_tape();
            tape->record = record;
            struct clip_tensor *y = layers(tape, &x, &w, scopes);
            if (record == 0 && scopes == 0) memcpy(plain, y->data, 64 * 32 * sizeof *plain);
            test_same_f32("y", y->data, plain, 64 * 32);
            memset(w.grad, 0, 32 * 32 * sizeof(float));
            clip_tape_backward_from(tape, y, ones);
            if (record && scopes == 0) memcpy(dw, w.grad, 32 * 32 * sizeof *dw);
            if (record) test_same_f32("dw", w.grad, dw, 32 * 32);
            peak[record][scopes] = clip_tape_peak(tape);
            clip_tape_free(tape);
        }
    assert_true(peak[0][1] <
                6 * 64 * 32 *
                    sizeof(float)); /* inference holds a few layers' values, not twenty's */
    assert_true(peak[0][1] < peak[0][0] / 8);
    assert_true(peak[1][1] < peak[1][0]); /* what backward does not read is given back */
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w);
    free(ones);
    free(plain);
    free(dw);
}

/* y = gelu(gelu(x w^T)) v^T: both gelus are given back by the scope and come again, one from the
 * other. With w and x locked there is no way back to compute them again, and they are kept. */
static void cheap_values_come_again(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(64, 32, 1), w = leaf(32, 32, 2), v = leaf(32, 32, 4);
    float *dy = gradcheck_normal(64 * 32, 1, 3), *dv = gradcheck_normal(32 * 32, 0, 0);
    size_t used[2][2];
    for (int locked = 0; locked < 2; locked++)
        for (int scopes = 0; scopes < 2; scopes++) {
            struct clip_tape *tape = fixture_tape();
            struct clip_scope scope;
            x.needs_grad = w.needs_grad = !locked;
            if (scopes) clip_scope_enter(tape, &scope);
            struct clip_tensor *h = clip_linear(tape, &x, &w, NULL, NULL);
            struct clip_tensor *a = clip_gelu(tape, h), *b = clip_gelu(tape, a);
            struct clip_tensor *y = clip_linear(tape, b, &v, NULL, NULL);
            if (scopes) clip_scope_leave(tape, &scope, y);
            used[locked][scopes] = (h->data != NULL) + (a->data != NULL) + (b->data != NULL);
            memset(v.grad, 0, 32 * 32 * sizeof(float));
            clip_tape_backward_from(tape, y, dy);
            if (!locked && !scopes) memcpy(dv, v.grad, 32 * 32 * sizeof *dv);
            test_same_f32("dv", v.grad, dv, 32 * 32);
            clip_tape_free(tape);
        }
    assert_int_equal(used[0][0], 3);
    assert_int_equal(used[0][1], 1); /* h, from which the others come again */
    assert_int_equal(used[1][1], 1); /* b, which the gradient of v reads */
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w);
    gradcheck_tensor_free(&v);
    free(dy);
    free(dv);
}

/* What a segment is built from. */
struct layer {
    struct clip_tensor *w;
    int64_t times;
};

static struct clip_tensor *layers_of(struct clip_tape *tape, struct clip_tensor *x,
                                     const void *args)
{
    const struct layer *l = args;
    for (int64_t i = 0; i < l->times; i++)
        x = clip_add(tape, x, clip_gelu(tape, clip_linear(tape, x, l->w, NULL, NULL)));
    return x;
}

/* One segment of eight layers, holding two segments of four or none: the same bits, less memory,
 * and as much as was planned. */
static struct clip_tensor *nested(struct clip_tape *tape, struct clip_tensor *x, const void *args)
{
    struct layer four = {((const struct layer *)args)->w, 4};
    x = clip_tape_segment(tape, layers_of, x, &four, sizeof four);
    return clip_tape_segment(tape, layers_of, x, &four, sizeof four);
}

static void segments_change_memory_and_nothing_else(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(64, 32, 1), w = leaf(32, 32, 2);
    struct layer eight = {&w, 8};
    float *dy = gradcheck_normal(64 * 32, 1, 3);
    float *dx = gradcheck_normal(64 * 32, 0, 0), *dw = gradcheck_normal(32 * 32, 0, 0);
    size_t peak[3];
    for (int k = 0; k < 3; k++)
        for (int plan = 1; plan >= 0; plan--) {
            struct clip_tape *tape = fixture_tape();
            tape->plan = plan;
            memset(x.grad, 0, 64 * 32 * sizeof(float));
            memset(w.grad, 0, 32 * 32 * sizeof(float));
            struct clip_tensor *y = clip_scale(tape, &x, 2);
            y = k == 0   ? layers_of(tape, y, &eight)
                : k == 1 ? clip_tape_segment(tape, layers_of, y, &eight, sizeof eight)
                         : clip_tape_segment(tape, nested, y, &eight, sizeof eight);
            y = clip_scale(tape, y, 1);
            clip_tape_backward_from(tape, y, dy);
            fixture_tape_ok(tape);
            if (plan)
                peak[k] = clip_tape_peak(tape);
            else
                assert_int_equal(clip_tape_peak(tape), peak[k]);
            if (k == 0 && !plan) {
                memcpy(dx, x.grad, 64 * 32 * sizeof *dx);
                memcpy(dw, w.grad, 32 * 32 * sizeof *dw);
            }
            if (!plan) test_same_f32("dx", x.grad, dx, 64 * 32);
            if (!plan) test_same_f32("dw", w.grad, dw, 32 * 32);
            clip_tape_free(tape);
        }
    assert_true(peak[2] < peak[0]);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w);
    free(dy);
    free(dx);
    free(dw);
}

/* A segment through which no gradient is wanted is plain inference. */
static void segments_without_gradients_record_nothing(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(4, 32, 1), w = leaf(32, 32, 2);
    struct layer two = {&w, 2};
    struct clip_tape *tape = fixture_tape();
    x.needs_grad = w.needs_grad = false;
    struct clip_tensor *y = clip_tape_segment(tape, layers_of, &x, &two, sizeof two);
    assert_false(y->needs_grad);
    assert_non_null(y->data);
    w.needs_grad = true;
    assert_true(clip_tape_segment(tape, layers_of, &x, &two, sizeof two)->needs_grad);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w);
}

/* With record off nothing needs a gradient, and backward touches nothing. */
static void inference_records_nothing(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(3, 4, 1);
    float ones[12] = {1}, zeros[12] = {0};
    struct clip_tape *tape = fixture_tape();
    tape->record = false;
    struct clip_tensor *y = clip_gelu(tape, &x);
    assert_false(y->needs_grad);
    clip_tape_backward_from(tape, y, ones);
    test_same_f32("dx", x.grad, zeros, 12);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
}

/* The same step over and over, also after a larger one: memory is asked for once, values are the
 * same bits. */
static void repeating_asks_for_nothing(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(64, 32, 1), more = leaf(200, 32, 3), w = leaf(32, 32, 2);
    float *dy = gradcheck_normal(200 * 32, 1, 3), *first = gradcheck_normal(32 * 32, 0, 0);
    struct clip_tape *tape = fixture_tape();
    clip_tape_backward_from(tape, layers(tape, &more, &w, true), dy);
    int64_t grown = clip_tape_grown(tape);
    for (int step = 0; step < 4; step++) {
        clip_tape_clear(tape);
        memset(w.grad, 0, 32 * 32 * sizeof(float));
        clip_tape_backward_from(tape, layers(tape, &x, &w, true), dy);
        if (step == 0) memcpy(first, w.grad, 32 * 32 * sizeof *first);
        test_same_f32("dw", w.grad, first, 32 * 32);
        assert_int_equal(clip_tape_grown(tape), grown);
    }
    fixture_tape_ok(tape);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&more);
    gradcheck_tensor_free(&w);
    free(dy);
    free(first);
}

static void planning_foretells_the_peak(void **state)
{
    (void)state;
    struct clip_tensor x = leaf(64, 32, 1), w = leaf(32, 32, 2);
    float *dy = gradcheck_normal(64 * 32, 1, 3);
    for (int scopes = 0; scopes < 2; scopes++) {
        struct clip_tape *plan = fixture_tape(), *tape = fixture_tape();
        plan->plan = true;
        clip_tape_backward_from(plan, layers(plan, &x, &w, scopes), dy);
        fixture_tape_ok(plan);
        clip_tape_backward_from(tape, layers(tape, &x, &w, scopes), dy);
        test_close_f64("planned peak", (double)clip_tape_peak(plan), (double)clip_tape_peak(tape),
                       0.01, 0);
        clip_tape_free(plan);
        clip_tape_free(tape);
    }
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w);
    free(dy);
}

/* Terabytes are planned without being had. */
static void planning_takes_no_memory(void **state)
{
    (void)state;
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor x = clip_tensor_f32(NULL, (int64_t)1 << 32, 1024),
                       w = clip_tensor_f32(NULL, 1024, 1024);
    x.needs_grad = w.needs_grad = true;
    tape->plan = true;
    struct clip_tensor *y = clip_linear(tape, &x, &w, NULL, NULL);
    assert_int_equal(y->shape[0], (int64_t)1 << 32);
    fixture_tape_ok(tape);
    assert_true(clip_tape_peak(tape) >= (size_t)1 << 44);
    clip_tape_free(tape);
}

/* No address space: ops do nothing from then on, one sentence at the end, and after a clear the
 * tape works again. */
static void out_of_memory_is_sticky(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor x = leaf(4, 5, 1);
    float ones[20] = {1}, zeros[20] = {0};
    struct clip_tensor *huge =
        clip_tape_input(tape, CLIP_F32, 2, (const int64_t[]){(int64_t)1 << 40, 1 << 12});
    assert_null(huge->data);
    struct clip_tensor *y = clip_gelu(tape, clip_scale(tape, &x, 2));
    test_fails(clip_tape_status(tape, &error), &error, CLIP_ERR_MEMORY, "batch_size");
    clip_tape_backward_from(tape, y, ones);
    test_same_f32("dx", x.grad, zeros, 20);
    clip_tape_clear(tape);
    y = clip_scale(tape, &x, 2);
    fixture_tape_ok(tape);
    assert_true(fabsf(((float *)y->data)[7] - 2 * ((float *)x.data)[7]) < 1e-6f);
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
}

static void reserved_memory_is_used(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_tape *tape = fixture_tape();
    test_ok(clip_tape_reserve(tape, 64 << 20, &error), &error);
    int64_t grown = clip_tape_grown(tape);
    struct clip_tensor *big =
        clip_tape_input(tape, CLIP_F32, 2, (const int64_t[]){1 << 12, 1 << 12 >> 1});
    assert_non_null(big->data);
    memset(big->data, 1, 100);
    assert_int_equal(clip_tape_grown(tape), grown);
    assert_true(clip_tape_reserve(tape, SIZE_MAX / 2, &error) != CLIP_OK);
    clip_tape_free(tape);
}

/* ---- the workspace under it ---- */

/* Pieces taken and given back in a mixed order never overlap, are aligned, and join to one again.
 */
static void pieces_never_overlap(void **state)
{
    (void)state;
    enum { PIECES = 200 };
    struct clip_workspace *workspace = clip_workspace_create();
    struct clip_piece *pieces[PIECES] = {0};
    size_t sizes[PIECES] = {0};
    uint32_t draw = 1;
    assert_non_null(workspace);
    for (int round = 0; round < 4000; round++) {
        draw = draw * 1664525 + 1013904223;
        int i = (int)(draw >> 8) % PIECES;
        if (pieces[i] != NULL) {
            unsigned char *data = clip_piece_data(pieces[i]);
            for (size_t k = 0; k < sizes[i]; k += 7) assert_int_equal(data[k], (unsigned char)i);
            clip_workspace_give_back(workspace, pieces[i]);
            pieces[i] = NULL;
            continue;
        }
        sizes[i] = (draw >> 16) % 5000 + 1;
        pieces[i] = clip_workspace_take(workspace, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)clip_piece_data(pieces[i]) % 64, 0);
        memset(clip_piece_data(pieces[i]), i, sizes[i]);
    }
    int64_t grown = clip_workspace_grown(workspace);
    clip_workspace_clear(workspace);
    size_t half = clip_workspace_peak(workspace) / 2;
    assert_non_null(clip_workspace_take(workspace, half)); /* one piece again, not splinters */
    assert_non_null(clip_workspace_take(workspace, half / 2));
    assert_int_equal(clip_workspace_grown(workspace), grown);
    clip_workspace_free(workspace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_every_use_are_added),
        cmocka_unit_test(two_backward_walks),
        cmocka_unit_test(what_needs_no_gradient_gets_none),
        cmocka_unit_test(scopes_change_memory_and_nothing_else),
        cmocka_unit_test(cheap_values_come_again),
        cmocka_unit_test(segments_change_memory_and_nothing_else),
        cmocka_unit_test(segments_without_gradients_record_nothing),
        cmocka_unit_test(inference_records_nothing),
        cmocka_unit_test(repeating_asks_for_nothing),
        cmocka_unit_test(planning_foretells_the_peak),
        cmocka_unit_test(planning_takes_no_memory),
        cmocka_unit_test(out_of_memory_is_sticky),
        cmocka_unit_test(reserved_memory_is_used),
        cmocka_unit_test(pieces_never_overlap),
    };
    return cmocka_run_group_tests_name("tape", tests, NULL, NULL);
}
