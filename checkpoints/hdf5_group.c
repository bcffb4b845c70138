/* The links of a large group in an HDF5 file (hdf5_inside.h). A B-tree (III.A.2) of version 2 lists
 * where each link message is in a fractal heap (III.G), an array of blocks whose sizes double from
 * row to row. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/hdf5_inside.h"

static const char what[] = "its list of tensors";

/* ---- The heap ---- */

struct piece {       /* a direct block */
    uint64_t offset; /* in the heap */
    struct clip_hdf5_block block;
};

struct heap {
    uint64_t width, start, most; /* blocks per row; bytes of the smallest and largest direct one */
    size_t offset_bytes, length_bytes; /* of an id */
    size_t id_bytes;
    bool checked;         /* direct blocks have a checksum */
    struct piece *pieces; /* by offset */
    int64_t count, capacity;
};

static void heap_release(struct heap *heap)
{
    for (int64_t i = 0; i < heap->count; i++) clip_hdf5_block_release(&heap->pieces[i].block);
    free(heap->pieces);
    *heap = (struct heap){0};
}

static int log2_of(uint64_t x)
{
    int n = 0;
    while (x >>= 1) n++;
    return n;
}

static bool is_power(uint64_t x) { return x != 0 && (x & (x - 1)) == 0; }

/* "FHDB": version, the heap's header, this block's offset, a checksum if there are any, and then
 * objects. The checksum is that of the block with zeros in the checksum's place. */
static clip_status read_direct(struct clip_hdf5_inside *inside, struct heap *heap, uint64_t address,
                               uint64_t offset, uint64_t size)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = inside->error;
    CLIP_TRY(clip_array_grow(&heap->pieces, &heap->capacity, heap->count + 1, sizeof *heap->pieces,
                             error));
    struct piece *piece = &heap->pieces[heap->count];
    *piece = (struct piece){.offset = offset};
    CLIP_TRY(clip_hdf5_block_read(inside, address, size, NULL, &piece->block));
    heap->count++;
    struct clip_hdf5_block *block = &piece->block;
    bool ours = clip_hdf5_take(block, 4) == 0x42444846; /* "FHDB" */
    clip_hdf5_take(block, 9);
    uint64_t said = clip_hdf5_take(block, heap->offset_bytes);
    if (!ours || said != offset || block->past) CLIP_TRY(clip_hdf5_damaged(inside, what));
    if (heap->checked) CLIP_TRY(clip_hdf5_block_check(inside, block));
out:
    return status;
}

/* "FHIB": version, the heap's header, this block's offset, then the addresses of `rows` rows of
 * blocks, a checksum. Small rows hold direct blocks, the others indirect ones. */
static clip_status read_indirect(struct clip_hdf5_inside *inside, struct heap *heap,
                                 uint64_t address, uint64_t offset, int rows)
{
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    uint64_t bytes = 4 + 1 + 8 + heap->offset_bytes + (uint64_t)rows * heap->width * 8 + 4;
    CLIP_TRY(clip_hdf5_block_read(inside, address, bytes, "FHIB", &block));
    clip_hdf5_take(&block, 1 + 8);
    if (clip_hdf5_take(&block, heap->offset_bytes) != offset)
        CLIP_TRY(clip_hdf5_damaged(inside, what));
    uint64_t at = offset;
    for (int row = 0; row < rows; row++) {
        uint64_t size = heap->start << (row > 1 ? row - 1 : 0);
        for (uint64_t column = 0; column < heap->width; column++, at += size) {
            uint64_t child = clip_hdf5_take(&block, 8);
            if (child == CLIP_HDF5_NOWHERE) continue;
            if (size <= heap->most)
                CLIP_TRY(read_direct(inside, heap, child, at, size));
            else
                CLIP_TRY(read_indirect(inside, heap, child, at,
                                       log2_of(size) - log2_of(heap->start * heap->width) + 1));
        }
    }
out:
    clip_hdf5_block_release(&block);
    return status;
}

/* "FRHP", the heap's header. Objects that are too large for a block, and filtered blocks, are
 * never needed for links. */
static clip_status read_heap(struct clip_hdf5_inside *inside, struct heap *heap, uint64_t address)
{
    enum { BYTES = 146, MOST_BITS = 40 };
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    CLIP_TRY(clip_hdf5_block_read(inside, address, BYTES, "FRHP", &block));
    uint64_t version = clip_hdf5_take(&block, 1);
    heap->id_bytes = (size_t)clip_hdf5_take(&block, 2);
    uint64_t filters = clip_hdf5_take(&block, 2);
    heap->checked = (clip_hdf5_take(&block, 1) & 2) != 0;
    uint64_t longest = clip_hdf5_take(&block, 4);
    for (int i = 0; i < 12; i++) clip_hdf5_take(&block, 8); /* free space and statistics */
    heap->width = clip_hdf5_take(&block, 2);
    heap->start = clip_hdf5_take(&block, 8);
    heap->most = clip_hdf5_take(&block, 8);
    uint64_t bits = clip_hdf5_take(&block, 2);
    clip_hdf5_take(&block, 2);
    uint64_t root = clip_hdf5_take(&block, 8), rows = clip_hdf5_take(&block, 2);
    bool fine = version == 0 && filters == 0 && !block.past && bits > 0 && bits <= MOST_BITS &&
                is_power(heap->width) && heap->width <= 1024 && is_power(heap->start) &&
                is_power(heap->most) && heap->start <= heap->most && longest > 0 &&
                heap->most <= (uint64_t)1 << bits && (int)rows <= (int)bits;
    if (!fine) CLIP_TRY(clip_hdf5_damaged(inside, what));
    heap->offset_bytes = (size_t)(bits + 7) / 8;
    heap->length_bytes = (size_t)log2_of(longest < heap->most ? longest : heap->most) / 8 + 1;
    if (heap->id_bytes < 1 + heap->offset_bytes + heap->length_bytes || heap->id_bytes > 64)
        CLIP_TRY(clip_hdf5_damaged(inside, what));
    if (root != CLIP_HDF5_NOWHERE && rows == 0)
        CLIP_TRY(read_direct(inside, heap, root, 0, heap->start));
    else if (root != CLIP_HDF5_NOWHERE)
        CLIP_TRY(read_indirect(inside, heap, root, 0, (int)rows));
out:
    clip_hdf5_block_release(&block);
    return status;
}

/* The object that an id names: its kind (0: it lies in a block), offset and length. */
static clip_status take_link(struct clip_hdf5_inside *inside, const struct heap *heap,
                             struct clip_hdf5_block *id, struct clip_hdf5_links *links)
{
    bool inside_block = clip_hdf5_take(id, 1) == 0;
    uint64_t offset = clip_hdf5_take(id, heap->offset_bytes);
    uint64_t length = clip_hdf5_take(id, heap->length_bytes);
    int64_t low = 0, high = heap->count; /* the piece is the last one that begins at or before */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (heap->pieces[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    const struct piece *piece = heap->count > 0 ? &heap->pieces[low] : NULL;
    if (!inside_block || piece == NULL || offset < piece->offset ||
        offset - piece->offset > piece->block.size ||
        length > piece->block.size - (offset - piece->offset))
        return clip_hdf5_damaged(inside, what);
    struct clip_hdf5_block message = {piece->block.bytes + (offset - piece->offset), length, 0,
                                      false};
    return clip_hdf5_link_take(inside, &message, links);
}

/* ---- The tree ---- */

enum { TREE_DEPTH = 8, TREE_LINK_NAMES = 5, TREE_FRAME = 10 };

struct tree {
    uint64_t node, record;          /* bytes of a node and of a record in it */
    int depth;                      /* of the root; leaves are at 0 */
    uint64_t most[TREE_DEPTH + 1];  /* records in a node of this depth */
    uint64_t below[TREE_DEPTH + 1]; /* records in it and in all nodes below */
};

/* Bytes that any number up to `most` fits in. */
static size_t bytes_for(uint64_t most) { return (size_t)log2_of(most) / 8 + 1; }

/* Bytes of a pointer to a node of `depth`: its address, its records, and those below it. */
static uint64_t pointer_bytes(const struct tree *tree, int depth)
{
    return 8 + bytes_for(tree->most[0]) + (depth > 0 ? bytes_for(tree->below[depth]) : 0);
}

/* How many records nodes hold, by their size. */
static bool measure_tree(struct tree *tree)
{
    if (tree->node < TREE_FRAME + tree->record || tree->record == 0) return false;
    tree->most[0] = tree->below[0] = (tree->node - TREE_FRAME) / tree->record;
    for (int d = 1; d <= tree->depth; d++) {
        uint64_t pointer = pointer_bytes(tree, d - 1);
        if (tree->node < TREE_FRAME + pointer) return false;
        tree->most[d] = (tree->node - TREE_FRAME - pointer) / (tree->record + pointer);
        if (tree->most[d] == 0 || tree->below[d - 1] > UINT64_MAX / (tree->most[d] + 2))
            return false;
        tree->below[d] = (tree->most[d] + 1) * tree->below[d - 1] + tree->most[d];
    }
    return true;
}

/* A record: the hash of a name, the id of its link message. */
static clip_status take_record(struct clip_hdf5_inside *inside, const struct tree *tree,
                               const struct heap *heap, struct clip_hdf5_block *block,
                               struct clip_hdf5_links *links)
{
    struct clip_hdf5_block id = {block->bytes + block->at, (size_t)tree->record, 4, false};
    if (clip_hdf5_take_bytes(block, (size_t)tree->record) == NULL)
        return clip_hdf5_damaged(inside, what);
    return take_link(inside, heap, &id, links);
}

/* "BTLF" or "BTIN": version, type, the records, in an inner node pointers to the nodes between
 * them; a checksum right behind. */
static clip_status read_node(struct clip_hdf5_inside *inside, const struct tree *tree,
                             const struct heap *heap, uint64_t address, uint64_t records, int depth,
                             struct clip_hdf5_links *links)
{
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    if (records > tree->most[depth]) return clip_hdf5_damaged(inside, what);
    uint64_t bytes = TREE_FRAME + records * tree->record +
                     (depth > 0 ? (records + 1) * pointer_bytes(tree, depth - 1) : 0);
    CLIP_TRY(clip_hdf5_block_read(inside, address, bytes, depth > 0 ? "BTIN" : "BTLF", &block));
    if (clip_hdf5_take(&block, 2) != TREE_LINK_NAMES << 8)
        CLIP_TRY(clip_hdf5_damaged(inside, what));
    for (uint64_t i = 0; i < records; i++) CLIP_TRY(take_record(inside, tree, heap, &block, links));
    for (uint64_t i = 0; depth > 0 && i <= records; i++) {
        uint64_t child = clip_hdf5_take(&block, 8);
        uint64_t n = clip_hdf5_take(&block, bytes_for(tree->most[0]));
        if (depth > 1) clip_hdf5_take(&block, bytes_for(tree->below[depth - 1]));
        CLIP_TRY(read_node(inside, tree, heap, child, n, depth - 1, links));
    }
out:
    clip_hdf5_block_release(&block);
    return status;
}

/* "BTHD": version, type, sizes of nodes and records, depth, two percentages, the root's address,
 * its records, all records. */
static clip_status read_tree(struct clip_hdf5_inside *inside, const struct heap *heap,
                             uint64_t address, struct clip_hdf5_links *links)
{
    enum { BYTES = 38 };
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    struct tree tree = {0};
    CLIP_TRY(clip_hdf5_block_read(inside, address, BYTES, "BTHD", &block));
    bool ours = clip_hdf5_take(&block, 2) == TREE_LINK_NAMES << 8;
    tree.node = clip_hdf5_take(&block, 4);
    tree.record = clip_hdf5_take(&block, 2);
    uint64_t depth = clip_hdf5_take(&block, 2);
    clip_hdf5_take(&block, 2);
    uint64_t root = clip_hdf5_take(&block, 8), records = clip_hdf5_take(&block, 2);
    uint64_t all = clip_hdf5_take(&block, 8);
    tree.depth = (int)depth;
    if (!ours || depth > TREE_DEPTH || tree.record != 4 + heap->id_bytes || !measure_tree(&tree))
        CLIP_TRY(clip_hdf5_damaged(inside, what));
    int64_t before = links->count;
    if (root != CLIP_HDF5_NOWHERE)
        CLIP_TRY(read_node(inside, &tree, heap, root, records, tree.depth, links));
    if ((uint64_t)(links->count - before) != all) CLIP_TRY(clip_hdf5_damaged(inside, what));
out:
    clip_hdf5_block_release(&block);
    return status;
}

clip_status clip_hdf5_group_links(struct clip_hdf5_inside *inside,
                                  const struct clip_hdf5_object *group,
                                  struct clip_hdf5_links *links)
{
    struct heap heap = {0};
    clip_status status = CLIP_OK;
    if (group->heap == CLIP_HDF5_NOWHERE) return CLIP_OK;
    CLIP_TRY(read_heap(inside, &heap, group->heap));
    CLIP_TRY(read_tree(inside, &heap, group->tree, links));
out:
    heap_release(&heap);
    return status;
}
