/* What a native file looks like inside: the few forms of HDF5 that hdf5_write.c makes libhdf5 use.
 * They are read without libhdf5, because libhdf5 trusts what it reads and crashes on some damaged
 * files. Whatever else HDF5 knows is refused.
 *
 * Source: HDF5 File Format Specification, version 3.0. Sections are named where a structure is
 * read. Every structure has a checksum of its own, which is compared, and its sizes and addresses
 * are compared with the file before they are used. All functions fail with CLIP_ERR_FORMAT and a
 * sentence if the file does not hold what it should, with CLIP_ERR_IO if it cannot be read, and
 * with CLIP_ERR_MEMORY. */
#ifndef CLIP_CHECKPOINTS_HDF5_INSIDE_H
#define CLIP_CHECKPOINTS_HDF5_INSIDE_H

#include "autograd/tensor.h"
#include "core/memory.h"
#include "core/status.h"

#define CLIP_HDF5_NOWHERE UINT64_MAX /* the address of what the file does not hold */
#define CLIP_HDF5_RANK 32            /* most dimensions of a dataset in HDF5 */

/* An open file. Structures are read once in an honest file, and names are copied once, so `budget`,
 * the bytes of both that may still be read, ends every walk in circles. */
struct clip_hdf5_inside {
    int fd;
    int64_t size; /* bytes of the file */
    int64_t base; /* addresses count from here */
    int64_t budget;
    const char *path; /* for sentences */
    struct clip_error *error;
};

/* ---- Blocks: hdf5_inside.c ---- */

/* A piece of the file in memory, and the place up to which it has been taken apart. */
struct clip_hdf5_block {
    unsigned char *bytes;
    size_t size, at;
    bool past; /* more was taken than there is */
};
void clip_hdf5_block_release(struct clip_hdf5_block *block);

/* Reads `size` bytes at an address. With a `signature`, four letters or "", they begin with it and
 * end with their checksum, and the block then stands between the two. With NULL it is all of
 * them. */
clip_status clip_hdf5_block_read(struct clip_hdf5_inside *inside, uint64_t address, uint64_t size,
                                 const char *signature, struct clip_hdf5_block *block);
/* For a block that was read without a signature and has its checksum in the middle: the next four
 * bytes are the checksum of the block with zeros in their place. */
clip_status clip_hdf5_block_check(struct clip_hdf5_inside *inside, struct clip_hdf5_block *block);
/* The next n <= 8 bytes, the least significant first; 0 behind the end. */
uint64_t clip_hdf5_take(struct clip_hdf5_block *block, size_t n);
/* The next n bytes where they are, NULL if there are not as many. */
const unsigned char *clip_hdf5_take_bytes(struct clip_hdf5_block *block, size_t n);

/* Reads n bytes at an address into `out`; they do not count as structure. */
clip_status clip_hdf5_pread(struct clip_hdf5_inside *inside, uint64_t address, void *out,
                            uint64_t n);
/* Fails with "PATH: WHAT is damaged; ...". */
clip_status clip_hdf5_damaged(struct clip_hdf5_inside *inside, const char *what);

/* The checksum of HDF5's structures: Bob Jenkins' hash "lookup3" of n bytes. */
uint32_t clip_hdf5_sum(const unsigned char *p, size_t n);

/* ---- Objects: hdf5_object.c ---- */

struct clip_hdf5_link {
    char *name; /* without a '/' */
    uint64_t address;
};
struct clip_hdf5_links { /* start from {0} */
    struct clip_hdf5_link *links;
    int64_t count, capacity;
};
void clip_hdf5_links_release(struct clip_hdf5_links *links);

enum clip_hdf5_kind { CLIP_HDF5_GROUP, CLIP_HDF5_DATASET, CLIP_HDF5_OTHER };
enum clip_hdf5_type { CLIP_HDF5_OTHER_TYPE, CLIP_HDF5_NUMBERS, CLIP_HDF5_TEXT };
/* Where a dataset's elements are: among its messages, elsewhere in one piece, in one chunk, or in
 * chunks that an array lists. */
enum clip_hdf5_index {
    CLIP_HDF5_IN_HEADER,
    CLIP_HDF5_IN_ONE_PIECE,
    CLIP_HDF5_ONE_CHUNK,
    CLIP_HDF5_CHUNK_ARRAY,
};

struct clip_hdf5_object {
    enum clip_hdf5_kind kind;
    /* a group's */
    struct clip_hdf5_links links; /* those that are in its header */
    uint64_t heap, tree;          /* where the others are; or CLIP_HDF5_NOWHERE */
    /* a dataset's */
    bool null_space; /* it has no elements and no shape */
    int ndim;
    uint64_t shape[CLIP_HDF5_RANK];
    enum clip_hdf5_type type;
    enum clip_dtype dtype; /* of numbers */
    uint64_t element;      /* bytes: of a number, or of a text that is padded with NULs */
    bool foreign_layout;   /* it is stored in a way that hdf5_write.c never chooses */
    bool checked;          /* behind each chunk stands its fletcher32 */
    enum clip_hdf5_index index;
    uint64_t address; /* of the elements, of the only chunk, or of the array of chunks */
    uint64_t bytes;   /* in the header or in one piece */
    uint64_t chunk[CLIP_HDF5_RANK];
};
void clip_hdf5_object_release(struct clip_hdf5_object *object);

/* Finds the root group: reads the superblock (II.A), at `inside->base`. */
clip_status clip_hdf5_root(struct clip_hdf5_inside *inside, uint64_t *address);
/* Reads an object's header (IV.A.1.b). The caller must release the object, also after a failure. */
clip_status clip_hdf5_object_read(struct clip_hdf5_inside *inside, uint64_t address,
                                  struct clip_hdf5_object *object);
/* Takes a link message (IV.A.2.g) apart and adds it to `links`. */
clip_status clip_hdf5_link_take(struct clip_hdf5_inside *inside, struct clip_hdf5_block *message,
                                struct clip_hdf5_links *links);

/* Adds to `links` those of a group that are not in its header: hdf5_group.c. */
clip_status clip_hdf5_group_links(struct clip_hdf5_inside *inside,
                                  const struct clip_hdf5_object *group,
                                  struct clip_hdf5_links *links);

/* Reads all elements of a dataset into `out`, `bytes` of them: hdf5_data.c. `bytes` is the product
 * of shape and element, which the caller has compared with the file's size. */
clip_status clip_hdf5_data_read(struct clip_hdf5_inside *inside,
                                const struct clip_hdf5_object *dataset, int64_t bytes, void *out);

#endif
