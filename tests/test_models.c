/* Other projects' models: every folder of the reference sets that holds one is opened and gives the
 * embeddings recorded there; their layouts, written by ourselves, open too, and what is wrong with
 * them is named. Sizes, names and ids come from the files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "embed/embeddings.h"
#include "formats/layout.h"
#include "formats/model_export.h"
#include "tests/fixture.h"
#include "tests/small_model.h"

/* ---- Reference models ---- */

/* In float32 an embedding differs by a few units in the last place of its largest sums; the
 * references are float64. */
static const double EMBEDS = 3e-6;

static double largest(const struct clip_tensor *t)
{
    double most = 0;
    for (int64_t i = 0; i < clip_tensor_count(t); i++) {
        most = fmax(most, fabs((double)((const float *)t->data)[i]));
    }
    return most;
}

/* `model` gives what expected/PREFIXname holds for each output that is there. */
static void gives(const char *model, const char *inputs, const struct clip_bundle *expected,
                  const char *prefix)
{
    static const char *const names[] = {"image_embeds", "text_embeds", "image_features",
                                        "text_features", "logits_per_image"};
    struct clip_error error;
    struct clip_embedder *e = NULL;
    struct clip_embeddings got = {0};
    int compared = 0;
    test_ok(clip_embedder_open(&e, model, NULL, &error), &error);
    test_ok(clip_embeddings_from_tensors(&got, e, inputs, NULL, &error), &error);
    for (int i = 0; i < 5; i++) {
        char name[64], what[300];
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        snprintf(what, sizeof what, "%s %s", model, name);
        const struct clip_tensor *want = clip_bundle_find(expected, name);
        if (!want) continue;
        const struct clip_tensor *have = clip_bundle_find(&got.bundle, names[i]);
        assert_non_null(have);
        assert_int_equal(clip_tensor_count(have), clip_tensor_count(want));
        double allowed = i < 2   ? EMBEDS
                         : i < 4 ? EMBEDS * (1 + largest(want))
                                 : EMBEDS * (1 + clip_embedder_logit_scale(e));
        test_close(what, have->data, want->data, clip_tensor_count(want), 0, allowed);
        compared++;
    }
    assert_true(compared >= 3);
    clip_embeddings_release(&got);
    clip_embedder_free(e);
}

static const char *joined(const char *folder, const char *name)
{
    const char *path = test_path(folder, name);
    return clip_path_exists(path) ? path : NULL;
}

/* The files of weights in the folder, each of them by itself too. */
static void check_folder(const char *folder)
{
    static const char *const files[] = {
        "model.safetensors",
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.bin",
        "pytorch_model.bin",
        "epoch_1.pt",
        "model.pt",
        NULL,
    };
    const char *inputs = joined(folder, "expected.safetensors");
    struct clip_bundle expected = fixture_read(folder, "expected.safetensors");
    if (joined(folder, "config.json") || joined(folder, "open_clip_config.json")) {
        gives(folder, inputs, &expected, "");
    }
    for (int i = 0; files[i]; i++) {
        if (joined(folder, files[i])) gives(joined(folder, files[i]), inputs, &expected, "");
    }
    clip_bundle_release(&expected);
}

static void reference_models_give_their_embeddings(void **state)
{
    (void)state;
    static const char *const folders[] = {
        "hf_tiny",     "openclip_tiny",        "openclip_quickgelu_tiny", "openai_jit_tiny",
        "siglip_tiny", "siglip_openclip_tiny", "custom_text_tiny",
    };
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        for (size_t k = 0; k < sizeof folders / sizeof *folders; k++) {
            if (!test_root_file(r, folders[k])) continue;
            check_folder(test_root_file(r, folders[k]));
            count++;
        }
    }
    if (count == 0) test_skip("there are no reference models");
}

/* Half precision, whole and in shards: computed from the widened weights. */
static void half_precision_models_give_theirs(void **state)
{
    (void)state;
    static const struct {
        const char *model, *prefix;
    } cases[] = {
        {"hf_tiny/model.fp16.safetensors", "fp16."},
        {"hf_tiny/model.bf16.safetensors", "bf16."},
        {"hf_tiny_sharded", "fp16."},
        {"hf_tiny_sharded/model.safetensors.index.json", "fp16."},
    };
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        const char *inputs = test_root_file(r, "hf_tiny/expected.safetensors");
        for (size_t k = 0; inputs && k < sizeof cases / sizeof *cases; k++) {
            if (!test_root_file(r, cases[k].model)) continue;
            struct clip_bundle expected =
                fixture_read(test_root(r), "hf_tiny/expected_half.safetensors");
            gives(test_root_file(r, cases[k].model), inputs, &expected, cases[k].prefix);
            clip_bundle_release(&expected);
            count++;
        }
    }
    if (count == 0) test_skip("there are no reference models in half precision");
}

/* ---- Written by ourselves ---- */

/* The model's weights by transformers' names in files of their own memory. */
struct theirs {
    struct clip_bundle bundle;
    struct clip_arena arena;
};

static void add(struct theirs *t, const char *name, const float *data, int ndim,
                const int64_t *shape)
{
    struct clip_error error;
    struct clip_tensor tensor = clip_tensor_view(CLIP_F32, (float *)(uintptr_t)data, ndim, shape);
    test_ok(clip_bundle_add(&t->bundle, name, &tensor, &error), &error);
}

static void add_parameter(struct theirs *t, const struct clip_param *p)
{
    struct clip_error error;
    struct clip_place place;
    const float *x = p->tensor.data;
    const int64_t *shape = p->tensor.shape;
    assert_true(clip_layout_place(CLIP_LAYOUT_HUGGINGFACE, p->name, &place));
    if (place.fit == CLIP_FIT_TRANSPOSED) {
        float *turned = clip_arena_alloc(&t->arena, shape[0] * shape[1], sizeof *turned, &error);
        for (int64_t i = 0; i < shape[0]; i++) {
            for (int64_t k = 0; k < shape[1]; k++) turned[k * shape[0] + i] = x[i * shape[1] + k];
        }
        add(t, place.names[0], turned, 2, (int64_t[]){shape[1], shape[0]});
        return;
    }
    int64_t part[4], each = clip_tensor_count(&p->tensor) / place.count;
    memcpy(part, shape, sizeof part);
    if (place.count > 1) part[0] /= place.count;
    for (int i = 0; i < place.count; i++) {
        add(t, place.names[i], x + i * each, p->tensor.ndim, part);
    }
}

static void add_all(struct theirs *t, const struct clip_model *model)
{
    for (int64_t i = 0; i < model->param_count; i++) add_parameter(t, &model->params[i]);
}

static void theirs_release(struct theirs *t)
{
    clip_bundle_release(&t->bundle);
    clip_arena_release(&t->arena);
}

static const char *config_of(const struct clip_model_config *c)
{
    static char text[1500];
    snprintf(text, sizeof text,
             "{\"model_type\": \"clip\", \"projection_dim\": %d, \"text_config\": {\"hidden_size\":"
             " %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"intermediate_size\": "
             "%d, \"max_position_embeddings\": %d, \"vocab_size\": %d, \"hidden_act\": \"gelu\", "
             "\"eos_token_id\": 2}, \"vision_config\": {\"hidden_size\": %d, \"num_hidden_layers\":"
             " %d, \"num_attention_heads\": %d, \"intermediate_size\": %d, \"image_size\": %d, "
             "\"patch_size\": %d, \"hidden_act\": \"gelu\"}}",
             (int)c->embed_dim, (int)c->text.width, (int)c->text.layers, (int)c->text.heads,
             (int)((double)c->text.width * c->text.mlp_ratio), (int)c->context_length,
             (int)c->vocab_size, (int)c->vision.width, (int)c->vision.layers, (int)c->vision.heads,
             (int)((double)c->vision.width * c->vision.mlp_ratio), (int)c->image_size,
             (int)c->patch_size);
    return text;
}

static void same_weights(const struct clip_model *a, const struct clip_model *b)
{
    assert_int_equal(a->param_count, b->param_count);
    for (int64_t i = 0; i < a->param_count; i++) {
        test_same_f32(a->params[i].name, b->params[i].tensor.data, a->params[i].tensor.data,
                      clip_tensor_count(&a->params[i].tensor));
    }
}

/* A folder with the small model as transformers saves it. */
static const char *write_folder(const struct clip_model_file *file)
{
    struct clip_error error;
    struct theirs t = {0};
    const char *folder = test_folder();
    add_all(&t, file->model);
    test_ok(clip_safetensors_write(test_path(folder, "model.safetensors"), &t.bundle, &error),
            &error);
    test_write_text(folder, "config.json", config_of(&file->model->config));
    theirs_release(&t);
    return folder;
}

static void opens_a_huggingface_folder(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(3), *back = NULL;
    const char *folder = write_folder(file);
    test_ok(clip_model_file_open(&back, folder, NULL, &error), &error);
    same_weights(file->model, back->model);
    assert_int_equal(back->model->config.vision.activation, CLIP_GELU);
    assert_int_equal(back->ids.end, 0); /* eos_token_id 2: the largest id */
    assert_int_equal(back->cleaning, CLIP_TEXT_HUGGINGFACE);
    assert_int_equal(back->preprocess.crop, CLIP_CROP_HUGGINGFACE);
    clip_model_file_free(back);
    test_ok(clip_model_file_open(&back, test_path(folder, "model.safetensors"), NULL, &error),
            &error);
    same_weights(file->model, back->model);
    assert_int_equal(back->cleaning, CLIP_TEXT_HUGGINGFACE);
    clip_model_file_free(back);
    clip_model_file_free(file);
}

static void reads_one_tower(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(4);
    struct clip_embedder *e = NULL, *whole = NULL;
    struct clip_embedder_options options = {.use = CLIP_USE_IMAGES};
    const char *folder = write_folder(file);
    float pixels[3 * 32 * 32] = {0.5f, -1}, a[24], b[24];
    int32_t ids[] = {1, 7, 500};
    test_ok(clip_embedder_open(&whole, folder, NULL, &error), &error);
    test_ok(clip_embedder_open(&e, folder, &options, &error), &error);
    assert_null(clip_embedder_file(e)->model->text.tokens->data);
    test_ok(clip_embedder_pixels(e, pixels, 1, CLIP_UNIT, a, &error), &error);
    test_ok(clip_embedder_pixels(whole, pixels, 1, CLIP_UNIT, b, &error), &error);
    test_same_f32("pixels", a, b, 24);
    test_fails(clip_embedder_ids(e, ids, 1, 3, CLIP_UNIT, a, &error), &error, CLIP_ERR_USAGE,
               "for images alone");
    clip_embedder_free(e);
    options.use = CLIP_USE_TEXTS;
    test_ok(clip_embedder_open(&e, folder, &options, &error), &error);
    assert_null(clip_embedder_file(e)->model->vision.patch_w->data);
    test_ok(clip_embedder_ids(e, ids, 1, 3, CLIP_UNIT, a, &error), &error);
    test_ok(clip_embedder_ids(whole, ids, 1, 3, CLIP_UNIT, b, &error), &error);
    test_same_f32("ids", a, b, 24);
    test_fails(clip_embedder_pixels(e, pixels, 1, CLIP_UNIT, a, &error), &error, CLIP_ERR_USAGE,
               "for texts alone");
    clip_embedder_free(e);
    clip_embedder_free(whole);
    clip_model_file_free(file);
}

/* Rows end at the model's end token where its config names one. */
static void rows_end_at_the_end_token(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(5);
    struct clip_embedder *e = NULL;
    int32_t ids[] = {3, 8, 100, 200, 100, 5, /* ends at 100 */ 3, 8, 100, 0, 0, 0};
    float rows[2 * 24];
    file->ids.end = 100;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    test_ok(clip_embedder_ids(e, ids, 2, 6, CLIP_UNIT, rows, &error), &error);
    test_same_f32("end at 100", rows, rows + 24, 24);
    file->ids.end = 0; /* at the largest: 200 in the first */
    test_ok(clip_embedder_ids(e, ids, 2, 6, CLIP_UNIT, rows, &error), &error);
    assert_true(memcmp(rows, rows + 24, sizeof *rows * 24) != 0);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void names_what_does_not_fit(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(6), *back = NULL;
    struct theirs t = {0};
    const char *folder = write_folder(file), *path = test_path(folder, "model.safetensors");
    float more[96] = {0};
    add_all(&t, file->model);
    add(&t, "text_model.embeddings.position_ids", more, 2, (int64_t[]){1, 12}); /* known */
    add(&t, "text_model.adapter.weight", more, 1, (int64_t[]){4});
    for (int64_t i = 0; i < t.bundle.tensor_count; i++) {
        struct clip_bundle_tensor *entry = &t.bundle.tensors[i];
        if (strcmp(entry->name, "vision_model.encoder.layers.1.self_attn.k_proj.bias") == 0) {
            entry->tensor.shape[0] = 47;
        }
        if (strcmp(entry->name, "text_model.final_layer_norm.bias") == 0) {
            entry->name = "text_model.final_layer_norm.offset";
        }
    }
    test_ok(clip_safetensors_write(path, &t.bundle, &error), &error);
    test_fails(clip_model_file_open(&back, folder, NULL, &error), &error, CLIP_ERR_DATA,
               "model.safetensors does not fit the model: ");
    assert_non_null(strstr(error.message, "\"vision_model.encoder.layers.1.self_attn.k_proj.bias\""
                                          " has shape [47] where [48] is expected"));
    assert_non_null(strstr(error.message, "\"text_model.final_layer_norm.bias\" is missing"));
    assert_non_null(strstr(error.message, "\"text_model.final_layer_norm.offset\" has no place"));
    assert_non_null(strstr(error.message, "\"text_model.adapter.weight\" has no place"));
    assert_null(strstr(error.message, "position_ids"));
    theirs_release(&t);
    clip_model_file_free(file);
}

static void refuses_other_configs(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } cases[] = {
        {"{\"model_type\": \"bert\"}", "the \"model_type\" is bert"},
        {"{\"model_type\": \"clip\", \"text_config\": 3}", "text_config"},
        {"{\"model_type\": \"clip\", \"text_config\": {\"hidden_act\": \"relu\"}}",
         "\"gelu\" or \"quick_gelu\""},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"num_channels\": 1}}", "num_channels"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"image_size\": [224, 220]}}", "square"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"num_attention_heads\": 5}}", "5 heads"},
        {"{\"model_type\": \"clip\", \"text_config\": {\"hidden_size\": 128}}",
         "says embed_dim 512"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"hidden_size\": "
         "9223372036854775807}}",
         "vision_width"},
        {"{\"model_type\": \"clip\", ", "JSON"},
    };
    struct clip_error error;
    struct clip_model_file *file = small_model(7), *back = NULL;
    const char *folder = write_folder(file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_text(folder, "config.json", cases[i].json);
        if (clip_model_file_open(&back, folder, NULL, &error) == CLIP_OK) {
            test_fail("%s was accepted", cases[i].json);
        }
        if (!strstr(error.message, cases[i].word)) {
            test_fail("%s: \"%s\" does not say \"%s\"", cases[i].json, error.message,
                      cases[i].word);
        }
    }
    clip_model_file_free(file);
}

static void preprocessing_follows_its_file(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word; /* NULL: fine */
    } cases[] = {
        {"{\"size\": {\"shortest_edge\": 32}, \"crop_size\": {\"height\": 32, \"width\": 32}, "
         "\"resample\": 3}",
         NULL},
        {"{\"size\": 32, \"crop_size\": 32, \"resample\": 2, \"image_mean\": [0.5, 0.5, 0.5], "
         "\"image_std\": [0.25, 0.5, 0.5]}",
         NULL},
        {"{\"size\": {\"height\": 32, \"width\": 32}, \"do_normalize\": false}", NULL},
        {"{\"size\": 36, \"crop_size\": 32}", NULL},
        {"{\"resample\": 0}", "resample"},
        {"{\"size\": 31}", "size"},
        {"{\"crop_size\": 24}", "crop_size"},
        {"{\"size\": {\"height\": 32, \"width\": 31}}", "size"},
        {"{\"do_rescale\": false}", "do_rescale"},
        {"{\"rescale_factor\": 1}", "rescale_factor"},
        {"{\"image_std\": [1, 0, 1]}", "image_std"},
        {"{\"image_mean\": [9.99999999e29, 0, 0]}", "image_mean"}, /* 1e30 as a float */
        {"[]", "no JSON object"},
    };
    struct clip_error error;
    struct clip_model_file *file = small_model(8), *back = NULL;
    const char *folder = write_folder(file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_text(folder, "preprocessor_config.json", cases[i].json);
        clip_status status = clip_model_file_open(&back, folder, NULL, &error);
        if (cases[i].word) {
            test_fails(status, &error, CLIP_ERR_DATA, cases[i].word);
            continue;
        }
        test_ok(status, &error);
        const struct clip_preprocess *p = &back->preprocess;
        assert_int_equal(p->image_size, 32);
        assert_int_equal(p->crop, CLIP_CROP_HUGGINGFACE);
        assert_int_equal(p->interpolation, i == 1 ? CLIP_BILINEAR : CLIP_BICUBIC);
        assert_int_equal(p->resize_mode, i == 2 ? CLIP_RESIZE_SQUASH : CLIP_RESIZE_SHORTEST);
        assert_int_equal(p->shortest, i == 3 ? 36 : 0);
        assert_true(p->mean[0] == (i == 1 ? 0.5f : i == 2 ? 0.0f : 0.48145466f));
        assert_true(p->std[0] == (i == 1 ? 0.25f : i == 2 ? 1.0f : 0.26862954f));
        clip_model_file_free(back);
    }
    clip_model_file_free(file);
}

/* ---- Tokenizers beside weights ---- */

/* The small model's tokenizer as transformers keeps it: what clip_export writes. */
static const char *write_tokenizer(const struct clip_model_file *file)
{
    struct clip_error error;
    const struct clip_export_options options = {CLIP_EXPORT_HUGGINGFACE, CLIP_F32, false};
    const char *folder = test_path(test_folder(), "hf");
    test_ok(clip_model_export(file, folder, &options, &error), &error);
    return folder;
}

/* Reads folder/name, replaces the first `from` by `to`, and writes it back. */
static void edit(const char *folder, const char *name, const char *from, const char *to)
{
    struct clip_error error;
    struct clip_buffer text, changed = {0};
    test_ok(clip_file_read(test_path(folder, name), 1 << 24, &text, &error), &error);
    const char *at = strstr(text.data, from);
    if (!at) test_fail("%s holds no %s", name, from);
    test_ok(clip_buffer_append(&changed, text.data, (size_t)(at - text.data), &error), &error);
    test_ok(clip_buffer_printf(&changed, &error, "%s%s", to, at + strlen(from)), &error);
    test_write(folder, name, changed.data, changed.size);
    clip_buffer_release(&text);
    clip_buffer_release(&changed);
}

static void opens_tokenizers_beside(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(11), *back = NULL;
    const char *folder = write_tokenizer(file);
    int64_t end = file->tokenizer->end;
    for (int round = 0; round < 2; round++) { /* tokenizer.json, then vocab.json and merges.txt */
        test_ok(clip_model_file_open(&back, folder, NULL, &error), &error);
        assert_non_null(back->tokenizer);
        struct clip_ids a = {0}, b = {0};
        const char *text = "two Green squares in the snow's 42!";
        test_ok(clip_tokenizer_encode(file->tokenizer, text, strlen(text),
                                      &(struct clip_encode_options){CLIP_TEXT_HUGGINGFACE}, &a,
                                      NULL, &error),
                &error);
        test_ok(clip_tokenizer_encode(back->tokenizer, text, strlen(text),
                                      &(struct clip_encode_options){CLIP_TEXT_HUGGINGFACE}, &b,
                                      NULL, &error),
                &error);
        assert_int_equal(a.count, b.count);
        test_same_i32("ids", b.ids, a.ids, a.count);
        assert_int_equal(clip_tokenizer_id(back->tokenizer, "<|endoftext|>"), end);
        clip_ids_release(&a);
        clip_ids_release(&b);
        clip_model_file_free(back);
        remove(test_path(folder, "tokenizer.json"));
    }
    edit(folder, "tokenizer_config.json", "\"pad_token\": \"<|endoftext|>\"",
         "\"pad_token\": {\"content\":\"!\"}, \"x\": 1000000000000000019884624838656");
    test_ok(clip_model_file_open(&back, folder, NULL, &error), &error);
    assert_int_equal(back->ids.pad, 0);
    clip_model_file_free(back);
    edit(folder, "vocab.json", "\"!\": 0", "\"!\": 1");
    test_fails(clip_model_file_open(&back, folder, NULL, &error), &error, CLIP_ERR_DATA,
               "\"!\" does not have the id 0");
    clip_model_file_free(file);
}

static void refuses_other_tokenizers(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *word;
    } cases[] = {
        {"\"type\": \"BPE\"", "\"type\": \"WordPiece\"", "model is WordPiece"},
        {"\"type\": \"NFC\"", "\"type\": \"NFKC\"", "normalizer (Sequence) is not CLIP's"},
        {"\"type\": \"Lowercase\"", "\"type\": \"StripAccents\"", "normalizer"},
        {"'s|'t", "'t|'s", "pre_tokenizer (Sequence) is not CLIP's"},
        {"\"</w>\"", "\"\"", "end_of_word_suffix"},
        {"\"byte_fallback\": false", "\"byte_fallback\": true", "model"},
        {"\"merges\": [", "\"merges\": [7,", "merge 1 is no pair"},
        {"\"merges\": [", "\"merges\": [\"q q\",", "does not have the id"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\":9999,\"content\":\"<x>\"},", "<x>"},
        {NULL, NULL, NULL},
    };
    struct clip_error error;
    struct clip_model_file *file = small_model(12), *back = NULL;
    for (size_t i = 0; cases[i].word; i++) {
        const char *folder = write_tokenizer(file);
        edit(folder, "tokenizer.json", cases[i].from, cases[i].to);
        clip_status status = clip_model_file_open(&back, folder, NULL, &error);
        if (status == CLIP_OK) test_fail("%s was accepted", cases[i].to);
        test_fails(status, &error, status, cases[i].word);
    }
    clip_model_file_free(file);
}

/* ---- Shards ---- */

/* Writes the small model's weights alternately into two files and an index. */
static const char *write_shards(const struct clip_model_file *file, const char *folder,
                                const char *left_out, const char *moved)
{
    struct clip_error error;
    struct theirs t = {0};
    struct clip_bundle parts[2] = {{0}, {0}};
    struct clip_buffer index = {0};
    add_all(&t, file->model);
    test_ok(clip_buffer_printf(&index, &error, "{\"metadata\": {}, \"weight_map\": {"), &error);
    for (int64_t i = 0; i < t.bundle.tensor_count; i++) {
        const struct clip_bundle_tensor *entry = &t.bundle.tensors[i];
        int listed = (int)(i % 2), in = moved && strcmp(moved, entry->name) == 0 ? !listed : listed;
        test_ok(clip_buffer_printf(&index, &error, "%s\"%s\": \"part-%d.safetensors\"",
                                   i ? ", " : "", entry->name, listed),
                &error);
        if (left_out && strcmp(left_out, entry->name) == 0) continue;
        test_ok(clip_bundle_add(&parts[in], entry->name, &entry->tensor, &error), &error);
    }
    test_ok(clip_buffer_printf(&index, &error, "}}"), &error);
    for (int i = 0; i < 2; i++) {
        const char *path = test_path(folder, i ? "part-1.safetensors" : "part-0.safetensors");
        test_ok(clip_safetensors_write(path, &parts[i], &error), &error);
        clip_bundle_release(&parts[i]);
    }
    test_write(folder, "model.safetensors.index.json", index.data, index.size);
    clip_buffer_release(&index);
    theirs_release(&t);
    return folder;
}

static void opens_shards(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(9), *back = NULL;
    const char *folder = test_folder(), *name = "text_model.final_layer_norm.bias";
    test_write_text(folder, "config.json", config_of(&file->model->config));
    test_ok(clip_model_file_open(&back, write_shards(file, folder, NULL, NULL), NULL, &error),
            &error);
    same_weights(file->model, back->model);
    clip_model_file_free(back);
    test_fails(clip_model_file_open(&back, write_shards(file, folder, name, NULL), NULL, &error),
               &error, CLIP_ERR_DATA, "not in it");
    assert_non_null(strstr(error.message, name));
    test_fails(clip_model_file_open(&back, write_shards(file, folder, NULL, name), NULL, &error),
               &error, CLIP_ERR_DATA, "says that it is in part-");
    write_shards(file, folder, NULL, NULL);
    test_ok(clip_model_file_open(&back, folder, NULL, &error), &error);
    clip_model_file_free(back);
    static const char *const bad[][2] = {
        {"{}", "no \"weight_map\""},
        {"{\"weight_map\": {\"a\": \"../part-0.safetensors\"}}", "no name of a file beside"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "no name of a file beside"},
        {"{\"weight_map\": {\"a\": 3}}", "no name of a file beside"},
        {"{\"weight_map\": {\"a\": \"part-9.safetensors\"}}", "part-9.safetensors"},
        {"{\"weight_map\": {\"a\": \"part-0.safetensors\"}}", "does not list it"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_write_text(folder, "model.safetensors.index.json", bad[i][0]);
        clip_status status = clip_model_file_open(&back, folder, NULL, &error);
        test_fails(status, &error, error.status, bad[i][1]);
    }
    clip_model_file_free(file);
}

/* A file of weights alone: H's towers have 16 heads of width 80, not 20 of 64. */
static void a_wide_tower_has_the_heads_of_the_released_ones(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(14), *back = NULL;
    struct clip_model_config c = file->model->config;
    struct clip_bundle bundle = {0};
    const char *path = test_path(test_folder(), "wide.safetensors");
    c.vision.width = 1280;
    c.vision.heads = 16;
    c.vision.layers = c.text.layers = 1;
    c.vision.mlp_ratio = 0.1;
    c.text.width = 64;
    clip_model_free(file->model);
    file->model = NULL;
    test_ok(clip_model_create(&file->model, &c, &error), &error);
    for (int64_t i = 0; i < file->model->param_count; i++) {
        const struct clip_param *p = &file->model->params[i];
        test_ok(clip_bundle_add(&bundle, p->name, &p->tensor, &error), &error);
    }
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error); /* warns */
    assert_int_equal(back->model->config.vision.heads, 16);
    assert_int_equal(back->model->config.text.heads, 1);
    clip_model_file_free(back);
    clip_bundle_release(&bundle);
    clip_model_file_free(file);
}

/* ---- The cache ---- */

static void finds_ids_in_the_cache(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(10), *back = NULL;
    const char *folder = write_folder(file), *home = test_folder();
    const char *model = test_path(home, "hub/models--some--small-clip");
    const char *snapshots = test_path(model, "snapshots");
    test_ok(clip_folder_create(test_path(model, "refs"), &error), &error);
    test_ok(clip_folder_create(snapshots, &error), &error);
    test_write_text(test_path(model, "refs"), "main", "0123456789abcdef\n");
    setenv("HF_HOME", home, 1);
    test_fails(clip_model_file_open(&back, "some/small-clip", NULL, &error), &error,
               CLIP_ERR_NOT_FOUND, "it is not there");
    assert_int_equal(symlink(folder, test_path(snapshots, "0123456789abcdef")), 0);
    test_ok(clip_model_file_open(&back, "some/small-clip", NULL, &error), &error);
    same_weights(file->model, back->model);
    clip_model_file_free(back);
    test_fails(clip_model_file_open(&back, "some/other", NULL, &error), &error, CLIP_ERR_NOT_FOUND,
               "holds no model of this name");
    test_fails(clip_model_file_open(&back, "a/../b", NULL, &error), &error, CLIP_ERR_NOT_FOUND,
               "no such file or folder");
    test_write_text(test_path(model, "refs"), "main", "../../etc");
    test_fails(clip_model_file_open(&back, "some/small-clip", NULL, &error), &error,
               CLIP_ERR_FORMAT, "names no commit");
    test_write_text(test_path(model, "refs"), "main", "0123456789abcdef");
    test_ok(clip_model_file_open(&back, "hf-hub:some/small-clip", NULL, &error), &error);
    clip_model_file_free(back);
    test_ok(clip_model_file_open(&back, test_path("local-dir:", folder), NULL, &error), &error);
    clip_model_file_free(back);
    setenv("HF_HUB_CACHE", test_path(home, "hub2"), 1);
    test_fails(clip_model_file_open(&back, "some/small-clip", NULL, &error), &error,
               CLIP_ERR_NOT_FOUND, "hub2");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_models_give_their_embeddings),
        cmocka_unit_test(half_precision_models_give_theirs),
        cmocka_unit_test(opens_a_huggingface_folder),
        cmocka_unit_test(reads_one_tower),
        cmocka_unit_test(rows_end_at_the_end_token),
        cmocka_unit_test(names_what_does_not_fit),
        cmocka_unit_test(refuses_other_configs),
        cmocka_unit_test(preprocessing_follows_its_file),
        cmocka_unit_test(opens_tokenizers_beside),
        cmocka_unit_test(refuses_other_tokenizers),
        cmocka_unit_test(opens_shards),
        cmocka_unit_test(a_wide_tower_has_the_heads_of_the_released_ones),
        cmocka_unit_test(finds_ids_in_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
