/* What gemm.c, its tiles and the instruction sets share; for kernels/ alone. The words are
 * explained at the top of kernels/gemm.h.
 *
 * A product is made of register tiles: `rows` x `columns` elements of C that are kept in registers
 * while the kernel walks along k. For that, operands are packed: a strip of A (rows x depth) and
 * panels of B (depth x columns), in units of 4 bytes along k. A unit is a float32, or a pair of
 * bfloat16 with the even k in the lower half. A sum over more than CLIP_GEMM_DEPTH units is taken
 * block by block, and each block's sum is added to C's; within a block it is taken in the order of
 * k. That order is the same for every element of C, whatever tile, row or thread computes it. */
#ifndef CLIP_KERNELS_GEMM_PARTS_H
#define CLIP_KERNELS_GEMM_PARTS_H

#include "core/memory.h"
#include "kernels/gemm.h"

enum {
    CLIP_GEMM_DEPTH = 384, /* units of k in a block */
    /* Units from row to row of a strip that is packed row by row: more than the depth, so that the
     * rows of one strip do not share the sets of the cache. */
    CLIP_GEMM_A_ROW = 400,
    CLIP_GEMM_MAX_ROWS = 32, /* of a register tile of any set; its `step` is no larger */
    CLIP_GEMM_MAX_COLUMNS = 32,
    CLIP_GEMM_GAP = 48, /* units between strips, and between panels, for the same reason */
};
/* Units from strip to strip, for a set that packs a strip row by row, or with `step` units for each
 * k. */
#define CLIP_GEMM_STRIP(rows, step)                                                                \
    ((rows)*CLIP_GEMM_A_ROW > CLIP_GEMM_DEPTH * (step) + CLIP_GEMM_GAP                             \
         ? (rows)*CLIP_GEMM_A_ROW                                                                  \
         : CLIP_GEMM_DEPTH * (step) + CLIP_GEMM_GAP)
enum { CLIP_GEMM_MAX_STRIP = CLIP_GEMM_STRIP(CLIP_GEMM_MAX_ROWS, CLIP_GEMM_MAX_ROWS) };

/* What the elements in memory are, and what units they become. */
enum clip_pack {
    CLIP_PACK_F32,          /* float32, as they are */
    CLIP_PACK_ROUNDED,      /* float32, rounded to bfloat16 and kept as float32 */
    CLIP_PACK_WIDENED,      /* bfloat16, widened to float32 */
    CLIP_PACK_PAIRS_OF_F32, /* float32, rounded to bfloat16, in pairs */
    CLIP_PACK_PAIRS         /* bfloat16, in pairs */
};

/* Where a packing function reads: a part of a stored matrix. */
struct clip_source {
    const void *data; /* its first element */
    int64_t ld;       /* elements from row to row */
    enum clip_pack kind;
};

/* How the elements of a stored row are dealt out to several panels or strips: each gets `width` of
 * them; it has `step` units for each k, and the next one begins `distance` units behind it. */
struct clip_groups {
    int64_t width, step, distance;
};

/* Memory to prefetch while a strip is multiplied by a panel: `count` pieces of `bytes`, which is
 * what 16 units of k take, `stride` bytes apart. For the next 16 units of k it is the bytes behind
 * each piece. */
struct clip_prefetch {
    const char *data; /* NULL: nothing */
    int64_t count, stride, bytes;
};

/* What a set's kernels compute: a strip of A by panels of B, register tile after register tile,
 *     c = alpha a b (+ c where `add`)     a [rows,k]   b [k,columns]   c [rows,columns] */
struct clip_strip_product {
    int64_t rows, columns, k; /* rows: at most the set's; columns: of all panels; k: in units */
    float alpha;
    const uint32_t *a, *b; /* packed */
    int64_t panel;         /* units from panel to panel */
    int64_t lda;           /* where a is not packed: elements from row to row */
    float *c;
    int64_t ldc;
    bool add;
    struct clip_prefetch prefetch;
};
typedef void (*clip_multiply_fn)(const struct clip_strip_product *x);

/* The kernels of one instruction set, for float32 or for pairs of bfloat16. */
struct clip_gemm_set {
    const char *name;
    int64_t rows, columns; /* of a register tile: BLIS's mr and nr */
    int64_t k_multiple;    /* units of k are packed in multiples of this, filled up with zeros */
    int64_t step;          /* units for each k of a strip packed across k; at least `rows` */
    int64_t strip;         /* units from strip to strip */
    int64_t tile_columns;  /* of a tile of a large product: its panels fit the second cache */
    /* [0]: a was packed by pack_strip_along_k; [1]: by pack_strips_across_k */
    clip_multiply_fn multiply[2];
    /* a is float32 that is not packed: row i's element p is a[i * lda + p]. NULL: not possible. */
    clip_multiply_fn multiply_unpacked;
    /* In a product of few rows, A is packed as panels, and rows of op(B)^T are multiplied by them
     * without being packed. It is good where few rows fill panels, that is where these are
     * narrow. */
    bool few_rows_as_panels;
    /* The source's n rows lie along k and have `length` elements each. They become a strip: unit p
     * of row i goes to to[i * CLIP_GEMM_A_ROW + p] (but see gemm_amx.c). Or they become a panel:
     * it goes to to[p * columns + i], and rows from n to `columns` are zeros. With pairs, an odd
     * last element is paired with zero. */
    void (*pack_strip_along_k)(uint32_t *to, const struct clip_source *from, int64_t n,
                               int64_t length);
    void (*pack_panel_along_k)(uint32_t *to, const struct clip_source *from, int64_t n,
                               int64_t length);
    /* The source lies across k: it has `length` rows, one for each k, of n elements each, which are
     * dealt out to groups of `width` (a panel's columns, a strip's rows). Element g * width + i of
     * unit p goes to to[g * distance + p * step + i]; the last group is filled up to `step` with
     * zeros. Rows are read from end to end, which memory likes better than one group at a time. */
    void (*pack_panels_across_k)(uint32_t *to, const struct clip_source *from, int64_t n,
                                 int64_t length, const struct clip_groups *groups);
    void (*pack_strips_across_k)(uint32_t *to, const struct clip_source *from, int64_t n,
                                 int64_t length, const struct clip_groups *groups);
    double (*multiply_adds)(int64_t rounds, float *out); /* of pairs: see clip_multiply_adds */
};

/* How a product is made. */
struct clip_gemm_mode {
    const struct clip_gemm_set *set;
    bool round;    /* operands are rounded to bfloat16 */
    bool pairs;    /* units are pairs of bfloat16 */
    int64_t depth; /* elements of k in a block */
};

struct clip_span { /* [begin, begin + count) */
    int64_t begin, count;
};

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The size of equal pieces that `size` is cut into: a multiple of `step`, and at most `max` or one
 * step, whichever is larger. */
static inline int64_t equal_piece(int64_t size, int64_t max, int64_t step)
{
    int64_t pieces = divide_up(size, max > step ? max : step);
    return divide_up(divide_up(size, pieces), step) * step;
}

/* Piece i of a span that is cut every `step`. */
static inline struct clip_span span_piece(const struct clip_span *span, int64_t i, int64_t step)
{
    return (struct clip_span){span->begin + i * step, clip_min_i64(step, span->count - i * step)};
}

/* ---- packing (gemm_pack.c) ---- */

/* The mode of a product. Where k takes several blocks, these are equal, and at most CLIP_GEMM_DEPTH
 * units deep. */
struct clip_gemm_mode clip_gemm_mode(bool multiply_bf16, int64_t k);
/* How an operand is packed that is stored as bfloat16 or (false) float32. */
enum clip_pack clip_gemm_pack_kind(const struct clip_gemm_mode *mode, bool bf16);
/* Can the set multiply rows of x, if they lie along k, without packing them? */
bool clip_gemm_takes_unpacked(const struct clip_gemm_mode *mode, const struct clip_operand *x);
/* Of `length` elements of k, at most a block: how many units they are, and how many units lie from
 * panel to panel. */
int64_t clip_gemm_units(const struct clip_gemm_mode *mode, int64_t length);
int64_t clip_gemm_panel_size(const struct clip_gemm_mode *mode, int64_t length);
/* Packs rows of op(A) as strips, the set's `strip` apart, or columns of op(B) as panels; k is in
 * one block. */
void clip_gemm_pack_strips(const struct clip_gemm_mode *mode, const struct clip_operand *a,
                           const struct clip_span *rows, const struct clip_span *k, uint32_t *to);
void clip_gemm_pack_panels(const struct clip_gemm_mode *mode, const struct clip_operand *b,
                           const struct clip_span *columns, const struct clip_span *k,
                           uint32_t *to);
/* What packing these columns from k on will read, the i-th of `parts` parts of it; nothing where B
 * lies across k. */
struct clip_prefetch clip_gemm_prefetch(const struct clip_gemm_mode *mode,
                                        const struct clip_operand *b,
                                        const struct clip_span *columns, int64_t k, int64_t i,
                                        int64_t parts);

/* ---- products of small matrices (gemm_small.c) ---- */

struct clip_packed_b { /* all of op(B), k x n: block after block of k, in each all panels */
    const uint32_t *units;
    int64_t n, k;
};
int64_t clip_packed_b_size(const struct clip_gemm_mode *mode, int64_t n, int64_t k); /* units */
struct clip_packed_b clip_pack_b(const struct clip_gemm_mode *mode, const struct clip_operand *b,
                                 int64_t n, int64_t k, uint32_t *to);

struct clip_strip { /* up to a register tile's rows of A, all blocks of k, `strip` units apart */
    const uint32_t *units;
    int64_t rows;
    bool across_k; /* packed by pack_strips_across_k */
};
/* Packs k elements of each row of a source that lies along k. */
void clip_pack_strip(const struct clip_gemm_mode *mode, const struct clip_source *from,
                     int64_t rows, int64_t k, uint32_t *to);
struct clip_strip_result { /* c = alpha a b (+ c where `add`) */
    float *c;
    int64_t ldc, n; /* its columns, the first n of b */
    float alpha;
    bool add;
};
/* Of b, the first k rows. */
void clip_multiply_strip(const struct clip_gemm_mode *mode, const struct clip_strip *a,
                         const struct clip_packed_b *b, int64_t k,
                         const struct clip_strip_result *result);

/* ---- large products (gemm_operands.c, gemm_packed.c) ---- */

/* A part of C: rows [row, row + m), columns [column, column + n). */
struct clip_tile {
    int64_t row, m, column, n;
};

/* Is there more to do than to store alpha op(A) op(B) (+ C)? */
static inline bool clip_gemm_has_finish(const struct clip_gemm *g)
{
    return g->bias != NULL || g->pre_activation.data != NULL || g->residual.data != NULL ||
           g->activation != CLIP_NO_ACTIVATION || g->c.bf16;
}

/* May sums wait in C itself until they are finished? */
static inline bool clip_gemm_sums_in_c(const struct clip_gemm *g)
{
    return !g->c.bf16 && g->residual.data != g->c.data && g->pre_activation.data != g->c.data;
}

/* The part of the operands that is packed at a time, once for all threads: block after block of k,
 * in each block all strips of the rows and all panels of the columns. */
struct clip_packed_operands {
    struct clip_gemm_mode mode;
    struct clip_span rows, columns, k;
    uint32_t *a, *b; /* a NULL: rows of A are not packed */
};
/* The strip of row i of op(A), and the panel of column j of op(B), in the block that begins at
 * p. */
uint32_t *clip_packed_strip(const struct clip_packed_operands *packed, int64_t i, int64_t p);
uint32_t *clip_packed_panel(const struct clip_packed_operands *packed, int64_t j, int64_t p);

/* Packs them, in threads: rows of A unless a is NULL, and columns of B where `with_b`. */
void clip_gemm_pack_operands(const struct clip_gemm *g, const struct clip_packed_operands *packed,
                             bool with_b);

/* Does g bring op(B) prepacked in the way that it needs? */
bool clip_gemm_is_prepacked(const struct clip_gemm *g);
/* All of op(B) where it does; else b is NULL. */
struct clip_packed_operands clip_gemm_prepacked(const struct clip_gemm *g);

/* The whole product, k at least 1. False: there is no memory to pack in, and nothing was done. */
bool clip_gemm_packed(const struct clip_gemm *g);
size_t clip_gemm_packed_bytes(const struct clip_gemm *g);

/* ---- tiles (gemm_tiling.c) ---- */

enum {
    CLIP_TILE_M = 448,
    CLIP_TILE_N = 384,        /* the largest tile that clip_gemm_native takes */
    CLIP_GEMM_FEW_ROWS = 112, /* up to so many rows are packed by each tile for itself */
};

/* How a product, or a part of it, is cut into tiles: from the top left, one row of tiles after the
 * other. */
struct clip_tiling {
    const struct clip_gemm *g;
    const struct clip_packed_operands *packed; /* or NULL */
    struct clip_span rows, columns;
    int64_t tile_m, tile_n;
};
/* Sets tile_m and tile_n for a native set, and for OpenBLAS. */
void clip_gemm_choose_tiling(struct clip_tiling *tiling);
void clip_gemm_choose_tiling_for_openblas(struct clip_tiling *tiling);
/* Computes all tiles, in threads unless it is called inside a parallel loop. */
void clip_gemm_run_tiles(struct clip_tiling *tiling);

/* Computes one tile by a native set (gemm_native.c), from packed operands or, if `packed` is NULL,
 * from the operands themselves; or by OpenBLAS (gemm_openblas.c). */
void clip_gemm_native(const struct clip_gemm *g, const struct clip_packed_operands *packed,
                      const struct clip_tile *tile);
void clip_gemm_openblas(const struct clip_gemm *g, const struct clip_tile *tile);

/* The set of the processor, or of CLIP_KERNELS (table.c), for float32 or for pairs of bfloat16.
 * NULL for pairs: these are multiplied as float32, rounded when packed. */
const struct clip_gemm_set *clip_gemm_set(bool pairs);
/* cblas_sgemm, with 32-bit sizes; enums are int. */
typedef void clip_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k,
                        float alpha, const float *a, int lda, const float *b, int ldb, float beta,
                        float *c, int ldc);
/* What makes clip_gemm's products where CLIP_KERNELS=openblas asks for it; else NULL. */
clip_sgemm *clip_gemm_by_openblas(void);
/* Opens the library. NULL: it is not there, or has no memory to start with. Called once, when the
 * kernels are chosen (table.c). */
clip_sgemm *clip_gemm_open_openblas(void);
#define CLIP_OPENBLAS "libopenblas.so.0"

#endif
