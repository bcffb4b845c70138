/* What gemm.c, its tiles and the instruction sets share; for kernels/ alone.
 *
 * A product is made of register tiles: `rows` x `columns` elements of C, kept in registers while
 * one walks along k. For that, operands are packed: a strip of A (rows x depth) and panels of B
 * (depth x columns), in units of 4 bytes along k: a float32, or a pair of bfloat16 (the even k in
 * the lower half). A sum over more than CLIP_GEMM_DEPTH units is taken block by block, each block's
 * sum added to C's; within a block in the order of k. That order is the same for every element of
 * C, in whatever tile, row or thread it is computed. */
#ifndef CLIP_KERNELS_GEMM_PARTS_H
#define CLIP_KERNELS_GEMM_PARTS_H

#include "kernels/gemm.h"

enum {
    CLIP_GEMM_DEPTH = 384,    /* units of k in a block */
    CLIP_GEMM_A_ROW = 400,    /* units from row to row of a strip packed by rows: rows of one
                                  strip must not fall on one another in the cache */
    CLIP_GEMM_MOST_ROWS = 32, /* of a register tile of any set; its step is no larger */
    CLIP_GEMM_MOST_COLUMNS = 32,
    CLIP_GEMM_GAP = 48, /* units between strips, between panels, for the same reason */
};
/* From strip to strip of a set that packs by rows or, `step` units a k, by columns. */
#define CLIP_GEMM_STRIP(rows, step)                                                                \
    ((rows)*CLIP_GEMM_A_ROW > CLIP_GEMM_DEPTH * (step) + CLIP_GEMM_GAP                             \
         ? (rows)*CLIP_GEMM_A_ROW                                                                  \
         : CLIP_GEMM_DEPTH * (step) + CLIP_GEMM_GAP)
enum { CLIP_GEMM_MOST_STRIP = CLIP_GEMM_STRIP(CLIP_GEMM_MOST_ROWS, CLIP_GEMM_MOST_ROWS) };

/* What lies in memory, and what it becomes when packed. */
enum clip_pack {
    CLIP_PACK_F32,
    CLIP_PACK_ROUNDED,
    CLIP_PACK_WIDENED,
    CLIP_PACK_PAIRS_OF_F32,
    CLIP_PACK_PAIRS
};

/* Where a packing function reads. */
struct clip_source {
    const void *data; /* at its first element */
    int64_t ld;
    enum clip_pack kind;
};

struct clip_groups {
    int64_t width, step, distance;
};

/* Memory to ask for while a tile is multiplied: `lines` pieces of as many bytes as 16 units take,
 * `stride` bytes apart, and those behind them for the next 16 units of k. */
struct clip_ahead {
    const char *data; /* NULL: nothing */
    int64_t lines, stride, bytes;
};

/* A strip of A by panels of B, register tile after register tile: c = alpha a b (+ c where add). */
struct clip_by_panels {
    int64_t rows, columns, k; /* rows: at most the set's; columns: of all panels; k: units */
    float alpha;
    const uint32_t *a, *b; /* packed: [rows, k], and panels of [k, columns] */
    int64_t panel;         /* units from panel to panel */
    int64_t lda;           /* where a is not packed: from row to row */
    float *c;
    int64_t ldc;
    bool add;
    struct clip_ahead ahead;
};
typedef void (*clip_multiply_fn)(const struct clip_by_panels *x);

/* What multiplies float32, or pairs of bfloat16. */
struct clip_gemm_set {
    const char *name;
    int64_t rows, columns;
    int64_t whole;        /* units of k are packed in multiples of this, filled up with zeros */
    int64_t step;         /* units from k to k of a strip packed from columns, at least its rows */
    int64_t strip;        /* units from strip to strip */
    int64_t tile_columns; /* of a tile of a large product: its panels fit the second cache */
    /* [0]: a packed by pack_lines, [1]: by pack_strips */
    clip_multiply_fn multiply[2];
    /* float32 as it lies in memory, a[i * lda + p], or NULL */
    clip_multiply_fn multiply_lines;
    /* Of a product of few rows those are packed as panels, and lines of op(B)^T multiplied by them
     * where they lie: good where few rows fill panels. */
    bool few_rows_as_panels;
    /* `length` elements along k of n lines, each a row of the source, become a strip: unit p of
     * line i goes to to[i * A_ROW + p] (but see gemm_amx.c); or a panel: to to[p * columns + i],
     * lines up to `columns` filled with zeros. An odd element is paired with zero. */
    void (*pack_lines)(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length);
    void (*pack_lines_across)(uint32_t *to, const struct clip_source *from, int64_t n,
                              int64_t length);
    /* `length` rows of the source are k, each of n elements, which are dealt out to groups of
     * `width` (a panel's columns, a strip's rows): element g width + i of unit p goes to
     * to[g * distance + p * step + i]; the last group is filled up to `step` with zeros. Rows are
     * read from end to end, which memory likes better than a group at a time. */
    void (*pack_panels)(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                        const struct clip_groups *groups);
    void (*pack_strips)(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                        const struct clip_groups *groups);
    double (*multiply_adds)(int64_t rounds, float *out); /* of pairs: clip_multiply_adds */
};

/* How a product is multiplied: by which set, whether rounded, whether in pairs, elements of k in a
 * block. */
struct clip_pace {
    const struct clip_gemm_set *set;
    bool round, pairs;
    int64_t depth;
};

struct clip_span { /* [begin, begin + count) */
    int64_t begin, count;
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* How large equal pieces of `size` are: at most `most`, or one step, and a multiple of `step`. */
static inline int64_t equal_piece(int64_t size, int64_t most, int64_t step)
{
    int64_t pieces = divide_up(size, most > step ? most : step);
    return divide_up(divide_up(size, pieces), step) * step;
}

/* Piece i of a span cut every `step`. */
static inline struct clip_span span_piece(const struct clip_span *span, int64_t i, int64_t step)
{
    return (struct clip_span){span->begin + i * step, least(step, span->count - i * step)};
}

/* ---- packing (gemm_pack.c) ---- */

/* Blocks of k are equal where there are several, and at most CLIP_GEMM_DEPTH units. */
struct clip_pace clip_gemm_pace(bool multiply_bf16, int64_t k);
enum clip_pack clip_gemm_pack_kind(const struct clip_pace *pace, bool bf16);
/* Can the set multiply rows of x, which lie along k, where they lie? */
bool clip_gemm_lines(const struct clip_pace *pace, const struct clip_operand *x);
/* Of `length` elements of k, at most a block: units; units from panel to panel. */
int64_t clip_gemm_units(const struct clip_pace *pace, int64_t length);
int64_t clip_gemm_panel_size(const struct clip_pace *pace, int64_t length);
/* Rows of op(A) as strips, the set's `strip` apart; columns of op(B) as panels; k in a block. */
void clip_gemm_pack_strips(const struct clip_pace *pace, const struct clip_operand *a,
                           const struct clip_span *rows, const struct clip_span *k, uint32_t *to);
void clip_gemm_pack_panels(const struct clip_pace *pace, const struct clip_operand *b,
                           const struct clip_span *columns, const struct clip_span *k,
                           uint32_t *to);
/* What packing part i of `parts` of those columns will read, where it lies along k. */
struct clip_ahead clip_gemm_ahead(const struct clip_pace *pace, const struct clip_operand *b,
                                  const struct clip_span *columns, int64_t k, int64_t i,
                                  int64_t parts);

/* ---- small products of operands packed whole (gemm_small.c) ---- */

struct clip_whole { /* op(B), k x n */
    const uint32_t *units;
    int64_t n, k;
};
int64_t clip_whole_size(const struct clip_pace *pace, int64_t n, int64_t k); /* units */
struct clip_whole clip_whole_pack(const struct clip_pace *pace, const struct clip_operand *b,
                                  int64_t n, int64_t k, uint32_t *to);

struct clip_strip { /* up to a register tile's rows of A; blocks of k are `strip` apart */
    const uint32_t *units;
    int64_t rows;
    bool by_columns;
};
/* k elements of rows, by rows. */
void clip_strip_pack(const struct clip_pace *pace, const struct clip_source *from, int64_t rows,
                     int64_t k, uint32_t *to);
/* c = alpha a b (+ c where add), of b its first n columns and k rows. */
void clip_strip_times(const struct clip_pace *pace, const struct clip_strip *a,
                      const struct clip_whole *b, int64_t n, int64_t k, float alpha, float *c,
                      int64_t ldc, bool add);

/* A part of C: rows [row, row + m), columns [column, column + n). */
struct clip_tile {
    int64_t row, m, column, n;
};

/* Is there more to do than to store alpha op(A) op(B) (+ C)? */
bool clip_gemm_has_finish(const struct clip_gemm *g);
/* May sums wait in C itself until they are finished? */
bool clip_gemm_sums_in_c(const struct clip_gemm *g);

/* ---- large products (gemm_packed.c) ---- */

/* What of the operands is packed, once for all threads: block after block of k, in each all strips
 * of the rows, all panels of the columns. */
struct clip_packed {
    struct clip_pace pace;
    struct clip_span rows, columns, k;
    uint32_t *a, *b; /* a NULL: rows of A are multiplied where they lie */
};
/* The strip of row i of op(A), the panel of column j of op(B), in the block that begins at p. */
uint32_t *clip_packed_strip(const struct clip_packed *packed, int64_t i, int64_t p);
uint32_t *clip_packed_panel(const struct clip_packed *packed, int64_t j, int64_t p);

/* All of op(B), where g comes with its panels and they are what it takes; else b is NULL. */
struct clip_packed clip_gemm_given(const struct clip_gemm *g);

/* The whole product, k at least 1; false: there is no memory to pack in, and nothing was done. */
bool clip_gemm_packed(const struct clip_gemm *g);
size_t clip_gemm_packed_bytes(const struct clip_gemm *g);

/* ---- a tile in the calling thread ---- */

enum {
    CLIP_TILE_M = 448,
    CLIP_TILE_N = 384,        /* the largest tile that clip_gemm_own takes */
    CLIP_GEMM_FEW_ROWS = 112, /* packed where they are used */
};

/* How a product, or a part of it, is cut into tiles: from the top left, row after row. */
struct clip_cut {
    const struct clip_gemm *g;
    const struct clip_packed *packed; /* or NULL */
    struct clip_span rows, columns;
    int64_t tile_m, tile_n;
};
/* Cut for a set of ours, and computed: in threads where it is called outside a parallel loop. */
void clip_gemm_cut(struct clip_cut *cut);
void clip_gemm_tiles(struct clip_cut *cut);

/* By a set of ours (gemm_native.c), of what is packed or (NULL) of the operands; by OpenBLAS
 * (gemm_openblas.c). */
void clip_gemm_own(const struct clip_gemm *g, const struct clip_packed *packed,
                   const struct clip_tile *tile);
void clip_gemm_openblas(const struct clip_gemm *g, const struct clip_tile *tile);

/* The processor's, or CLIP_KERNELS' (table.c), for float32 or for pairs of bfloat16 (NULL: these
 * are multiplied as float32 rounded when packed). */
const struct clip_gemm_set *clip_gemm_set(bool pairs);
bool clip_gemm_by_openblas(void); /* clip_gemm's products are OpenBLAS's instead */

#endif
