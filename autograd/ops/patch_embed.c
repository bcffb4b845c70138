/* y = patches w^T: a convolution with kernel P and stride P, without bias
 *   image [B,C,H,W]   w [D,C,P,P]   keep i32 [B,K] or none   y [B*K,D], patches row by row
 *   dw += dy^T patches    dimage += dy w, each patch put back where it came from
 *   A patch is flattened to [C*P*P]. What is left over at the right and at the bottom, where P does
 *   not divide H or W, is not read. `keep` lists the patches of each image that are embedded.
 * Dosovitskiy et al. 2021, equation 1. Backward reads image, w and keep; the flattened patches are
 * scratch memory that backward fills again. */
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/operand.h"
#include "autograd/ops/parallel.h"

enum { IMAGE, W, KEEP };

static int64_t patch_values(const struct clip_node *n)
{
    return clip_tensor_count(n->in[W]) / n->in[W]->shape[0];
}

static size_t patch_embed_scratch(const struct clip_node *n, bool backward)
{
    (void)backward;
    return (size_t)(clip_tensor_rows(n->out) * patch_values(n)) * sizeof(float);
}

/* Where row r of the patches begins in its image: the offset of its first pixel in plane 0. */
static int64_t patch_offset(const struct clip_node *n, int64_t r)
{
    const int64_t *shape = n->in[IMAGE]->shape;
    int64_t p = n->in[W]->shape[2], across = shape[3] / p;
    int64_t kept = clip_tensor_rows(n->out) / shape[0], image = r / kept, patch = r % kept;
    if (n->in[KEEP] != NULL) patch = ((const int32_t *)n->in[KEEP]->data)[r];
    return image * shape[1] * shape[2] * shape[3] + patch / across * p * shape[3] +
           patch % across * p;
}

static void flatten_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    const int64_t *shape = n->in[IMAGE]->shape;
    int64_t p = n->in[W]->shape[2], plane = shape[2] * shape[3];
    float *out = (float *)n->scratch + begin * patch_values(n);
    for (int64_t r = begin; r < end; r++) {
        const float *from = (const float *)n->in[IMAGE]->data + patch_offset(n, r);
        for (int64_t c = 0; c < shape[1]; c++)
            for (int64_t y = 0; y < p; y++, out += p)
                memcpy(out, from + c * plane + y * shape[3], (size_t)p * sizeof *out);
    }
}

static void patch_embed_forward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->out), d = clip_tensor_width(n->out), k = patch_values(n);
    clip_op_rows(n, rows, k, flatten_rows);
    clip_gemm(&(struct clip_gemm){.m = rows,
                                  .n = d,
                                  .k = k,
                                  .alpha = 1,
                                  .multiply_bf16 = clip_op_bf16(n),
                                  .a = {n->scratch, k},
                                  .b = clip_op_transposed(n->in[W], k),
                                  .c = {n->out->data, d}});
}

static void put_back_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    const int64_t *shape = n->in[IMAGE]->shape;
    int64_t p = n->in[W]->shape[2], plane = shape[2] * shape[3];
    const float *from = (const float *)n->scratch + begin * patch_values(n);
    for (int64_t r = begin; r < end; r++) {
        float *to = n->in[IMAGE]->grad + patch_offset(n, r);
        for (int64_t c = 0; c < shape[1]; c++)
            for (int64_t y = 0; y < p; y++, from += p)
                clip_kernels()->accumulate(to + c * plane + y * shape[3], from, p);
    }
}

static void patch_embed_backward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->out), d = clip_tensor_width(n->out), k = patch_values(n);
    if (n->in[W]->needs_grad) {
        clip_op_rows(n, rows, k, flatten_rows);
        clip_gemm(&(struct clip_gemm){.m = d,
                                      .n = k,
                                      .k = rows,
                                      .alpha = 1,
                                      .multiply_bf16 = clip_op_bf16(n),
                                      .a = {n->out->grad, d, .transpose = true},
                                      .b = {n->scratch, k},
                                      .c = {n->in[W]->grad, k},
                                      .accumulate = true});
    }
    if (n->in[IMAGE]->needs_grad) {
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = k,
                                      .k = d,
                                      .alpha = 1,
                                      .multiply_bf16 = clip_op_bf16(n),
                                      .a = {n->out->grad, d},
                                      .b = {n->in[W]->data, k},
                                      .c = {n->scratch, k}});
        clip_op_rows(n, rows, k, put_back_rows);
    }
}

static const struct clip_op patch_embed = {
    .name = "patch_embed",
    .forward = patch_embed_forward,
    .backward = patch_embed_backward,
    .reads = CLIP_READS_INPUT(IMAGE) | CLIP_READS_INPUT(W) | CLIP_READS_INPUT(KEEP),
    .scratch = patch_embed_scratch,
};

struct clip_tensor *clip_patch_embed(struct clip_tape *t, struct clip_tensor *image,
                                     struct clip_tensor *w, struct clip_tensor *keep)
{
    CLIP_OP_ASSERT(t, image->ndim == 4 && w->ndim == 4 && image->shape[1] == w->shape[1] &&
                          w->shape[2] == w->shape[3]);
    int64_t p = w->shape[2];
    CLIP_OP_ASSERT(t, keep == NULL || (keep->dtype == CLIP_I32 && keep->ndim == 2 &&
                                       keep->shape[0] == image->shape[0]));
    int64_t patches = keep != NULL ? keep->shape[1] : image->shape[2] / p * (image->shape[3] / p);
    int64_t shape[2] = {image->shape[0] * patches, w->shape[0]};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {image, w, keep}};
    return clip_tape_record(t, &patch_embed, &call);
}
