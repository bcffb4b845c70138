#include "autograd/workspace.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core/memory.h"

enum { ALIGNMENT = 64, PIECES_A_TABLE = 4096 };
static const size_t SMALLEST_REGION = (size_t)64 << 20;

/* A used or free part of a region. A region's pieces are a list in the order of their addresses, in
 * which two free ones are never neighbours. */
struct clip_piece {
    struct clip_piece *before, *after;
    char *data;
    size_t size;
    bool used;
    struct region *region;
};

struct region {
    struct region *next;
    struct clip_piece *first;
    char *base;
    size_t size, high; /* high: the end of the highest piece that was ever used */
};

struct piece_table {
    struct piece_table *next;
    struct clip_piece pieces[PIECES_A_TABLE];
};

struct clip_workspace {
    struct region *regions, *planned;
    struct piece_table *tables;
    struct clip_piece *spare; /* linked by `after` */
    bool plan;
    int64_t grown;
};

struct clip_workspace *clip_workspace_create(void)
{
    return calloc(1, sizeof(struct clip_workspace));
}

static struct clip_piece *spare_piece(struct clip_workspace *w)
{
    if (w->spare == NULL) {
        struct piece_table *table = calloc(1, sizeof *table);
        if (table == NULL) return NULL;
        table->next = w->tables;
        w->tables = table;
        w->grown++;
        for (int i = 0; i < PIECES_A_TABLE; i++) {
            table->pieces[i].after = w->spare;
            w->spare = &table->pieces[i];
        }
    }
    struct clip_piece *piece = w->spare;
    w->spare = piece->after;
    *piece = (struct clip_piece){0};
    return piece;
}

static struct region *add_region(struct clip_workspace *w, size_t size, char *base)
{
    struct region *region = calloc(1, sizeof *region);
    struct clip_piece *piece = region != NULL ? spare_piece(w) : NULL;
    if (piece == NULL) {
        free(region);
        return NULL;
    }
    *piece = (struct clip_piece){.data = base, .size = size, .region = region};
    *region = (struct region){.first = piece, .base = base, .size = size};
    return region;
}

bool clip_workspace_reserve(struct clip_workspace *w, size_t bytes)
{
    for (struct region *r = w->regions; r != NULL; r = r->next)
        if (r->size >= bytes) return true;
    size_t size = bytes < SMALLEST_REGION ? SMALLEST_REGION : (bytes + 4095) / 4096 * 4096;
    if (size < bytes) return false;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    clip_memory_large_pages(base, size);
    struct region *region = add_region(w, size, base);
    if (region == NULL) {
        munmap(base, size);
        return false;
    }
    struct region **end = &w->regions;
    while (*end != NULL) end = &(*end)->next;
    *end = region;
    w->grown++;
    return true;
}

void clip_workspace_plan(struct clip_workspace *w, bool plan)
{
    w->plan = plan;
    /* The addresses of a planned region are numbers from ALIGNMENT on, which are never used as
     * memory. */
    if (plan && w->planned == NULL) w->planned = add_region(w, SIZE_MAX / 4, NULL);
}

void clip_workspace_free(struct clip_workspace *w)
{
    if (w == NULL) return;
    for (struct region *r = w->regions, *next; r != NULL; r = next) {
        next = r->next;
        munmap(r->base, r->size);
        free(r);
    }
    free(w->planned);
    for (struct piece_table *t = w->tables, *next; t != NULL; t = next) {
        next = t->next;
        free(t);
    }
    free(w);
}

/* The first free piece that is large enough, cut to the wanted size. */
static struct clip_piece *take_from(struct clip_workspace *w, struct region *region, size_t size)
{
    struct clip_piece *piece = region->first;
    while (piece != NULL && (piece->used || piece->size < size)) piece = piece->after;
    if (piece == NULL) return NULL;
    if (piece->size > size) {
        struct clip_piece *rest = spare_piece(w);
        if (rest == NULL) return NULL;
        uintptr_t start = (uintptr_t)piece->data + size;
        *rest = (struct clip_piece){piece, piece->after, (char *)start, piece->size - size,
                                    false, region};
        if (rest->after != NULL) rest->after->before = rest;
        piece->after = rest;
        piece->size = size;
    }
    piece->used = true;
    size_t end = (size_t)((uintptr_t)piece->data - (uintptr_t)region->base) + size;
    if (end > region->high) region->high = end;
    return piece;
}

struct clip_piece *clip_workspace_take(struct clip_workspace *w, size_t bytes)
{
    if (bytes > SIZE_MAX / 8) return NULL;
    size_t size = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (w->plan) return w->planned != NULL ? take_from(w, w->planned, size) : NULL;
    for (struct region *r = w->regions; r != NULL; r = r->next) {
        struct clip_piece *piece = take_from(w, r, size);
        if (piece != NULL) return piece;
    }
    size_t total = 0;
    for (struct region *r = w->regions; r != NULL; r = r->next) total += r->size;
    if (!clip_workspace_reserve(w, (total > size ? total : size) + 1)) return NULL;
    struct region *last = w->regions;
    while (last->next != NULL) last = last->next;
    return take_from(w, last, size);
}

void *clip_piece_data(const struct clip_piece *piece)
{
    return piece->region->base == NULL ? NULL : piece->data;
}

static void join_with_next(struct clip_workspace *w, struct clip_piece *piece)
{
    struct clip_piece *next = piece->after;
    piece->size += next->size;
    piece->after = next->after;
    if (next->after != NULL) next->after->before = piece;
    next->after = w->spare;
    w->spare = next;
}

void clip_workspace_give_back(struct clip_workspace *w, struct clip_piece *piece)
{
    assert(piece->used);
    piece->used = false;
    if (piece->after != NULL && !piece->after->used) join_with_next(w, piece);
    if (piece->before != NULL && !piece->before->used) join_with_next(w, piece->before);
}

static void clear_region(struct clip_workspace *w, struct region *region)
{
    region->first->used = false;
    while (region->first->after != NULL) {
        region->first->after->used = false;
        join_with_next(w, region->first);
    }
}

void clip_workspace_clear(struct clip_workspace *w)
{
    for (struct region *r = w->regions; r != NULL; r = r->next) clear_region(w, r);
    if (w->planned != NULL) clear_region(w, w->planned);
}

size_t clip_workspace_peak(const struct clip_workspace *w)
{
    if (w->plan) return w->planned != NULL ? w->planned->high : 0;
    size_t peak = 0;
    for (struct region *r = w->regions; r != NULL; r = r->next) peak += r->high;
    return peak;
}

int64_t clip_workspace_grown(const struct clip_workspace *w) { return w->grown; }
