/* Numeric gradient checking of ops and of what is built from them.
 *
 * A function under test builds its value y on a tape from leaves. With dy random, L = sum(dy y) is
 * a scalar whose gradient backward gives; here it is measured again by five-point central
 * differences of the forward pass, L'(x) = (8 (L(x+h) - L(x-h)) - (L(x+2h) - L(x-2h))) / 12 h,
 * error h^4 L^(5) / 30. L is summed in double, so its error is that of y's float32 elements: with
 * |y| about 1, n of them, and h = 0.05 about 1.5 sqrt(n) 6e-8 / h = 2e-6 sqrt(n). Largest gradients
 * are about 1 or above, so that 1e-3 of a leaf's largest is a wide margin for rounding and far
 * below what a wrong term would do. */
#ifndef CLIP_TESTS_GRADCHECK_H
#define CLIP_TESTS_GRADCHECK_H

#include "autograd/tape.h"

enum { GRADCHECK_LEAVES = 8 };

typedef struct clip_tensor *(*gradcheck_fn)(struct clip_tape *t, struct clip_tensor *const *leaves,
                                            const void *context);

struct gradcheck {
    gradcheck_fn build;
    const void *context;
    int n;                                        /* leaves */
    struct clip_tensor *leaves[GRADCHECK_LEAVES]; /* f32, with data; grad is the check's own */
    float step;                                   /* h; 0: 0.05 */
    double tolerance;                             /* of each leaf's largest gradient; 0: 1e-3 */
    bool through_leaves; /* build takes every input that needs a gradient from `leaves` */
    unsigned together; /* bits of leaves that need gradients all or none (a LayerNorm's w and b) */
};

/* Fails the running test with a sentence that names `op`, the leaf and the element unless
 * - every leaf's gradient equals the measured one, element by element (64 random ones where there
 *   are more), and along a random direction through all leaves at once;
 * - backward adds to what stands in the gradients, and overwrites those that are empty;
 * - a leaf that needs no gradient gets none, and the others' do not change by that;
 * - value and gradients are the same bits with 1, 2 and 3 threads;
 * - with through_leaves: gradients stay the same where a scope gives back every value that no
 *   backward has said it reads. */
void gradcheck(const char *op, const struct gradcheck *check);

/* n normal numbers times `scale` (0: zeros), from the test stream `stream`. Heap; free() it. */
float *gradcheck_normal(int64_t n, float scale, uint64_t stream);
/* A tensor of such numbers; gradcheck_tensor_free releases data and gradient. */
struct clip_tensor gradcheck_tensor(int ndim, const int64_t *shape, float scale, uint64_t stream);
void gradcheck_tensor_free(struct clip_tensor *tensor);

#endif
