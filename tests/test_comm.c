/* Processes that work on one thing: what one has reaches all, a failure too, and slices are summed
 * in one order, however many processes share them. By itself this is one process; tests/many.sh
 * starts it as several. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/comm.h"
#include "kernels/bf16.h"
#include "tests/training_run.h"
#include "train/slices.h"

static struct clip_comm *comm_of(void **state) { return *state; }

static int open_comm(void **state)
{
    struct clip_error error;
    struct clip_comm *comm;
    if (clip_comm_open(&comm, &error) != CLIP_OK) return -1;
    *state = comm;
    return 0;
}

static int close_comm(void **state)
{
    clip_comm_close(comm_of(state));
    return 0;
}

static void numbers_of_all(void **state)
{
    const struct clip_comm *comm = comm_of(state);
    int64_t rank = clip_comm_rank(comm), size = clip_comm_size(comm);
    assert_in_range(rank, 0, size - 1);
    assert_int_equal(clip_comm_most(comm, rank - 5), size - 6);
    assert_int_equal(clip_comm_least(comm, rank - 5), -5);
    assert_int_equal(clip_comm_sum(comm, rank + 1), size * (size + 1) / 2);
}

/* Process r has r bytes, and one has none. */
static void everybody_gets_all(void **state)
{
    const struct clip_comm *comm = comm_of(state);
    int rank = clip_comm_rank(comm), size = clip_comm_size(comm);
    int64_t bounds[65];
    unsigned char data[2080] = {0}, first[2080] = {0}, own[64];
    assert_true(size <= 64);
    bounds[0] = 0;
    for (int r = 0; r < size; r++) bounds[r + 1] = bounds[r] + r;
    memset(data + bounds[rank], rank + 1, (size_t)rank);
    memset(own, rank + 1, sizeof own);
    clip_comm_gather(comm, first, own, bounds);
    clip_comm_all_gather(comm, data, bounds);
    for (int r = 0; r < size; r++)
        for (int64_t i = bounds[r]; i < bounds[r + 1]; i++) {
            assert_int_equal(data[i], r + 1);
            if (rank == 0) assert_int_equal(first[i], r + 1);
        }
    unsigned char word[3] = {0};
    if (rank == 0) memcpy(word, "ab", 3);
    clip_comm_broadcast(comm, word, sizeof word);
    assert_string_equal((char *)word, "ab");
}

static void each_sends_to_each(void **state)
{
    const struct clip_comm *comm = comm_of(state);
    int rank = clip_comm_rank(comm), size = clip_comm_size(comm);
    int to[64], from[64];
    struct clip_comm_part send[64], receive[64];
    for (int r = 0; r < size; r++) {
        to[r] = 100 * rank + r;
        from[r] = -1;
        send[r] = (struct clip_comm_part){&to[r], r == (rank + 1) % size ? 0 : sizeof to[r]};
        receive[r] = (struct clip_comm_part){&from[r], rank == (r + 1) % size ? 0 : sizeof from[r]};
    }
    clip_comm_exchange(comm, send, receive);
    for (int r = 0; r < size; r++) {
        bool sent = r != rank && rank != (r + 1) % size;
        assert_int_equal(from[r], sent ? 100 * r + rank : -1);
    }
}

/* ---- slices ---- */

enum { FLOATS = 5000 };

/* The gradient of a slice: of many sizes, so that the order of a sum shows in its bits. */
static void fill(float *grad, int64_t slice)
{
    for (int64_t i = 0; i < FLOATS; i++)
        grad[i] = (float)(sin((double)(i * 31 + slice * 1009)) * exp2((double)((i + slice) % 24)));
}

static void round_all(float *sum)
{
    for (int64_t i = 0; i < FLOATS; i++) sum[i] = clip_bf16_widen(clip_bf16_round(sum[i]));
}

/* The part of the tree over slices [first, first + 2^level), or what of it there is below `world`.
 * Written as the sentence in train/slices.h says it. */
static void tree(float *sum, int64_t first, int64_t n, int64_t world, bool bf16)
{
    if (n == 1) {
        fill(sum, first);
    } else {
        int64_t half = n / 2;
        tree(sum, first, half, world, bf16);
        if (first + half < world) {
            float *right = malloc(FLOATS * sizeof *right);
            assert_non_null(right);
            tree(right, first + half, half, world, bf16);
            for (int64_t i = 0; i < FLOATS; i++) sum[i] += right[i];
            free(right);
        }
    }
    if (bf16 && n < world && first + n <= world) round_all(sum);
}

static void check_sum(struct clip_comm *comm, int64_t world, enum clip_wire wire)
{
    struct clip_error error = {0};
    struct clip_slices *slices;
    int size = clip_comm_size(comm), rank = clip_comm_rank(comm);
    float *grad = malloc(FLOATS * sizeof *grad), *expected = malloc(FLOATS * sizeof *expected);
    int64_t floats[65], pieces[65], n = 1;
    const struct clip_optim_parts parts = {size, floats, pieces};
    assert_true(grad != NULL && expected != NULL && size <= 64);
    for (int r = 0; r <= size; r++) floats[r] = pieces[r] = FLOATS * r / size;
    test_ok(clip_slices_create(&slices, comm, world, wire, grad, FLOATS, &error), &error);
    assert_int_equal(slices->count, world / size);
    while (n < world) n *= 2;
    tree(expected, 0, n, world, wire == CLIP_WIRE_BF16);
    for (int again = 0; again < 2; again++) {
        clip_slices_begin(slices);
        for (int64_t k = 0; k < slices->count; k++) {
            float *buffer = clip_slices_buffer(slices);
            fill(buffer, slices->first + k);
            clip_slices_add(slices, buffer);
        }
        clip_slices_reduce(slices, &parts);
        test_same_f32("own part", grad + floats[rank], expected + floats[rank],
                      floats[rank + 1] - floats[rank]);
        clip_slices_gather(slices, &parts, grad);
        test_same_f32("all", grad, expected, FLOATS);
    }
    clip_slices_free(slices);
    free(grad);
    free(expected);
}

static void slices_are_summed_in_one_order(void **state)
{
    struct clip_comm *comm = comm_of(state);
    for (int64_t k = 1; k <= 12; k++) {
        check_sum(comm, k * clip_comm_size(comm), CLIP_WIRE_F32);
        check_sum(comm, k * clip_comm_size(comm), CLIP_WIRE_BF16);
    }
}

/* Of two slices' sums in another order another sum would come: the test above can fail. */
static void order_shows(void **state)
{
    (void)state;
    float a[FLOATS], b[FLOATS], c[FLOATS];
    bool differs = false;
    fill(a, 0);
    fill(b, 1);
    fill(c, 2);
    for (int64_t i = 0; i < FLOATS; i++)
        differs = differs || (a[i] + b[i]) + c[i] < a[i] + (b[i] + c[i]);
    assert_true(differs);
}

/* ---- a run ---- */

/* PyTorch's thirty steps, by all processes together: the losses of each to 1e-4. The last set's are
 * written to the file that CLIP_LOSSES names (tests/peer_processes.py). */
static void thirty_steps_follow_pytorch(void **state)
{
    struct clip_comm *comm = comm_of(state);
    struct clip_error error = {0};
    int64_t size = clip_comm_size(comm), rank = clip_comm_rank(comm);
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        struct clip_bundle log = fixture_read(test_root(i), "training/steps.safetensors");
        int64_t steps = fixture_tensor(&log, "loss")->shape[0];
        training_open(&r, test_root(i), 1);
        int64_t batch = r.capacity, own = batch / size;
        r.options.comm = comm;
        r.options.train.world_size = size > 1 ? size : 2;
        const char *path = getenv("CLIP_LOSSES");
        FILE *losses = path != NULL && rank == 0 ? fopen(path, "w") : NULL;
        struct clip_step *step = batch % size == 0 ? training_step_new(&r) : NULL;
        if (step != NULL) test_ok(clip_step_reserve(step, &error), &error);
        for (int64_t s = 0; s < steps && step != NULL; s++) {
            double loss = training_step(step, training_batch(&r, s * batch + rank * own, own)).loss;
            test_close_f64("loss", loss, (double)fixture_f32(&log, "loss")[s], 1e-4, 1e-4);
            if (losses != NULL) fprintf(losses, "%.9g\n", loss);
        }
        if (losses != NULL) fclose(losses);
        clip_step_free(step);
        clip_bundle_release(&log);
        training_close(&r);
    }
}

/* ---- failures ---- */

/* The last test: after it nobody waits for anybody any more. */
static void a_failure_is_everybodys(void **state)
{
    struct clip_comm *comm = comm_of(state);
    struct clip_error error = {0};
    int size = clip_comm_size(comm), rank = clip_comm_rank(comm);
    assert_int_equal(clip_comm_agree(comm, CLIP_OK, &error), CLIP_OK);
    assert_false(clip_comm_failed(comm));
    clip_status status = rank >= size / 2 ? clip_fail(&error, CLIP_ERR_IO, "disk %d is full", rank)
                                          : CLIP_OK;
    status = clip_comm_agree(comm, status, &error);
    assert_int_equal(status, CLIP_ERR_IO);
    char expected[64];
    snprintf(expected, sizeof expected, "disk %d is full", size / 2);
    assert_non_null(strstr(error.message, expected));
    if (size > 1) {
        assert_true(clip_comm_failed(comm));
        assert_int_equal(clip_comm_agree(comm, CLIP_OK, &error), CLIP_ERR_IO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_all),
        cmocka_unit_test(everybody_gets_all),
        cmocka_unit_test(each_sends_to_each),
        cmocka_unit_test(slices_are_summed_in_one_order),
        cmocka_unit_test(order_shows),
        cmocka_unit_test(thirty_steps_follow_pytorch),
        cmocka_unit_test(a_failure_is_everybodys),
    };
    return cmocka_run_group_tests_name("comm", tests, open_comm, close_comm);
}
