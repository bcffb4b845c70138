#include "kernels/attention.h"

#include <string.h>

#include "kernels/gemm_parts.h"

enum { MOST_TILE = 84, UNIT = sizeof(uint32_t) };

/* What one call works with. Scores lie in rows of `ld` floats: where a row fits a block of k, rows
 * are as far apart as those of a packed strip, and scores need no packing to be multiplied. */
struct work {
    const struct clip_attention *a;
    struct clip_pace pace;
    int64_t tile, ld;
    bool packed; /* scores are strips as they lie */
    struct clip_whole k_across, v_across, k, v;
    uint32_t *strip, *scores_strip; /* packed: a strip of q or dy; one of scores */
    uint32_t *columns, *panels;     /* packed: p^T or ds^T of a tile; dy or q of a tile */
    float *p, *dp, *y;              /* scores, their gradients, a strip of y */
};

static int64_t line(int64_t units) { return (units + 15) / 16 * 16; }

static int64_t ld_of(int64_t rows)
{
    return rows <= CLIP_GEMM_DEPTH ? CLIP_GEMM_A_ROW : line(rows);
}

/* Equal tiles of whole strips. */
static int64_t tile_of(const struct clip_pace *pace, int64_t rows)
{
    int64_t mr = pace->set->rows, most = MOST_TILE / mr * mr;
    return divide_up(divide_up(rows, divide_up(rows, most)), mr) * mr;
}

static int64_t strip_blocks(const struct clip_pace *pace, int64_t k)
{
    return divide_up(k, pace->depth) * pace->set->strip;
}

static int64_t column_strip(const struct clip_pace *pace, int64_t tile)
{
    return tile * pace->set->step + CLIP_GEMM_GAP;
}

/* Lays the room out from `base` (NULL: counts alone); returns its units. */
static int64_t lay_out(struct work *w, int64_t rows, int64_t width, bool backward, uint32_t *base)
{
    const struct clip_pace *pace = &w->pace;
    int64_t at = 0;
    w->ld = ld_of(rows);
    w->tile = backward ? tile_of(pace, rows) : pace->set->rows;
#define PIECE(field, units)                                                                        \
    do {                                                                                           \
        w->field = base != NULL ? (void *)(base + at) : NULL;                                      \
        at += line(units);                                                                         \
    } while (0)
    PIECE(k_across.units, clip_whole_size(pace, rows, width));
    PIECE(strip, strip_blocks(pace, width));
    PIECE(scores_strip, strip_blocks(pace, rows));
    PIECE(p, w->tile * w->ld);
    if (!backward) {
        PIECE(v.units, clip_whole_size(pace, width, rows));
        PIECE(y, w->tile * width);
        return at;
    }
    PIECE(dp, w->tile * w->ld);
    PIECE(v_across.units, clip_whole_size(pace, rows, width));
    PIECE(k.units, clip_whole_size(pace, width, rows));
    PIECE(columns, divide_up(rows, pace->set->rows) * column_strip(pace, w->tile));
    PIECE(panels, clip_whole_size(pace, width, w->tile));
#undef PIECE
    return at;
}

size_t clip_attention_room(int64_t rows, int64_t width, bool backward)
{
    int64_t most = 0;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct work w = {.pace = clip_gemm_pace(bf16, 0)};
        int64_t units = lay_out(&w, rows, width, backward, NULL);
        if (units > most) most = units;
    }
    return (size_t)most * UNIT;
}

static struct clip_whole whole(const struct work *w, const void *data, bool across,
                               const struct clip_whole *room)
{
    const struct clip_attention *a = w->a;
    const struct clip_operand operand = {data, a->ld, across, a->bf16};
    return clip_whole_pack(&w->pace, &operand, across ? a->rows : a->width,
                           across ? a->width : a->rows, (uint32_t *)(uintptr_t)room->units);
}

static struct work begin(const struct clip_attention *a, bool backward, void *room)
{
    struct work w = {.a = a, .pace = clip_gemm_pace(a->multiply_bf16, 0)};
    lay_out(&w, a->rows, a->width, backward, room);
    w.packed = !a->multiply_bf16 && a->rows <= CLIP_GEMM_DEPTH;
    w.k_across = whole(&w, a->k, true, &w.k_across);
    if (backward) {
        w.v_across = whole(&w, a->v, true, &w.v_across);
        w.k = whole(&w, a->k, false, &w.k);
    } else {
        w.v = whole(&w, a->v, false, &w.v);
    }
    return w;
}

/* c [rows,n] = alpha x[i..i+rows) b, x of width W; its first n columns. */
static void times(const struct work *w, const void *x, int64_t ld, bool bf16, int64_t rows,
                  const struct clip_whole *b, int64_t n, float alpha, float *c)
{
    struct clip_source from = {x, ld, clip_gemm_pack_kind(&w->pace, bf16)};
    struct clip_strip strip = {w->strip, rows, false};
    clip_strip_pack(&w->pace, &from, rows, w->a->width, w->strip);
    clip_strip_times(&w->pace, &strip, b, n, w->a->width, alpha, c, w->ld, false);
}

/* p[i..i+rows) in w->p from row `at` of it: the softmax of scores; 0 from `mine` to `seen`. */
static void softmax_rows(const struct work *w, int64_t i, int64_t rows, int64_t seen, int64_t at)
{
    const struct clip_attention *a = w->a;
    float *p = w->p + at * w->ld;
    const char *q = (const char *)a->q + (size_t)(i * a->ld) * (a->bf16 ? 2 : 4);
    times(w, q, a->ld, a->bf16, rows, &w->k_across, seen, a->scale, p);
    for (int64_t r = 0; r < rows; r++) {
        int64_t mine = a->causal ? i + r + 1 : seen;
        clip_kernels()->softmax(p + r * w->ld, mine);
        memset(p + r * w->ld + mine, 0, (size_t)(seen - mine) * sizeof *p);
    }
}

/* c = scores b, scores [rows,seen] of w->ld. */
static void scores_times(const struct work *w, const float *scores, int64_t rows, int64_t seen,
                         const struct clip_whole *b, float *c, int64_t ldc, bool add)
{
    struct clip_strip strip = {(const uint32_t *)(const void *)scores, rows, false};
    if (!w->packed) {
        struct clip_source from = {scores, w->ld, clip_gemm_pack_kind(&w->pace, false)};
        clip_strip_pack(&w->pace, &from, rows, seen, w->scores_strip);
        strip.units = w->scores_strip;
    }
    clip_strip_times(&w->pace, &strip, b, w->a->width, seen, 1, c, ldc, add);
}

void clip_attention_forward(const struct clip_attention *a, const struct clip_matrix *y, void *room)
{
    struct work w = begin(a, false, room);
    for (int64_t i = 0; i < a->rows; i += w.tile) {
        int64_t rows = least(w.tile, a->rows - i), seen = a->causal ? i + rows : a->rows;
        float *to = y->bf16 ? w.y : (float *)y->data + i * y->ld;
        softmax_rows(&w, i, rows, seen, 0);
        scores_times(&w, w.p, rows, seen, &w.v, to, y->bf16 ? a->width : y->ld, false);
        for (int64_t r = 0; y->bf16 && r < rows; r++)
            clip_kernels()->to_bf16((uint16_t *)y->data + (i + r) * y->ld, to + r * a->width,
                                    a->width);
    }
}

/* ---- backward ---- */

/* c [seen,W] += scores^T x: scores of a tile of `rows`, x [rows,W] beside them. What lies from row
 * `written` of c on is written where it is not to be added to. */
static void across(const struct work *w, const float *scores, int64_t rows, int64_t seen,
                   const struct clip_operand *x, float *c, int64_t ldc, int64_t written, bool adds)
{
    int64_t mr = w->pace.set->rows, strip = column_strip(&w->pace, w->tile);
    const struct clip_groups groups = {mr, w->pace.set->step, strip};
    struct clip_source from = {scores, w->ld, clip_gemm_pack_kind(&w->pace, false)};
    w->pace.set->pack_strips(w->columns, &from, seen, rows, &groups);
    struct clip_whole panels = clip_whole_pack(&w->pace, x, w->a->width, rows, w->panels);
    for (int64_t i = 0; i < seen; i += mr) {
        struct clip_strip a = {w->columns + i / mr * strip, least(mr, seen - i), true};
        clip_strip_times(&w->pace, &a, &panels, w->a->width, rows, 1, c + i * ldc, ldc,
                         adds || i < written);
    }
}

/* Rows [i, i + rows) of p into w->p and of ds into w->dp. */
static void tile_scores(const struct work *w, const struct clip_attention_gradients *g, int64_t i,
                        int64_t rows, int64_t seen)
{
    const struct clip_attention *a = w->a;
    int64_t mr = w->pace.set->rows;
    for (int64_t at = 0; at < rows; at += mr) {
        int64_t some = least(mr, rows - at);
        softmax_rows(w, i + at, some, seen, at);
        times(w, g->dy + (i + at) * g->dy_ld, g->dy_ld, false, some, &w->v_across, seen, 1,
              w->dp + at * w->ld);
    }
    for (int64_t r = 0; r < rows; r++) {
        float *p = w->p + r * w->ld, *dp = w->dp + r * w->ld;
        int64_t mine = a->causal ? i + r + 1 : seen;
        float delta = clip_kernels()->dot(p, dp, mine);
        clip_kernels()->softmax_backward(dp, p, delta, a->scale, mine);
        memset(dp + mine, 0, (size_t)(seen - mine) * sizeof *dp);
    }
}

void clip_attention_backward(const struct clip_attention *a,
                             const struct clip_attention_gradients *g, void *room)
{
    struct work w = begin(a, true, room);
    int64_t mr = w.pace.set->rows, written = 0;
    for (int64_t i = 0; i < a->rows; i += w.tile) {
        int64_t rows = least(w.tile, a->rows - i), seen = a->causal ? i + rows : a->rows;
        const struct clip_operand dy = {g->dy + i * g->dy_ld, g->dy_ld, false, false};
        const struct clip_operand q = {(const char *)a->q + (size_t)(i * a->ld) * (a->bf16 ? 2 : 4),
                                       a->ld, false, a->bf16};
        tile_scores(&w, g, i, rows, seen);
        for (int64_t at = 0; at < rows; at += mr)
            scores_times(&w, w.dp + at * w.ld, least(mr, rows - at), seen, &w.k,
                         g->dq + (i + at) * g->ld, g->ld, g->adds);
        across(&w, w.p, rows, seen, &dy, g->dv, g->ld, written, g->adds);
        across(&w, w.dp, rows, seen, &q, g->dk, g->ld, written, g->adds);
        written = seen;
    }
}
