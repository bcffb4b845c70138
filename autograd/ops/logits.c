#include "autograd/ops/logits.h"

#include <math.h>

static float scale_of(const struct clip_node *n)
{
    return expf(*(const float *)n->in[LOSS_SCALE]->data);
}

void clip_logits_block(const struct clip_node *n, int64_t i0, int64_t m, float *s)
{
    int64_t texts = loss_texts(n), e = clip_tensor_width(n->in[LOSS_IMAGE]);
    clip_gemm(&(struct clip_gemm){
        .m = m, .n = texts, .k = e, .alpha = scale_of(n),
        .a = {(const float *)n->in[LOSS_IMAGE]->data + i0 * e, e},
        .b = {n->in[LOSS_TEXT]->data, e, .transpose = true}, .c = {s, texts}});
}

void clip_logits_block_backward(const struct clip_node *n, int64_t i0, int64_t m, const float *g)
{
    struct clip_tensor *image = n->in[LOSS_IMAGE], *text = n->in[LOSS_TEXT];
    int64_t texts = loss_texts(n), e = clip_tensor_width(image);
    float scale = scale_of(n);
    if (image->needs_grad)
        clip_gemm(&(struct clip_gemm){
            .m = m, .n = e, .k = texts, .alpha = scale, .a = {g, texts}, .b = {text->data, e},
            .c = {image->grad + i0 * e, e}, .accumulate = true});
    if (text->needs_grad)
        clip_gemm(&(struct clip_gemm){
            .m = texts, .n = e, .k = m, .alpha = scale, .a = {g, texts, .transpose = true},
            .b = {(const float *)image->data + i0 * e, e}, .c = {text->grad, e},
            .accumulate = true});
}
