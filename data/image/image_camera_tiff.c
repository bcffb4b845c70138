/* The JPEG previews in a camera's raw file that is laid out as TIFF (TIFF 6.0, section 2; TIFF/EP,
 * ISO 12234-2; Adobe's DNG 1.7): a header, then directories of 12-byte entries, each with the place
 * of the next directory behind it. Directories are also named by entries: SubIFDs, the EXIF
 * directory, in which a maker's note lies, and in Olympus' note its camera settings. Each place is
 * visited once, and a file that names more places than any camera does is refused.
 *
 * A preview is
 *   a pair of JPEGInterchangeFormat and its length            Nikon, Sony, Pentax, Samsung, DNG
 *   one strip with compression 6 or 7 (JPEG)                  Canon's CR2, DNG
 *   the entry JpgFromRaw                                      Panasonic
 *   PreviewImageStart and its length in Olympus' settings     Olympus, OM System */
#include <string.h>

#include "data/image/image_formats.h"

#define MAX_DIRECTORIES 64

enum kind { IMAGE, EXIF, MAKER_NOTE, OLYMPUS_SETTINGS };

enum tag {
    JPG_FROM_RAW = 0x002e,
    OLYMPUS_PREVIEW_START = 0x0101,
    OLYMPUS_PREVIEW_LENGTH = 0x0102,
    COMPRESSION = 0x0103,
    PHOTOMETRIC = 0x0106,
    STRIP_OFFSETS = 0x0111,
    ORIENTATION = 0x0112,
    STRIP_BYTE_COUNTS = 0x0117,
    JPG_FROM_RAW_2 = 0x0127,
    SUB_IFDS = 0x014a,
    JPEG_FORMAT = 0x0201,
    JPEG_LENGTH = 0x0202,
    OLYMPUS_CAMERA_SETTINGS = 0x2020,
    EXIF_IFD = 0x8769,
    MAKER_NOTE_TAG = 0x927c,
    DNG_VERSION = 0xc612,
};

enum type { SHORT = 3, LONG = 4, UNDEFINED = 7, IFD = 13 };

/* Values of Photometric that only a sensor's data have: colour filter array, linear raw. */
enum { CFA = 32803, LINEAR_RAW = 34892 };

struct directory {
    uint64_t at, base; /* where it is, and what the places in it count from */
    enum kind kind;
};

struct tiff {
    struct clip_image_bytes file;
    struct clip_camera_previews *found;
    struct directory directories[MAX_DIRECTORIES];
    int count;
    bool little, panasonic, too_many;
};

struct entry {
    int tag, type;
    uint64_t count; /* of values; 0 where they lie outside the file */
    uint64_t at;    /* of the first value */
    size_t size;    /* bytes of one value */
};

/* What an IMAGE directory says; 0: nothing. */
struct image {
    uint32_t compression, photometric, strip, strip_bytes, jpeg, jpeg_bytes;
};

/* The caller has checked that the file holds the bytes. */
static uint32_t number(const struct tiff *tiff, uint64_t at, int bytes)
{
    uint32_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = value << 8 | tiff->file.data[at + (uint64_t)(tiff->little ? bytes - 1 - i : i)];
    return value;
}

static bool inside(const struct tiff *tiff, uint64_t at, uint64_t n)
{
    return at <= tiff->file.size && n <= tiff->file.size - at;
}

static struct entry read_entry(const struct tiff *tiff, const struct directory *directory,
                               uint64_t at)
{
    static const size_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    struct entry entry = {
        .tag = (int)number(tiff, at, 2),
        .type = (int)number(tiff, at + 2, 2),
        .count = number(tiff, at + 4, 4),
        .at = at + 8,
    };

    if (entry.type < 1 || entry.type >= (int)(sizeof sizes / sizeof *sizes)) {
        entry.count = 0;
        return entry;
    }
    entry.size = sizes[entry.type];
    if (entry.count * entry.size > 4) entry.at = directory->base + number(tiff, at + 8, 4);
    if (!inside(tiff, entry.at, entry.count * entry.size)) entry.count = 0;
    return entry;
}

/* Value i, of a type of whole numbers; 0 for what is not there. */
static uint32_t value_of(const struct tiff *tiff, const struct entry *entry, uint64_t i)
{
    if (i >= entry->count) return 0;
    if (entry->type != SHORT && entry->type != LONG && entry->type != IFD) return 0;
    return number(tiff, entry->at + i * entry->size, (int)entry->size);
}

static void visit_later(struct tiff *tiff, uint64_t at, uint64_t base, enum kind kind)
{
    if (at == base) return; /* no place */
    for (int i = 0; i < tiff->count; i++)
        if (tiff->directories[i].at == at) return;
    if (tiff->count == MAX_DIRECTORIES)
        tiff->too_many = true;
    else
        tiff->directories[tiff->count++] = (struct directory){at, base, kind};
}

static void read_image_entry(struct tiff *tiff, const struct directory *directory,
                             const struct entry *entry, struct image *image)
{
    uint32_t value = value_of(tiff, entry, 0);

    switch (entry->tag) {
    case COMPRESSION: image->compression = value; break;
    case PHOTOMETRIC: image->photometric = value; break;
    case STRIP_OFFSETS: image->strip = entry->count == 1 ? value : 0; break;
    case STRIP_BYTE_COUNTS: image->strip_bytes = value; break;
    case JPEG_FORMAT: image->jpeg = value; break;
    case JPEG_LENGTH: image->jpeg_bytes = value; break;
    case DNG_VERSION: tiff->found->camera = true; break;
    case EXIF_IFD: visit_later(tiff, value, 0, EXIF); break;
    case ORIENTATION:
        if (directory == tiff->directories && value >= 1 && value <= 8)
            tiff->found->orientation = (int)value;
        break;
    case SUB_IFDS:
        for (uint64_t i = 0; i < entry->count && !tiff->too_many; i++)
            visit_later(tiff, value_of(tiff, entry, i), 0, IMAGE);
        break;
    case JPG_FROM_RAW:
    case JPG_FROM_RAW_2:
        if (tiff->panasonic) clip_camera_add(tiff->found, tiff->file, entry->at, entry->count);
        break;
    default: break;
    }
}

/* Olympus' note begins with a name, the byte order and a version; places count from its start. */
static void read_maker_note(struct tiff *tiff, const struct entry *entry)
{
    static const char names[][17] = {"OLYMPUS\0II\3\0", "OM SYSTEM\0\0\0II\4\0"};
    static const uint64_t heads[] = {12, 16};

    if (!tiff->little || entry->type != UNDEFINED) return;
    for (int i = 0; i < 2; i++)
        if (entry->count > heads[i] &&
            memcmp(tiff->file.data + entry->at, names[i], heads[i] - 2) == 0)
            visit_later(tiff, entry->at + heads[i], entry->at, MAKER_NOTE);
}

static void read_settings(struct tiff *tiff, const struct directory *directory,
                          const struct entry *entry)
{
    if (entry->type == UNDEFINED && entry->count > 4)
        visit_later(tiff, entry->at, directory->base, OLYMPUS_SETTINGS);
    else
        visit_later(tiff, directory->base + value_of(tiff, entry, 0), directory->base,
                    OLYMPUS_SETTINGS);
}

static void read_other_entry(struct tiff *tiff, const struct directory *directory,
                             const struct entry *entry, struct image *image)
{
    uint32_t value = value_of(tiff, entry, 0);

    if (directory->kind == EXIF && entry->tag == MAKER_NOTE_TAG) read_maker_note(tiff, entry);
    if (directory->kind == MAKER_NOTE && entry->tag == OLYMPUS_CAMERA_SETTINGS)
        read_settings(tiff, directory, entry);
    if (directory->kind == OLYMPUS_SETTINGS && entry->tag == OLYMPUS_PREVIEW_START)
        image->jpeg = value;
    if (directory->kind == OLYMPUS_SETTINGS && entry->tag == OLYMPUS_PREVIEW_LENGTH)
        image->jpeg_bytes = value;
}

static void add_previews(struct tiff *tiff, const struct directory *directory,
                         const struct image *image)
{
    bool sensor = image->photometric == CFA || image->photometric == LINEAR_RAW;
    bool jpeg = image->compression == 6 || image->compression == 7;

    if (sensor) tiff->found->camera = true;
    if (image->jpeg_bytes > 0)
        clip_camera_add(tiff->found, tiff->file, directory->base + image->jpeg, image->jpeg_bytes);
    if (jpeg && !sensor && image->strip > 0)
        clip_camera_add(tiff->found, tiff->file, image->strip, image->strip_bytes);
}

static void read_directory(struct tiff *tiff, const struct directory *directory)
{
    struct image image = {0};
    uint64_t count, end;

    if (!inside(tiff, directory->at, 2) ||
        !inside(tiff, directory->at, 2 + 12 * (uint64_t)number(tiff, directory->at, 2))) {
        tiff->found->cut = true;
        return;
    }
    count = number(tiff, directory->at, 2);
    end = directory->at + 2 + 12 * count;
    for (uint64_t i = 0; i < count; i++) {
        struct entry entry = read_entry(tiff, directory, directory->at + 2 + 12 * i);

        if (directory->kind == IMAGE)
            read_image_entry(tiff, directory, &entry, &image);
        else
            read_other_entry(tiff, directory, &entry, &image);
    }
    add_previews(tiff, directory, &image);
    if (directory->kind != IMAGE) return;
    if (inside(tiff, end, 4))
        visit_later(tiff, number(tiff, end, 4), 0, IMAGE);
    else
        tiff->found->cut = true;
}

clip_status clip_camera_read_tiff(struct clip_image_bytes file, struct clip_camera_previews *found,
                                  struct clip_error *error)
{
    struct tiff tiff = {.file = file, .found = found};

    if (file.size < 8) return clip_image_fail_cut("TIFF", file.size, error);
    tiff.little = file.data[0] == 'I';
    tiff.panasonic = memcmp(file.data, "IIU", 4) == 0;
    found->camera = tiff.panasonic || file.data[2] == 'R' || file.data[2] == 'O' ||
                    (file.size >= 12 && memcmp(file.data + 8, "CR\2", 4) == 0);
    visit_later(&tiff, number(&tiff, 4, 4), 0, IMAGE);
    for (int i = 0; i < tiff.count; i++) read_directory(&tiff, &tiff.directories[i]);
    if (tiff.too_many)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the camera raw file has more than %d directories; get another copy of "
                         "it or leave it out",
                         MAX_DIRECTORIES);
    return CLIP_OK;
}
