#include "checkpoints/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "checkpoints/checksum.h"

/* Layouts, little-endian (APPNOTE 4.3):
 *   local header     30 bytes: signature, version, flags 6, method 8, ..., name length 26,
 *                    extra length 28; then name, extra, data
 *   central header   46 bytes: signature, versions, flags 8, method 10, ..., crc 16, packed 20,
 *                    size 24, name length 28, extra 30, comment 32, disk 34, ..., local header 42
 *   end              22 bytes: signature, disks 4 6, entries 8 10, directory size 12, offset 16,
 *                    comment length 20
 *   Zip64 locator    20 bytes, before the end: signature, disk, offset 8, disks 16
 *   Zip64 end        56 bytes: signature, ..., disks 16 20, entries 24 32, size 40, offset 48
 * A size of 0xFFFFFFFF stands in the extra field 0x0001 in 8 bytes. */
enum { LOCAL = 30, CENTRAL = 46, END = 22, LOCATOR = 20, END64 = 56 };
#define LOCAL_SIGN 0x04034b50u
#define CENTRAL_SIGN 0x02014b50u
#define END_SIGN 0x06054b50u
#define LOCATOR_SIGN 0x07064b50u
#define END64_SIGN 0x06064b50u
#define DEFLATE_MOST 1032 /* the most bytes that one byte of deflate can become */

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static clip_status damaged(const struct clip_zip *zip, const char *what, struct clip_error *error)
{
    clip_fail(error, CLIP_ERR_FORMAT,
              "%s: the zip archive is damaged or cut: %s; fetch or copy it again", zip->path, what);
    return CLIP_ERR_FORMAT;
}

bool clip_zip_is(const void *bytes, size_t n) { return n >= 4 && number(bytes, 4) == LOCAL_SIGN; }

void clip_zip_release(struct clip_zip *zip)
{
    clip_arena_release(&zip->arena);
    *zip = (struct clip_zip){0};
}

struct directory {
    uint64_t offset, size, entries;
};

/* Finds the end record, which is the last one whose comment reaches to the end of the file. */
static const unsigned char *find_end(const struct clip_zip *zip)
{
    for (size_t back = END; back <= zip->n && back <= END + 0xFFFFu; back++) {
        const unsigned char *at = zip->bytes + zip->n - back;
        if (number(at, 4) == END_SIGN && number(at + 20, 2) == back - END) return at;
    }
    return NULL;
}

static clip_status read_end64(const struct clip_zip *zip, size_t end, struct directory *d,
                              bool *found, struct clip_error *error)
{
    *found = false;
    if (end < LOCATOR) return CLIP_OK;
    const unsigned char *locator = zip->bytes + end - LOCATOR;
    if (number(locator, 4) != LOCATOR_SIGN) return CLIP_OK;
    uint64_t offset = number(locator + 8, 8);
    if (number(locator + 4, 4) != 0 || number(locator + 16, 4) > 1)
        return damaged(zip, "it consists of several files", error);
    if (end < LOCATOR + END64 || offset > end - LOCATOR - END64 ||
        number(zip->bytes + offset, 4) != END64_SIGN)
        return damaged(zip, "its Zip64 end is not where it should be", error);
    const unsigned char *at = zip->bytes + offset;
    *d = (struct directory){number(at + 48, 8), number(at + 40, 8), number(at + 32, 8)};
    *found = true;
    return CLIP_OK;
}

static clip_status read_end(const struct clip_zip *zip, struct directory *d,
                            struct clip_error *error)
{
    bool found;
    const unsigned char *end = find_end(zip);
    if (end == NULL) return damaged(zip, "it has no end record", error);
    size_t at = (size_t)(end - zip->bytes);
    clip_status status = read_end64(zip, at, d, &found, error);
    if (status != CLIP_OK) return status;
    if (!found) {
        *d = (struct directory){number(end + 16, 4), number(end + 12, 4), number(end + 10, 2)};
        if (number(end + 4, 2) != 0 || number(end + 8, 2) != d->entries)
            return damaged(zip, "it consists of several files", error);
    }
    if (d->size > at || d->offset > at - d->size || d->entries > d->size / CENTRAL)
        return damaged(zip, "its directory does not fit into the file", error);
    return CLIP_OK;
}

/* Takes sizes and position from the Zip64 extra field, in this order, each only if all 32 bits of
 * it are set in the header. */
static bool read_extra(const unsigned char *extra, size_t n, struct clip_zip_entry *e)
{
    uint64_t *const wanted[] = {&e->size, &e->packed_size, &e->header};
    bool any = false;
    for (int i = 0; i < 3; i++) any = any || *wanted[i] == 0xFFFFFFFFu;
    if (!any) return true;
    for (size_t at = 0; at + 4 <= n;) {
        size_t id = (size_t)number(extra + at, 2), size = (size_t)number(extra + at + 2, 2);
        if (size > n - at - 4) return false;
        const unsigned char *field = extra + at + 4;
        at += 4 + size;
        if (id != 1) continue;
        for (int i = 0; i < 3; i++) {
            if (*wanted[i] != 0xFFFFFFFFu) continue;
            if (size < 8) return false;
            *wanted[i] = number(field, 8);
            field += 8;
            size -= 8;
        }
        return true;
    }
    return false;
}

/* Checks that the entry's own header agrees, and that its data lies before the directory. */
static clip_status check_local(const struct clip_zip *zip, const struct directory *d,
                               struct clip_zip_entry *e, struct clip_error *error)
{
    size_t n = strlen(e->name);
    if (e->header > d->offset || d->offset - e->header < LOCAL + n)
        return damaged(zip, "an entry lies outside", error);
    const unsigned char *at = zip->bytes + e->header;
    uint64_t before = LOCAL + number(at + 26, 2) + number(at + 28, 2);
    if (number(at, 4) != LOCAL_SIGN || number(at + 8, 2) != (uint64_t)e->method ||
        number(at + 26, 2) != n || memcmp(at + LOCAL, e->name, n) != 0)
        return damaged(zip, "an entry differs from its place in the directory", error);
    if (before > d->offset - e->header || e->packed_size > d->offset - e->header - before)
        return damaged(zip, "an entry lies outside", error);
    e->data = e->header + before;
    return CLIP_OK;
}

static clip_status check_kind(const struct clip_zip *zip, const struct clip_zip_entry *e,
                              unsigned flags, struct clip_error *error)
{
    const char *what = NULL;
    if (flags & 1)
        what = "is encrypted";
    else if (e->method != 0 && e->method != 8)
        what = "is packed by another method than deflate";
    if (what != NULL) {
        return clip_fail(error, CLIP_ERR_FORMAT, "%s: the entry %.200s %s, which cannot be read",
                         zip->path, e->name, what);
    }
    if (e->method == 0 && e->size != e->packed_size)
        return damaged(zip, "a stored entry has two sizes", error);
    if (e->method == 8 && e->size / DEFLATE_MOST > e->packed_size)
        return damaged(zip, "an entry says it is larger than its bytes can be", error);
    return CLIP_OK;
}

static clip_status read_entry(struct clip_zip *zip, const struct directory *d, uint64_t *at,
                              struct clip_zip_entry *e, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    uint64_t rest = d->offset + d->size - *at;
    const unsigned char *header = zip->bytes + *at;
    if (rest < CENTRAL || number(header, 4) != CENTRAL_SIGN)
        return damaged(zip, "its directory is cut", error);
    size_t name = (size_t)number(header + 28, 2), extra = (size_t)number(header + 30, 2);
    uint64_t size = CENTRAL + name + extra + number(header + 32, 2);
    if (size > rest || name == 0 || memchr(header + CENTRAL, 0, name) != NULL)
        return damaged(zip, "its directory is cut", error);
    *e = (struct clip_zip_entry){
        .header = number(header + 42, 4),
        .packed_size = number(header + 20, 4),
        .size = number(header + 24, 4),
        .crc = (uint32_t)number(header + 16, 4),
        .method = (int)number(header + 10, 2),
    };
    e->name = clip_arena_string(&zip->arena, (const char *)header + CENTRAL, name, error);
    if (e->name == NULL) return CLIP_ERR_MEMORY;
    if (!read_extra(header + CENTRAL + name, extra, e))
        return damaged(zip, "an entry's Zip64 sizes are missing", error);
    CLIP_TRY(check_kind(zip, e, (unsigned)number(header + 8, 2), error));
    CLIP_TRY(check_local(zip, d, e, error));
    *at += size;
out:
    return status;
}

static int by_place(const void *a, const void *b)
{
    const struct clip_zip_entry *x = a, *y = b;
    return x->header < y->header ? -1 : x->header > y->header;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct clip_zip_entry *)a)->name,
                  ((const struct clip_zip_entry *)b)->name);
}

static clip_status check_apart(struct clip_zip *zip, struct clip_error *error)
{
    if (zip->count > 0) qsort(zip->entries, (size_t)zip->count, sizeof *zip->entries, by_place);
    for (int64_t i = 1; i < zip->count; i++) {
        const struct clip_zip_entry *before = &zip->entries[i - 1];
        if (before->data + before->packed_size > zip->entries[i].header)
            return damaged(zip, "entries share bytes", error);
    }
    if (zip->count > 0) qsort(zip->entries, (size_t)zip->count, sizeof *zip->entries, by_name);
    for (int64_t i = 1; i < zip->count; i++)
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) == 0)
            return damaged(zip, "a name comes twice", error);
    return CLIP_OK;
}

clip_status clip_zip_open(struct clip_zip *out, const void *bytes, size_t n, const char *path,
                          struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct directory d = {0};
    *out = (struct clip_zip){.bytes = bytes, .n = n, .path = path};
    CLIP_TRY(read_end(out, &d, error));
    out->entries = clip_arena_alloc(&out->arena, (int64_t)d.entries, sizeof *out->entries, error);
    if (out->entries == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    uint64_t at = d.offset;
    for (uint64_t i = 0; i < d.entries; i++) {
        CLIP_TRY(read_entry(out, &d, &at, &out->entries[i], error));
        out->count++;
    }
    CLIP_TRY(check_apart(out, error));
out:
    if (status != CLIP_OK) clip_zip_release(out);
    return status;
}

const struct clip_zip_entry *clip_zip_find(const struct clip_zip *zip, const char *name)
{
    const struct clip_zip_entry key = {.name = name};
    if (zip->count == 0) return NULL;
    return bsearch(&key, zip->entries, (size_t)zip->count, sizeof *zip->entries, by_name);
}

/* Unpacks the raw deflate stream of the whole entry, in steps that zlib's 32-bit counts can
 * hold. */
static clip_status unpack(const struct clip_zip *zip, const struct clip_zip_entry *e,
                          unsigned char *out, struct clip_error *error)
{
    z_stream stream = {0};
    uint64_t in = e->packed_size, room = e->size;
    int code = inflateInit2(&stream, -15);
    if (code != Z_OK) return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for unpacking");
    stream.next_in = (unsigned char *)(uintptr_t)zip->bytes + e->data;
    stream.next_out = out;
    while (code == Z_OK) {
        unsigned more_in = in > 1u << 30 ? 1u << 30 : (unsigned)in;
        unsigned more_room = room > 1u << 30 ? 1u << 30 : (unsigned)room;
        stream.avail_in = more_in;
        stream.avail_out = more_room;
        code = inflate(&stream, Z_NO_FLUSH);
        in -= more_in - stream.avail_in;
        room -= more_room - stream.avail_out;
    }
    inflateEnd(&stream);
    if (code != Z_STREAM_END || room != 0)
        return damaged(zip, "an entry does not unpack to its size", error);
    return CLIP_OK;
}

clip_status clip_zip_read(const struct clip_zip *zip, const struct clip_zip_entry *entry,
                          struct clip_arena *arena, const unsigned char **data,
                          struct clip_error *error)
{
    *data = zip->bytes + entry->data;
    if (entry->method != 0) {
        unsigned char *out = clip_arena_alloc(arena, (int64_t)entry->size, 1, error);
        if (out == NULL) return CLIP_ERR_MEMORY;
        clip_status status = unpack(zip, entry, out, error);
        if (status != CLIP_OK) return status;
        *data = out;
    }
    if (clip_crc32(0, *data, (size_t)entry->size) == entry->crc) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: the entry %.200s has the wrong checksum; the file is damaged, fetch or "
                     "copy it again",
                     zip->path, entry->name);
}
