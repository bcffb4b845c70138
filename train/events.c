#include "train/events.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/file.h"
#include "train/history.h"

enum { LENGTH = 8, CHECK = 4, VARINT = 10 };

/* ---- checksums ---- */

/* Bit by bit: an event is a few hundred bytes, a few times a minute. */
uint32_t clip_crc32c(const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

uint32_t clip_crc32c_masked(const void *bytes, size_t n)
{
    uint32_t crc = clip_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- writing ---- */

static clip_status put_little(struct clip_buffer *out, uint64_t value, int bytes,
                              struct clip_error *error)
{
    unsigned char text[8];
    for (int i = 0; i < bytes; i++) text[i] = (unsigned char)(value >> 8 * i);
    return clip_buffer_append(out, text, (size_t)bytes, error);
}

static clip_status put_varint(struct clip_buffer *out, uint64_t value, struct clip_error *error)
{
    unsigned char text[VARINT];
    size_t n = 0;
    do {
        text[n] = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
        n++;
    } while (value != 0);
    return clip_buffer_append(out, text, n, error);
}

/* Fields by number and wire type: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. */
static clip_status put_key(struct clip_buffer *out, unsigned number, unsigned type,
                           struct clip_error *error)
{
    return put_varint(out, number << 3 | type, error);
}

static clip_status put_bytes(struct clip_buffer *out, unsigned number, const void *bytes, size_t n,
                             struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(put_key(out, number, 2, error));
    CLIP_TRY(put_varint(out, n, error));
    CLIP_TRY(clip_buffer_append(out, bytes, n, error));
out:
    return status;
}

/* wall_time and step */
static clip_status put_head(struct clip_buffer *out, int64_t step, struct clip_error *error)
{
    clip_status status;
    struct timespec now;
    uint64_t bits;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    memcpy(&bits, &seconds, sizeof bits);
    CLIP_TRY(put_key(out, 1, 1, error));
    CLIP_TRY(put_little(out, bits, 8, error));
    if (step == 0) return CLIP_OK; /* a number that is 0 is not written */
    CLIP_TRY(put_key(out, 2, 0, error));
    CLIP_TRY(put_varint(out, (uint64_t)step, error));
out:
    return status;
}

static clip_status put_value(struct clip_buffer *summary, const char *group, const char *key,
                             double value, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer one = {0}, tag = {0};
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    CLIP_TRY(clip_buffer_printf(&tag, error, "%s/%s", group, key));
    CLIP_TRY(put_bytes(&one, 1, tag.data, tag.size, error));
    CLIP_TRY(put_key(&one, 2, 5, error));
    CLIP_TRY(put_little(&one, bits, 4, error));
    CLIP_TRY(put_bytes(summary, 1, one.data, one.size, error));
out:
    clip_buffer_release(&one);
    clip_buffer_release(&tag);
    return status;
}

static clip_status put_record(struct clip_buffer *out, const struct clip_buffer *event,
                              struct clip_error *error)
{
    clip_status status;
    unsigned char length[LENGTH];
    for (int i = 0; i < LENGTH; i++) length[i] = (unsigned char)((uint64_t)event->size >> 8 * i);
    CLIP_TRY(clip_buffer_append(out, length, LENGTH, error));
    CLIP_TRY(put_little(out, clip_crc32c_masked(length, LENGTH), CHECK, error));
    CLIP_TRY(clip_buffer_append(out, event->data, event->size, error));
    CLIP_TRY(put_little(out, clip_crc32c_masked(event->data, event->size), CHECK, error));
out:
    return status;
}

static clip_status append_event(struct clip_buffer *out, const char *group, const json_t *line,
                                struct clip_error *error)
{
    clip_status status;
    struct clip_buffer event = {0}, summary = {0};
    int64_t step = json_integer_value(json_object_get(line, "step"));
    for (void *i = json_object_iter((json_t *)(uintptr_t)line); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)line, i)) {
        const char *key = json_object_iter_key(i);
        const json_t *value = json_object_iter_value(i);
        if (clip_history_is_position(key) || !json_is_number(value) ||
            !isfinite(json_number_value(value)))
            continue;
        CLIP_TRY(put_value(&summary, group, key, json_number_value(value), error));
    }
    CLIP_TRY(put_head(&event, step, error));
    CLIP_TRY(put_bytes(&event, 5, summary.size > 0 ? summary.data : "", summary.size, error));
    CLIP_TRY(put_record(out, &event, error));
out:
    clip_buffer_release(&event);
    clip_buffer_release(&summary);
    return status;
}

clip_status clip_events_add(const char *path, const char *group, const json_t *line,
                            struct clip_error *error)
{
    struct clip_buffer record = {0};
    FILE *file = NULL;
    clip_status status = append_event(&record, group, line, error);
    if (status == CLIP_OK) {
        file = fopen(path, "ab");
        bool written = file != NULL && fwrite(record.data, 1, record.size, file) == record.size &&
                       fflush(file) == 0;
        if (!written)
            status = clip_fail(error, clip_status_of(errno), "%s cannot be written: %s", path,
                               strerror(errno));
    }
    if (file != NULL) fclose(file);
    clip_buffer_release(&record);
    return status;
}

/* ---- going on ---- */

static uint64_t little(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

/* A varint at `at`; NULL where it does not end in time. */
static const unsigned char *take_varint(const unsigned char *at, const unsigned char *end,
                                        uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < VARINT && at < end; i++, at++) {
        *value |= (uint64_t)(*at & 127) << 7 * i;
        if (*at < 128) return at + 1;
    }
    return NULL;
}

/* The step of an event, 0 where it has none; false for bytes that are no message. */
static bool step_of(const unsigned char *at, const unsigned char *end, int64_t *step)
{
    *step = 0;
    while (at < end) {
        uint64_t key, value = 0, skip = 0;
        at = take_varint(at, end, &key);
        if (at == NULL) return false;
        unsigned type = (unsigned)(key & 7);
        if (type == 1)
            skip = 8;
        else if (type == 2)
            at = take_varint(at, end, &skip);
        else if (type == 5)
            skip = 4;
        else if (type == 0)
            at = take_varint(at, end, &value);
        else
            return false;
        if (at == NULL || skip > (uint64_t)(end - at)) return false;
        if (key == (2 << 3)) *step = (int64_t)value;
        at += skip;
    }
    return true;
}

clip_status clip_events_keep(const void *bytes, size_t n, int64_t step, struct clip_buffer *kept,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const unsigned char *at = bytes;
    const size_t frame = LENGTH + 2 * CHECK;
    while (n >= frame) {
        uint64_t length = little(at, LENGTH);
        int64_t its_step;
        if (little(at + LENGTH, CHECK) != clip_crc32c_masked(at, LENGTH)) break;
        if (length > n - frame) break;
        const unsigned char *event = at + LENGTH + CHECK, *end = event + length;
        if (little(end, CHECK) != clip_crc32c_masked(event, (size_t)length)) break;
        if (!step_of(event, end, &its_step)) break;
        size_t whole = frame + (size_t)length;
        if (its_step <= step) CLIP_TRY(clip_buffer_append(kept, at, whole, error));
        at += whole;
        n -= whole;
    }
out:
    return status;
}

clip_status clip_events_open(const char *path, int64_t step, struct clip_error *error)
{
    static const char version[] = "brain.Event:2";
    clip_status status = CLIP_OK;
    struct clip_buffer old = {0}, kept = {0}, event = {0};
    if (clip_path_exists(path) && step > 0) {
        CLIP_TRY(clip_file_read(path, (size_t)1 << 32, &old, error));
        CLIP_TRY(clip_events_keep(old.data, old.size, step, &kept, error));
    }
    if (kept.size == 0) {
        CLIP_TRY(put_head(&event, 0, error));
        CLIP_TRY(put_bytes(&event, 3, version, strlen(version), error));
        CLIP_TRY(put_record(&kept, &event, error));
    }
    CLIP_TRY(clip_file_write(path, kept.data, kept.size, error));
out:
    clip_buffer_release(&old);
    clip_buffer_release(&kept);
    clip_buffer_release(&event);
    return status;
}
