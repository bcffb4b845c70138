/* The header of an object in an HDF5 file: a group with its links, or a dataset with its shape,
 * type and place (hdf5_inside.h). */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/hdf5_inside.h"

#define MAX_CONTINUED 64 /* headers that go on in another place, one in the other */

static const char what[] = "its list of tensors";

void clip_hdf5_links_release(struct clip_hdf5_links *links)
{
    for (int64_t i = 0; i < links->count; i++) free(links->links[i].name);
    free(links->links);
    *links = (struct clip_hdf5_links){0};
}

void clip_hdf5_object_release(struct clip_hdf5_object *object)
{
    clip_hdf5_links_release(&object->links);
}

/* II.A, superblock of version 2 or 3: signature, version, sizes of addresses and lengths, flags,
 * then the addresses of the base, of an extension, of the end and of the root group, and a
 * checksum. */
clip_status clip_hdf5_root(struct clip_hdf5_inside *inside, uint64_t *address)
{
    enum { BYTES = 48 };
    clip_status status = CLIP_OK;
    struct clip_hdf5_block block = {0};
    CLIP_TRY(clip_hdf5_block_read(inside, 0, BYTES, "\211HDF", &block));
    bool ours = clip_hdf5_take(&block, 4) == 0x0a1a0a0d; /* "\r\n\032\n" */
    uint64_t version = clip_hdf5_take(&block, 1), sizes = clip_hdf5_take(&block, 2);
    clip_hdf5_take(&block, 1);
    uint64_t base = clip_hdf5_take(&block, 8);
    clip_hdf5_take(&block, 16);
    *address = clip_hdf5_take(&block, 8);
    if (!ours || (version != 2 && version != 3) || sizes != 0x0808 ||
        base != (uint64_t)inside->base)
        CLIP_TRY(clip_hdf5_damaged(inside, "the start of its HDF5 part"));
out:
    clip_hdf5_block_release(&block);
    return status;
}

/* ---- Messages of a header: IV.A.2 ---- */

/* Not empty, not ".", without a '/' and without control characters. */
static bool name_is_plain(const unsigned char *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x20 || name[i] == 0x7f || name[i] == '/') return false;
    return length > 1 || (length == 1 && name[0] != '.');
}

clip_status clip_hdf5_link_take(struct clip_hdf5_inside *inside, struct clip_hdf5_block *message,
                                struct clip_hdf5_links *links)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = inside->error;
    uint64_t version = clip_hdf5_take(message, 1), flags = clip_hdf5_take(message, 1);
    uint64_t kind = flags & 8 ? clip_hdf5_take(message, 1) : 0;
    if (flags & 4) clip_hdf5_take(message, 8);  /* the order of creation */
    if (flags & 16) clip_hdf5_take(message, 1); /* the character set */
    uint64_t length = clip_hdf5_take(message, (size_t)1 << (flags & 3));
    const unsigned char *name =
        length <= message->size ? clip_hdf5_take_bytes(message, (size_t)length) : NULL;
    if (version != 1 || name == NULL || !name_is_plain(name, (size_t)length))
        return clip_hdf5_damaged(inside, what);
    if (kind != 0) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: \"%.*s\" is a link to another place; a checkpoint holds its data "
                         "itself",
                         inside->path, length < 200 ? (int)length : 200, (const char *)name);
    }
    uint64_t address = clip_hdf5_take(message, 8);
    if (message->past || length > (uint64_t)inside->budget) return clip_hdf5_damaged(inside, what);
    inside->budget -= (int64_t)length;
    CLIP_TRY(clip_array_grow(&links->links, &links->capacity, links->count + 1,
                             sizeof *links->links, error));
    struct clip_hdf5_link *link = &links->links[links->count];
    link->name = clip_string_copy_n((const char *)name, (size_t)length, error);
    if (link->name == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    link->address = address;
    links->count++;
out:
    return status;
}

/* IV.A.2.c: flags, the greatest order of creation if it is kept, the heap and the tree. */
static void take_link_info(struct clip_hdf5_block *message, struct clip_hdf5_object *object)
{
    clip_hdf5_take(message, 1);
    if (clip_hdf5_take(message, 1) & 1) clip_hdf5_take(message, 8);
    object->heap = clip_hdf5_take(message, 8);
    object->tree = clip_hdf5_take(message, 8);
    object->kind = CLIP_HDF5_GROUP;
}

/* IV.A.2.b, version 2: rank, flags, kind (scalar, simple, null), sizes. */
static void take_dataspace(struct clip_hdf5_block *message, struct clip_hdf5_object *object)
{
    uint64_t version = clip_hdf5_take(message, 1), rank = clip_hdf5_take(message, 1);
    clip_hdf5_take(message, 1);
    object->null_space = clip_hdf5_take(message, 1) == 2;
    if (version != 2 || rank > CLIP_HDF5_RANK) {
        message->past = true;
        return;
    }
    object->ndim = (int)rank;
    for (int i = 0; i < object->ndim; i++) object->shape[i] = clip_hdf5_take(message, 8);
}

/* IV.A.2.d: class and version, 24 bits of the class, bytes, properties of the class. Numbers have
 * to be one of ours in every bit; a text has to be padded with NULs or end with one. */
static void take_datatype(struct clip_hdf5_block *message, struct clip_hdf5_object *object)
{
    enum { FIXED = 0, FLOATING = 1, STRING = 3 };
    static const struct {
        enum clip_dtype dtype;
        uint64_t kind, bits, bytes;
        unsigned char properties[12];
        size_t n;
    } numbers[] = {
        {CLIP_F32, FLOATING, 0x1f20, 4, {0, 0, 32, 0, 23, 8, 0, 23, 127}, 12},
        {CLIP_F16, FLOATING, 0x0f20, 2, {0, 0, 16, 0, 10, 5, 0, 10, 15}, 12},
        {CLIP_BF16, FLOATING, 0x0f20, 2, {0, 0, 16, 0, 7, 8, 0, 7, 127}, 12},
        {CLIP_I32, FIXED, 0x08, 4, {0, 0, 32}, 4},
        {CLIP_I64, FIXED, 0x08, 8, {0, 0, 64}, 4},
        {CLIP_U8, FIXED, 0x00, 1, {0, 0, 8}, 4},
    };
    uint64_t kind = clip_hdf5_take(message, 1) & 15, bits = clip_hdf5_take(message, 3);
    object->element = clip_hdf5_take(message, 4);
    object->type = CLIP_HDF5_OTHER_TYPE;
    if (kind == STRING && (bits & 15) <= 1) object->type = CLIP_HDF5_TEXT;
    if (kind == 9) object->element = 0, object->type = CLIP_HDF5_TEXT; /* of any length */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (kind != numbers[i].kind || bits != numbers[i].bits ||
            object->element != numbers[i].bytes || message->size - message->at < numbers[i].n ||
            memcmp(message->bytes + message->at, numbers[i].properties, numbers[i].n) != 0)
            continue;
        object->type = CLIP_HDF5_NUMBERS;
        object->dtype = numbers[i].dtype;
    }
}

/* IV.A.2.i, version 4, chunked: flags, rank + 1 sizes of a chunk (the last is the element's), and
 * by what the chunks are found. */
static void take_chunks(struct clip_hdf5_block *message, struct clip_hdf5_object *object)
{
    enum { ONE_CHUNK = 1, FIXED_ARRAY = 3, FILTERED = 2 };
    uint64_t flags = clip_hdf5_take(message, 1), rank = clip_hdf5_take(message, 1);
    uint64_t width = clip_hdf5_take(message, 1);
    if (rank < 2 || rank - 1 > CLIP_HDF5_RANK || width < 1 || width > 8) {
        message->past = true;
        return;
    }
    for (uint64_t i = 0; i < rank; i++) {
        uint64_t n = clip_hdf5_take(message, (size_t)width);
        if (i < rank - 1) object->chunk[i] = n;
    }
    uint64_t index = clip_hdf5_take(message, 1);
    if (index == ONE_CHUNK) {
        object->index = CLIP_HDF5_ONE_CHUNK;
        if (flags & FILTERED) clip_hdf5_take(message, 12); /* its bytes, filters left out */
    } else if (index == FIXED_ARRAY) {
        object->index = CLIP_HDF5_CHUNK_ARRAY;
        clip_hdf5_take(message, 1); /* bits of a page, which the array says too */
    } else {
        object->foreign_layout = true;
        return;
    }
    object->address = clip_hdf5_take(message, 8);
    if (rank - 1 != (uint64_t)object->ndim) object->foreign_layout = true;
}

/* IV.A.2.i: version, class. `at` is where the message's bytes are in the file. */
static void take_layout(struct clip_hdf5_block *message, uint64_t at,
                        struct clip_hdf5_object *object)
{
    enum { COMPACT, CONTIGUOUS, CHUNKED };
    uint64_t version = clip_hdf5_take(message, 1), kind = clip_hdf5_take(message, 1);
    object->kind = CLIP_HDF5_DATASET;
    object->index = CLIP_HDF5_IN_ONE_PIECE;
    if (version != 3 && version != 4) {
        object->foreign_layout = true;
    } else if (kind == COMPACT) {
        object->index = CLIP_HDF5_IN_HEADER;
        object->bytes = clip_hdf5_take(message, 2);
        object->address = at + message->at;
    } else if (kind == CONTIGUOUS) {
        object->address = clip_hdf5_take(message, 8);
        object->bytes = clip_hdf5_take(message, 8);
    } else if (kind == CHUNKED && version == 4) {
        take_chunks(message, object);
    } else {
        object->foreign_layout = true;
    }
}

/* IV.A.2.l, version 2: how many filters, then each one's number, flags and values. */
static void take_filters(struct clip_hdf5_block *message, struct clip_hdf5_object *object)
{
    enum { FLETCHER32 = 3 };
    uint64_t version = clip_hdf5_take(message, 1), n = clip_hdf5_take(message, 1);
    object->checked = version == 2 && n == 1 && clip_hdf5_take(message, 2) == FLETCHER32;
    if (!object->checked && n > 0) object->foreign_layout = true;
}

/* ---- Headers: IV.A.1.b ---- */

struct header {
    uint64_t flags, dataspaces;
    int continued;
    struct clip_hdf5_object *object;
};

static clip_status take_messages(struct clip_hdf5_inside *inside, struct header *header,
                                 struct clip_hdf5_block *block, uint64_t at);

/* IV.A.2.q: the header goes on at an address. */
static clip_status take_continuation(struct clip_hdf5_inside *inside, struct header *header,
                                     struct clip_hdf5_block *message)
{
    struct clip_hdf5_block block = {0};
    uint64_t address = clip_hdf5_take(message, 8), size = clip_hdf5_take(message, 8);
    if (message->past || header->continued++ >= MAX_CONTINUED)
        return clip_hdf5_damaged(inside, what);
    clip_status status = clip_hdf5_block_read(inside, address, size, "OCHK", &block);
    if (status == CLIP_OK) status = take_messages(inside, header, &block, address);
    clip_hdf5_block_release(&block);
    return status;
}

/* One message; `at` is where its bytes are in the file. */
static clip_status take_message(struct clip_hdf5_inside *inside, struct header *header,
                                uint64_t type, struct clip_hdf5_block *message, uint64_t at)
{
    enum {
        NIL = 0,
        DATASPACE = 1,
        LINK_INFO = 2,
        DATATYPE = 3,
        OLD_FILL = 4,
        FILL = 5,
        LINK = 6,
        EXTERNAL = 7,
        LAYOUT = 8,
        GROUP_INFO = 10,
        FILTERS = 11,
        ATTRIBUTE = 12,
        COMMENT = 13,
        CONTINUATION = 16,
        MODIFIED = 18,
        ATTRIBUTE_INFO = 21,
        REFERENCES = 22,
    };
    struct clip_hdf5_object *object = header->object;
    switch (type) {
    case LINK_INFO: take_link_info(message, object); break;
    case LINK:
        object->kind = CLIP_HDF5_GROUP;
        return clip_hdf5_link_take(inside, message, &object->links);
    case DATASPACE: take_dataspace(message, object); break;
    case DATATYPE: take_datatype(message, object); break;
    case LAYOUT: take_layout(message, at, object); break;
    case FILTERS: take_filters(message, object); break;
    case EXTERNAL: object->foreign_layout = true; break;
    case CONTINUATION: return take_continuation(inside, header, message);
    case NIL:
    case OLD_FILL:
    case FILL:
    case GROUP_INFO:
    case ATTRIBUTE:
    case COMMENT:
    case MODIFIED:
    case ATTRIBUTE_INFO:
    case REFERENCES: break;
    default: return clip_hdf5_damaged(inside, what);
    }
    return message->past ? clip_hdf5_damaged(inside, what) : CLIP_OK;
}

static clip_status take_messages(struct clip_hdf5_inside *inside, struct header *header,
                                 struct clip_hdf5_block *block, uint64_t at)
{
    enum { SHARED = 2 };
    clip_status status = CLIP_OK;
    size_t head = header->flags & 4 ? 6 : 4;
    while (status == CLIP_OK && block->size - block->at >= head) {
        uint64_t type = clip_hdf5_take(block, 1), size = clip_hdf5_take(block, 2);
        uint64_t flags = clip_hdf5_take(block, 1);
        if (head > 4) clip_hdf5_take(block, head - 4);
        struct clip_hdf5_block message = {block->bytes + block->at, (size_t)size, 0, false};
        if (clip_hdf5_take_bytes(block, (size_t)size) == NULL || ((flags & SHARED) && type != 0))
            return clip_hdf5_damaged(inside, what);
        status = take_message(inside, header, type, &message,
                              at + (uint64_t)(message.bytes - block->bytes));
    }
    return status;
}

clip_status clip_hdf5_object_read(struct clip_hdf5_inside *inside, uint64_t address,
                                  struct clip_hdf5_object *object)
{
    clip_status status = CLIP_OK;
    struct clip_hdf5_block prefix = {0}, block = {0};
    struct header header = {.object = object};
    *object = (struct clip_hdf5_object){
        .kind = CLIP_HDF5_OTHER, .heap = CLIP_HDF5_NOWHERE, .tree = CLIP_HDF5_NOWHERE};
    CLIP_TRY(clip_hdf5_block_read(inside, address, 6, NULL, &prefix));
    bool ours = clip_hdf5_take(&prefix, 4) == 0x5244484f; /* "OHDR" */
    uint64_t version = clip_hdf5_take(&prefix, 1);
    header.flags = clip_hdf5_take(&prefix, 1);
    if (!ours || version != 2) CLIP_TRY(clip_hdf5_damaged(inside, what));
    uint64_t skip = 6 + (header.flags & 32 ? 16 : 0) + (header.flags & 16 ? 4 : 0);
    size_t width = (size_t)1 << (header.flags & 3);
    CLIP_TRY(clip_hdf5_block_read(inside, address + skip, width, NULL, &prefix));
    uint64_t size = clip_hdf5_take(&prefix, width);
    if (size > (uint64_t)inside->size) CLIP_TRY(clip_hdf5_damaged(inside, what));
    CLIP_TRY(clip_hdf5_block_read(inside, address, skip + width + size + 4, "OHDR", &block));
    block.at = skip + width;
    CLIP_TRY(take_messages(inside, &header, &block, address));
out:
    clip_hdf5_block_release(&prefix);
    clip_hdf5_block_release(&block);
    return status;
}
