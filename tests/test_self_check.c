/* An export that is spoiled between its writing and its last look is noticed, and not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "data/text/tokenizer.h"
#include "embed/self_check.h"
#include "tests/small_model.h"

static json_t *take_json(const char *folder, const char *name)
{
    struct clip_error error;
    json_t *value = clip_json_read(test_path(folder, name), 1 << 24, &error);
    assert_non_null(value);
    return value;
}

static void put_json(const char *folder, const char *name, json_t *value)
{
    char *text = json_dumps(value, 0);
    assert_non_null(text);
    test_write_text(folder, name, text);
    free(text);
    json_decref(value);
}

static void lose_a_merge(const char *folder)
{
    json_t *tokenizer = take_json(folder, "tokenizer.json");
    json_t *model = json_object_get(tokenizer, "model");
    json_t *merges = json_object_get(model, "merges");
    assert_true(json_array_size(merges) > 2);
    assert_int_equal(json_array_remove(merges, 1), 0);
    put_json(folder, "tokenizer.json", tokenizer);
}

static void lose_the_tokenizer(const char *folder)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt"};
    for (int i = 0; i < 3; i++) assert_int_equal(unlink(test_path(folder, names[i])), 0);
}

static void change_a_mean(const char *folder)
{
    json_t *rules = take_json(folder, "preprocessor_config.json");
    json_t *mean = json_object_get(rules, "image_mean");
    assert_int_equal(json_array_set_new(mean, 1, json_real(0.25)), 0);
    put_json(folder, "preprocessor_config.json", rules);
}

static void change_the_activation(const char *folder)
{
    json_t *config = take_json(folder, "config.json");
    json_t *text = json_object_get(config, "text_config");
    assert_int_equal(json_object_set_new(text, "hidden_act", json_string("quick_gelu")), 0);
    put_json(folder, "config.json", config);
}

/* The weights' last number: the file is whole, and says something else. */
static void change_a_weight(const char *folder)
{
    const float wrong = 3;
    FILE *file = fopen(test_path(folder, "model.safetensors"), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -(long)sizeof wrong, SEEK_END), 0);
    assert_int_equal(fwrite(&wrong, sizeof wrong, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void (*spoil)(const char *folder);

static clip_status check_spoiled(const struct clip_model_file *file, const char *path,
                                 enum clip_dtype dtype, struct clip_error *error)
{
    spoil(path);
    return clip_self_check(file, path, dtype, error);
}

static void a_wrong_export_is_noticed(void **state)
{
    (void)state;
    static const struct {
        void (*spoil)(const char *folder);
        const char *said;
    } cases[] = {
        {lose_a_merge, "tokenizer.json"},      {lose_the_tokenizer, "it has no tokenizer"},
        {change_a_mean, "its description is"}, {change_the_activation, "its description is"},
        {change_a_weight, "embedding"},
    };
    struct clip_error error;
    struct clip_model_file *file = small_model(17);
    const struct clip_export_options options = {
        .format = CLIP_EXPORT_HUGGINGFACE, .replace = true, .check = check_spoiled};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = test_folder(), *path = test_path(folder, "out");
        spoil = cases[i].spoil;
        clip_status status = clip_model_export(file, path, &options, &error);
        assert_int_not_equal(status, CLIP_OK);
        if (strstr(error.message, cases[i].said) == NULL) fail_msg("%s", error.message);
        struct clip_names left = {0};
        test_ok(clip_folder_list(folder, &left, &error), &error);
        assert_int_equal(left.count, 0);
        clip_names_release(&left);
    }
    clip_model_file_free(file);
}

/* A vocabulary of bytes alone, as it is learned from texts in which nothing repeats. */
static void a_tokenizer_without_merges_comes_back(void **state)
{
    (void)state;
    static const enum clip_export_format formats[] = {
        CLIP_EXPORT_HUGGINGFACE, CLIP_EXPORT_OPEN_CLIP, CLIP_EXPORT_GGUF, CLIP_EXPORT_HDF5};
    static const char text[] = "#version: 0.2 - clip.c, 0 merges";
    struct clip_error error;
    struct clip_tokenizer *older = NULL;
    struct clip_model_file *file = small_model(18);
    clip_tokenizer_free(file->tokenizer);
    test_ok(clip_tokenizer_parse(&file->tokenizer, text, strlen(text), "none", &error), &error);
    for (int i = 0; i < 4; i++) {
        const struct clip_export_options options = {.format = formats[i], .check = clip_self_check};
        const char *path = test_path(test_folder(), "out");
        test_ok(clip_model_export(file, path, &options, &error), &error);
        if (formats[i] != CLIP_EXPORT_HUGGINGFACE) continue;
        assert_int_equal(unlink(test_path(path, "tokenizer.json")), 0); /* the older form */
        test_ok(clip_tokenizer_open_folder(&older, path, &error), &error);
        assert_int_equal(older->vocab_size, 514);
        clip_tokenizer_free(older);
    }
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_export_is_noticed),
        cmocka_unit_test(a_tokenizer_without_merges_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
