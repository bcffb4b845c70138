/* bfloat16 products with AMX (Intel's Sapphire Rapids and later): pairs by tdpbf16ps, which adds 16
 * pairs to each of 16 x 16 sums in one instruction.
 *
 * A tile register holds 16 rows of 64 bytes. Four of them are the sums of 32 x 32 elements of C,
 * two hold rows of A, and two hold columns of B, which are 16 rows of a panel as the other sets
 * pack it. A strip is cut along k into blocks of 32 rows by 16 units, so that a tile register is
 * read from 16 consecutive cache lines; a strip that was packed across k looks the same.
 *
 * tdpbf16ps rounds as vdpbf16ps does (gemm_bf16.c). The tile registers are configured at the start
 * of each call and released at its end, so other code never finds them in use. */
#include "kernels/gemm_sets.h"

enum { ROWS = 32, STEP = 32, K_MULTIPLE = 16, TILE = 16 };
#define STRIP_AT(i, p) ((p)*ROWS + (i)*TILE)
#include "kernels/gemm_avx512.h"

/* "Tile configuration", Intel 64 and IA-32 Architectures SDM, volume 1, section 18. */
struct tile_config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

static const struct tile_config all_whole = {
    .palette = 1,
    .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE},
};

/* ---- packing ---- */

static inline __attribute__((always_inline)) void strips_across_k(enum clip_pack kind, uint32_t *to,
                                                                  const struct clip_source *from,
                                                                  int64_t n, int64_t length,
                                                                  const struct clip_groups *groups)
{
    enum { PREFETCH_ELEMENTS = 128 };
    size_t element = source_element(from);
    for (int64_t p = 0; p < length; p += 2 * TILE, to += TILE * ROWS)
        for (int64_t j = 0; j < n; j += TILE) {
            vector r[LANES];
            for (int64_t k = 0; k < TILE; k++) {
                int64_t at = p + 2 * k;
                const void *row = at < length ? source_row(from, at) : NULL;
                const void *next = at + 1 < length ? source_row(from, at + 1) : NULL;
                if (row != NULL)
                    __builtin_prefetch((const char *)row + (j + PREFETCH_ELEMENTS) * element);
                if (next != NULL)
                    __builtin_prefetch((const char *)next + (j + PREFETCH_ELEMENTS) * element);
                r[k] = row != NULL ? units_across_k(kind, row, next, j, n - j) : no_units();
            }
            transpose(r);
            uint32_t *strip = to + j / ROWS * groups->distance + j % ROWS * TILE;
            for (int64_t i = 0; i < TILE; i++) store_units(strip + i * TILE, r[i]);
        }
}

static void pack_strips(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                        const struct clip_groups *groups)
{
    FOR_KIND(strips_across_k, to, from, n, length, groups)
}

/* ---- register tiles ---- */

/* A register tile of 16 or (tall) 32 rows by 16 or (wide) 32 columns, into `sums`. */
static inline __attribute__((always_inline)) void tile_of(const struct clip_strip_product *x,
                                                          const uint32_t *b, bool tall, bool wide,
                                                          float sums[ROWS][COLUMNS])
{
    const uint32_t *a = x->a;
    _tile_zero(0);
    if (wide) _tile_zero(1);
    if (tall) _tile_zero(2);
    if (tall && wide) _tile_zero(3);
    for (int64_t p = 0; p < x->k; p += TILE, a += TILE * ROWS, b += TILE * COLUMNS) {
        prefetch(&x->prefetch, p);
        _tile_loadd(4, a, TILE * 4);
        _tile_loadd(6, b, COLUMNS * 4);
        _tile_dpbf16ps(0, 4, 6);
        if (wide) _tile_loadd(7, b + TILE, COLUMNS * 4);
        if (wide) _tile_dpbf16ps(1, 4, 7);
        if (tall) _tile_loadd(5, a + TILE * TILE, TILE * 4);
        if (tall) _tile_dpbf16ps(2, 5, 6);
        if (tall && wide) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], sizeof sums[0]);
    if (wide) _tile_stored(1, sums[0] + TILE, sizeof sums[0]);
    if (tall) _tile_stored(2, sums[TILE], sizeof sums[0]);
    if (tall && wide) _tile_stored(3, sums[TILE] + TILE, sizeof sums[0]);
}

/* c = alpha sums (+ c where `add`), of its first n columns. */
static void put_sums(const struct clip_strip_product *x, float (*sums)[COLUMNS], float *c,
                     int64_t n)
{
    __m512 f = _mm512_set1_ps(x->alpha);
    __mmask16 left = lanes(n), right = lanes(n - LANES);
    bool add = x->add;
    for (int64_t i = 0; i < x->rows; i++, c += x->ldc) {
        put(c, left, f, _mm512_load_ps(sums[i]), add);
        put(c + LANES, right, f, _mm512_load_ps(sums[i] + LANES), add);
    }
}

static void multiply_by_tiles(const struct clip_strip_product *x)
{
    _Alignas(64) float sums[ROWS][COLUMNS];
    const uint32_t *panel = x->b;
    _tile_loadconfig(&all_whole);
    for (int64_t j = 0; j < x->columns; j += COLUMNS, panel += x->panel) {
        bool wide = x->columns - j > TILE;
        if (x->rows > TILE && wide)
            tile_of(x, panel, true, true, sums);
        else if (x->rows > TILE)
            tile_of(x, panel, true, false, sums);
        else if (wide)
            tile_of(x, panel, false, true, sums);
        else
            tile_of(x, panel, false, false, sums);
        put_sums(x, sums, x->c + j, x->columns - j);
    }
    _tile_release();
}

static double multiply_adds(int64_t rounds, float *out)
{
    enum { CHAINS = 4 };
    _Alignas(64) float sums[TILE][TILE];
    _Alignas(64) uint32_t ones[TILE][TILE];
    for (int i = 0; i < TILE * TILE; i++) ones[i / TILE][i % TILE] = 0x3f7f3f7f;
    _tile_loadconfig(&all_whole);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, ones, sizeof ones[0]);
    _tile_loadd(5, ones, sizeof ones[0]);
    for (int64_t r = 0; r < rounds; r++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    *out = 0;
#define ADD(tile)                                                                                  \
    _tile_stored(tile, sums, sizeof sums[0]);                                                      \
    *out += sums[0][0];
    ADD(0) ADD(1) ADD(2) ADD(3) _tile_release();
    return (double)rounds * CHAINS * 2 * TILE * TILE * 2 * TILE;
}

const struct clip_gemm_set clip_gemm_amx = {
    .name = "amx",
    .rows = ROWS,
    .columns = COLUMNS,
    .k_multiple = K_MULTIPLE,
    .step = STEP,
    .strip = CLIP_GEMM_DEPTH * STEP + CLIP_GEMM_GAP,
    .tile_columns = 192,
    .multiply = {multiply_by_tiles, multiply_by_tiles},
    .pack_strip_along_k = pack_strip_along_k,
    .pack_panel_along_k = pack_panel_along_k,
    .pack_panels_across_k = pack_groups_across_k,
    .pack_strips_across_k = pack_strips,
    .multiply_adds = multiply_adds,
};
