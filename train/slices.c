#include "train/slices.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/bf16.h"
#include "kernels/kernels.h"

enum { PIECE = 65536, MOST_RECEIVED = 16 << 20 }; /* floats: of a thread's work; in all */

const char *clip_wire_name(int wire)
{
    static const char *const names[] = {
        [CLIP_WIRE_F32] = "f32",
        [CLIP_WIRE_BF16] = "bf16",
    };
    return CLIP_NAME_OF(names, wire);
}

/* ---- the tree ---- */

/* Are these two halves of one part of the tree? */
static bool are_neighbours(const struct clip_slice_sum *left, const struct clip_slice_sum *right)
{
    return left->count == right->count && left->first + left->count == right->first &&
           left->first % (2 * left->count) == 0;
}

struct adding {
    float *to;
    const float *from; /* NULL: only rounds */
    int64_t n;
    bool rounds;
};

static void add_piece(void *context, int64_t piece)
{
    const struct adding *a = context;
    int64_t begin = piece * PIECE, n = a->n - begin < PIECE ? a->n - begin : PIECE;
    float *to = a->to + begin;
    const float *from = a->from != NULL ? a->from + begin : NULL;
    for (int64_t i = 0; i < n && from != NULL; i++) to[i] += from[i];
    for (int64_t i = 0; i < n && a->rounds; i++) to[i] = clip_bf16_widen(clip_bf16_round(to[i]));
}

/* to[n] += from[n], rounded where the sum may be sent. */
static void add(const struct clip_slices *s, float *to, const float *from, int64_t n,
                int64_t slices)
{
    struct adding a = {to, from, n, s->wire == CLIP_WIRE_BF16 && slices < s->world};
    if (from != NULL || a.rounds) clip_parallel_for((n + PIECE - 1) / PIECE, add_piece, &a);
}

/* What a process has of the tree when its slices are there: at most CLIP_SLICE_SUMS sums. */
static int sums_of(int64_t first, int64_t count, struct clip_slice_sum *sums, int *most)
{
    int n = 0;
    for (int64_t i = first; i < first + count; i++) {
        sums[n++] = (struct clip_slice_sum){i, 1, NULL};
        if (most != NULL && n > *most) *most = n;
        while (n > 1 && are_neighbours(&sums[n - 2], &sums[n - 1])) sums[--n - 1].count *= 2;
    }
    return n;
}

/* ---- a process' slices ---- */

static int64_t first_of(const struct clip_slices *s, int process)
{
    return s->world / clip_comm_size(s->comm) * process;
}

static clip_status make_room(struct clip_slices *s, struct clip_error *error)
{
    clip_status status;
    struct clip_slice_sum sums[CLIP_SLICE_SUMS];
    int size = clip_comm_size(s->comm);
    for (int r = 0; r < size; r++) {
        int n = sums_of(first_of(s, r), s->count, sums, NULL);
        if (n > s->most_sums) s->most_sums = n;
    }
    s->chunk = MOST_RECEIVED / ((int64_t)size * s->most_sums);
    if (s->chunk < 1024) s->chunk = 1024;
    if (s->chunk > s->floats) s->chunk = s->floats;
    int64_t room = s->chunk * s->most_sums * size;
    CLIP_NEW(s->received, room);
    CLIP_NEW(s->parts, 2 * (int64_t)size);
    CLIP_NEW(s->bounds, size + 1);
    if (s->wire == CLIP_WIRE_BF16) {
        CLIP_NEW(s->sent, room);
        CLIP_NEW(s->arrived, room);
    }
out:
    return status;
}

clip_status clip_slices_create(struct clip_slices **out, struct clip_comm *comm, int64_t world,
                               enum clip_wire wire, float *grad, int64_t floats,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_slices *s = NULL;
    struct clip_slice_sum sums[CLIP_SLICE_SUMS];
    int buffers = 1;
    CLIP_NEW(s, 1);
    *s = (struct clip_slices){.comm = comm, .world = world, .floats = floats, .wire = wire};
    s->count = world / clip_comm_size(comm);
    s->first = first_of(s, clip_comm_rank(comm));
    sums_of(s->first, s->count, sums, &buffers);
    CLIP_NEW(s->buffers, buffers);
    CLIP_NEW(s->taken, buffers);
    s->buffers[0] = grad;
    for (s->buffer_count = 1; s->buffer_count < buffers; s->buffer_count++) {
        float *buffer = clip_pages_new(floats, sizeof *buffer, error);
        if (buffer == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        s->buffers[s->buffer_count] = buffer;
    }
    if (clip_comm_size(comm) > 1) CLIP_TRY(make_room(s, error));
    *out = s;
    return CLIP_OK;
out:
    clip_slices_free(s);
    return status;
}

void clip_slices_free(struct clip_slices *s)
{
    if (s == NULL) return;
    for (int64_t i = 1; i < s->buffer_count; i++) free(s->buffers[i]);
    void *arrays[] = {s->buffers, s->taken, s->received, s->sent,
                      s->arrived, s->parts, s->bounds,   s};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

void clip_slices_begin(struct clip_slices *s)
{
    s->sum_count = 0;
    for (int64_t i = 0; i < s->buffer_count; i++) s->taken[i] = false;
}

float *clip_slices_buffer(struct clip_slices *s)
{
    int64_t i = 0;
    while (s->taken[i]) i++;
    assert(i < s->buffer_count);
    s->taken[i] = true;
    return s->buffers[i];
}

static void give_back(struct clip_slices *s, const float *buffer)
{
    for (int64_t i = 0; i < s->buffer_count; i++)
        if (s->buffers[i] == buffer) s->taken[i] = false;
}

/* Puts a sum behind the others and adds neighbours; returns how many are left. */
static int push(const struct clip_slices *s, struct clip_slice_sum *sums, int n,
                struct clip_slice_sum sum, int64_t floats, const float **freed)
{
    sums[n++] = sum;
    while (n > 1 && are_neighbours(&sums[n - 2], &sums[n - 1])) {
        struct clip_slice_sum *left = &sums[n - 2];
        left->count *= 2;
        add(s, left->data, sums[n - 1].data, floats, left->count);
        if (freed != NULL) *freed++ = sums[n - 1].data;
        n--;
    }
    return n;
}

void clip_slices_add(struct clip_slices *s, float *buffer)
{
    const float *freed[64] = {NULL};
    struct clip_slice_sum sum = {s->first, 1, buffer};
    if (s->sum_count > 0) {
        const struct clip_slice_sum *last = &s->sums[s->sum_count - 1];
        sum.first = last->first + last->count;
    }
    add(s, buffer, NULL, s->floats, 1);
    s->sum_count = push(s, s->sums, s->sum_count, sum, s->floats, freed);
    for (int i = 0; freed[i] != NULL; i++) give_back(s, freed[i]);
}

/* ---- the sum of all ---- */

/* Adds what has no neighbour, from the right; the sum is the first's. */
static void add_rest(const struct clip_slices *s, const struct clip_slice_sum *sums, int n,
                     int64_t floats)
{
    for (; n > 1; n--) add(s, sums[n - 2].data, sums[n - 1].data, floats, s->world);
}

/* What of the part [begin, end) is in chunk `c`. */
static int64_t chunk_of(const struct clip_slices *s, const int64_t *part, int64_t c, int64_t *begin)
{
    int64_t n = part[1] - part[0] - c * s->chunk;
    *begin = part[0] + c * s->chunk;
    if (n < 0) return 0;
    return n < s->chunk ? n : s->chunk;
}

struct rounding {
    uint16_t *to;
    const float *from;
    int64_t n;
};

static void round_piece(void *context, int64_t piece)
{
    const struct rounding *a = context;
    int64_t begin = piece * PIECE, n = a->n - begin < PIECE ? a->n - begin : PIECE;
    clip_kernels()->to_bf16(a->to + begin, a->from + begin, n);
}

/* Sum number `k` of each process, of chunk `c` of each part, to the part's owner. */
static void exchange(struct clip_slices *s, const struct clip_optim_parts *parts, int64_t c, int k)
{
    int size = clip_comm_size(s->comm), rank = clip_comm_rank(s->comm);
    bool bf16 = s->wire == CLIP_WIRE_BF16;
    size_t width = bf16 ? sizeof *s->sent : sizeof *s->received;
    struct clip_slice_sum sums[CLIP_SLICE_SUMS];
    struct clip_comm_part *send = s->parts, *receive = s->parts + size;
    int64_t begin, own = chunk_of(s, &parts->floats[rank], c, &begin);
    for (int r = 0; r < size; r++) {
        bool has = k < sums_of(first_of(s, r), s->count, sums, NULL);
        int64_t at = ((int64_t)r * s->most_sums + k) * s->chunk;
        receive[r] =
            (struct clip_comm_part){bf16 ? (void *)(s->arrived + at) : (void *)(s->received + at),
                                    r != rank && has ? (size_t)own * width : 0};
        int64_t n = chunk_of(s, &parts->floats[r], c, &begin);
        if (r == rank || k >= s->sum_count) n = 0;
        float *from = k < s->sum_count ? s->sums[k].data + begin : NULL;
        send[r] = (struct clip_comm_part){bf16 ? (void *)(s->sent + at) : (void *)from,
                                          (size_t)n * width};
        struct rounding rounding = {send[r].data, from, n};
        if (bf16) clip_parallel_for((n + PIECE - 1) / PIECE, round_piece, &rounding);
    }
    clip_comm_exchange(s->comm, send, receive);
}

/* The tree over all processes' sums, of one chunk of the process' own part. */
static void sum_chunk(struct clip_slices *s, const struct clip_optim_parts *parts, int64_t c)
{
    int size = clip_comm_size(s->comm), rank = clip_comm_rank(s->comm), n = 0;
    struct clip_slice_sum sums[CLIP_SLICE_SUMS] = {{0}}, has[CLIP_SLICE_SUMS];
    int64_t begin, own = chunk_of(s, &parts->floats[rank], c, &begin);
    for (int r = 0; r < size; r++) {
        int count = sums_of(first_of(s, r), s->count, has, NULL);
        for (int k = 0; k < count; k++) {
            int64_t at = ((int64_t)r * s->most_sums + k) * s->chunk;
            has[k].data = r == rank ? s->sums[k].data + begin : s->received + at;
            for (int64_t i = 0; r != rank && s->arrived != NULL && i < own; i++)
                s->received[at + i] = clip_bf16_widen(s->arrived[at + i]);
            n = push(s, sums, n, has[k], own, NULL);
        }
    }
    add_rest(s, sums, n, own);
    float *to = s->buffers[0] + begin;
    if (sums[0].data != to && own > 0) memcpy(to, sums[0].data, (size_t)own * sizeof *to);
}

void clip_slices_reduce(struct clip_slices *s, const struct clip_optim_parts *parts)
{
    int size = clip_comm_size(s->comm);
    int64_t chunks = 0;
    if (size == 1) add_rest(s, s->sums, s->sum_count, s->floats);
    for (int r = 0; r < size && size > 1; r++) {
        int64_t n = (parts->floats[r + 1] - parts->floats[r] + s->chunk - 1) / s->chunk;
        if (n > chunks) chunks = n;
    }
    for (int64_t c = 0; c < chunks; c++) {
        for (int k = 0; k < s->most_sums; k++) exchange(s, parts, c, k);
        sum_chunk(s, parts, c);
    }
    s->sum_count = 0;
}

static void gather(struct clip_slices *s, const int64_t *parts, void *data, size_t width)
{
    int size = clip_comm_size(s->comm);
    if (size == 1) return;
    for (int r = 0; r <= size; r++) s->bounds[r] = parts[r] * (int64_t)width;
    clip_comm_all_gather(s->comm, data, s->bounds);
}

void clip_slices_gather(struct clip_slices *s, const struct clip_optim_parts *parts, float *data)
{
    gather(s, parts->floats, data, sizeof *data);
}

void clip_slices_gather_sums(struct clip_slices *s, const struct clip_optim_parts *parts,
                             double *sums)
{
    gather(s, parts->pieces, sums, sizeof *sums);
}
