/* core/string_map and core/int_map: keys to numbers; core/hash under a secret. */
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/int_map.h"
#include "core/string_map.h"
#include "tests/support.h"

enum { MANY = 100000 };

/* Known answers: Python's hash() of bytes is this function under a secret of zeros
 * (PYTHONHASHSEED=0), and the reference implementation's for the key 00 01 ... 0f. */
static void sip_hash_meets_the_known_answers(void **state)
{
    (void)state;
    static const uint64_t zero[2] = {0, 0};
    static const uint64_t counted[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0F0E0D0C0B0A0908)};
    static const char text[] = "a photo of a cat, a dog";
    assert_true(clip_hash_keyed(zero, text, 1) == UINT64_C(0x407448D2B89B1813));
    assert_true(clip_hash_keyed(zero, text, 4) == UINT64_C(0xBAFCAC334432AB8C));
    assert_true(clip_hash_keyed(zero, text, 7) == UINT64_C(0x5D1C22ABC205BC54));
    assert_true(clip_hash_keyed(zero, text, 8) == UINT64_C(0x350AD77A0103A830));
    assert_true(clip_hash_keyed(zero, text, 9) == UINT64_C(0xD053D4B96E1776EC));
    assert_true(clip_hash_keyed(zero, text, 15) == UINT64_C(0xA17A5FCE768CEA1E));
    assert_true(clip_hash_keyed(zero, text, 16) == UINT64_C(0x68F1D5FAABC3C26C));
    assert_true(clip_hash_keyed(zero, text, 23) == UINT64_C(0x8E83062355F71440));
    assert_true(clip_hash_keyed(counted, NULL, 0) == UINT64_C(0xABAC0158050FC4DC));
}

/* ---- strings ---- */

static int64_t add(struct clip_string_map *map, const char *key, size_t n, int64_t value)
{
    struct clip_error error;
    struct clip_string_entry *entry = NULL;
    test_ok(clip_string_map_add(map, key, n, value, &entry, &error), &error);
    assert_int_equal(entry->n, n);
    assert_memory_equal(entry->key, key, n);
    return entry->value;
}

static void entries_keep_their_order_and_first_value(void **state)
{
    (void)state;
    struct clip_string_map map = {0};
    assert_int_equal(clip_string_map_find(&map, "cat", 3), -1);
    assert_int_equal(add(&map, "cat", 3, map.count), 0);
    assert_int_equal(add(&map, "dog", 3, map.count), 1);
    assert_int_equal(add(&map, "cat", 3, map.count), 0); /* there already: nothing changes */
    assert_int_equal(add(&map, "", 0, 70), 70);          /* the empty key is one too */
    assert_int_equal(add(&map, "cats", 3, 71), 0);       /* its first three bytes alone */
    assert_int_equal(map.count, 3);
    assert_string_equal(map.entries[0].key, "cat");
    assert_string_equal(map.entries[1].key, "dog");
    map.entries[1].value = -5; /* the caller's to change */
    assert_int_equal(clip_string_map_find(&map, "dog", 3), -5);
    assert_int_equal(clip_string_map_find(&map, "dogs", 4), -1);
    assert_int_equal(clip_string_map_find(&map, "", 0), 70);
    clip_string_map_release(&map);
    assert_int_equal(map.count, 0);
    assert_null(map.entries);
    clip_string_map_release(&map);
}

static void keys_may_hold_any_byte(void **state)
{
    (void)state;
    struct clip_string_map map = {0};
    static const char bytes[] = "a\0b\0c\xFF\xFE";
    for (size_t n = 0; n < sizeof bytes; n++) assert_int_equal(add(&map, bytes, n, (int64_t)n), n);
    for (size_t n = 0; n < sizeof bytes; n++)
        assert_int_equal(clip_string_map_find(&map, bytes, n), n);
    assert_int_equal(clip_string_map_find(&map, "a\0c", 3), -1);
    assert_int_equal(map.entries[6].key[6], '\0'); /* a NUL behind each copy */
    clip_string_map_release(&map);
}

static void many_keys_are_found_again(void **state)
{
    (void)state;
    struct clip_string_map map = {0};
    char key[48];
    for (int64_t i = 0; i < MANY; i++) {
        size_t n = (size_t)snprintf(key, sizeof key, "images/%lld.jpg", (long long)(i * i % 99991));
        int64_t before = map.count, value = add(&map, key, n, i);
        assert_true(value == i ? map.count == before + 1 : map.count == before);
        assert_true(2 * map.slot_count >= 3 * map.count);
    }
    for (int64_t i = 0; i < MANY; i++) {
        size_t n = (size_t)snprintf(key, sizeof key, "images/%lld.jpg", (long long)(i * i % 99991));
        int64_t first = clip_string_map_find(&map, key, n);
        assert_true(first >= 0 && first <= i);
        assert_int_equal(first * first % 99991, i * i % 99991);
    }
    for (int64_t i = 1; i < map.count; i++)
        assert_true(map.entries[i - 1].value < map.entries[i].value);
    assert_int_equal(clip_string_map_find(&map, "images/99991.jpg", 16), -1);
    clip_string_map_release(&map);
}

static void copies_are_the_maps_and_borrowed_keys_the_callers(void **state)
{
    (void)state;
    struct clip_string_map copies = {0}, borrows = {.borrows = true};
    char key[] = "cat";
    add(&copies, key, 3, 0);
    add(&borrows, key, 3, 0);
    assert_ptr_not_equal(copies.entries[0].key, key);
    assert_ptr_equal(borrows.entries[0].key, key);
    key[0] = 'b';
    assert_int_equal(clip_string_map_find(&copies, "cat", 3), 0);
    clip_string_map_release(&copies);
    clip_string_map_release(&borrows);
}

static void a_cleared_map_is_empty_and_keeps_its_room(void **state)
{
    (void)state;
    struct clip_string_map map = {.borrows = true};
    static const char text[] = "abcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < 26; i++) add(&map, text + i, 1, (int64_t)i);
    const void *entries = map.entries, *slots = map.slots;
    for (int round = 0; round < 3; round++) {
        clip_string_map_clear(&map);
        assert_int_equal(map.count, 0);
        for (size_t i = 0; i < 26; i++)
            assert_int_equal(clip_string_map_find(&map, text + i, 1), -1);
        for (size_t i = 26; i > 0; i--) assert_int_equal(add(&map, text + i - 1, 1, round), round);
    }
    assert_ptr_equal(map.entries, entries);
    assert_ptr_equal(map.slots, slots);
    clip_string_map_release(&map);
    clip_string_map_clear(&map); /* nothing to clear */
}

/* The longest run of taken slots: what the slowest search walks over. */
static int64_t longest_run(const void *slots, int64_t count, size_t size, size_t offset)
{
    int64_t longest = 0, run = 0;
    for (int64_t i = 0; i < 2 * count; i++) { /* twice around: a run may pass the end */
        int64_t taken;
        memcpy(&taken, (const char *)slots + (size_t)(i % count) * size + offset, sizeof taken);
        run = taken != 0 ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    return longest;
}

/* Strings that FNV-1a, which hashed them once, cannot tell apart in its lower 12 bits: found by
 * trying. Chosen keys meet here no more often than others do. */
static void chosen_strings_do_not_meet(void **state)
{
    (void)state;
    struct clip_string_map map = {0};
    char key[24];
    for (uint64_t tried = 0; map.count < 2000; tried++) {
        size_t n = (size_t)snprintf(key, sizeof key, "%llx", (unsigned long long)tried);
        uint64_t hash = UINT64_C(0xCBF29CE484222325);
        for (size_t i = 0; i < n; i++)
            hash = (hash ^ (unsigned char)key[i]) * UINT64_C(0x100000001B3);
        if ((hash & 0xFFF) == 0) add(&map, key, n, 0);
    }
    assert_true(longest_run(map.slots, map.slot_count, sizeof *map.slots, 0) < 500);
    clip_string_map_release(&map);
}

/* ---- whole numbers ---- */

static void numbers_are_kept_replaced_and_found(void **state)
{
    (void)state;
    struct clip_int_map map = {0};
    struct clip_error error;
    assert_int_equal(clip_int_map_find(&map, 0), -1);
    for (uint64_t i = 0; i < MANY; i++)
        test_ok(clip_int_map_put(&map, i * i % 99991 << (i % 3 * 20), (int64_t)i, &error), &error);
    assert_true(map.slot_count >= 2 * map.count);
    int64_t count = map.count;
    for (uint64_t i = 0; i < MANY; i++)
        assert_true(clip_int_map_find(&map, i * i % 99991 << (i % 3 * 20)) >= (int64_t)i);
    test_ok(clip_int_map_put(&map, 0, 12345, &error), &error);
    assert_int_equal(clip_int_map_find(&map, 0), 12345);
    assert_int_equal(map.count, count);
    assert_int_equal(clip_int_map_find(&map, UINT64_MAX), -1);
    test_ok(clip_int_map_put(&map, UINT64_MAX, 0, &error), &error);
    assert_int_equal(clip_int_map_find(&map, UINT64_MAX), 0);
    clip_int_map_release(&map);
    assert_int_equal(clip_int_map_find(&map, 0), -1);
}

/* Keys that differ in few bits, wherever they lie, are spread over all slots. */
static void regular_numbers_do_not_meet(void **state)
{
    (void)state;
    struct clip_error error;
    for (int shift = 0; shift <= 48; shift += 4) {
        struct clip_int_map map = {0};
        for (uint64_t i = 0; i < 65536; i++)
            test_ok(clip_int_map_put(&map, i << shift, 1, &error), &error);
        assert_int_equal(map.count, 65536);
        int64_t run = longest_run(map.slots, map.slot_count, sizeof *map.slots,
                                  offsetof(struct clip_int_slot, value));
        if (run >= 1000) test_fail("keys times 2^%d: a run of %lld", shift, (long long)run);
        clip_int_map_release(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sip_hash_meets_the_known_answers),
        cmocka_unit_test(entries_keep_their_order_and_first_value),
        cmocka_unit_test(keys_may_hold_any_byte),
        cmocka_unit_test(many_keys_are_found_again),
        cmocka_unit_test(copies_are_the_maps_and_borrowed_keys_the_callers),
        cmocka_unit_test(a_cleared_map_is_empty_and_keeps_its_room),
        cmocka_unit_test(chosen_strings_do_not_meet),
        cmocka_unit_test(numbers_are_kept_replaced_and_found),
        cmocka_unit_test(regular_numbers_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
