/* The kernels of images, in every table that the processor runs, against their formulas. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "kernels/kernels.h"

extern const struct clip_kernels clip_kernels_ref;
#ifdef __x86_64__
extern const struct clip_kernels clip_kernels_avx2, clip_kernels_avx512;
#endif

/* The tables up to the one in use, which is the best unless CLIP_KERNELS says otherwise. */
static int list_tables(const struct clip_kernels *out[3])
{
    int n = 0;
    out[n++] = &clip_kernels_ref;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[n++] = &clip_kernels_avx2;
    if (strcmp(clip_kernels()->name, "avx512") == 0) out[n++] = &clip_kernels_avx512;
#endif
    return n;
}

static uint8_t *random_bytes(struct clip_rng *rng, int64_t n)
{
    uint8_t *bytes = malloc((size_t)n);
    assert_non_null(bytes);
    for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)clip_rng_below(rng, 256);
    return bytes;
}

/* Weights that sum to 2^22, some below 0, as a cubic's; sums leave 0..255 on both sides. */
static void weighs_bytes(void **state)
{
    (void)state;
    const struct clip_kernels *tables[3];
    int count = list_tables(tables);
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, 0);
    for (int64_t taps = 1; taps <= 19; taps += taps < 10 ? 1 : 4)
        for (int64_t n = 1; n <= 200; n += n < 70 ? 1 : 13) {
            int64_t step = n + clip_rng_below(&rng, 9);
            uint8_t *src = random_bytes(&rng, step * taps + n), dst[200], expected[200];
            int32_t k[32], left = 1 << 22;
            for (int64_t t = 0; t + 1 < taps; t++) {
                k[t] = (int32_t)clip_rng_below(&rng, 1 << 17) - (1 << 15);
                left -= k[t];
            }
            k[taps - 1] = left;
            for (int64_t i = 0; i < n; i++) {
                int64_t sum = 1 << 21;
                for (int64_t t = 0; t < taps; t++) sum += (int64_t)k[t] * src[t * step + i];
                sum >>= 22;
                expected[i] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
            }
            for (int i = 0; i < count; i++) {
                memset(dst, 7, sizeof dst);
                tables[i]->weigh_bytes(dst, src, step, k, taps, n);
                test_same_u8(tables[i]->name, dst, expected, n);
                if (n < 200) assert_int_equal(dst[n], 7);
            }
            free(src);
        }
}

static void turns_bytes(void **state)
{
    (void)state;
    const struct clip_kernels *tables[3];
    int count = list_tables(tables);
    struct clip_rng rng = clip_rng_at(2, CLIP_RNG_TEST, 0, 0);
    for (int64_t rows = 1; rows <= 66; rows += rows < 20 ? 1 : 7)
        for (int64_t columns = 1; columns <= 70; columns += columns < 20 ? 1 : 9) {
            int64_t from = columns + clip_rng_below(&rng, 5), to = rows + clip_rng_below(&rng, 5);
            uint8_t *src = random_bytes(&rng, rows * from);
            uint8_t *dst = malloc((size_t)(columns * to));
            assert_non_null(dst);
            for (int i = 0; i < count; i++) {
                memset(dst, 7, (size_t)(columns * to));
                tables[i]->turn_bytes(dst, to, src, from, rows, columns);
                for (int64_t c = 0; c < columns; c++)
                    for (int64_t r = 0; r < to; r++)
                        assert_int_equal(dst[c * to + r], r < rows ? src[r * from + c] : 7);
            }
            free(src);
            free(dst);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighs_bytes),
        cmocka_unit_test(turns_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
