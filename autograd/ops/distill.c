/* S = exp(logit_scale) image text[0..N)^T
 * T = teacher_scale teacher_image teacher_text^T
 * y = 1/(2N) sum_i KL(softmax T[i,:] || softmax S[i,:]) + the same over columns
 *   image [N,E]   text [M,E], M >= N, of which the first N rows count   logit_scale, y scalars
 *   teacher_image, teacher_text [N,D]   teacher_scale a constant   all rows are unit rows
 *   dS = (softmax of S's rows + of its columns - softmax of T's rows - of its columns) dy / (2N)
 *   dimage += e dS text    dtext += e dS^T image    dlogit_scale += sum(dS S)
 *   where e = exp(logit_scale)
 * Distillation of a teacher's affinities: TinyCLIP's affinity mimicking (Wu et al. 2023, equations
 * 1 to 3); CLIP-KD's contrastive relational distillation (Yang et al. 2024, section 3.2). The
 * papers take the cross-entropy, which differs by a constant, the teacher's entropy: here y is 0
 * for a student that agrees. Blocks of ROWS rows are computed three times: for statistics, value
 * and backward. Backward reads everything, and the maximum and the log of the sum of exponentials
 * of each row and column of S and T, kept from forward. */
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { IMAGE, TEXT, SCALE, TEACHER_IMAGE, TEACHER_TEXT };
enum { ROWS = 128 }; /* of S and T that are computed at a time */
enum side { STUDENT, TEACHER };

static int64_t pairs_of(const struct clip_node *n) { return n->in[IMAGE]->shape[0]; }

/* What is kept for each side: maxima and logs of sums, of rows and of columns, [N] each. */
static float *kept(const struct clip_node *n, enum side side, int which)
{
    return (float *)n->saved + (4 * (int)side + which) * pairs_of(n);
}
static float *row_max(const struct clip_node *n, enum side s) { return kept(n, s, 0); }
static float *row_log(const struct clip_node *n, enum side s) { return kept(n, s, 1); }
static float *column_max(const struct clip_node *n, enum side s) { return kept(n, s, 2); }
static float *column_log(const struct clip_node *n, enum side s) { return kept(n, s, 3); }

/* Scratch memory: one double per row, the column sums of both sides, one block of both sides, and
 * one row per thread. */
static double *row_sums(const struct clip_node *n) { return n->scratch; }
static double *column_sums(const struct clip_node *n, enum side side)
{
    return row_sums(n) + ROWS + (int)side * pairs_of(n);
}
static float *block(const struct clip_node *n, enum side side)
{
    return (float *)(row_sums(n) + ROWS + 2 * pairs_of(n)) + (int)side * ROWS * pairs_of(n);
}
static float *thread_row(const struct clip_node *n)
{
    return block(n, STUDENT) + (2 * ROWS + clip_thread_number()) * pairs_of(n);
}

static size_t distill_saved(const struct clip_node *n)
{
    return 8 * (size_t)pairs_of(n) * sizeof(float);
}

static size_t distill_scratch(const struct clip_node *n, bool backward)
{
    size_t pairs = (size_t)pairs_of(n), copies = backward ? (size_t)clip_threads_count() : 0;
    return (ROWS + 2 * pairs) * sizeof(double) + (2 * ROWS + copies) * pairs * sizeof(float);
}

static float scale_of(const struct clip_node *n, enum side side)
{
    return side == STUDENT ? expf(*(const float *)n->in[SCALE]->data) : *(const float *)n->args;
}

struct block_at {
    struct clip_node *node;
    int64_t i0, m;
};

/* Rows [i0, i0 + m) of S and T. */
static struct block_at fill_blocks(struct clip_node *n, int64_t i0)
{
    int64_t pairs = pairs_of(n), m = pairs - i0 < ROWS ? pairs - i0 : ROWS;
    for (enum side side = STUDENT; side <= TEACHER; side++) {
        const struct clip_tensor *image = n->in[side == STUDENT ? IMAGE : TEACHER_IMAGE],
                                 *text = n->in[side == STUDENT ? TEXT : TEACHER_TEXT];
        int64_t e = clip_tensor_width(image);
        clip_gemm(&(struct clip_gemm){.m = m,
                                      .n = pairs,
                                      .k = e,
                                      .alpha = scale_of(n, side),
                                      .a = {(const float *)image->data + i0 * e, e},
                                      .b = {text->data, e, .transpose = true},
                                      .c = {block(n, side), pairs}});
    }
    return (struct block_at){n, i0, m};
}

static void measure_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    const struct clip_node *n = at->node;
    int64_t pairs = pairs_of(n), i = at->i0 + r;
    for (enum side side = STUDENT; side <= TEACHER; side++) {
        const float *s = block(n, side) + r * pairs;
        row_max(n, side)[i] = clip_kernels()->max(s, pairs);
        row_log(n, side)[i] = (float)log(clip_kernels()->sum_exp(s, row_max(n, side)[i], pairs));
    }
}

static void measure_columns(void *context, int64_t c)
{
    const struct block_at *at = context;
    const struct clip_node *n = at->node;
    int64_t pairs = pairs_of(n), begin = c * 64, cols = pairs - begin < 64 ? pairs - begin : 64;
    for (enum side side = STUDENT; side <= TEACHER; side++)
        clip_kernels()->column_logsumexp(column_max(n, side) + begin, column_sums(n, side) + begin,
                                         block(n, side) + begin, at->m, cols, pairs);
}

/* What row i adds to the loss: p (log p - log q) along the row, and its elements' part of the
 * columns' divergences. */
static void diverge_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    const struct clip_node *n = at->node;
    int64_t pairs = pairs_of(n), i = at->i0 + r;
    const float *s = block(n, STUDENT) + r * pairs, *t = block(n, TEACHER) + r * pairs;
    double sum = 0;
    for (int64_t j = 0; j < pairs; j++) {
        float q = (s[j] - row_max(n, STUDENT)[i]) - row_log(n, STUDENT)[i];
        float p = (t[j] - row_max(n, TEACHER)[i]) - row_log(n, TEACHER)[i];
        float v = (s[j] - column_max(n, STUDENT)[j]) - column_log(n, STUDENT)[j];
        float u = (t[j] - column_max(n, TEACHER)[j]) - column_log(n, TEACHER)[j];
        sum += (double)(expf(p) * (p - q)) + (double)(expf(u) * (u - v));
    }
    row_sums(n)[r] = sum;
}

static void distill_forward(struct clip_node *n)
{
    int64_t pairs = pairs_of(n);
    double sum = 0;
    for (enum side side = STUDENT; side <= TEACHER; side++)
        for (int64_t j = 0; j < pairs; j++) {
            column_max(n, side)[j] = -INFINITY;
            column_sums(n, side)[j] = 0;
        }
    for (int64_t i0 = 0; i0 < pairs; i0 += ROWS) {
        struct block_at at = fill_blocks(n, i0);
        clip_parallel_for(at.m, measure_row, &at);
        clip_parallel_for((pairs + 63) / 64, measure_columns, &at);
    }
    for (enum side side = STUDENT; side <= TEACHER; side++)
        for (int64_t j = 0; j < pairs; j++)
            column_log(n, side)[j] = (float)log(column_sums(n, side)[j]);
    for (int64_t i0 = 0; i0 < pairs; i0 += ROWS) {
        struct block_at at = fill_blocks(n, i0);
        clip_parallel_for(at.m, diverge_row, &at);
        for (int64_t r = 0; r < at.m; r++) sum += row_sums(n)[r];
    }
    *(float *)n->out->data = (float)(sum / (2.0 * (double)pairs));
}

/* Turns row r of the student's block into its gradient; row_sums[r] becomes the row's sum(dS S). */
static void backward_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    const struct clip_node *n = at->node;
    int64_t pairs = pairs_of(n), i = at->i0 + r;
    float f = n->out->grad[0] / (2.0f * (float)pairs), *copy = thread_row(n);
    float *rows[] = {block(n, STUDENT) + r * pairs, block(n, TEACHER) + r * pairs};
    clip_kernels()->scale(copy, 1, rows[STUDENT], pairs);
    for (enum side side = STUDENT; side <= TEACHER; side++) {
        const struct clip_infonce_row row = {.max = row_max(n, side)[i],
                                             .log_sum = row_log(n, side)[i],
                                             .column_max = column_max(n, side),
                                             .column_log_sum = column_log(n, side),
                                             .f = side == STUDENT ? f : -f,
                                             .paired = pairs,
                                             .n = pairs};
        clip_kernels()->infonce_row(rows[side], &row);
    }
    clip_kernels()->accumulate(rows[STUDENT], rows[TEACHER], pairs);
    row_sums(n)[r] = (double)clip_kernels()->dot(rows[STUDENT], copy, pairs);
}

static void distill_backward(struct clip_node *n)
{
    struct clip_tensor *image = n->in[IMAGE], *text = n->in[TEXT];
    int64_t pairs = pairs_of(n), e = clip_tensor_width(image);
    float scale = scale_of(n, STUDENT);
    double d_scale = 0;
    for (int64_t i0 = 0; i0 < pairs; i0 += ROWS) {
        struct block_at at = fill_blocks(n, i0);
        const float *g = block(n, STUDENT);
        clip_parallel_for(at.m, backward_row, &at);
        for (int64_t r = 0; r < at.m; r++) d_scale += row_sums(n)[r];
        if (image->needs_grad)
            clip_gemm(&(struct clip_gemm){.m = at.m,
                                          .n = e,
                                          .k = pairs,
                                          .alpha = scale,
                                          .a = {g, pairs},
                                          .b = {text->data, e},
                                          .c = {image->grad + i0 * e, e},
                                          .accumulate = true});
        if (text->needs_grad)
            clip_gemm(&(struct clip_gemm){.m = pairs,
                                          .n = e,
                                          .k = at.m,
                                          .alpha = scale,
                                          .a = {g, pairs, .transpose = true},
                                          .b = {(const float *)image->data + i0 * e, e},
                                          .c = {text->grad, e},
                                          .accumulate = true});
    }
    if (n->in[SCALE]->needs_grad) n->in[SCALE]->grad[0] += (float)d_scale;
}

static const struct clip_op distill = {
    .name = "distill",
    .forward = distill_forward,
    .backward = distill_backward,
    .reads = CLIP_READS_INPUT(IMAGE) | CLIP_READS_INPUT(TEXT) | CLIP_READS_INPUT(SCALE) |
             CLIP_READS_INPUT(TEACHER_IMAGE) | CLIP_READS_INPUT(TEACHER_TEXT),
    .saved = distill_saved,
    .scratch = distill_scratch,
};

struct clip_tensor *clip_distill(struct clip_tape *t, struct clip_tensor *image,
                                 struct clip_tensor *text, struct clip_tensor *logit_scale,
                                 struct clip_tensor *teacher_image,
                                 struct clip_tensor *teacher_text, float teacher_scale)
{
    CLIP_OP_ASSERT(t, image->ndim == 2 && text->ndim == 2 && image->shape[1] == text->shape[1]);
    CLIP_OP_ASSERT(t, image->shape[0] <= text->shape[0]);
    CLIP_OP_ASSERT(t, teacher_image->shape[0] == image->shape[0] &&
                          teacher_text->shape[0] == image->shape[0]);
    CLIP_OP_ASSERT(t, teacher_image->shape[1] == teacher_text->shape[1]);
    CLIP_OP_ASSERT(t, !teacher_image->needs_grad && !teacher_text->needs_grad);
    const struct clip_op_call call = {
        .inputs = {image, text, logit_scale, teacher_image, teacher_text},
        .args = &teacher_scale,
        .args_size = sizeof teacher_scale};
    return clip_tape_record(t, &distill, &call);
}
