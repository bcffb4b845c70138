/* Formats of data sets that are not read here. They are told by their bytes, whatever their names
 * are, and refused by name, with the page that has the lines to convert them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/sets/dataset_internal.h"

enum { HEAD = 128 };

struct head { /* of a file: its first bytes and its last four */
    unsigned char bytes[HEAD], last[4];
    size_t n;
};

static bool read_head(const char *path, struct head *head)
{
    *head = (struct head){.n = 0};
    if (clip_path_is_folder(path) || clip_path_is_special(path)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t n = pread(fd, head->bytes, HEAD, 0);
    off_t end = lseek(fd, 0, SEEK_END);
    if (end >= 4 && pread(fd, head->last, 4, end - 4) != 4) n = -1;
    close(fd);
    if (n > 0) head->n = (size_t)n;
    return n > 0;
}

static bool begins(const struct head *head, size_t at, const char *magic, size_t n)
{
    return head->n >= at + n && memcmp(head->bytes + at, magic, n) == 0;
}

static uint32_t little32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* ---- One format each ---- */
static bool is_parquet(const struct head *head)
{
    return begins(head, 0, "PAR1", 4) && memcmp(head->last, "PAR1", 4) == 0;
}

/* A file, or a stream: a continuation mark, then the length of a schema that is flatbuffers. */
static bool is_arrow(const struct head *head)
{
    if (begins(head, 0, "ARROW1\0\0", 8) || begins(head, 0, "FEA1", 4)) return true;
    if (!begins(head, 0, "\xff\xff\xff\xff", 4) || head->n < 12) return false;
    uint32_t length = little32(head->bytes + 4), root = little32(head->bytes + 8);
    return length > 0 && length % 8 == 0 && root > 0 && root < length;
}

/* protocols 2 to 5; no text begins so */
static bool is_pickle(const struct head *head)
{
    return begins(head, 0, "\x80", 1) && head->n > 2 && head->bytes[1] >= 2 && head->bytes[1] <= 5;
}

/* the mark of a meta page, behind the head of the page */
static bool is_lmdb(const struct head *head)
{
    return begins(head, 16, "\xde\xc0\xef\xbe", 4) || begins(head, 12, "\xde\xc0\xef\xbe", 4);
}

/* A record's length, then the masked CRC-32C (Castagnoli) of the length. */
static bool is_tfrecord(const struct head *head)
{
    uint32_t crc = ~UINT32_C(0);
    if (head->n < 12) return false;
    for (int i = 0; i < 8; i++) {
        crc ^= head->bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
    }
    crc = ~crc;
    return little32(head->bytes + 8) == (crc >> 15 | crc << 17) + UINT32_C(0xA282EAD8);
}

static bool is_npy(const struct head *head) { return begins(head, 0, "\x93NUMPY", 6); }

static bool is_zip(const struct head *head)
{
    return begins(head, 0, "PK\3\4", 4) || begins(head, 0, "PK\5\6", 4);
}

/* a zip whose first entry is an array */
static bool is_npz(const struct head *head)
{
    if (!begins(head, 0, "PK\3\4", 4) || head->n < 30) return false;
    size_t n = (size_t)head->bytes[26] | (size_t)head->bytes[27] << 8;
    return n >= 4 && 30 + n <= head->n && memcmp(head->bytes + 30 + n - 4, ".npy", 4) == 0;
}

static bool is_sqlite(const struct head *head) { return begins(head, 0, "SQLite format 3", 16); }
static bool is_7z(const struct head *head) { return begins(head, 0, "7z\xbc\xaf\x27\x1c", 6); }
static bool is_rar(const struct head *head) { return begins(head, 0, "Rar!\x1a\x07", 6); }

static const struct format {
    const char *name, *section; /* a heading of docs/data.md */
    bool (*is)(const struct head *head);
} formats[] = {
    {"a Parquet file", "Parquet, Arrow and saved datasets", is_parquet},
    {"an Arrow file", "Parquet, Arrow and saved datasets", is_arrow},
    {"a Python pickle", "Pickle", is_pickle},
    {"an LMDB database", "LMDB", is_lmdb},
    {"a TFRecord file", "TFRecord", is_tfrecord},
    {"a file of NumPy arrays (.npy)", "NumPy arrays", is_npy},
    {"a file of NumPy arrays (.npz)", "NumPy arrays", is_npz},
    {"an SQLite database", "SQLite", is_sqlite},
    {"a zip archive", "Archives", is_zip},
    {"a 7z archive", "Archives", is_7z},
    {"a rar archive", "Archives", is_rar},
};
static const struct format saved = {"a dataset as Hugging Face's save_to_disk writes it",
                                    "Parquet, Arrow and saved datasets", NULL};

static const struct format *format_of(const char *path)
{
    struct head head;
    if (!read_head(path, &head)) return NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].is(&head)) return &formats[i];
    return NULL;
}

static clip_status refuse(const char *path, const char *holds, const struct format *format,
                          struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s %s %s, which is not read here; docs/data.md has the few lines that "
                     "convert it, under \"%s\"",
                     path, holds, format->name, format->section);
}

clip_status clip_dataset_refuse_foreign(const char *path, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    static const char *const marks[] = {"dataset_dict.json", "state.json", "data.mdb"};
    if (!clip_path_is_folder(path)) {
        const struct format *format = format_of(path);
        return format == NULL ? CLIP_OK : refuse(path, "is", format, error);
    }
    for (int i = 0; i < 3 && status == CLIP_OK; i++) {
        char *mark = clip_path_join(path, marks[i], error);
        char *info = clip_path_join(path, "dataset_info.json", error);
        if (mark == NULL || info == NULL)
            status = error->status;
        else if (i == 2 && format_of(mark) != NULL)
            status = refuse(path, "is", format_of(mark), error);
        else if (i < 2 && clip_path_exists(mark) && (i == 0 || clip_path_exists(info)))
            status = refuse(path, "is", &saved, error);
        free(mark);
        free(info);
    }
    return status;
}

/* Looks at the files of one folder, and at those one folder further down. */
static clip_status refuse_inside(const char *top, const char *folder, bool down,
                                 struct clip_error *error)
{
    clip_status status;
    struct clip_names inside = {0};
    char *path = NULL;
    CLIP_TRY(clip_folder_list(folder, &inside, error));
    for (int64_t i = 0; i < inside.count; i++) {
        if (inside.names[i][0] == '.') continue;
        free(path);
        path = clip_path_join(folder, inside.names[i], error);
        if (path == NULL) CLIP_TRY(error->status);
        const struct format *format = format_of(path);
        if (format != NULL) {
            char holds[600];
            snprintf(holds, sizeof holds, "holds no image, and %.500s is", path + strlen(top) + 1);
            CLIP_TRY(refuse(top, holds, format, error));
        }
        if (!clip_path_is_folder(path)) continue;
        if (down) {
            CLIP_TRY(clip_dataset_refuse_foreign(path, error));
            CLIP_TRY(refuse_inside(top, path, false, error));
        }
    }
out:
    free(path);
    clip_names_release(&inside);
    return status;
}

clip_status clip_dataset_refuse_foreign_inside(const char *folder, struct clip_error *error)
{
    return refuse_inside(folder, folder, true, error);
}
