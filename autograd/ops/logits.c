#include "autograd/ops/logits.h"

#include <math.h>

static float scale_of(const struct clip_node *n)
{
    return expf(*(const float *)n->in[LOSS_SCALE]->data);
}

struct loss_tile clip_logits_tile(const struct clip_node *n, int64_t i0, int64_t j0, float *s)
{
    int64_t e = clip_tensor_width(n->in[LOSS_IMAGE]);
    struct loss_tile t = {i0, loss_pairs(n) - i0, j0, loss_texts(n) - j0, s};
    if (t.m > LOSS_ROWS) t.m = LOSS_ROWS;
    if (t.cols > LOSS_COLS) t.cols = LOSS_COLS;
    clip_gemm(&(struct clip_gemm){
        .m = t.m,
        .n = t.cols,
        .k = e,
        .alpha = scale_of(n),
        .a = {(const float *)n->in[LOSS_IMAGE]->data + i0 * e, e},
        .b = {(const float *)n->in[LOSS_TEXT]->data + j0 * e, e, .transpose = true},
        .c = {s, t.cols}});
    return t;
}

void clip_logits_tile_backward(const struct clip_node *n, const struct loss_tile *t)
{
    struct clip_tensor *image = n->in[LOSS_IMAGE], *text = n->in[LOSS_TEXT];
    int64_t e = clip_tensor_width(image);
    float scale = scale_of(n);
    if (image->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = t->m,
                                      .n = e,
                                      .k = t->cols,
                                      .alpha = scale,
                                      .a = {t->s, t->cols},
                                      .b = {(const float *)text->data + t->j0 * e, e},
                                      .c = {image->grad + t->i0 * e, e},
                                      .accumulate = true});
    if (text->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = t->cols,
                                      .n = e,
                                      .k = t->m,
                                      .alpha = scale,
                                      .a = {t->s, t->cols, .transpose = true},
                                      .b = {(const float *)image->data + t->i0 * e, e},
                                      .c = {text->grad + t->j0 * e, e},
                                      .accumulate = true});
}
