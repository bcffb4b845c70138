/* The elements of a dataset in an HDF5 file (hdf5_inside.h): in one piece, or in chunks that a
 * fixed array lists (VII.C). Each chunk may have a fletcher32 behind it. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/hdf5_inside.h"

/* HDF5's checksum of chunks: sums of 16-bit words, the first byte of a pair the more significant,
 * and sums of those sums, both modulo 65535. */
static uint32_t fletcher32(const unsigned char *p, size_t n)
{
    enum { WORDS = 360 }; /* after so many words the sums would not fit in 32 bits */
    uint32_t a = 0, b = 0;
    for (size_t words = n / 2; words > 0;) {
        size_t some = words < WORDS ? words : WORDS;
        words -= some;
        for (; some > 0; some--, p += 2) {
            a += (uint32_t)p[0] << 8 | p[1];
            b += a;
        }
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    if (n % 2 != 0) {
        a += (uint32_t)p[0] << 8;
        b += a;
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    a = (a & 0xffff) + (a >> 16);
    b = (b & 0xffff) + (b >> 16);
    return b << 16 | a;
}

/* ---- Where chunks are ---- */

struct chunks {
    uint64_t count;      /* of all */
    uint64_t *addresses; /* [count] */
};

/* "FAHD": version, client, bytes of an entry, bits of a page, entries, the address of the block
 * that holds them. */
struct array {
    uint64_t entry, page, entries, block;
};

static clip_status read_array_header(struct clip_hdf5_inside *inside, uint64_t address,
                                     struct array *array)
{
    enum { BYTES = 28 };
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    CLIP_TRY(clip_hdf5_block_read(inside, address, BYTES, "FAHD", &block));
    uint64_t version = clip_hdf5_take(&block, 1);
    clip_hdf5_take(&block, 1);
    array->entry = clip_hdf5_take(&block, 1);
    uint64_t bits = clip_hdf5_take(&block, 1);
    array->entries = clip_hdf5_take(&block, 8);
    array->block = clip_hdf5_take(&block, 8);
    array->page = (uint64_t)1 << (bits & 31);
    if (version != 0 || bits > 31 || array->entry < 8 || array->entry > 20)
        CLIP_TRY(clip_hdf5_damaged(inside, "the list of a tensor's chunks"));
out:
    clip_hdf5_block_release(&block);
    return status;
}

static void take_entries(struct clip_hdf5_block *block, const struct array *array, uint64_t n,
                         uint64_t *addresses)
{
    for (uint64_t i = 0; i < n; i++) {
        addresses[i] = clip_hdf5_take(block, 8);
        clip_hdf5_take_bytes(block, (size_t)array->entry - 8); /* its bytes, filters left out */
    }
}

/* Bytes of the block's start, "FADB": version, client, the header's address, and if there are
 * several pages a bit for each that says whether it was written. Entries follow, or the start's
 * checksum and then pages with their own. */
static clip_status read_array(struct clip_hdf5_inside *inside, const struct array *array,
                              uint64_t *addresses)
{
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    uint64_t pages = array->entries > array->page ? (array->entries - 1) / array->page + 1 : 0;
    uint64_t start = 4 + 1 + 1 + 8 + (pages + 7) / 8;
    uint64_t bytes = start + (pages == 0 ? array->entries * array->entry : 0) + 4;
    CLIP_TRY(clip_hdf5_block_read(inside, array->block, bytes, "FADB", &block));
    block.at = (size_t)start;
    if (pages == 0) take_entries(&block, array, array->entries, addresses);
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t first = page * array->page, n = array->entries - first;
        if (n > array->page) n = array->page;
        uint64_t at = array->block + bytes + page * (array->page * array->entry + 4);
        CLIP_TRY(clip_hdf5_block_read(inside, at, n * array->entry + 4, "", &block));
        take_entries(&block, array, n, addresses + first);
    }
    if (block.past) CLIP_TRY(clip_hdf5_damaged(inside, "the list of a tensor's chunks"));
out:
    clip_hdf5_block_release(&block);
    return status;
}

static clip_status find_chunks(struct clip_hdf5_inside *inside,
                               const struct clip_hdf5_object *dataset, struct chunks *chunks)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = inside->error;
    struct array array;
    uint64_t most = (uint64_t)inside->size;
    chunks->count = 1;
    for (int i = 0; i < dataset->ndim; i++) {
        uint64_t n = (dataset->shape[i] - 1) / dataset->chunk[i] + 1;
        if (n > most / chunks->count) CLIP_TRY(clip_hdf5_damaged(inside, "a tensor's shape"));
        chunks->count *= n;
    }
    if (dataset->index == CLIP_HDF5_ONE_CHUNK) {
        CLIP_NEW(chunks->addresses, 1);
        chunks->addresses[0] = dataset->address;
        if (chunks->count != 1) CLIP_TRY(clip_hdf5_damaged(inside, "a tensor's shape"));
        goto out;
    }
    CLIP_TRY(read_array_header(inside, dataset->address, &array));
    if (array.entries != chunks->count || array.entries > most / array.entry)
        CLIP_TRY(clip_hdf5_damaged(inside, "the list of a tensor's chunks"));
    CLIP_NEW(chunks->addresses, (int64_t)chunks->count);
    CLIP_TRY(read_array(inside, &array, chunks->addresses));
out:
    return status;
}

/* ---- Their elements ---- */

/* Where a chunk lies in its dataset, and how far apart rows of each dimension are in both. */
struct copy {
    int ndim;
    uint64_t rows[CLIP_HDF5_RANK];                     /* of the chunk that are in the dataset */
    uint64_t from[CLIP_HDF5_RANK], to[CLIP_HDF5_RANK]; /* bytes from one row to the next */
};

static void copy_rows(const struct copy *copy, int dim, const unsigned char *from,
                      unsigned char *to)
{
    if (dim == copy->ndim - 1) {
        memcpy(to, from, copy->rows[dim] * copy->from[dim]);
        return;
    }
    for (uint64_t i = 0; i < copy->rows[dim]; i++)
        copy_rows(copy, dim + 1, from + i * copy->from[dim], to + i * copy->to[dim]);
}

/* Puts chunk `number`, counted with the last dimension fastest, in its place. */
static void place_chunk(const struct clip_hdf5_object *dataset, uint64_t number,
                        const unsigned char *chunk, unsigned char *out)
{
    struct copy copy = {.ndim = dataset->ndim};
    uint64_t from = dataset->element, to = dataset->element;
    for (int i = dataset->ndim - 1; i >= 0; i--) {
        uint64_t across = (dataset->shape[i] - 1) / dataset->chunk[i] + 1;
        uint64_t first = number % across * dataset->chunk[i], left = dataset->shape[i] - first;
        number /= across;
        copy.rows[i] = left < dataset->chunk[i] ? left : dataset->chunk[i];
        copy.from[i] = from;
        copy.to[i] = to;
        out += first * to;
        from *= dataset->chunk[i];
        to *= dataset->shape[i];
    }
    copy_rows(&copy, 0, chunk, out);
}

static clip_status read_chunks(struct clip_hdf5_inside *inside,
                               const struct clip_hdf5_object *dataset, void *out)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = inside->error;
    struct chunks chunks = {0};
    unsigned char *bytes = NULL;
    uint64_t size = dataset->element;
    for (int i = 0; i < dataset->ndim; i++) {
        if (dataset->chunk[i] == 0 || dataset->chunk[i] > dataset->shape[i] ||
            dataset->chunk[i] > (uint64_t)inside->size / size)
            CLIP_TRY(clip_hdf5_damaged(inside, "a tensor's shape"));
        size *= dataset->chunk[i];
    }
    CLIP_TRY(find_chunks(inside, dataset, &chunks));
    CLIP_NEW(bytes, (int64_t)size + 4);
    for (uint64_t i = 0; i < chunks.count; i++) {
        uint64_t whole = size + (dataset->checked ? 4 : 0);
        CLIP_TRY(clip_hdf5_pread(inside, chunks.addresses[i], bytes, whole));
        if (dataset->checked) {
            const unsigned char *sum = bytes + size;
            uint32_t expected = (uint32_t)sum[0] | (uint32_t)sum[1] << 8 | (uint32_t)sum[2] << 16 |
                                (uint32_t)sum[3] << 24;
            if (fletcher32(bytes, (size_t)size) != expected)
                CLIP_TRY(clip_hdf5_damaged(inside, "a tensor's data"));
        }
        place_chunk(dataset, i, bytes, out);
    }
out:
    free(chunks.addresses);
    free(bytes);
    return status;
}

clip_status clip_hdf5_data_read(struct clip_hdf5_inside *inside,
                                const struct clip_hdf5_object *dataset, int64_t bytes, void *out)
{
    if (bytes == 0) return CLIP_OK;
    if (dataset->index >= CLIP_HDF5_ONE_CHUNK) return read_chunks(inside, dataset, out);
    if (dataset->bytes != (uint64_t)bytes) return clip_hdf5_damaged(inside, "a tensor's shape");
    return clip_hdf5_pread(inside, dataset->address, out, (uint64_t)bytes);
}
