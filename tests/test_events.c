/* TensorBoard's event files: framing, fields, going on after a resume. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "train/events.h"

/* The two records that tensorboard 2.21's own RecordWriter writes for wall_time 1.5: file_version
 * "brain.Event:2"; and step 300 with train/loss 0.25 and train/lr 1e-3. */
static const char first_record[] =
    "\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7f\x4b\x22\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x0d"
    "\x62\x72\x61\x69\x6e\x2e\x45\x76\x65\x6e\x74\x3a\x32\x2a\x28\x64\x6c";
static const char second_record[] =
    "\x32\x00\x00\x00\x00\x00\x00\x00\x24\x19\x56\xec\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x10\xac"
    "\x02\x2a\x24\x0a\x11\x0a\x0a\x74\x72\x61\x69\x6e\x2f\x6c\x6f\x73\x73\x15\x00\x00\x80\x3e\x0a"
    "\x0f\x0a\x08\x74\x72\x61\x69\x6e\x2f\x6c\x72\x15\x6f\x12\x83\x3a\xdf\x45\xab\x1f";
enum { FIRST = sizeof first_record - 1, SECOND = sizeof second_record - 1, HEAD = 12, TIME = 9 };

/* RFC 3720, appendix B.4. */
static void crc32c_is_that_of_the_rfc(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++) rising[i] = (unsigned char)i;
    assert_int_equal(clip_crc32c(zeros, 32), 0x8a9136aau);
    assert_int_equal(clip_crc32c(ones, 32), 0x62a8ab43u);
    assert_int_equal(clip_crc32c(rising, 32), 0x46dd794eu);
    assert_int_equal(clip_crc32c("123456789", 9), 0xe3069283u);
}

static struct clip_buffer read_all(const char *path)
{
    struct clip_error error;
    struct clip_buffer out = {0};
    test_ok(clip_file_read(path, 1 << 20, &out, &error), &error);
    return out;
}

static void add(const char *path, const char *group, json_t *line)
{
    struct clip_error error;
    assert_non_null(line);
    test_ok(clip_events_add(path, group, line, &error), &error);
    json_decref(line);
}

/* Ours but for the time, and the checksum over it. */
static void records_are_tensorboards_own(void **state)
{
    (void)state;
    struct clip_error error;
    const char *path = test_path(test_folder(), "events.out.tfevents.0.clip");
    test_ok(clip_events_open(path, 0, &error), &error);
    add(path, "train",
        json_pack("{s:i, s:f, s:i, s:f, s:s, s:f}", "step", 300, "epoch", 1.5, "samples", 9, "loss",
                  0.25, "note", "no number", "lr", 1e-3));
    struct clip_buffer file = read_all(path);
    assert_int_equal(file.size, FIRST + SECOND);
    const char *records[] = {first_record, second_record};
    size_t at = 0;
    for (int i = 0; i < 2; i++) {
        size_t n = i == 0 ? FIRST : SECOND, body = n - HEAD - 4;
        const char *mine = file.data + at;
        uint32_t check = clip_crc32c_masked(mine + HEAD, body);
        assert_memory_equal(mine, records[i], HEAD + 1);
        assert_memory_equal(mine + HEAD + TIME, records[i] + HEAD + TIME, body - TIME);
        for (int b = 0; b < 4; b++)
            assert_int_equal((unsigned char)mine[HEAD + body + (size_t)b], check >> 8 * b & 255);
        at += n;
    }
    /* The same rule gives their checksum of their bytes. */
    uint32_t theirs = clip_crc32c_masked(second_record + HEAD, SECOND - HEAD - 4);
    assert_int_equal((unsigned char)second_record[SECOND - 4], theirs & 255);
    assert_int_equal((unsigned char)second_record[SECOND - 1], theirs >> 24);
    clip_buffer_release(&file);
}

static const char *file_with_steps(int64_t steps)
{
    struct clip_error error;
    const char *path = test_path(test_folder(), "events.out.tfevents.0.clip");
    test_ok(clip_events_open(path, 0, &error), &error);
    for (int64_t step = 1; step <= steps; step++)
        add(path, "train", json_pack("{s:I, s:f}", "step", (json_int_t)step, "loss", 1.0));
    return path;
}

static void a_resumed_run_has_no_step_twice(void **state)
{
    (void)state;
    struct clip_error error;
    const char *path = file_with_steps(10);
    struct clip_buffer whole = read_all(path);
    test_ok(clip_events_open(path, 6, &error), &error);
    struct clip_buffer six = read_all(path);
    size_t record = (whole.size - FIRST) / 10;
    assert_int_equal(six.size, FIRST + 6 * record);
    assert_memory_equal(six.data, whole.data, six.size);
    clip_buffer_release(&six);
    /* from the beginning: a new file */
    test_ok(clip_events_open(path, 0, &error), &error);
    six = read_all(path);
    assert_int_equal(six.size, FIRST);
    clip_buffer_release(&six);
    clip_buffer_release(&whole);
}

static void a_cut_or_damaged_file_is_kept_up_to_there(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer whole = read_all(file_with_steps(5));
    size_t record = (whole.size - FIRST) / 5;
    for (size_t n = 0; n <= whole.size; n++) {
        struct clip_buffer kept = {0};
        test_ok(clip_events_keep(whole.data, n, 100, &kept, &error), &error);
        size_t expected = n < FIRST ? 0 : FIRST + (n - FIRST) / record * record;
        assert_int_equal(kept.size, expected);
        clip_buffer_release(&kept);
    }
    for (size_t i = 0; i < whole.size; i++) {
        struct clip_buffer kept = {0};
        whole.data[i] ^= 4;
        test_ok(clip_events_keep(whole.data, whole.size, 100, &kept, &error), &error);
        whole.data[i] ^= 4;
        assert_int_equal(kept.size, i < FIRST ? 0 : FIRST + (i - FIRST) / record * record);
        assert_true(kept.size == 0 || memcmp(kept.data, whole.data, kept.size) == 0);
        clip_buffer_release(&kept);
    }
    clip_buffer_release(&whole);
}

/* Records with right checksums around any bytes: nothing is read beyond them. */
static void events_of_any_bytes_do_no_harm(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, 0);
    for (int round = 0; round < 20000; round++) {
        uint32_t n = clip_rng_below(&rng, 24);
        unsigned char *record = calloc(16 + n, 1); /* its own piece of memory: ASan sees its end */
        struct clip_buffer kept = {0};
        assert_non_null(record);
        record[0] = (unsigned char)n;
        uint32_t check = clip_crc32c_masked(record, 8);
        for (int b = 0; b < 4; b++) record[8 + b] = (unsigned char)(check >> 8 * b);
        for (uint32_t i = 0; i < n; i++)
            record[12 + i] = (unsigned char)(clip_rng_below(&rng, 4) == 0
                                                 ? 0x80 | clip_rng_below(&rng, 128)
                                                 : clip_rng_below(&rng, 24));
        check = clip_crc32c_masked(record + 12, n);
        for (int b = 0; b < 4; b++) record[12 + n + (uint32_t)b] = (unsigned char)(check >> 8 * b);
        test_ok(clip_events_keep(record, 16 + n, INT64_MAX, &kept, &error), &error);
        assert_true(kept.size == 0 || kept.size == 16 + n);
        clip_buffer_release(&kept);
        free(record);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_is_that_of_the_rfc),
        cmocka_unit_test(records_are_tensorboards_own),
        cmocka_unit_test(a_resumed_run_has_no_step_twice),
        cmocka_unit_test(a_cut_or_damaged_file_is_kept_up_to_there),
        cmocka_unit_test(events_of_any_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
