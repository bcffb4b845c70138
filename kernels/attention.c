#include "kernels/attention.h"

#include <string.h>

#include "kernels/gemm_parts.h"

enum { MAX_TILE = 84, UNIT = sizeof(uint32_t) };

/* What one call works with. Scores lie in rows of `ld` floats. Where a row of them fits a block of
 * k, rows are as far apart as those of a packed strip, so that scores can be multiplied as they
 * lie. */
struct work {
    const struct clip_attention *a;
    struct clip_gemm_mode mode;
    int64_t tile, ld;
    bool scores_are_strips;
    struct clip_packed_b k_transposed, v_transposed, k, v;
    uint32_t *strip, *scores_strip; /* packed: a strip of q or dy; a strip of scores */
    uint32_t *columns, *panels;     /* packed: p^T or ds^T of a tile; dy or q of a tile */
    float *p, *dp, *y;              /* scores, their gradients, a strip of y */
};

/* Rounded up to a cache line. */
static int64_t whole_lines(int64_t units) { return (units + 15) / 16 * 16; }

static int64_t ld_of(int64_t rows)
{
    return rows <= CLIP_GEMM_DEPTH ? CLIP_GEMM_A_ROW : whole_lines(rows);
}

/* Rows in a tile: tiles are equal and hold full strips. */
static int64_t tile_of(const struct clip_gemm_mode *mode, int64_t rows)
{
    int64_t mr = mode->set->rows, max = MAX_TILE / mr * mr;
    return divide_up(divide_up(rows, divide_up(rows, max)), mr) * mr;
}

static int64_t strip_blocks(const struct clip_gemm_mode *mode, int64_t k)
{
    return divide_up(k, mode->depth) * mode->set->strip;
}

static int64_t column_strip(const struct clip_gemm_mode *mode, int64_t tile)
{
    return tile * mode->set->step + CLIP_GEMM_GAP;
}

/* Lays the workspace out from `base` on (NULL: only counts). Returns how many units it takes. */
static int64_t lay_out(struct work *w, int64_t rows, int64_t width, bool backward, uint32_t *base)
{
    const struct clip_gemm_mode *mode = &w->mode;
    int64_t at = 0;
    w->ld = ld_of(rows);
    w->tile = backward ? tile_of(mode, rows) : mode->set->rows;
#define PIECE(field, units)                                                                        \
    do {                                                                                           \
        w->field = base != NULL ? (void *)(base + at) : NULL;                                      \
        at += whole_lines(units);                                                                  \
    } while (0)
    PIECE(k_transposed.units, clip_packed_b_size(mode, rows, width));
    PIECE(strip, strip_blocks(mode, width));
    PIECE(scores_strip, strip_blocks(mode, rows));
    PIECE(p, w->tile * w->ld);
    if (!backward) {
        PIECE(v.units, clip_packed_b_size(mode, width, rows));
        PIECE(y, w->tile * width);
        return at;
    }
    PIECE(dp, w->tile * w->ld);
    PIECE(v_transposed.units, clip_packed_b_size(mode, rows, width));
    PIECE(k.units, clip_packed_b_size(mode, width, rows));
    PIECE(columns, divide_up(rows, mode->set->rows) * column_strip(mode, w->tile));
    PIECE(panels, clip_packed_b_size(mode, width, w->tile));
#undef PIECE
    return at;
}

size_t clip_attention_workspace_bytes(int64_t rows, int64_t width, bool backward)
{
    int64_t most = 0;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct work w = {.mode = clip_gemm_mode(bf16, 0)};
        int64_t units = lay_out(&w, rows, width, backward, NULL);
        if (units > most) most = units;
    }
    return (size_t)most * UNIT;
}

/* Packs q, k or v, or its transpose, as op(B) into the workspace that `place` has. */
static struct clip_packed_b pack(const struct work *w, const void *data, bool transpose,
                                 const struct clip_packed_b *place)
{
    const struct clip_attention *a = w->a;
    const struct clip_operand operand = {data, a->ld, transpose, a->bf16};
    return clip_pack_b(&w->mode, &operand, transpose ? a->rows : a->width,
                       transpose ? a->width : a->rows, (uint32_t *)(uintptr_t)place->units);
}

static struct work begin(const struct clip_attention *a, bool backward, void *workspace)
{
    struct work w = {.a = a, .mode = clip_gemm_mode(a->multiply_bf16, 0)};
    lay_out(&w, a->rows, a->width, backward, workspace);
    w.scores_are_strips = !a->multiply_bf16 && a->rows <= CLIP_GEMM_DEPTH;
    w.k_transposed = pack(&w, a->k, true, &w.k_transposed);
    if (backward) {
        w.v_transposed = pack(&w, a->v, true, &w.v_transposed);
        w.k = pack(&w, a->k, false, &w.k);
    } else {
        w.v = pack(&w, a->v, false, &w.v);
    }
    return w;
}

/* c [rows,n] = alpha x b: x [rows,W] is float32 or bfloat16; of b [W,...] the first n columns. */
static void rows_times(const struct work *w, const struct clip_operand *x, int64_t rows,
                       const struct clip_packed_b *b, int64_t n, float alpha, float *c)
{
    struct clip_source from = {x->data, x->ld, clip_gemm_pack_kind(&w->mode, x->bf16)};
    struct clip_strip strip = {w->strip, rows, false};
    clip_pack_strip(&w->mode, &from, rows, w->a->width, w->strip);
    clip_multiply_strip(&w->mode, &strip, b, w->a->width,
                        &(struct clip_strip_result){c, w->ld, n, alpha, false});
}

/* The rows of q from i on. */
static struct clip_operand rows_of_q(const struct clip_attention *a, int64_t i)
{
    const char *q = (const char *)a->q + (size_t)(i * a->ld) * (a->bf16 ? 2 : 4);
    return (struct clip_operand){q, a->ld, false, a->bf16};
}

/* Rows [i, i + rows) of p, the softmax of scores, into w->p from its row `at` on. Columns that a
 * row does not see are 0, up to column `seen`. */
static void softmax_rows(const struct work *w, int64_t i, int64_t rows, int64_t seen, int64_t at)
{
    const struct clip_attention *a = w->a;
    float *p = w->p + at * w->ld;
    const struct clip_operand q = rows_of_q(a, i);
    rows_times(w, &q, rows, &w->k_transposed, seen, a->scale, p);
    for (int64_t r = 0; r < rows; r++) {
        int64_t row_sees = a->causal ? i + r + 1 : seen;
        clip_kernels()->softmax(p + r * w->ld, row_sees);
        memset(p + r * w->ld + row_sees, 0, (size_t)(seen - row_sees) * sizeof *p);
    }
}

struct scores { /* [rows,seen] in rows of w->ld floats */
    const float *data;
    int64_t rows, seen;
};

/* c [rows,W] = scores b (+ c where `add`), b [seen,W]. */
static void scores_times(const struct work *w, const struct scores *scores,
                         const struct clip_packed_b *b, float *c, int64_t ldc, bool add)
{
    struct clip_strip strip = {(const uint32_t *)(const void *)scores->data, scores->rows, false};
    if (!w->scores_are_strips) {
        struct clip_source from = {scores->data, w->ld, clip_gemm_pack_kind(&w->mode, false)};
        clip_pack_strip(&w->mode, &from, scores->rows, scores->seen, w->scores_strip);
        strip.units = w->scores_strip;
    }
    clip_multiply_strip(&w->mode, &strip, b, scores->seen,
                        &(struct clip_strip_result){c, ldc, w->a->width, 1, add});
}

void clip_attention_forward(const struct clip_attention *a, const struct clip_matrix *y,
                            void *workspace)
{
    struct work w = begin(a, false, workspace);
    for (int64_t i = 0; i < a->rows; i += w.tile) {
        int64_t rows = clip_min_i64(w.tile, a->rows - i), seen = a->causal ? i + rows : a->rows;
        float *to = y->bf16 ? w.y : (float *)y->data + i * y->ld;
        softmax_rows(&w, i, rows, seen, 0);
        const struct scores p = {w.p, rows, seen};
        scores_times(&w, &p, &w.v, to, y->bf16 ? a->width : y->ld, false);
        for (int64_t r = 0; y->bf16 && r < rows; r++)
            clip_kernels()->to_bf16((uint16_t *)y->data + (i + r) * y->ld, to + r * a->width,
                                    a->width);
    }
}

/* ---- backward ---- */

/* c [seen,W] += scores^T x, with the scores of a tile and x [rows,W]. Where `adds` is not set, rows
 * of c from `written` on hold nothing yet and are written instead. */
static void transposed_times(const struct work *w, const struct scores *scores,
                             const struct clip_operand *x, float *c, int64_t ldc, int64_t written,
                             bool adds)
{
    int64_t rows = scores->rows, seen = scores->seen;
    int64_t mr = w->mode.set->rows, strip = column_strip(&w->mode, w->tile);
    const struct clip_groups groups = {mr, w->mode.set->step, strip};
    struct clip_source from = {scores->data, w->ld, clip_gemm_pack_kind(&w->mode, false)};
    w->mode.set->pack_strips_across_k(w->columns, &from, seen, rows, &groups);
    struct clip_packed_b panels = clip_pack_b(&w->mode, x, w->a->width, rows, w->panels);
    for (int64_t i = 0; i < seen; i += mr) {
        struct clip_strip a = {w->columns + i / mr * strip, clip_min_i64(mr, seen - i), true};
        clip_multiply_strip(
            &w->mode, &a, &panels, rows,
            &(struct clip_strip_result){c + i * ldc, ldc, w->a->width, 1, adds || i < written});
    }
}

/* Computes rows [i, i + rows) of p into w->p and of ds into w->dp. */
static void tile_scores(const struct work *w, const struct clip_attention_gradients *g, int64_t i,
                        int64_t rows, int64_t seen)
{
    const struct clip_attention *a = w->a;
    int64_t mr = w->mode.set->rows;
    for (int64_t at = 0; at < rows; at += mr) {
        int64_t some = clip_min_i64(mr, rows - at);
        softmax_rows(w, i + at, some, seen, at);
        const struct clip_operand dy = {g->dy + (i + at) * g->dy_ld, g->dy_ld, false, false};
        rows_times(w, &dy, some, &w->v_transposed, seen, 1, w->dp + at * w->ld);
    }
    for (int64_t r = 0; r < rows; r++) {
        float *p = w->p + r * w->ld, *dp = w->dp + r * w->ld;
        int64_t row_sees = a->causal ? i + r + 1 : seen;
        float delta = clip_kernels()->dot(p, dp, row_sees);
        clip_kernels()->softmax_backward(dp, p, delta, a->scale, row_sees);
        memset(dp + row_sees, 0, (size_t)(seen - row_sees) * sizeof *dp);
    }
}

void clip_attention_backward(const struct clip_attention *a,
                             const struct clip_attention_gradients *g, void *workspace)
{
    struct work w = begin(a, true, workspace);
    int64_t mr = w.mode.set->rows, written = 0;
    for (int64_t i = 0; i < a->rows; i += w.tile) {
        int64_t rows = clip_min_i64(w.tile, a->rows - i), seen = a->causal ? i + rows : a->rows;
        const struct clip_operand dy = {g->dy + i * g->dy_ld, g->dy_ld, false, false};
        const struct clip_operand q = rows_of_q(a, i);
        const struct scores p = {w.p, rows, seen}, dp = {w.dp, rows, seen};
        tile_scores(&w, g, i, rows, seen);
        for (int64_t at = 0; at < rows; at += mr) {
            const struct scores some = {w.dp + at * w.ld, clip_min_i64(mr, rows - at), seen};
            scores_times(&w, &some, &w.k, g->dq + (i + at) * g->ld, g->ld, g->adds);
        }
        transposed_times(&w, &p, &dy, g->dv, g->ld, written, g->adds);
        transposed_times(&w, &dp, &q, g->dk, g->ld, written, g->adds);
        written = seen;
    }
}
