/* A packed data set: images, captions and their index in one HDF5 file, FILE.h5.
 *
 * Any program that knows HDF5 can read it (docs/data.md has the layout). We read it without
 * libhdf5: the first block, which HDF5 calls the user block, says where each table lies and what
 * its checksum is, and the table of images says where in the file each begins. So opening trusts
 * nothing that a checksum has not covered, and any number of threads read images at once.
 *
 * An image is the bytes of its file as they were or, packed with an image size, pixels: nothing is
 * decoded any more. */
#ifndef CLIP_DATA_SETS_PACKED_H
#define CLIP_DATA_SETS_PACKED_H

#include "data/image/image.h"
#include "data/sets/dataset.h"

struct clip_pack_options {
    int64_t image_size; /* > 0: pixels are stored, of images whose short side is longer scaled to
                         * this one by bicubic, nothing cut off; 0: the files' bytes */
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    bool images_only;                /* captions are not stored */
    bool quiet;                      /* no progress, and bad samples are not named */
};

struct clip_pack_counts {
    int64_t samples, images; /* stored */
    int64_t bad;             /* samples left out */
    int64_t bytes;           /* of the file */
};

/* Packs the data set; the file is replaced atomically, and its bytes depend on the data alone. Bad
 * samples are named on stderr and left out; none left is CLIP_ERR_DATA. */
clip_status clip_pack_write(const char *path, const struct clip_dataset *dataset,
                            const struct clip_pack_options *options, struct clip_pack_counts *out,
                            struct clip_error *error);

/* The first block and what it says of the file's tables; for pack.c and dataset_packed.c. */
enum clip_packed_table {
    CLIP_PACKED_POSITION, /* images/position i64 [P] of its first byte in the file */
    CLIP_PACKED_SIZE,     /* images/size i64 [P] bytes */
    CLIP_PACKED_CRC,      /* images/crc32 i64 [P] */
    CLIP_PACKED_NAME_ENDS,
    CLIP_PACKED_NAMES, /* i64 [P] where each ends, NUL included; u8 */
    CLIP_PACKED_IMAGE, /* samples/image i64 [N] */
    CLIP_PACKED_GROUP, /* samples/group i64 [N]; a class set: the class */
    CLIP_PACKED_CAPTION_ENDS,
    CLIP_PACKED_CAPTIONS, /* i64 [N], u8; absent in a class set */
    CLIP_PACKED_NEGATIVE_ENDS,
    CLIP_PACKED_NEGATIVES, /* i64 [N], u8; absent where there are none */
    CLIP_PACKED_CLASS_ENDS,
    CLIP_PACKED_CLASSES, /* i64 [C], u8 with NULs; a class set's */
    CLIP_PACKED_TEMPLATE_ENDS,
    CLIP_PACKED_TEMPLATES, /* i64 [T], u8 with NULs */
    CLIP_PACKED_TABLES
};
extern const char *const clip_packed_names[CLIP_PACKED_TABLES]; /* of the datasets */
bool clip_packed_is_bytes(enum clip_packed_table table);        /* u8; else i64 */

struct clip_packed_head {
    int64_t bytes;      /* of the whole file */
    int64_t image_size; /* as packed */
    struct clip_packed_place {
        int64_t position, count; /* elements, where they begin; both 0: absent */
        uint32_t crc;
    } tables[CLIP_PACKED_TABLES];
};
#define CLIP_PACKED_BLOCK 4096
void clip_packed_head_write(char block[CLIP_PACKED_BLOCK], const struct clip_packed_head *head);
/* `name` stands in the sentence: not ours, of another version, damaged, or of another size. */
clip_status clip_packed_head_read(struct clip_packed_head *out, const char block[CLIP_PACKED_BLOCK],
                                  size_t n, int64_t file_size, const char *name,
                                  struct clip_error *error);

#endif
