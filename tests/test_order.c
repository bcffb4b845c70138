/* The order of training: permutations by rounds, mixtures by weights, the same from anywhere. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/sets/order.h"

static struct clip_order *create(int64_t samples, const struct clip_order_options *options)
{
    struct clip_order *order = NULL;
    struct clip_error error;
    test_ok(clip_order_create(&order, samples, options, &error), &error);
    return order;
}

/* What runs of earlier versions were trained in. */
static void one_set_is_the_old_permutation(void **state)
{
    enum { N = 37 };
    const struct clip_order_options options = {.seed = 5, .shuffle = true};
    struct clip_order *order = create(N, &options);
    (void)state;
    assert_int_equal(clip_order_length(order), N);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int64_t items[N];
        struct clip_rng rng = clip_rng_at(5, CLIP_RNG_SHUFFLE, (uint32_t)epoch, 0);
        for (int64_t i = 0; i < N; i++) items[i] = i;
        clip_rng_shuffle(&rng, items, N);
        for (int64_t i = 0; i < N; i++) {
            const struct clip_draw draw = clip_order_at(order, epoch, i);
            assert_int_equal(draw.sample, items[i]);
            assert_int_equal(draw.key, items[i]);
        }
    }
    clip_order_free(order);
}

static void unshuffled_is_as_it_lies(void **state)
{
    const struct clip_order_options options = {.seed = 5};
    struct clip_order *order = create(9, &options);
    (void)state;
    for (int64_t i = 0; i < 9; i++) assert_int_equal(clip_order_at(order, 0, i).sample, i);
    clip_order_free(order);
}

/* Epochs of 10 of 37 samples: nothing comes again before all have come. */
static void short_epochs_go_on_where_the_last_one_ended(void **state)
{
    enum { N = 37, LENGTH = 10 };
    const struct clip_order_options options = {.seed = 1, .shuffle = true, .length = LENGTH};
    struct clip_order *order = create(N, &options);
    (void)state;
    assert_int_equal(clip_order_length(order), LENGTH);
    for (int64_t round = 0; round < 4; round++) {
        bool seen[N] = {false};
        for (int64_t i = 0; i < N; i++) {
            int64_t t = round * N + i;
            int64_t sample = clip_order_at(order, t / LENGTH, t % LENGTH).sample;
            assert_false(seen[sample]);
            seen[sample] = true;
        }
    }
    clip_order_free(order);
}

static const struct clip_order_part three[] = {{7, 1}, {107, 2.5}, {5107, 1.5}};
enum { SAMPLES = 5107, EPOCH = 25003 };
static const struct clip_order_options mixture = {
    .parts = three, .part_count = 3, .length = EPOCH, .seed = 3, .shuffle = true};

static int part_of(int64_t sample) { return sample < 7 ? 0 : sample < 107 ? 1 : 2; }

static void weights_are_shares_of_every_block(void **state)
{
    static const int64_t quotas[] = {2000, 5000, 3000}, sizes[] = {7, 100, 5000},
                         begins[] = {0, 7, 107};
    struct clip_order *order = create(SAMPLES, &mixture);
    int64_t drawn[3] = {0}, longest = 0, run = 0;
    int times[SAMPLES] = {0}, last = -1;
    (void)state;
    for (int64_t t = 0; t < 5 * CLIP_ORDER_BLOCK; t++) {
        int64_t sample = clip_order_at(order, t / EPOCH, t % EPOCH).sample;
        int k = part_of(sample);
        run = k == last ? run + 1 : 1;
        if (run > longest) longest = run;
        last = k;
        /* a set is gone through before any of its samples comes again */
        assert_int_equal(times[sample], drawn[k] / sizes[k]);
        times[sample]++;
        drawn[k]++;
        if (t % CLIP_ORDER_BLOCK == CLIP_ORDER_BLOCK - 1)
            for (int p = 0; p < 3; p++)
                assert_int_equal(drawn[p], (t + 1) / CLIP_ORDER_BLOCK * quotas[p]);
    }
    for (int p = 0; p < 3; p++)
        for (int64_t i = 0; i < sizes[p]; i++)
            assert_in_range(times[begins[p] + i], drawn[p] / sizes[p],
                            (drawn[p] + sizes[p] - 1) / sizes[p]);
    assert_true(longest < 40); /* sets alternate: they do not stand one behind the other */
    clip_order_free(order);
}

/* Each round has a permutation of its own. */
static void rounds_differ(void **state)
{
    static const struct clip_order_part parts[] = {{50, 1}, {100, 1}};
    const struct clip_order_options options = {
        .parts = parts, .part_count = 2, .seed = 3, .shuffle = true};
    struct clip_order *order = create(100, &options);
    int64_t rounds[2][3][50], drawn[2] = {0};
    (void)state;
    for (int64_t t = 0; drawn[0] < 150 || drawn[1] < 150; t++) {
        int64_t sample = clip_order_at(order, t / 100, t % 100).sample, k = sample / 50;
        if (drawn[k] < 150) rounds[k][drawn[k] / 50][drawn[k] % 50] = sample % 50;
        drawn[k]++;
    }
    for (int a = 0; a < 6; a++)
        for (int b = 0; b < a; b++)
            assert_memory_not_equal(rounds[a / 3][a % 3], rounds[b / 3][b % 3],
                                    sizeof rounds[0][0]);
    clip_order_free(order);
}

static void any_position_can_be_asked_for(void **state)
{
    struct clip_order *order = create(SAMPLES, &mixture), *other = create(SAMPLES, &mixture);
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, 0);
    struct clip_draw *draws = calloc(3 * EPOCH, sizeof *draws);
    (void)state;
    assert_non_null(draws);
    for (int64_t t = 0; t < 3 * EPOCH; t++) draws[t] = clip_order_at(order, t / EPOCH, t % EPOCH);
    for (int i = 0; i < 400; i++) {
        int64_t t = clip_rng_index(&rng, 3 * EPOCH);
        const struct clip_draw draw = clip_order_at(other, t / EPOCH, t % EPOCH);
        assert_int_equal(draw.sample, draws[t].sample);
        assert_int_equal(draw.key, draws[t].key);
    }
    free(draws);
    clip_order_free(order);
    clip_order_free(other);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A sample that comes twice in an epoch is not cropped twice in the same way. */
static void keys_are_unique_in_an_epoch(void **state)
{
    static uint64_t keys[EPOCH];
    struct clip_order *order = create(SAMPLES, &mixture);
    (void)state;
    for (int64_t i = 0; i < EPOCH; i++) keys[i] = clip_order_at(order, 2, i).key;
    qsort(keys, EPOCH, sizeof *keys, by_value);
    for (int64_t i = 1; i < EPOCH; i++) assert_true(keys[i - 1] < keys[i]);
    clip_order_free(order);
}

static void bad_ones_are_replaced_within_their_set(void **state)
{
    struct clip_order *order = create(SAMPLES, &mixture);
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_REPLACE, 0, 0);
    int others = 0;
    (void)state;
    for (int64_t i = 0; i < 500; i++) {
        int k = part_of(clip_order_at(order, 1, i).sample);
        assert_int_equal(part_of(clip_order_replace(order, 1, i, i % 90, &rng)), k);
        /* a set may have no good sample */
        others += part_of(clip_order_replace(order, 1, i, 100, &rng)) != k;
    }
    assert_in_range(others, 100, 499);
    clip_order_free(order);
}

static void refused(const struct clip_order_part *parts, clip_status expected, const char *word)
{
    const struct clip_order_options options = {.parts = parts, .part_count = 2, .shuffle = true};
    struct clip_order *order;
    struct clip_error error;
    test_fails(clip_order_create(&order, 20, &options, &error), &error, expected, word);
    assert_null(order);
}

static void refusals(void **state)
{
    static const struct clip_order_part small[] = {{10, 1}, {20, 1e-5}},
                                        none[] = {{10, 0}, {20, 1}},
                                        endless[] = {{10, 1}, {20, (double)INFINITY}},
                                        empty[] = {{20, 1}, {20, 1}};
    (void)state;
    refused(small, CLIP_ERR_USAGE, "set 2 is less than a ten-thousandth");
    refused(none, CLIP_ERR_USAGE, "the weight 0 of set 1 is not a number above 0");
    refused(endless, CLIP_ERR_USAGE, "of set 2 is not a number above 0");
    refused(empty, CLIP_ERR_DATA, "set 2 has no samples");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_set_is_the_old_permutation),
        cmocka_unit_test(unshuffled_is_as_it_lies),
        cmocka_unit_test(short_epochs_go_on_where_the_last_one_ended),
        cmocka_unit_test(weights_are_shares_of_every_block),
        cmocka_unit_test(rounds_differ),
        cmocka_unit_test(any_position_can_be_asked_for),
        cmocka_unit_test(keys_are_unique_in_an_epoch),
        cmocka_unit_test(bad_ones_are_replaced_within_their_set),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
