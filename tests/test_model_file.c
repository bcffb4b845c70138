/* Models from and to files: descriptions, opening what a person may name, loading with every wrong
 * weight named. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/rng.h"
#include "formats/architectures.h"
#include "formats/model_description.h"
#include "formats/model_export.h"
#include "formats/model_file.h"
#include "tests/support.h"

/* A model small enough for every test, with heads of 64 so that its shapes alone describe it. */
static struct clip_model_config tiny_config(void)
{
    struct clip_model_config c = {
        .embed_dim = 8,
        .image_size = 16,
        .patch_size = 8,
        .vision = clip_vision_tower,
        .context_length = 9,
        .vocab_size = 520,
        .text = clip_text_tower,
        .image_mean = {0.48145466f, 0.4578275f, 0.40821073f},
        .image_std = {0.26862954f, 0.26130258f, 0.27577711f},
    };
    c.vision.width = c.text.width = 64;
    c.vision.layers = 2;
    c.vision.heads = c.text.layers = c.text.heads = 1;
    c.vision.mlp_ratio = 1.3;
    c.text.mlp_ratio = 2;
    return c;
}

static const struct clip_export_options native = {CLIP_EXPORT_HDF5, CLIP_F32, false};

static const char merges[] = "#version: 0.2\na b</w>\nt h\nth e</w>\n"; /* vocabulary 517 */

/* A model with seeded weights and a tokenizer; release with tiny_release. */
static struct clip_model_file tiny_file(void)
{
    struct clip_error error;
    struct clip_model_file file = {.cleaning = CLIP_TEXT_OPEN_CLIP};
    struct clip_model_config config = tiny_config();
    test_ok(clip_model_create(&file.model, &config, &error), &error);
    clip_model_init(file.model, 7);
    test_ok(clip_tokenizer_parse(&file.tokenizer, merges, strlen(merges), "merges", &error),
            &error);
    file.preprocess.image_size = config.image_size;
    memcpy(file.preprocess.mean, config.image_mean, sizeof config.image_mean);
    memcpy(file.preprocess.std, config.image_std, sizeof config.image_std);
    return file;
}

static void tiny_release(struct clip_model_file *file)
{
    clip_model_free(file->model);
    clip_tokenizer_free(file->tokenizer);
}

static void same_weights(const struct clip_model *a, const struct clip_model *b)
{
    assert_int_equal(a->param_count, b->param_count);
    for (int64_t i = 0; i < a->param_count; i++) {
        assert_string_equal(a->params[i].name, b->params[i].name);
        test_same_f32(a->params[i].name, b->params[i].tensor.data, a->params[i].tensor.data,
                      clip_tensor_count(&a->params[i].tensor));
    }
}

/* ---- Descriptions ---- */

static const char tiny_json[] =
    "{\"model_cfg\":{\"embed_dim\":8,\"quick_gelu\":false,\"vision_cfg\":{\"image_size\":16,"
    "\"layers\":2,\"width\":64,\"head_width\":64,\"patch_size\":8,\"mlp_ratio\":1.3},\"text_cfg\":{"
    "\"context_length\":9,\"vocab_size\":520,\"width\":64,\"heads\":1,\"layers\":1,"
    "\"mlp_ratio\":2.0}},\"preprocess_cfg\":{\"mean\":[0.48145466,0.4578275,0.40821073],\"std\":["
    "0.26862954,0.26130258,0.27577711],\"interpolation\":\"bicubic\",\"resize_mode\":"
    "\"shortest\"}}";

static bool is_quick(const struct clip_model_config *c)
{
    assert_int_equal(c->vision.activation, c->text.activation);
    return c->vision.activation == CLIP_QUICK_GELU;
}

static void describes_in_open_clips_schema(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer text = {0}, again = {0};
    struct clip_model_file file = tiny_file();
    struct clip_model_description d = {file.model->config, file.preprocess, file.cleaning}, back;
    test_ok(clip_model_description_format(&d, &text, &error), &error);
    assert_string_equal(text.data, tiny_json);
    test_ok(clip_model_description_parse(text.data, text.size, "a", &back, &error), &error);
    assert_memory_equal(back.config.image_std, d.config.image_std, sizeof d.config.image_std);
    assert_int_equal(back.config.text.width, 64);
    assert_int_equal(back.preprocess.image_size, 16);
    test_ok(clip_model_description_format(&back, &again, &error), &error);
    assert_string_equal(again.data, tiny_json);
    clip_buffer_release(&text);
    clip_buffer_release(&again);
    d.config.vision.activation = d.config.text.activation = CLIP_QUICK_GELU;
    d.config.logit_bias = true;
    d.preprocess.crop = CLIP_CROP_HUGGINGFACE;
    d.preprocess.interpolation = CLIP_BILINEAR;
    d.preprocess.resize_mode = CLIP_RESIZE_SQUASH;
    d.cleaning = CLIP_TEXT_HUGGINGFACE;
    test_ok(clip_model_description_format(&d, &text, &error), &error);
    test_ok(clip_model_description_parse(text.data, text.size, "a", &back, &error), &error);
    assert_true(is_quick(&back.config) && back.config.logit_bias);
    assert_int_equal(back.preprocess.crop, CLIP_CROP_HUGGINGFACE);
    assert_int_equal(back.preprocess.interpolation, CLIP_BILINEAR);
    assert_int_equal(back.preprocess.resize_mode, CLIP_RESIZE_SQUASH);
    assert_int_equal(back.cleaning, CLIP_TEXT_HUGGINGFACE);
    clip_buffer_release(&text);
    tiny_release(&file);
}

static void takes_open_clips_defaults(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_description d;
    const char *json = "{\"model_cfg\":{\"embed_dim\":512,\"custom_text\":false,\"vision_cfg\":{"
                       "\"image_size\":[224,224],\"patch_size\":32,\"ls_init_value\":null},"
                       "\"text_cfg\":{}}}";
    test_ok(clip_model_description_parse(json, strlen(json), "a", &d, &error), &error);
    assert_int_equal(d.config.image_size, 224);
    assert_int_equal(d.config.vision.heads, 12);
    assert_int_equal(d.config.text.heads, 8);
    assert_int_equal(d.config.vocab_size, 49408);
    assert_true(d.config.image_mean[0] == 0.48145466f && d.preprocess.std[2] == 0.27577711f);
    assert_false(d.config.logit_bias);
}

/* A SigLIP as open_clip describes it; `text` begins with a comma: the rest of the text tower. */
#define SIGLIP(timm, pool, text)                                                                   \
    "{\"embed_dim\":768,\"init_logit_bias\":-10,\"custom_text\":true,\"vision_cfg\":{"             \
    "\"image_size\":224,\"timm_model_name\":\"" timm "\",\"timm_model_pretrained\":false,"         \
    "\"timm_pool\":\"" pool "\",\"timm_proj\":\"none\"},\"text_cfg\":{\"context_length\":64,"      \
    "\"vocab_size\":32000,\"hf_tokenizer_name\":\"a\",\"width\":768,\"heads\":12,\"layers\":12,"   \
    "\"no_causal_mask\":true,\"proj_bias\":true" text "}}"
#define CANONICALIZE ",\"tokenizer_kwargs\":{\"clean\":\"canonicalize\"}"
#define LAST ",\"pool_type\":\"last\""
#define EPS ",\"norm_kwargs\":{\"eps\":1e-6}"

/* As open_clip keeps it among its own models: without "model_cfg" around it. */
static void takes_open_clips_siglip(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_description d;
    const char *json = SIGLIP("vit_base_patch16_siglip_224.webli", "map", LAST EPS CANONICALIZE);
    test_ok(clip_model_description_parse(json, strlen(json), "a", &d, &error), &error);
    assert_int_equal(clip_architecture_of(&d.config), CLIP_ARCHITECTURE_SIGLIP);
    assert_true(d.config.logit_bias);
    assert_int_equal(d.config.vision.layers, 12);
    assert_int_equal(d.config.patch_size, 16);
    assert_true(d.config.vision.norm_eps == 1e-6 && d.config.text.norm_eps == 1e-6);
    assert_int_equal(d.config.vision.activation, CLIP_GELU);
    assert_int_equal(d.config.text.activation, CLIP_GELU);
    assert_int_equal(d.cleaning, CLIP_TEXT_CANONICALIZE);
    assert_int_equal(d.ids.pad, 1);
    assert_int_equal(d.preprocess.resize_mode, CLIP_RESIZE_SQUASH); /* which no key says there */
    assert_true(d.preprocess.mean[0] == 0.5f && d.preprocess.std[2] == 0.5f);
    json = SIGLIP("vit_base_patch16_siglip_224", "map",
                  LAST EPS CANONICALIZE ",\"act_kwargs\":{\"approximate\":\"tanh\"}");
    test_ok(clip_model_description_parse(json, strlen(json), "a", &d, &error), &error);
    assert_int_equal(d.config.vision.activation, CLIP_GELU);
    assert_int_equal(d.config.text.activation, CLIP_GELU_TANH);
    struct clip_buffer text = {0};
    struct clip_model_description back;
    test_ok(clip_model_description_format(&d, &text, &error), &error); /* in our own words */
    test_ok(clip_model_description_parse(text.data, text.size, "b", &back, &error), &error);
    assert_memory_equal(&back, &d, sizeof d);
    clip_buffer_release(&text);
}

/* Towers that differ in activation and epsilon, as open_clip says it and in our own words. */
static void each_tower_has_its_own_layers(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer text = {0};
    struct clip_model_description d, back;
    const char *json = SIGLIP("vit_base_patch32_siglip_256", "map", LAST);
    test_ok(clip_model_description_parse(json, strlen(json), "a", &d, &error), &error);
    assert_int_equal(d.config.vision.activation, CLIP_GELU_TANH);
    assert_int_equal(d.config.text.activation, CLIP_GELU);
    assert_true(d.config.vision.norm_eps == 1e-6 && d.config.text.norm_eps == 1e-5);
    test_ok(clip_model_description_format(&d, &text, &error), &error);
    test_ok(clip_model_description_parse(text.data, text.size, "b", &back, &error), &error);
    assert_memory_equal(&back, &d, sizeof d);
    clip_buffer_release(&text);
}

/* Whatever the kinds of the towers are, what is written gives them back; those of an architecture
 * that has a name take no key of their own. */
static void every_kind_of_tower_is_described(void **state)
{
    (void)state;
    static const enum clip_activation activations[] = {CLIP_GELU, CLIP_QUICK_GELU, CLIP_GELU_TANH};
    struct clip_error error;
    struct clip_rng rng = clip_rng_at(7, CLIP_RNG_TEST, 0, 0);
    for (int i = 0; i < 400; i++) {
        struct clip_model_description d = clip_model_description_default(), back;
        struct clip_buffer text = {0};
        d.config.embed_dim = d.config.vision.width = d.config.text.width = 768;
        clip_model_description_unify(&d);
        if (i % 4 == 1) clip_architecture_apply(&d.config, CLIP_ARCHITECTURE_SIGLIP);
        for (int t = 0; t < 2; t++) {
            struct clip_tower *tower = t == 0 ? &d.config.vision : &d.config.text;
            tower->activation = activations[i % 4 > 1 ? clip_rng_below(&rng, 3) : 0];
            if (i % 4 > 1) tower->norm_eps = clip_rng_below(&rng, 2) ? 1e-12 : 1e-5;
            for (int k = 0; i % 4 > 1 && k < CLIP_TOWER_PROPERTIES; k++) {
                const struct clip_tower_property *p = &clip_tower_properties[k];
                uint32_t values = 2;
                while (p->choices != NULL && p->choices((int)values) != NULL) values++;
                clip_tower_set(tower, p, (int)clip_rng_below(&rng, values));
            }
        }
        if (clip_model_config_check(&d.config, &error) != CLIP_OK) continue; /* makes no sense */
        test_ok(clip_model_description_format(&d, &text, &error), &error);
        for (int k = 0; i % 4 < 2 && k < CLIP_TOWER_PROPERTIES; k++)
            assert_null(strstr(text.data, clip_tower_properties[k].name));
        test_ok(clip_model_description_parse(text.data, text.size, "a", &back, &error), &error);
        assert_memory_equal(&back, &d, sizeof d);
        clip_buffer_release(&text);
    }
}

static void refuses_descriptions(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } cases[] = {
        {"{}", "model_cfg"},
        {"[]", "model_cfg"},
        {"{\"model_cfg\":1}", "\"model_cfg\" in the first level"},
        {"{\"model_cfg\":{\"vision_cfg\":{}}}", "embed_dim"},
        {"{\"model_cfg\":{\"embed_dim\":0.5}}", "embed_dim"},
        {"{\"model_cfg\":{\"embed_dim\":-2}}", "embed_dim"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"vision_cfg\":[]}}", "vision_cfg"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"vision_cfg\":{\"timm_model_name\":\"x\"}}}", "timm"},
        {SIGLIP("vit_huge_patch16_siglip_224", "map", LAST EPS), "vit_huge_patch16_siglip_224"},
        {SIGLIP("vit_base_patch16_siglip_gap_224", "avg", LAST EPS), "\"map\""},
        {SIGLIP("vit_base_patch16_siglip_224", "map", LAST EPS ",\"proj_type\":\"none\""),
         "proj_type"},
        {SIGLIP("vit_base_patch16_siglip_224", "map", LAST EPS "},\"quick_gelu\":true,\"a\":{"),
         "quick_gelu"},
        {SIGLIP("vit_base_patch16_siglip_224", "map", EPS), "pool_type"},
        {SIGLIP("vit_base_patch16_siglip_224", "map",
                LAST EPS ",\"tokenizer_kwargs\":{\"strip_sep_token\":true}"),
         "strip_sep_token"},
        {SIGLIP("vit_base_patch16_siglip_224", "map",
                LAST EPS ",\"act_kwargs\":{\"approximate\":1}"),
         "approximate"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"no_causal_mask\":true}}}",
         "no_causal_mask"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"proj_bias\":true}}}", "proj_bias"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"pool_type\":\"eos\"}}}", "argmax"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"hf_model_name\":\"roberta\"}}}",
         "hf_model_name"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"vision_cfg\":{\"image_size\":[224,225]}}}", "square"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"vision_cfg\":{\"head_width\":5}}}", "head_width"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"vision_cfg\":{\"patch_size\":17}}}", "patch_size"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"heads\":7}}}", "text width"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"mlp_ratio\":\"4\"}}}", "mlp_ratio"},
        {"{\"model_cfg\":{\"embed_dim\":8,\"text_cfg\":{\"vocab_size\":9223372036854775807}}}",
         "vocab_size"},
        {"{\"model_cfg\":{\"embed_dim\":8},\"preprocess_cfg\":{\"std\":[1,0,1]}}", "std"},
        {"{\"model_cfg\":{\"embed_dim\":8},\"preprocess_cfg\":{\"mean\":[1]}}", "three numbers"},
        {"{\"model_cfg\":{\"embed_dim\":8},\"preprocess_cfg\":{\"mean\":[1,1e300,1]}}",
         "three numbers"},
        {"{\"model_cfg\":{\"embed_dim\":8},\"preprocess_cfg\":{\"interpolation\":\"nearest\"}}",
         "\"bicubic\" or \"bilinear\""},
        {"{\"model_cfg\":{\"embed_dim\":8},\"text_cleaning\":\"lower\"}", "text_cleaning"},
        {"{\"model_cfg\":{\"embed_dim\":8}", "JSON"},
    };
    struct clip_error error;
    struct clip_model_description d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clip_status status = clip_model_description_parse(cases[i].json, strlen(cases[i].json),
                                                          "c.json", &d, &error);
        if (status == CLIP_OK) test_fail("%s was accepted", cases[i].json);
        if (!strstr(error.message, cases[i].word) || !strstr(error.message, "c.json")) {
            test_fail("%s: \"%s\" does not say \"%s\"", cases[i].json, error.message,
                      cases[i].word);
        }
    }
}

/* ---- Opening ---- */

static void opens_what_a_person_names(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file file = tiny_file(), *back = NULL;
    const char *folder = test_folder(), *last = test_path(folder, "last.h5");
    test_fails(clip_model_file_open(&back, test_path(folder, "no"), NULL, &error), &error,
               CLIP_ERR_NOT_FOUND, "no such file");
    test_fails(clip_model_file_open(&back, folder, NULL, &error), &error, CLIP_ERR_NOT_FOUND,
               "neither best.h5 nor last.h5 of a run");
    test_fails(clip_model_file_open(&back, test_write_text(folder, "a.txt", "hello"), NULL, &error),
               &error, CLIP_ERR_FORMAT, "a.txt");
    test_ok(clip_model_export(&file, last, &native, &error), &error);
    test_ok(clip_model_file_open(&back, folder, NULL, &error), &error);
    assert_string_equal(back->source, last);
    same_weights(file.model, back->model);
    assert_int_equal(back->tokenizer->vocab_size, 517);
    assert_int_equal(back->preprocess.image_size, 16);
    assert_string_equal(back->checksum, ""); /* computed when asked for */
    test_ok(clip_model_file_sum(back, &error), &error);
    assert_int_equal(strlen(back->checksum), 8);
    clip_model_file_free(back);
    const char *best = test_path(folder, "best.h5"), *named = test_path(folder, "named");
    file.model->data[0] = 5;
    test_ok(clip_model_export(&file, best, &native, &error), &error);
    test_ok(clip_model_export(&file, named, &native, &error), &error);
    test_ok(clip_model_file_open(&back, folder, NULL, &error), &error);
    assert_string_equal(back->source, best);
    same_weights(file.model, back->model);
    clip_model_file_free(back);
    test_ok(clip_model_file_open(&back, named, NULL, &error), &error); /* known by content */
    clip_model_file_free(back);
    tiny_release(&file);
}

static void takes_the_named_tokenizer(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file file = tiny_file(), *back = NULL;
    const char *folder = test_folder(), *path = test_path(folder, "a.h5");
    struct clip_buffer long_list = {0};
    struct clip_model_file_options options = {
        .tokenizer = test_write_text(folder, "bpe.txt", "#version: 0.2\no n</w>\n"),
    };
    test_ok(clip_model_export(&file, path, &native, &error), &error);
    test_ok(clip_model_file_open(&back, path, &options, &error), &error);
    assert_int_equal(back->tokenizer->vocab_size, 515);
    clip_model_file_free(back);
    test_ok(clip_buffer_printf(&long_list, &error, "#version: 0.2\n"), &error);
    for (int i = 0; i < 10; i++) {
        test_ok(clip_buffer_printf(&long_list, &error, "x %c\n", 'a' + i), &error);
    }
    options.tokenizer = test_write(folder, "long.txt", long_list.data, long_list.size);
    test_fails(clip_model_file_open(&back, path, &options, &error), &error, CLIP_ERR_DATA,
               "524 entries and the model's vocabulary 520");
    clip_buffer_release(&long_list);
    tiny_release(&file);
}

static void chooses_average_or_raw_weights(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file file = tiny_file(), *back = NULL;
    struct clip_model_file_options raw = {.weights = CLIP_WEIGHTS_RAW};
    struct clip_bundle bundle = {0};
    struct clip_model *average = NULL;
    const char *path = test_path(test_folder(), "a.h5");
    test_ok(clip_model_create(&average, &file.model->config, &error), &error);
    clip_model_init(average, 8);
    test_ok(clip_model_file_add(&bundle, &file, "model/", &error), &error);
    for (int64_t i = 0; i < average->param_count; i++) {
        char name[128];
        snprintf(name, sizeof name, "ema/%s", average->params[i].name);
        test_ok(clip_bundle_add(&bundle, name, &average->params[i].tensor, &error), &error);
    }
    test_ok(clip_hdf5_write(path, &bundle, &error), &error);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    same_weights(average, back->model);
    clip_model_file_free(back);
    test_ok(clip_model_file_open(&back, path, &raw, &error), &error);
    same_weights(file.model, back->model);
    clip_model_file_free(back);
    clip_bundle_release(&bundle);
    clip_model_free(average);
    tiny_release(&file);
}

/* A native file from the tiny model with one thing in it replaced, and the sentence it gives. */
static void refused_with(const char *config, const char *format, const char *prefix,
                         const char *word)
{
    struct clip_error error;
    struct clip_model_file file = tiny_file(), *back = NULL;
    struct clip_bundle all = {0}, bundle = {0};
    const char *path = test_path(test_folder(), "a.h5");
    test_ok(clip_model_file_add(&all, &file, prefix, &error), &error);
    for (int64_t i = 0; i < all.tensor_count; i++) {
        test_ok(clip_bundle_add(&bundle, all.tensors[i].name, &all.tensors[i].tensor, &error),
                &error);
    }
    if (config) {
        test_ok(clip_bundle_add_text(&bundle, "config", config, strlen(config), &error), &error);
    }
    test_ok(clip_bundle_add_text(&bundle, "format", format, strlen(format), &error), &error);
    test_ok(clip_hdf5_write(path, &bundle, &error), &error);
    clip_status status = clip_model_file_open(&back, path, NULL, &error);
    test_fails(status, &error, error.status, word);
    assert_non_null(strstr(error.message, path));
    clip_bundle_release(&all);
    clip_bundle_release(&bundle);
    tiny_release(&file);
}

/* tiny_json with the first `from` replaced. */
static const char *changed_json(const char *from, const char *to)
{
    static char text[2048];
    const char *at = strstr(tiny_json, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - tiny_json), tiny_json, to,
             at + strlen(from));
    return text;
}

static void refuses_files_that_do_not_fit(void **state)
{
    (void)state;
    refused_with(tiny_json, "clip.c 2", "model/", "of format \"clip.c 2\"");
    refused_with(NULL, "clip.c 1", "model/", "no \"config\"");
    refused_with(tiny_json, "clip.c 1", "modell/", "no \"model\" group");
    refused_with("{}", "clip.c 1", "model/", "model_cfg");
    refused_with(changed_json("\"embed_dim\":8", "\"embed_dim\":9"), "clip.c 1", "model/",
                 "says embed_dim 9 and the weights' shapes 8");
    refused_with(changed_json("\"layers\":2", "\"layers\":1000"), "clip.c 1", "model/",
                 "says layers (vision) 1000");
    refused_with(changed_json("\"image_size\":16", "\"image_size\":32"), "clip.c 1", "model/",
                 "says image_size 32");
    refused_with(changed_json("\"mlp_ratio\":1.3", "\"mlp_ratio\":4"), "clip.c 1", "model/",
                 "mlp width (vision) 256 and the weights' shapes 83");
    refused_with(changed_json("\"vocab_size\":520", "\"vocab_size\":49408"), "clip.c 1", "model/",
                 "says vocab_size 49408");
}

static void names_every_wrong_weight(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file file = tiny_file();
    struct clip_bundle bundle = {0}, none = {0};
    struct clip_model *model = NULL;
    test_ok(clip_model_create(&model, &file.model->config, &error), &error);
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_tensor t = file.model->params[i].tensor;
        const char *name = file.model->params[i].name;
        if (strcmp(name, "visual.proj") == 0) t.shape[1] = 7;
        if (strcmp(name, "logit_scale") == 0) t.dtype = CLIP_I32;
        if (strcmp(name, "ln_final.bias") == 0) name = "ln_final.offset";
        test_ok(clip_bundle_add(&bundle, name, &t, &error), &error);
    }
    struct clip_weight_source from = {&bundle, CLIP_LAYOUT_OPEN_CLIP, ""};
    struct clip_arena arena = {0};
    test_fails(clip_model_file_load(model, &from, CLIP_TOWERS_BOTH, "a.h5", &arena, &error), &error,
               CLIP_ERR_DATA, "a.h5 does not fit the model");
    assert_non_null(strstr(error.message, "\"visual.proj\" has shape [64, 7] where [64, 8]"));
    assert_non_null(strstr(error.message, "\"logit_scale\" is of type I32"));
    assert_non_null(strstr(error.message, "\"ln_final.bias\" is missing"));
    assert_non_null(strstr(error.message, "\"ln_final.offset\" has no place"));
    from.bundle = &none;
    test_fails(clip_model_file_load(model, &from, CLIP_TOWERS_BOTH, "a.h5", &arena, &error), &error,
               CLIP_ERR_DATA, "more"); /* too many to name them all */
    clip_arena_release(&arena);
    assert_true(strlen(error.message) < 1000);
    clip_bundle_release(&bundle);
    clip_model_free(model);
    tiny_release(&file);
}

/* ---- safetensors ---- */

/* The weights of `file` alone, without metadata. */
static const char *write_bare(const struct clip_model_file *file, const char *folder)
{
    struct clip_error error;
    struct clip_bundle bundle = {0};
    const char *path = test_path(folder, "bare.safetensors");
    for (int64_t i = 0; i < file->model->param_count; i++) {
        const struct clip_param *param = &file->model->params[i];
        test_ok(clip_bundle_add(&bundle, param->name, &param->tensor, &error), &error);
    }
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    clip_bundle_release(&bundle);
    return path;
}

static void describes_bare_weights_by_shape_or_neighbour(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file file = tiny_file(), *back = NULL;
    const char *folder = test_folder(), *path = write_bare(&file, folder);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error); /* warns */
    same_weights(file.model, back->model);
    assert_null(back->tokenizer);
    assert_int_equal(back->model->config.vision.heads, 1);
    assert_false(is_quick(&back->model->config));
    clip_model_file_free(back);
    test_write_text(folder, "open_clip_config.json",
                    changed_json("\"quick_gelu\":false", "\"quick_gelu\":true"));
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    assert_true(is_quick(&back->model->config));
    clip_model_file_free(back);
    test_write_text(folder, "open_clip_config.json", changed_json("\"width\":64", "\"width\":128"));
    test_fails(clip_model_file_open(&back, path, NULL, &error), &error, CLIP_ERR_DATA,
               "width (vision) 128");
    tiny_release(&file);
}

static void refuses_other_weights(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *back = NULL;
    struct clip_bundle bundle = {0};
    float f[4] = {0};
    struct clip_tensor t = clip_tensor_f32(f, 2, 2);
    const char *path = test_path(test_folder(), "a.safetensors");
    test_ok(clip_bundle_add(&bundle, "text_model.final_layer_norm.weight", &t, &error), &error);
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    test_fails(clip_model_file_open(&back, path, NULL, &error), &error, CLIP_ERR_DATA,
               "no weight \"vision_model.embeddings.patch_embedding.weight\"");
    clip_bundle_release(&bundle);
    test_ok(clip_bundle_add(&bundle, "other", &t, &error), &error);
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    test_fails(clip_model_file_open(&back, path, NULL, &error), &error, CLIP_ERR_DATA,
               "none of the names");
    test_ok(clip_bundle_add(&bundle, "visual.conv1.weight", &t, &error), &error);
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    test_fails(clip_model_file_open(&back, path, NULL, &error), &error, CLIP_ERR_DATA,
               "shape [2, 2]; expected 4 dimensions");
    clip_bundle_release(&bundle);
}

/* Every model of the reference sets in open_clip's files: described, inferred, loaded. */
static void opens_reference_models(void **state)
{
    (void)state;
    static const char *const folders[] = {"openclip_tiny", "openclip_quickgelu_tiny"};
    struct clip_error error;
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        for (int k = 0; k < 2; k++) {
            char name[100];
            struct clip_model_file *file = NULL;
            struct clip_bundle bundle = {0};
            struct clip_model_description d;
            snprintf(name, sizeof name, "%s/open_clip_model.safetensors", folders[k]);
            const char *path = test_root_file(r, name);
            if (!path) continue;
            test_ok(clip_model_file_open(&file, path, NULL, &error), &error);
            test_ok(clip_safetensors_read(path, &bundle, &error), &error);
            const struct clip_weight_source from = {&bundle, CLIP_LAYOUT_OPEN_CLIP, ""};
            test_ok(clip_model_description_infer(&from, path, &d, &error), &error);
            assert_int_equal(is_quick(&file->model->config), k);
            assert_int_equal(d.config.vision.layers, file->model->config.vision.layers);
            assert_int_equal(d.config.image_size, file->model->config.image_size);
            for (int64_t i = 0; i < file->model->param_count; i++) {
                const struct clip_param *p = &file->model->params[i];
                const struct clip_tensor *t = clip_bundle_find(&bundle, p->name);
                test_same_f32(p->name, p->tensor.data, t->data, clip_tensor_count(t));
            }
            clip_bundle_release(&bundle);
            clip_model_file_free(file);
            count++;
        }
    }
    if (count == 0) test_skip("there are no reference models");
}

/* ---- What is said of a model ---- */

static void says_what_was_found(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file file = tiny_file(), *back = NULL;
    struct clip_buffer text = {0};
    struct clip_export_options options = {CLIP_EXPORT_HUGGINGFACE, CLIP_F16, false};
    const char *path = test_path(test_folder(), "theirs");
    file.model->config.vision.activation = file.model->config.text.activation = CLIP_QUICK_GELU;
    test_ok(clip_model_export(&file, path, &options, &error), &error);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    assert_string_equal(back->format, "Hugging Face");
    test_ok(clip_model_file_found(back, &text, &error), &error);
    assert_string_equal(strstr(text.data, "model.safetensors"),
                        "model.safetensors: CLIP as Hugging Face writes it, QuickGELU, F16; "
                        "images of 16 in patches of 8, 2 blocks of width 64, 1 head; texts of 9 "
                        "tokens among 520, 1 block of width 64, 1 head; embeddings of 8");
    clip_buffer_release(&text);
    clip_model_file_free(back);
    path = test_path(test_folder(), "ours.h5");
    test_ok(clip_model_export(&file, path, &native, &error), &error);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    assert_null(back->format);
    clip_model_file_free(back);
    tiny_release(&file);
}

/* open_clip's preset of this size says GELU; OpenAI's weights were trained with QuickGELU. */
static void openais_weights_are_quickgelu_whatever_the_preset(void **state)
{
    (void)state;
    struct clip_error error;
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_model_file *file = NULL;
        struct clip_buffer bytes = {0}, text = {0};
        const char *path = test_root_file(r, "openai_jit_tiny/model.pt"), *folder = test_folder();
        if (!path) continue;
        test_ok(clip_model_file_open(&file, path, NULL, &error), &error);
        assert_string_equal(file->format, "OpenAI");
        struct clip_model_description d = clip_model_file_description(file);
        assert_true(is_quick(&d.config));
        d.config.vision.activation = CLIP_GELU;
        d.config.text.activation = CLIP_GELU_TANH;
        test_ok(clip_model_description_format(&d, &text, &error), &error);
        test_write(folder, "open_clip_config.json", text.data, text.size);
        test_ok(clip_file_read(path, 1 << 28, &bytes, &error), &error);
        test_write(folder, "open_clip_pytorch_model.bin", bytes.data, bytes.size);
        clip_model_file_free(file);
        test_ok(clip_model_file_open(&file, folder, NULL, &error), &error); /* warns */
        assert_true(is_quick(&file->model->config));
        clip_model_file_free(file);
        clip_buffer_release(&bytes);
        clip_buffer_release(&text);
        count++;
    }
    if (count == 0) test_skip("there is no archive of OpenAI's kind");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_in_open_clips_schema),
        cmocka_unit_test(takes_open_clips_defaults),
        cmocka_unit_test(takes_open_clips_siglip),
        cmocka_unit_test(each_tower_has_its_own_layers),
        cmocka_unit_test(every_kind_of_tower_is_described),
        cmocka_unit_test(refuses_descriptions),
        cmocka_unit_test(opens_what_a_person_names),
        cmocka_unit_test(takes_the_named_tokenizer),
        cmocka_unit_test(chooses_average_or_raw_weights),
        cmocka_unit_test(refuses_files_that_do_not_fit),
        cmocka_unit_test(names_every_wrong_weight),
        cmocka_unit_test(describes_bare_weights_by_shape_or_neighbour),
        cmocka_unit_test(refuses_other_weights),
        cmocka_unit_test(opens_reference_models),
        cmocka_unit_test(says_what_was_found),
        cmocka_unit_test(openais_weights_are_quickgelu_whatever_the_preset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
