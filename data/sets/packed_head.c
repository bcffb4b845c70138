/* A packed file's first block: lines of text, of which the last has the checksum of the others,
 * then zeros up to 4096 bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "core/count.h"
#include "data/sets/packed.h"

#define MAGIC "clip.c packed data "
#define VERSION 1

const char *const clip_packed_names[CLIP_PACKED_TABLES] = {
    [CLIP_PACKED_POSITION] = "pictures/position",
    [CLIP_PACKED_SIZE] = "pictures/size",
    [CLIP_PACKED_CRC] = "pictures/crc32",
    [CLIP_PACKED_NAME_ENDS] = "pictures/name_ends",
    [CLIP_PACKED_NAMES] = "pictures/names",
    [CLIP_PACKED_IMAGE] = "samples/picture",
    [CLIP_PACKED_GROUP] = "samples/group",
    [CLIP_PACKED_CAPTION_ENDS] = "samples/caption_ends",
    [CLIP_PACKED_CAPTIONS] = "samples/captions",
    [CLIP_PACKED_NEGATIVE_ENDS] = "samples/negative_ends",
    [CLIP_PACKED_NEGATIVES] = "samples/negatives",
    [CLIP_PACKED_CLASS_ENDS] = "classes/name_ends",
    [CLIP_PACKED_CLASSES] = "classes/names",
    [CLIP_PACKED_TEMPLATE_ENDS] = "classes/template_ends",
    [CLIP_PACKED_TEMPLATES] = "classes/templates",
};

bool clip_packed_is_bytes(enum clip_packed_table table)
{
    return table == CLIP_PACKED_NAMES || table == CLIP_PACKED_CAPTIONS ||
           table == CLIP_PACKED_NEGATIVES || table == CLIP_PACKED_CLASSES ||
           table == CLIP_PACKED_TEMPLATES;
}

static uint32_t checksum(const char *text, size_t n)
{
    return (uint32_t)crc32(0, (const Bytef *)text, (uInt)n);
}

void clip_packed_head_write(char block[CLIP_PACKED_BLOCK], const struct clip_packed_head *head)
{
    int n;
    memset(block, 0, CLIP_PACKED_BLOCK);
    n = snprintf(block, CLIP_PACKED_BLOCK, MAGIC "%d\nbytes %lld\nimage_size %lld\n", VERSION,
                 (long long)head->bytes, (long long)head->image_size);
    for (int i = 0; i < CLIP_PACKED_TABLES; i++)
        n += snprintf(block + n, (size_t)(CLIP_PACKED_BLOCK - n), "%s %lld %lld %08x\n",
                      clip_packed_names[i], (long long)head->tables[i].position,
                      (long long)head->tables[i].count, (unsigned)head->tables[i].crc);
    snprintf(block + n, (size_t)(CLIP_PACKED_BLOCK - n), "crc32 %08x\n",
             (unsigned)checksum(block, (size_t)n));
}

static clip_status fail_damaged(const char *name, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: the packed set's first block is damaged; use another copy or pack again",
                     name);
}

/* Does a table lie behind the first block and before the end of the file? */
static bool place_is_possible(const struct clip_packed_head *head, enum clip_packed_table table)
{
    const struct clip_packed_place *place = &head->tables[table];
    int64_t size = clip_packed_is_bytes(table) ? 1 : (int64_t)sizeof(int64_t);
    if (place->count == 0) return true;
    return place->count > 0 && place->position >= CLIP_PACKED_BLOCK &&
           place->position <= head->bytes && place->count <= (head->bytes - place->position) / size;
}

clip_status clip_packed_head_read(struct clip_packed_head *out, const char block[CLIP_PACKED_BLOCK],
                                  size_t n, int64_t file_size, const char *name,
                                  struct clip_error *error)
{
    char text[CLIP_PACKED_BLOCK + 1] = "";
    const char *at = text + strlen(MAGIC);
    int version, length = 0;
    memcpy(text, block, n < CLIP_PACKED_BLOCK ? n : CLIP_PACKED_BLOCK);
    *out = (struct clip_packed_head){0};
    if (strncmp(text, MAGIC, strlen(MAGIC)) != 0)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s is no packed data set; clip_data pack writes one", name);
    if (sscanf(at, "%d\nbytes %" SCNd64 "\nimage_size %" SCNd64 "\n%n", &version, &out->bytes,
               &out->image_size, &length) != 3)
        return fail_damaged(name, error);
    if (version != VERSION)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the packed set is of format %d and this program reads format %d; "
                         "pack it again",
                         name, version, VERSION);
    at += length;
    for (int i = 0; i < CLIP_PACKED_TABLES; i++) {
        struct clip_packed_place *place = &out->tables[i];
        size_t named = strlen(clip_packed_names[i]);
        if (strncmp(at, clip_packed_names[i], named) != 0 ||
            sscanf(at + named, " %" SCNd64 " %" SCNd64 " %" SCNx32 "\n%n", &place->position,
                   &place->count, &place->crc, &length) != 3 ||
            !place_is_possible(out, (enum clip_packed_table)i))
            return fail_damaged(name, error);
        at += named + (size_t)length;
    }
    /* with its checksum: what was read must be what would be written */
    clip_packed_head_write(text, out);
    if (n < CLIP_PACKED_BLOCK || memcmp(text, block, CLIP_PACKED_BLOCK) != 0)
        return fail_damaged(name, error);
    if (out->bytes != file_size)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the packed set has %s where %lld were written; it was cut or "
                         "changed, use another copy or pack again",
                         name, CLIP_COUNT(file_size, "byte"), (long long)out->bytes);
    return CLIP_OK;
}
