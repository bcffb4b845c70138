/* Images that look alike. They are compared by a difference hash (N. Krawetz, "Kind of like that",
 * 2013) of 256 bits instead of 64, with a margin that suppresses noise on plain areas, and by
 * coarse colours, which a hash of brightness does not see.
 *
 * Near pairs are found without comparing all pairs: if at most 24 bits differ, one of 25 parts of
 * the bits must agree.
 *
 * Measured on Flickr8k (7,000 photographs of 128 x 128): images that are encoded again at quality
 * 50, scaled to three quarters or made 5 % brighter differ in at most 12 bits and by 11 of 255;
 * with 2 % cut off at each side, in 10 to 28 bits and by 15. Of the 24 million pairs of different
 * photographs the nearest differ in 28 bits and by 85. */
#include <stdlib.h>
#include <string.h>

#include "data/sets/check_internal.h"

enum { PARTS = CLIP_LOOK_BITS + 1, WIDTH = 17, HEIGHT = 16, MARGIN = 2, NEIGHBOURS = 1024 };

clip_status clip_look_of(const struct clip_image *image, struct clip_look *out,
                         struct clip_error *error)
{
    uint8_t pixels[HEIGHT * WIDTH * 3];
    struct clip_image small = {WIDTH, HEIGHT, pixels};
    int luma[HEIGHT][WIDTH];
    int sums[48] = {0};
    clip_status status = clip_image_resize(&small, image, CLIP_BILINEAR, error);
    if (status != CLIP_OK) return status;
    *out = (struct clip_look){0};
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            const uint8_t *rgb = pixels + (y * WIDTH + x) * 3;
            luma[y][x] = 299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2];
            for (int c = 0; c < 3 && x < 16; c++) sums[(y / 4 * 4 + x / 4) * 3 + c] += rgb[c];
        }
    for (int i = 0; i < 256; i++)
        if (luma[i / 16][i % 16] + 1000 * MARGIN <= luma[i / 16][i % 16 + 1])
            out->bits[i / 64] |= (uint64_t)1 << i % 64;
    for (int i = 0; i < 48; i++) out->colour[i] = (uint8_t)((sums[i] + 8) / 16);
    return CLIP_OK;
}

bool clip_look_near(const struct clip_look *a, const struct clip_look *b)
{
    int different = 0;
    for (int i = 0; i < 4; i++) different += __builtin_popcountll(a->bits[i] ^ b->bits[i]);
    for (int i = 0; i < 48 && different <= CLIP_LOOK_BITS; i++)
        if (abs(a->colour[i] - b->colour[i]) > CLIP_LOOK_COLOUR) return false;
    return different <= CLIP_LOOK_BITS;
}

/* 64 bits from number `from` on, wrapping around the end: first a part, and then bits that tell
 * those apart whose part agrees. */
static uint64_t bits_from(const struct clip_look *look, int from)
{
    int word = from / 64, shift = from % 64;
    uint64_t low = look->bits[word] >> shift;
    if (shift == 0) return low;
    return low | look->bits[(word + 1) % 4] << (64 - shift);
}

struct key {
    uint64_t part, rest;
    int64_t number;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    if (x->rest != y->rest) return x->rest < y->rest ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Looks 0..n-1 are `looks`, those from n on are `others`. If there are others, only pairs of one
 * look and one other count. */
struct search {
    const struct clip_look *looks, *others;
    int64_t n, m;
    int64_t *found;
};

static const struct clip_look *look_at(const struct search *search, int64_t i)
{
    return i < search->n ? &search->looks[i] : &search->others[i - search->n];
}

static void note(const struct search *search, int64_t i, int64_t j)
{
    int64_t later = i > j ? i : j, earlier = i > j ? j : i;
    if (search->others != NULL) {
        if (earlier >= search->n || later < search->n) return;
        int64_t other = later - search->n;
        later = earlier;
        earlier = other;
    }
    int64_t known = search->found[later];
    if (known >= 0 && known <= earlier) return;
    const struct clip_look *with = search->others != NULL ? search->others : search->looks;
    if (clip_look_near(&search->looks[later], &with[earlier])) search->found[later] = earlier;
}

/* Compares those that agree in the part that begins at bit `from` and has `width` bits; they are
 * sorted into `keys`. */
static void search_part(const struct search *search, struct key *keys, int from, int width)
{
    int64_t total = search->n + search->m;
    for (int64_t i = 0; i < total; i++) {
        uint64_t bits = bits_from(look_at(search, i), from);
        keys[i] = (struct key){
            .part = bits & (((uint64_t)1 << width) - 1), .rest = bits >> width, .number = i};
    }
    qsort(keys, (size_t)total, sizeof *keys, compare_keys);
    for (int64_t i = 0; i < total; i++)
        for (int64_t j = i + 1; j < total && j <= i + NEIGHBOURS && keys[j].part == keys[i].part;
             j++)
            note(search, keys[i].number, keys[j].number);
}

static clip_status run(const struct search *search, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct key *keys = NULL;
    for (int64_t i = 0; i < search->n; i++) search->found[i] = -1;
    CLIP_NEW(keys, search->n + search->m);
    for (int p = 0; p < PARTS; p++) {
        int from = 256 * p / PARTS, end = 256 * (p + 1) / PARTS;
        search_part(search, keys, from, end - from);
    }
out:
    free(keys);
    return status;
}

clip_status clip_looks_match(const struct clip_look *looks, int64_t n, int64_t *first,
                             struct clip_error *error)
{
    return run(&(struct search){.looks = looks, .n = n, .found = first}, error);
}

clip_status clip_looks_find(const struct clip_look *looks, int64_t n,
                            const struct clip_look *others, int64_t m, int64_t *found,
                            struct clip_error *error)
{
    return run(&(struct search){.looks = looks, .n = n, .others = others, .m = m, .found = found},
               error);
}
