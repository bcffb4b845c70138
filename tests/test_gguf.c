/* GGUF: what is written is read back, byte by byte as the format says; every way in which a file
 * can be wrong is a sentence. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/gguf.h"
#include "tests/support.h"

/* The bytes of a file with one value and one tensor, by the format's description. */
struct text {
    unsigned char bytes[512];
    size_t n;
};

static void put(struct text *t, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++) t->bytes[t->n++] = (unsigned char)(value >> 8 * i & 0xff);
}

static void put_text(struct text *t, const char *text)
{
    put(t, strlen(text), 8);
    memcpy(t->bytes + t->n, text, strlen(text));
    t->n += strlen(text);
}

/* Where a test changes something: the offsets of the parts. */
struct parts {
    size_t version, tensors, values, key, type, value, name, ndim, dim, kind, offset, data;
};

static struct text make(struct parts *at)
{
    struct text t = {0};
    const float data[6] = {1, 2, 3, 4, 5, 6.5f};
    memcpy(t.bytes, "GGUF", 4);
    t.n = at->version = 4;
    put(&t, 3, 4);
    at->tensors = t.n;
    put(&t, 1, 8);
    at->values = t.n;
    put(&t, 1, 8);
    at->key = t.n;
    put_text(&t, "a.b");
    at->type = t.n;
    put(&t, 9, 4); /* a list ... */
    put(&t, 5, 4); /* of I32 */
    put(&t, 2, 8);
    at->value = t.n;
    put(&t, 7, 4);
    put(&t, UINT64_C(0xffffffff), 4);
    at->name = t.n;
    put_text(&t, "w");
    at->ndim = t.n;
    put(&t, 2, 4);
    at->dim = t.n;
    put(&t, 3, 8);
    put(&t, 2, 8);
    at->kind = t.n;
    put(&t, 0, 4);
    at->offset = t.n;
    put(&t, 0, 8);
    t.n = at->data = (t.n + 31) / 32 * 32;
    memcpy(t.bytes + t.n, data, sizeof data);
    t.n += sizeof data;
    return t;
}

static void reads_the_format(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle bundle = {0};
    struct parts at;
    struct text t = make(&at);
    json_t *values;
    test_ok(clip_gguf_parse(t.bytes, t.n, "a", &values, &bundle, &error), &error);
    const json_t *list = json_object_get(values, "a.b");
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(json_integer_value(json_array_get(list, 0)), 7);
    assert_int_equal(json_integer_value(json_array_get(list, 1)), -1);
    const struct clip_tensor *w = clip_bundle_find(&bundle, "w");
    assert_non_null(w);
    assert_int_equal(w->ndim, 2);
    assert_int_equal(w->shape[0], 2);
    assert_int_equal(w->shape[1], 3);
    assert_true(((const float *)w->data)[5] == 6.5f);
    clip_bundle_release(&bundle);
    json_decref(values);
    for (size_t n = 0; n < t.n; n++) { /* any cut is seen */
        test_fails(clip_gguf_parse(t.bytes, n, "a", &values, &bundle, &error), &error,
                   CLIP_ERR_FORMAT, "a: ");
        assert_null(values);
        assert_int_equal(bundle.tensor_count, 0);
    }
}

static void refuses_lies(void **state)
{
    (void)state;
    struct parts at;
    make(&at);
    const struct {
        size_t at, width;
        uint64_t value;
        const char *word;
    } lies[] = {
        {0, 1, 'g', "does not begin"},
        {at.version, 4, 1, "version 1"},
        {at.tensors, 8, UINT64_MAX, "too short for them"},
        {at.tensors, 8, 2, "a: "},
        {at.values, 8, INT64_MAX, "too short for them"},
        {at.key, 8, UINT64_MAX, "the name of a value"},
        {at.key, 8, 0, "is not 1 to"},
        {at.key + 8, 1, 0xff, "UTF-8"},
        {at.type, 4, 13, "type 13"},
        {at.type + 4, 4, 9, "list of items of type 9"},
        {at.type + 8, 8, UINT64_MAX / 4, "ends inside a.b"},
        {at.name, 8, 4096, "the name of a tensor"},
        {at.ndim, 4, 9, "9 dimensions"},
        {at.dim, 8, UINT64_MAX, "too large to be true"},
        {at.dim, 8, INT64_MAX / 4, "too large to be true"},
        {at.dim, 8, 4, "w"},
        {at.kind, 4, 2, "quantised"},
        {at.offset, 8, 32, "ends inside w"},
        {at.offset, 8, 7, "does not hold there"},
        {at.offset, 8, UINT64_MAX - 31, "does not hold there"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct clip_error error;
        struct clip_bundle bundle = {0};
        struct text t = make(&at);
        json_t *values;
        t.n = lies[i].at;
        put(&t, lies[i].value, lies[i].width);
        t.n = at.data + 24;
        test_fails(clip_gguf_parse(t.bytes, t.n, "a", &values, &bundle, &error), &error,
                   CLIP_ERR_FORMAT, lies[i].word);
        assert_null(values);
    }
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle bundle = {0}, back = {0};
    float data[6] = {1, 2, 3, 4, 5, 6};
    uint16_t half[3] = {0x3c00, 0x4000, 0x4200};
    const int64_t shape[] = {2, 3};
    struct clip_tensor w = clip_tensor_view(CLIP_F32, data, 2, shape);
    struct clip_tensor h = clip_tensor_view(CLIP_F16, half, 1, shape + 1);
    test_ok(clip_bundle_add(&bundle, "h", &h, &error), &error);
    test_ok(clip_bundle_add(&bundle, "w", &w, &error), &error);
    json_t *values = json_pack("{s:i, s:f, s:b, s:s, s:[s, s], s:[f, f], s:[]}", "i", 7, "f", 0.5,
                               "b", 1, "s", "\xE4\xB8\xAD", "texts", "", "b", "reals", 1.5, -2.0,
                               "none");
    json_t *again = NULL;
    const char *path = test_path(test_folder(), "a.gguf");
    test_ok(clip_gguf_write(path, values, &bundle, &error), &error);
    assert_true(clip_gguf_is(path));
    json_object_del(values, "none");
    test_ok(clip_gguf_read(path, &again, &back, &error), &error);
    assert_int_equal(json_array_size(json_object_get(again, "none")), 0);
    json_object_del(again, "none");
    assert_true(json_equal(values, again));
    assert_string_equal(back.tensors[0].name, "h");
    assert_memory_equal(back.tensors[0].tensor.data, half, sizeof half);
    assert_memory_equal(clip_bundle_find(&back, "w")->data, data, sizeof data);
    assert_int_equal((uintptr_t)back.tensors[1].tensor.data % 32, 0);
    json_object_set_new(values, "i", json_integer(-1)); /* no UINT32 */
    test_fails(clip_gguf_write(path, values, &bundle, &error), &error, CLIP_ERR_DATA, "\"i\"");
    json_decref(values);
    json_decref(again);
    clip_bundle_release(&back);
    clip_bundle_release(&bundle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_format),
        cmocka_unit_test(refuses_lies),
        cmocka_unit_test(writes_what_it_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
