#include "autograd/ops/logits.h"

#include <math.h>

static float scale_of(const struct clip_node *n)
{
    return expf(*(const float *)n->in[LOSS_SCALE]->data);
}

void clip_logits_block(const struct clip_node *n, int64_t i0, int64_t m, float *s)
{
    int64_t texts = loss_texts(n), e = clip_tensor_width(n->in[LOSS_IMAGE]);
    clip_gemm(false, true, m, texts, e, scale_of(n),
              (const float *)n->in[LOSS_IMAGE]->data + i0 * e, e, n->in[LOSS_TEXT]->data, e, 0, s,
              texts);
}

void clip_logits_block_backward(const struct clip_node *n, int64_t i0, int64_t m, const float *g)
{
    struct clip_tensor *image = n->in[LOSS_IMAGE], *text = n->in[LOSS_TEXT];
    int64_t texts = loss_texts(n), e = clip_tensor_width(image);
    float scale = scale_of(n);
    if (image->needs_grad)
        clip_gemm(false, false, m, e, texts, scale, g, texts, text->data, e, 1,
                  image->grad + i0 * e, e);
    if (text->needs_grad)
        clip_gemm(true, false, texts, e, m, scale, g, texts, (const float *)image->data + i0 * e, e,
                  1, text->grad, e);
}
