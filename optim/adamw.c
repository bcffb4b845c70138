#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "optim/optim.h"

enum { PIECE = 65536 }; /* floats that are updated at a time; pieces depend only on sizes */

const char *clip_moments_name(int moments)
{
    static const char *const names[] = {
        [CLIP_MOMENTS_F32] = "f32",
        [CLIP_MOMENTS_BF16] = "bf16",
    };
    return CLIP_NAME_OF(names, moments);
}

static int64_t pieces_of(const struct clip_optim_param *p)
{
    return p->trained ? (p->count + PIECE - 1) / PIECE : 0;
}

/* Part r begins with the first piece at or behind r / count of all floats. */
static clip_status divide(struct clip_adamw *adamw, int64_t size, struct clip_error *error)
{
    clip_status status;
    struct clip_optim_parts *parts = &adamw->parts;
    int64_t piece = 0, r = 1;
    parts->count = adamw->options.parts > 0 ? adamw->options.parts : 1;
    CLIP_NEW(parts->floats, parts->count + 1);
    CLIP_NEW(parts->pieces, parts->count + 1);
    for (int64_t i = 0; i < adamw->param_count; i++) {
        const struct clip_optim_param *p = &adamw->params[i];
        for (int64_t k = 0; k < pieces_of(p); k++, piece++) {
            int64_t at = p->train_offset + k * PIECE;
            for (; r < parts->count && at >= (double)size * (double)r / parts->count; r++) {
                parts->floats[r] = at;
                parts->pieces[r] = piece;
            }
        }
    }
    for (; r <= parts->count; r++) {
        parts->floats[r] = size;
        parts->pieces[r] = piece;
    }
    adamw->begin = parts->floats[adamw->options.part];
    adamw->end = parts->floats[adamw->options.part + 1];
out:
    return status;
}

clip_status clip_adamw_create(struct clip_adamw **out, const struct clip_adamw_options *options,
                              const struct clip_optim_param *params, int64_t param_count,
                              int64_t size, struct clip_error *error)
{
    clip_status status;
    struct clip_adamw *adamw = NULL;
    CLIP_NEW(adamw, 1);
    adamw->options = *options;
    adamw->param_count = param_count;
    CLIP_NEW(adamw->params, param_count);
    memcpy(adamw->params, params, (size_t)param_count * sizeof *params);
    CLIP_TRY(divide(adamw, size, error));
    for (int i = 0; i < 2; i++) {
        void **moment = i == 0 ? &adamw->moment1 : &adamw->moment2;
        *moment = clip_array_new(adamw->end - adamw->begin,
                                 options->moments == CLIP_MOMENTS_BF16 ? 2 : sizeof(float), error);
        CLIP_TRY(*moment != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    }
    CLIP_NEW(adamw->sums, adamw->parts.pieces[adamw->parts.count]);
    *out = adamw;
    return CLIP_OK;
out:
    clip_adamw_free(adamw);
    return status;
}

void clip_adamw_free(struct clip_adamw *adamw)
{
    if (adamw == NULL) return;
    free(adamw->params);
    free(adamw->parts.floats);
    free(adamw->parts.pieces);
    free(adamw->moment1);
    free(adamw->moment2);
    free(adamw->sums);
    free(adamw);
}

/* Pieces [*begin, *end) of the parameter belong to the part; they follow each other. */
static void own_pieces(const struct clip_adamw *adamw, const struct clip_optim_param *p,
                       int64_t *begin, int64_t *end)
{
    int64_t count = pieces_of(p), from = adamw->begin - p->train_offset,
            to = adamw->end - p->train_offset;
    *begin = from <= 0 ? 0 : (from + PIECE - 1) / PIECE;
    *end = to <= 0 ? 0 : (to + PIECE - 1) / PIECE;
    if (*end > count) *end = count;
    if (*begin > *end) *begin = *end;
}

bool clip_adamw_range(const struct clip_adamw *adamw, int64_t param, int64_t *begin, int64_t *end)
{
    const struct clip_optim_param *p = &adamw->params[param];
    own_pieces(adamw, p, begin, end);
    if (*begin == *end) return false;
    *begin *= PIECE;
    *end = *end * PIECE < p->count ? *end * PIECE : p->count;
    return true;
}

struct update {
    const struct clip_adamw *adamw;
    const struct clip_optim_param *param;
    int64_t first; /* the part's first piece of the parameter */
    struct clip_adamw_step step;
    float *data;
    const float *grad;
};

static void update_piece(void *context, int64_t i)
{
    const struct update *u = context;
    int64_t begin = (u->first + i) * PIECE,
            n = u->param->count - begin < PIECE ? u->param->count - begin : PIECE;
    bool bf16 = u->adamw->options.moments == CLIP_MOMENTS_BF16;
    int64_t ahead = u->adamw->begin * (bf16 ? 2 : (int64_t)sizeof(float));
    const struct clip_adamw_arrays arrays = {
        .p = u->data,
        .m = (char *)u->adamw->moment1 - ahead,
        .v = (char *)u->adamw->moment2 - ahead,
        .bf16 = bf16,
        .g = u->grad,
    };
    clip_kernels()->adamw(&arrays, u->param->train_offset + begin, n, &u->step);
}

void clip_adamw_step(struct clip_adamw *adamw, float *data, const float *grad, double lr,
                     double grad_scale)
{
    const struct clip_adamw_options *o = &adamw->options;
    adamw->step++;
    for (int64_t i = 0; i < adamw->param_count; i++) {
        const struct clip_optim_param *p = &adamw->params[i];
        int64_t begin, end;
        own_pieces(adamw, p, &begin, &end);
        struct update update = {
            .adamw = adamw,
            .param = p,
            .first = begin,
            .data = data + p->offset - p->train_offset,
            .grad = grad,
            .step =
                {
                    .lr = (float)(lr * p->lr_factor),
                    .beta1 = (float)o->beta1,
                    .beta2 = (float)o->beta2,
                    .eps = (float)o->eps,
                    .decay = p->decays ? (float)o->weight_decay : 0,
                    .correction1 = (float)(1 - pow(o->beta1, (double)adamw->step)),
                    .sqrt_correction2 = (float)sqrt(1 - pow(o->beta2, (double)adamw->step)),
                    .grad_scale = (float)grad_scale,
                    .draw = (uint32_t)adamw->step * 0x85ebca6bu,
                },
        };
        clip_parallel_for(end - begin, update_piece, &update);
    }
}

struct squares {
    const float *grad;
    int64_t count, first;
    double *sums;
};

static void sum_piece(void *context, int64_t i)
{
    const struct squares *s = context;
    int64_t begin = (s->first + i) * PIECE, n = s->count - begin < PIECE ? s->count - begin : PIECE;
    s->sums[i] = clip_kernels()->sum_squares(s->grad + begin, n);
}

void clip_grad_squares(const struct clip_adamw *adamw, const float *grad)
{
    double *sums = adamw->sums + adamw->parts.pieces[adamw->options.part];
    for (int64_t i = 0; i < adamw->param_count; i++) {
        const struct clip_optim_param *p = &adamw->params[i];
        int64_t begin, end;
        own_pieces(adamw, p, &begin, &end);
        struct squares squares = {grad + p->train_offset, p->count, begin, sums};
        clip_parallel_for(end - begin, sum_piece, &squares);
        sums += end - begin;
    }
}

double clip_grad_norm(const struct clip_adamw *adamw)
{
    double total = 0;
    for (int64_t k = 0; k < adamw->parts.pieces[adamw->parts.count]; k++) total += adamw->sums[k];
    return sqrt(total);
}

double clip_grad_scale(double norm, double limit)
{
    double scale = limit > 0 ? limit / (norm + 1e-6) : 1;
    return scale < 1 ? scale : 1;
}

struct average {
    float *average;
    const float *data;
    double decay;
    int64_t size;
};

static void average_piece(void *context, int64_t i)
{
    const struct average *a = context;
    int64_t begin = i * PIECE, n = a->size - begin < PIECE ? a->size - begin : PIECE;
    clip_kernels()->ema(a->average + begin, a->data + begin, (float)a->decay, n);
}

double clip_ema_decay(double decay, int64_t t)
{
    double most = (double)(1 + t) / (double)(10 + t);
    return decay < most ? decay : most;
}

void clip_ema_update(float *average, const float *data, double decay, int64_t size)
{
    struct average context = {average, data, decay, size};
    clip_parallel_for((size + PIECE - 1) / PIECE, average_piece, &context);
}
