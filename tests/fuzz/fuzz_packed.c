/* Any tables in a packed set: opened or refused with a sentence; every sample can be asked for. The
 * first block and its checksums are made right here, or hardly any input would get past them: the
 * input's first four bytes for each table are its position behind the block and its length, and
 * what follows is the file. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "data/sets/dataset_internal.h"
#include "data/sets/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { PLACES = CLIP_PACKED_TABLES * 4 };

static void make_head(struct clip_packed_head *head, const uint8_t *places, const uint8_t *body,
                      size_t n)
{
    *head = (struct clip_packed_head){.bytes = CLIP_PACKED_BLOCK + (int64_t)n};
    for (int i = 0; i < CLIP_PACKED_TABLES; i++, places += 4) {
        size_t size = clip_packed_is_bytes((enum clip_packed_table)i) ? 1 : sizeof(int64_t);
        size_t position = (size_t)places[0] | (size_t)places[1] << 8;
        size_t count = (size_t)places[2] | (size_t)places[3] << 8;
        struct clip_packed_place *place = &head->tables[i];
        place->position = CLIP_PACKED_BLOCK + (int64_t)position;
        place->count = (int64_t)count;
        if (position <= n && count * size <= n - position)
            place->crc = (uint32_t)crc32(0, body + position, (uInt)(count * size));
    }
}

static void use(const struct clip_dataset *set)
{
    struct clip_sample sample = {0};
    struct clip_error error;
    if (set->count < 1) abort();
    for (int64_t i = 0; i < set->count; i++) {
        if (set->group[i] < 0 || set->group[i] >= set->count) abort();
        if (set->ops->image_name(set, i) == NULL) abort();
        error.message[0] = '\0';
        if (set->ops->read(set, i, NULL, &sample, &error) != CLIP_OK && error.message[0] == '\0')
            abort();
        if (set->ops->negative != NULL) set->ops->negative(set, i, &sample.caption, &error);
    }
    clip_sample_release(&sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct clip_dataset_options options = {.csv_negative_key = "n",
                                                 .images_only = n % 3 == 0};
    struct clip_packed_head head;
    struct clip_dataset *set = NULL;
    struct clip_error error = {0};
    char block[CLIP_PACKED_BLOCK], path[64];
    if (n < PLACES) return 0;
    make_head(&head, bytes, bytes + PLACES, n - PLACES);
    clip_packed_head_write(block, &head);
    int fd = memfd_create("packed", MFD_CLOEXEC);
    if (fd < 0 || write(fd, block, sizeof block) != (ssize_t)sizeof block ||
        write(fd, bytes + PLACES, n - PLACES) != (ssize_t)(n - PLACES))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (clip_dataset_packed_open(&set, path, &options, &error) == CLIP_OK) {
        use(set);
        clip_dataset_free(set);
    } else if (set != NULL || error.message[0] == '\0') {
        abort();
    }
    close(fd);
    return 0;
}
