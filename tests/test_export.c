/* Exporting: every format read back, in three types, the same bytes each time; folders that appear
 * whole or not at all; what a format cannot express is refused by name. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoints/convert.h"
#include "checkpoints/onnx.h"
#include "core/choice.h"
#include "core/json.h"
#include "embed/self_check.h"
#include "formats/architectures.h"
#include "formats/model_export.h"
#include "kernels/bf16.h"
#include "tests/small_model.h"

static const char *const all_formats[] = {
    "hdf5", "safetensors", "huggingface", "open_clip", "onnx", "gguf", NULL,
};

static enum clip_export_format format_of(const char *name)
{
    return (enum clip_export_format)clip_choice_find(clip_export_format_name, name);
}

static clip_status export_as(const struct clip_model_file *file, const char *name, const char *path,
                             enum clip_dtype dtype, struct clip_error *error)
{
    const struct clip_export_options options = {
        .format = format_of(name), .dtype = dtype, .check = clip_self_check};
    return clip_model_export(file, path, &options, error);
}

/* The weights as `dtype` rounds them; clip.cpp's files keep all but matrices as they are. */
static void check_weights(const struct clip_model *got, const struct clip_model *from,
                          enum clip_dtype dtype, const char *format)
{
    bool gguf = strcmp(format, "gguf") == 0;
    assert_int_equal(got->param_count, from->param_count);
    for (int64_t p = 0; p < from->param_count; p++) {
        const struct clip_tensor *x = &from->params[p].tensor, *y = &got->params[p].tensor;
        bool narrow = dtype != CLIP_F32 && (!gguf || x->ndim >= 2);
        for (int64_t i = 0; i < clip_tensor_count(x); i++) {
            float a = ((const float *)x->data)[i], b = ((const float *)y->data)[i];
            if (narrow)
                a = dtype == CLIP_F16 ? clip_f16_to_f32(clip_f32_to_f16(a))
                                      : clip_bf16_widen(clip_bf16_round(a));
            if (memcmp(&a, &b, sizeof a) != 0)
                test_fail("%s: number %d of %s is %g, not %g", format, (int)i, from->params[p].name,
                          (double)b, (double)a);
        }
    }
}

/* Native, the format, native again: the same bits, the same description and tokenizer. */
static void comes_back_to_the_bit(void **state)
{
    (void)state;
    static const char *const formats[] = {
        "hdf5", "safetensors", "huggingface", "open_clip", "gguf", NULL,
    };
    static const char *const names[] = {"a.h5", "a.safetensors", "a", "a", "a.gguf"};
    static const enum clip_dtype dtypes[] = {CLIP_F32, CLIP_F16, CLIP_BF16};
    struct clip_error error;
    struct clip_model_file *file = small_model(7);
    test_ok(clip_model_file_sum(file, &error), &error);
    for (int f = 0; formats[f] != NULL; f++) {
        for (int k = 0; k < 3; k++) {
            struct clip_model_file *back = NULL;
            const char *path = test_path(test_folder(), names[f]);
            test_ok(export_as(file, formats[f], path, dtypes[k], &error), &error);
            test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
            test_ok(clip_model_file_sum(back, &error), &error);
            check_weights(back->model, file->model, dtypes[k], formats[f]);
            if (k == 0)
                assert_string_equal(back->checksum, file->checksum);
            else
                assert_string_not_equal(back->checksum, file->checksum);
            assert_non_null(back->tokenizer);
            const char *a = file->tokenizer->text.data, *b = back->tokenizer->text.data;
            assert_string_equal(strchr(a, '\n'), strchr(b, '\n')); /* behind the header */
            clip_model_file_free(back);
        }
    }
    clip_model_file_free(file);
}

static void same_file(const char *a, const char *b)
{
    struct clip_error error;
    struct clip_buffer x = {0}, y = {0};
    test_ok(clip_file_read(a, 1 << 24, &x, &error), &error);
    test_ok(clip_file_read(b, 1 << 24, &y, &error), &error);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    clip_buffer_release(&x);
    clip_buffer_release(&y);
}

/* ---- Folders ---- */

static int64_t names_in(const char *folder)
{
    struct clip_error error;
    struct clip_names names;
    test_ok(clip_folder_list(folder, &names, &error), &error);
    int64_t count = names.count;
    clip_names_release(&names);
    return count;
}

static void same_folder(const char *a, const char *b)
{
    struct clip_error error;
    struct clip_names names;
    test_ok(clip_folder_list(a, &names, &error), &error);
    assert_int_equal(names.count, names_in(b));
    for (int64_t i = 0; i < names.count; i++)
        same_file(test_path(a, names.names[i]), test_path(b, names.names[i]));
    clip_names_release(&names);
}

/* ONNX is the one format that a build may be without. */
static bool is_built(const struct clip_model_file *file, const char *format)
{
    struct clip_error error;
    const char *path = test_path(test_folder(), "probe");
    if (strcmp(format, "onnx") != 0) return true;
    clip_status status = export_as(file, format, path, CLIP_F32, &error);
    if (status != CLIP_OK && strstr(error.message, "built without ONNX") == NULL)
        test_fail("%s", error.message);
    return status == CLIP_OK;
}

static void the_bytes_are_the_models_alone(void **state)
{
    (void)state;
    static const enum clip_dtype dtypes[] = {CLIP_F32, CLIP_F16, CLIP_BF16};
    struct clip_error error;
    struct clip_model_file *file = small_model(9);
    for (int i = 0; all_formats[i] != NULL; i++) {
        if (!is_built(file, all_formats[i])) continue;
        for (int k = 0; k < 3; k++) { /* other path, source and moment */
            const char *parent = test_folder();
            const char *a = test_path(parent, "a"), *b = test_path(parent, "b.x");
            test_ok(export_as(file, all_formats[i], a, dtypes[k], &error), &error);
            free(file->source);
            file->source = clip_string_copy("/some/where/else.h5", &error);
            test_ok(export_as(file, all_formats[i], b, dtypes[k], &error), &error);
            if (clip_path_is_folder(a))
                same_folder(a, b);
            else
                same_file(a, b);
            assert_int_equal(names_in(parent), 2);
        }
    }
    clip_model_file_free(file);
}

static void an_empty_folder_is_as_good_as_none(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(9);
    const char *parent = test_folder(), *path = test_path(parent, "a");
    test_ok(clip_folder_create(path, &error), &error);
    test_ok(export_as(file, "open_clip", test_path(parent, "a/"), CLIP_F32, &error), &error);
    assert_true(names_in(path) > 2);
    assert_int_equal(names_in(parent), 1);
    clip_model_file_free(file);
}

static void a_folder_is_replaced_only_when_asked(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(10);
    const char *parent = test_folder(), *path = test_path(parent, "model");
    const char *fresh = test_path(parent, "fresh");
    struct clip_export_options options = {CLIP_EXPORT_OPEN_CLIP, CLIP_F32, false};
    test_ok(clip_model_export(file, path, &options, &error), &error);
    file->model->data[0] += 1;
    test_fails(clip_model_export(file, path, &options, &error), &error, CLIP_ERR_USAGE, "--force");
    options.replace = true;
    test_ok(clip_model_export(file, path, &options, &error), &error);
    test_ok(clip_model_export(file, fresh, &options, &error), &error);
    same_folder(path, fresh);
    test_write_text(path, "notes.txt", "mine"); /* somebody's own file */
    test_fails(clip_model_export(file, path, &options, &error), &error, CLIP_ERR_USAGE,
               "notes.txt");
    test_fails(clip_model_export(file, test_write_text(parent, "file", "x"), &options, &error),
               &error, CLIP_ERR_IO, "is a file");
    test_fails(clip_model_export(file, test_path(parent, "no/where"), &options, &error), &error,
               CLIP_ERR_NOT_FOUND, "no/where");
    assert_int_equal(names_in(parent), 3);
    clip_model_file_free(file);
}

/* Files may have `bytes` at most: what a full disk looks like. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(11);
    for (int i = 0; all_formats[i] != NULL; i++) {
        if (!is_built(file, all_formats[i])) continue;
        const char *parent = test_folder(), *path = test_path(parent, "model");
        for (rlim_t bytes = 100; bytes <= 100000; bytes *= 10) {
            limit_files(bytes);
            clip_status status = export_as(file, all_formats[i], path, CLIP_F32, &error);
            limit_files(RLIM_INFINITY);
            assert_int_equal(status, CLIP_ERR_IO);
            assert_int_equal(names_in(parent), 0);
        }
    }
    clip_model_file_free(file);
}

static json_t *read_json(const char *folder, const char *name)
{
    struct clip_error error;
    json_t *value = clip_json_read(test_path(folder, name), 1 << 24, &error);
    if (value == NULL) test_fail("%s", error.message);
    return value;
}

static void the_tokenizer_is_written_along(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(12);
    int64_t size = file->tokenizer->vocab_size;
    const char *path = test_path(test_folder(), "model");
    test_ok(export_as(file, "open_clip", path, CLIP_F32, &error), &error);
    json_t *vocabulary = read_json(path, "vocab.json"), *fast = read_json(path, "tokenizer.json");
    assert_int_equal(json_object_size(vocabulary), size);
    assert_int_equal(json_integer_value(json_object_get(vocabulary, "!")), 0);
    assert_int_equal(json_integer_value(json_object_get(vocabulary, "!</w>")), 256);
    assert_int_equal(json_integer_value(json_object_get(vocabulary, "\xC4\x80")), 188); /* byte 0 */
    assert_int_equal(json_integer_value(json_object_get(vocabulary, "<|endoftext|>")), size - 1);
    assert_int_equal(json_array_size(json_object_get(json_object_get(fast, "model"), "merges")),
                     size - 514);
    json_decref(vocabulary);
    json_decref(fast);
    json_t *config = read_json(path, "open_clip_config.json");
    json_t *text = json_object_get(json_object_get(config, "model_cfg"), "text_cfg");
    assert_non_null(json_object_get(text, "hf_tokenizer_name"));
    json_decref(config);
    clip_tokenizer_free(file->tokenizer); /* without a tokenizer the rest is written */
    file->tokenizer = NULL;
    path = test_path(test_folder(), "model");
    test_ok(export_as(file, "open_clip", path, CLIP_F32, &error), &error);
    assert_int_equal(names_in(path), 2);
    clip_model_file_free(file);
}

/* A SigLIP goes to transformers; what has no words for one of its sizes says so. */
static void a_siglip_comes_back(void **state)
{
    (void)state;
    static const char *const others[] = {"open_clip", "gguf"};
    struct clip_error error;
    int found = 0;
    for (int root = 0; test_root(root) != NULL; root++) {
        struct clip_model_file *file = NULL, *back = NULL;
        if (test_root_file(root, "siglip_tiny/model.safetensors") == NULL) continue;
        const char *model = test_root_file(root, "siglip_tiny"), *folder = test_folder();
        test_ok(clip_model_file_open(&file, model, NULL, &error), &error);
        const char *path = test_path(folder, "a");
        test_ok(export_as(file, "huggingface", path, CLIP_F32, &error), &error);
        test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
        test_ok(clip_model_file_sum(file, &error), &error);
        test_ok(clip_model_file_sum(back, &error), &error);
        assert_string_equal(back->checksum, file->checksum);
        if (is_built(file, "onnx")) {
            const char *graph = test_path(test_folder(), "a.onnx");
            test_ok(export_as(file, "onnx", graph, CLIP_F32, &error), &error);
        }
        for (int i = 0; i < 2; i++)
            test_fails(export_as(file, others[i], test_path(folder, "b"), CLIP_F32, &error), &error,
                       CLIP_ERR_DATA, "SigLIP");
        assert_int_equal(names_in(folder), 1);
        clip_model_file_free(back);
        clip_model_file_free(file);
        found++;
    }
    if (found == 0) test_skip("siglip_tiny is not there");
}

/* Sizes, heads, GELU and epsilon of timm's smallest; the text tower is free. */
static struct clip_model_file *a_siglip_of_timm(void)
{
    struct clip_error error;
    struct clip_model_file *file = small_model(17);
    struct clip_model_config c = file->model->config;
    clip_architecture_apply(&c, CLIP_ARCHITECTURE_SIGLIP);
    c.text.activation = CLIP_GELU_TANH;
    c.logit_bias = true;
    c.embed_dim = c.vision.width = 768;
    c.vision.layers = c.vision.heads = 12;
    c.image_size = file->preprocess.image_size = 224;
    c.patch_size = 16;
    c.vision.norm_eps = c.text.norm_eps = 1e-6;
    clip_model_free(file->model);
    file->model = NULL;
    test_ok(clip_model_create(&file->model, &c, &error), &error); /* zeros, mostly */
    for (int64_t i = 0; i < file->model->param_count; i++)
        *(float *)file->model->params[i].tensor.data = (float)i / 7;
    file->ids.pad = 1;
    file->cleaning = CLIP_TEXT_CANONICALIZE;
    file->preprocess.resize_mode = CLIP_RESIZE_SQUASH;
    return file;
}

static void a_siglip_of_timms_sizes_goes_to_open_clip(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = a_siglip_of_timm(), *back = NULL;
    const char *path = test_path(test_folder(), "a");
    test_ok(export_as(file, "open_clip", path, CLIP_BF16, &error), &error);
    json_t *root = clip_json_read(test_path(path, "open_clip_config.json"), 1 << 20, &error);
    json_t *model = json_object_get(root, "model_cfg");
    json_t *vision = json_object_get(model, "vision_cfg");
    json_t *text = json_object_get(model, "text_cfg");
    assert_string_equal(json_string_value(json_object_get(vision, "timm_model_name")),
                        "vit_base_patch16_siglip_224");
    assert_true(json_is_true(json_object_get(text, "no_causal_mask")));
    assert_null(json_object_get(model, "architecture")); /* which open_clip would not take */
    assert_null(json_object_get(model, "text_gelu_tanh"));
    json_decref(root);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    struct clip_model_description a = clip_model_file_description(file);
    struct clip_model_description b = clip_model_file_description(back);
    assert_memory_equal(&a, &b, sizeof a);
    assert_non_null(back->tokenizer);
    clip_model_file_free(back);
    clip_tokenizer_free(file->tokenizer); /* nothing beside the weights says what fills up texts */
    file->tokenizer = NULL;
    file->ids.pad = 0;
    path = test_path(test_folder(), "c");
    test_ok(export_as(file, "open_clip", path, CLIP_BF16, &error), &error);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    assert_int_equal(back->ids.pad, 0);
    clip_model_file_free(back);
    file->model->config.vision.heads = 6;
    test_fails(export_as(file, "open_clip", test_path(test_folder(), "b"), CLIP_F32, &error),
               &error, CLIP_ERR_DATA, "vit_base_patch16_siglip_224");
    clip_model_file_free(file);
}

/* Words that open_clip has for a plain CLIP's layers too. */
static void gelu_by_tanh_comes_back_from_open_clip(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(5), *back = NULL;
    const char *path = test_path(test_folder(), "a");
    struct clip_model_config *c = &file->model->config;
    c->text.activation = CLIP_GELU_TANH;
    c->vision.norm_eps = c->text.norm_eps = 1e-6;
    for (int i = 0; i < 3; i++, path = test_path(test_folder(), i == 1 ? "b" : "c")) {
        test_ok(export_as(file, "open_clip", path, CLIP_F32, &error), &error);
        test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
        assert_memory_equal(&back->model->config, c, sizeof *c);
        clip_model_file_free(back);
        c->vision.activation = CLIP_GELU_TANH; /* now in both, then in the vision tower alone */
        if (i == 1) c->text.activation = CLIP_GELU;
        if (i == 1) c->text.norm_eps = 1e-5;
    }
    clip_model_file_free(file);
}

/* Each format either says what each tower has or refuses. */
static void towers_that_differ_come_back(void **state)
{
    (void)state;
    static const char *const say[] = {"hdf5", "safetensors", "huggingface"};
    static const char *const refuse[] = {"open_clip", "gguf"};
    struct clip_error error;
    struct clip_model_file *file = small_model(5), *back = NULL;
    struct clip_model_config *c = &file->model->config;
    c->text.activation = CLIP_QUICK_GELU;
    c->text.norm_eps = 1e-12;
    for (int i = 0; i < 3; i++) {
        const char *path = test_path(test_folder(), i == 1 ? "a.safetensors" : say[i]);
        test_ok(export_as(file, say[i], path, CLIP_F32, &error), &error);
        test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
        assert_memory_equal(&back->model->config, c, sizeof *c);
        clip_model_file_free(back);
    }
    for (int i = 0; i < 2; i++)
        test_fails(
            export_as(file, refuse[i], test_path(test_folder(), refuse[i]), CLIP_F32, &error),
            &error, CLIP_ERR_DATA, "QuickGELU");
    clip_model_file_free(file);
}

/* A text tower as BERT's: only what describes each tower can hold it. */
static void towers_of_their_own_are_described(void **state)
{
    (void)state;
    static const char *const say[] = {"hdf5", "safetensors"};
    static const char *const refuse[] = {"open_clip", "gguf", "huggingface", "onnx"};
    struct clip_error error;
    struct clip_model_file *file = small_model(5), *back = NULL;
    struct clip_model_config c = file->model->config;
    c.text.post_norm = c.text.embed_norm = true;
    c.text.causal = c.text.final_norm = false;
    c.text.pooling = CLIP_POOL_FIRST;
    c.text.projection = CLIP_PROJECT_LINEAR;
    c.text.norm_eps = 1e-12;
    clip_model_free(file->model);
    file->model = NULL;
    test_ok(clip_model_create(&file->model, &c, &error), &error);
    clip_model_init(file->model, 8);
    for (int i = 0; i < 2; i++) {
        const char *path = test_path(test_folder(), i == 1 ? "a.safetensors" : say[i]);
        test_ok(export_as(file, say[i], path, CLIP_F32, &error), &error);
        test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
        assert_memory_equal(&back->model->config, &c, sizeof c);
        check_weights(back->model, file->model, CLIP_F32, say[i]);
        clip_model_file_free(back);
    }
    for (int i = 0; i < 4; i++)
        test_fails(
            export_as(file, refuse[i], test_path(test_folder(), refuse[i]), CLIP_F32, &error),
            &error, CLIP_ERR_DATA, i == 1 ? "clip.cpp does not know" : "neither a CLIP's");
    clip_model_file_free(file);
}

/* What protobuf does not hold in one file stands beside it, each weight where its entry says. */
static void a_large_graph_keeps_its_weights_beside(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_onnx *o = NULL;
    if (clip_onnx_create(&o, &error) != CLIP_OK) test_skip("%s", error.message);
    static float weights[3][1500];
    const char *folder = test_folder(), *path = test_path(folder, "a.onnx"), *y = "x";
    clip_onnx_input(o, "x", CLIP_F32, "batch,1500");
    for (int i = 0; i < 3; i++) {
        char name[8] = {'w', (char)('0' + i)};
        for (int k = 0; k < 1500; k++) weights[i][k] = (float)(1500 * i + k);
        const struct clip_tensor w = clip_tensor_view(CLIP_F32, weights[i], 1, (int64_t[]){1500});
        y = CLIP_ONNX_NODE(o, "Add", "", y, clip_onnx_weight(o, name, &w));
    }
    y = CLIP_ONNX_NODE(o, "Mul", "", y, clip_onnx_float(o, 2)); /* small: stays inside */
    clip_onnx_output(o, "y", y, CLIP_F32, "batch,1500");
    test_ok(clip_onnx_write(o, path, 10000, &error), &error);
    struct clip_buffer graph = {0}, data = {0};
    test_ok(clip_file_read(path, 10000, &graph, &error), &error);
    test_ok(clip_file_read(test_path(folder, "a.onnx.data"), 30000, &data, &error), &error);
    assert_true(graph.size < 2000);
    assert_non_null(memmem(graph.data, graph.size, "a.onnx.data", 11));
    assert_non_null(memmem(graph.data, graph.size, "16384", 5)); /* where w2 begins */
    assert_int_equal(data.size, 16384 + sizeof *weights);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(data.data + 8192 * i, weights[i], sizeof *weights);
    clip_buffer_release(&graph);
    clip_buffer_release(&data);
    clip_onnx_free(o);
}

/* ---- Refusals ---- */

/* The file folder/name holds the text `word`. */
static bool holds(const char *folder, const char *name, const char *word)
{
    struct clip_error error;
    struct clip_buffer bytes = {0};
    test_ok(clip_file_read(test_path(folder, name), 1 << 26, &bytes, &error), &error);
    bool found = memmem(bytes.data, bytes.size, word, strlen(word)) != NULL;
    clip_buffer_release(&bytes);
    return found;
}

static void each_tower_is_a_graph_of_its_own(void **state)
{
    (void)state;
    static const char *const vision = "vision_model.onnx", *const text = "text_model.onnx";
    struct clip_error error;
    struct clip_model_file *file = small_model(9);
    struct clip_export_options split = {CLIP_EXPORT_ONNX, CLIP_F16, .split = true};
    const char *parent = test_folder(), *a = test_path(parent, "a"), *b = test_path(parent, "b");
    split.format = CLIP_EXPORT_GGUF;
    test_fails(clip_model_export(file, a, &split, &error), &error, CLIP_ERR_USAGE,
               "format gguf is not split");
    split.format = CLIP_EXPORT_ONNX;
    if (!is_built(file, "onnx")) test_skip("built without ONNX");
    test_ok(clip_model_export(file, a, &split, &error), &error);
    test_ok(clip_model_export(file, b, &split, &error), &error);
    same_folder(a, b);
    assert_int_equal(names_in(a), 2);
    assert_true(holds(a, vision, "pixel_values") && holds(a, vision, "image_embeds"));
    assert_true(holds(a, text, "input_ids") && holds(a, text, "text_embeds"));
    assert_false(holds(a, vision, "input_ids") || holds(a, vision, "token_embedding.weight"));
    assert_false(holds(a, text, "pixel_values") || holds(a, text, "visual."));
    assert_true(holds(a, vision, "visual.conv1.weight") && holds(a, vision, "logit_scale"));
    test_fails(clip_model_export(file, a, &split, &error), &error, error.status, "a");
    split.replace = true;
    test_ok(clip_model_export(file, a, &split, &error), &error);
    assert_int_equal(names_in(parent), 2);
    clip_model_file_free(file);
}

static int64_t allocations_left, allocations; /* of jansson's: before one fails, and made */

static void *failing_malloc(size_t size)
{
    allocations++;
    return allocations_left-- == 0 ? NULL : malloc(size);
}

/* Whichever allocation of jansson's fails, an export is whole or refused: a value or a merge that
 * is missing would make another model. The first 400, then 200 spread over all. */
static void a_failed_append_never_says_done(void **state)
{
    (void)state;
    static const char *const formats[] = {"huggingface", "open_clip", "gguf"};
    struct clip_error error;
    struct clip_model_file *file = small_model(7);
    for (int f = 0; f < 3; f++) {
        bool folder = strcmp(formats[f], "gguf") != 0;
        const char *good = test_path(test_folder(), "good"), *path = test_path(test_folder(), "a");
        const struct clip_export_options options = {format_of(formats[f]), CLIP_F32, true};
        allocations = 0;
        allocations_left = INT64_MAX;
        json_set_alloc_funcs(failing_malloc, free);
        clip_status status = clip_model_export(file, good, &options, &error);
        json_set_alloc_funcs(malloc, free);
        test_ok(status, &error);
        int64_t all = allocations, refused = 0;
        assert_true(all > 100);
        for (int64_t n = 0; n < all; n += n < 400 ? 1 : 1 + (all - 400) / 200) {
            allocations_left = n;
            json_set_alloc_funcs(failing_malloc, free);
            status = clip_model_export(file, path, &options, &error);
            json_set_alloc_funcs(malloc, free);
            refused += status != CLIP_OK;
            if (status == CLIP_OK && folder) same_folder(good, path);
            if (status == CLIP_OK && !folder) same_file(good, path);
        }
        assert_true(refused > 50);
    }
    clip_model_file_free(file);
}

static void refuses_to_export(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(13);
    const char *path = test_path(test_folder(), "a.h5");
    ((float *)file->model->vision.proj->data)[3] = 65520;
    for (int i = 0; i < 2; i++) {
        test_fails(export_as(file, i ? "open_clip" : "hdf5", path, CLIP_F16, &error), &error,
                   CLIP_ERR_DATA, "visual.proj\" holds 65520, too large for F16");
        assert_false(clip_path_exists(path));
    }
    file->preprocess.resize_mode = CLIP_RESIZE_LONGEST;
    test_fails(export_as(file, "huggingface", path, CLIP_F32, &error), &error, CLIP_ERR_DATA,
               "longest");
    file->preprocess.resize_mode = CLIP_RESIZE_SHORTEST;
    test_fails(export_as(file, "hdf5", path, CLIP_U8, &error), &error, CLIP_ERR_USAGE, "U8");
    test_fails(export_as(file, "hdf5", "/nowhere/a.h5", CLIP_F32, &error), &error,
               CLIP_ERR_NOT_FOUND, "/nowhere");
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_to_the_bit),
        cmocka_unit_test(the_bytes_are_the_models_alone),
        cmocka_unit_test(an_empty_folder_is_as_good_as_none),
        cmocka_unit_test(a_folder_is_replaced_only_when_asked),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(the_tokenizer_is_written_along),
        cmocka_unit_test(a_siglip_comes_back),
        cmocka_unit_test(a_siglip_of_timms_sizes_goes_to_open_clip),
        cmocka_unit_test(gelu_by_tanh_comes_back_from_open_clip),
        cmocka_unit_test(towers_that_differ_come_back),
        cmocka_unit_test(towers_of_their_own_are_described),
        cmocka_unit_test(a_large_graph_keeps_its_weights_beside),
        cmocka_unit_test(each_tower_is_a_graph_of_its_own),
        cmocka_unit_test(a_failed_append_never_says_done),
        cmocka_unit_test(refuses_to_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
