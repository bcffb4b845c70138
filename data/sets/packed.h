/* A packed data set: images, captions and their index in one HDF5 file, FILE.h5.
 *
 * Any program that knows HDF5 can read it (docs/data.md has the layout). This program reads it
 * without libhdf5: the first block, which HDF5 calls the user block, says where each table is and
 * what its checksum is, and the table of images says where in the file each image begins. So
 * opening trusts nothing that no checksum covers, and any number of threads can read images at
 * once.
 *
 * An image is either the bytes of its file or, in a set packed with an image size, its pixels,
 * which need no decoding. */
#ifndef CLIP_DATA_SETS_PACKED_H
#define CLIP_DATA_SETS_PACKED_H

#include "data/image/image.h"
#include "data/sets/dataset.h"

struct clip_pack_options {
    /* > 0: pixels are stored; an image whose short side is longer is scaled to this one by bicubic,
     * and nothing is cut off. 0: the files' bytes are stored */
    int64_t image_size;
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    bool images_only;                /* captions are not stored */
    bool quiet;                      /* no progress is shown, and bad samples are not named */
};

struct clip_pack_counts {
    int64_t samples, images; /* how many are stored */
    int64_t bad;             /* samples left out */
    int64_t bytes;           /* bytes of the file */
};

/* Packs the data set. The file is replaced atomically, and its bytes depend only on the data. Bad
 * samples are named on stderr and left out; if none is left, that is CLIP_ERR_DATA. */
clip_status clip_pack_write(const char *path, const struct clip_dataset *dataset,
                            const struct clip_pack_options *options, struct clip_pack_counts *out,
                            struct clip_error *error);

/* The first block, and what it says of the file's tables; for pack.c and dataset_packed.c. The
 * names of the datasets are in packed_head.c: P images, N samples, C classes, T templates. */
enum clip_packed_table {
    CLIP_PACKED_POSITION, /* i64 [P] where the image's first byte is in the file */
    CLIP_PACKED_SIZE,     /* i64 [P] its bytes */
    CLIP_PACKED_CRC,      /* i64 [P] their CRC-32 */
    CLIP_PACKED_NAME_ENDS,
    CLIP_PACKED_NAMES, /* i64 [P] where each name ends, NUL included; and u8, the names */
    CLIP_PACKED_IMAGE, /* i64 [N] the sample's image */
    CLIP_PACKED_GROUP, /* i64 [N] the sample's group; in a class set, its class */
    CLIP_PACKED_CAPTION_ENDS,
    CLIP_PACKED_CAPTIONS, /* i64 [N] and u8, as for names, without NULs; not in a class set */
    CLIP_PACKED_NEGATIVE_ENDS,
    CLIP_PACKED_NEGATIVES, /* the same; only if there are hard negatives */
    CLIP_PACKED_CLASS_ENDS,
    CLIP_PACKED_CLASSES, /* i64 [C] and u8, with NULs; in a class set */
    CLIP_PACKED_TEMPLATE_ENDS,
    CLIP_PACKED_TEMPLATES, /* i64 [T] and u8, with NULs */
    CLIP_PACKED_TABLES
};
extern const char *const clip_packed_names[CLIP_PACKED_TABLES]; /* names of the datasets */
bool clip_packed_is_bytes(enum clip_packed_table table);        /* true: u8; false: i64 */

struct clip_packed_head {
    int64_t bytes;      /* bytes of the whole file */
    int64_t image_size; /* as packed */
    struct clip_packed_place {
        /* where the elements begin, and how many they are; both 0: there is no such table */
        int64_t position, count;
        uint32_t crc;
    } tables[CLIP_PACKED_TABLES];
};
#define CLIP_PACKED_BLOCK 4096
void clip_packed_head_write(char block[CLIP_PACKED_BLOCK], const struct clip_packed_head *head);
/* Reads the first block. The error names the file `name`: it is not ours, of another version,
 * damaged, or of another size. */
clip_status clip_packed_head_read(struct clip_packed_head *out, const char block[CLIP_PACKED_BLOCK],
                                  size_t n, int64_t file_size, const char *name,
                                  struct clip_error *error);

#endif
