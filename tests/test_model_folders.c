/* Folders as transformers and sentence-transformers write them: what counts for preprocessing and
 * for the ends of texts, and where the model lies; which families are refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clip/clip.h"
#include "formats/model_description.h"
#include "formats/model_export.h"
#include "tests/small_model.h"

/* small_model(3) in a folder for transformers. */
static const char *exported(const char *folder, const char *name)
{
    struct clip_error error;
    const struct clip_export_options options = {CLIP_EXPORT_HUGGINGFACE, CLIP_F32, false};
    struct clip_model_file *file = small_model(3);
    const char *path = test_path(folder, name);
    test_ok(clip_model_export(file, path, &options, &error), &error);
    clip_model_file_free(file);
    return path;
}

struct messages {
    char text[2000];
};

static void keep(void *context, enum clip_log_level level, const char *message)
{
    struct messages *m = context;
    size_t at = strlen(m->text);
    if (level == CLIP_LOG_WARNING) snprintf(m->text + at, sizeof m->text - at, "%s\n", message);
}

static struct clip_model_file *open_model(const char *folder, struct messages *messages)
{
    struct clip_error error;
    struct clip_model_file *back = NULL;
    *messages = (struct messages){""};
    struct clip_model_file_options options = {.log = {keep, messages}};
    test_ok(clip_model_file_open(&back, folder, &options, &error), &error);
    return back;
}

/* ---- Preprocessing ---- */

/* As CLIPProcessor.save_pretrained of transformers 5 writes it. */
static const char processor_json[] =
    "{\"image_processor\": {\"crop_size\": {\"height\": 32, \"width\": 32}, \"data_format\": "
    "\"channels_first\", \"do_center_crop\": true, \"do_convert_rgb\": true, \"do_normalize\": "
    "true, "
    "\"do_rescale\": true, \"do_resize\": true, \"image_mean\": [0.5, 0.25, 0.125], "
    "\"image_processor_type\": \"CLIPImageProcessor\", \"image_std\": [0.5, 0.75, 1.0], "
    "\"resample\": 2, \"rescale_factor\": 0.00392156862745098, \"size\": {\"shortest_edge\": 40}}, "
    "\"processor_class\": \"CLIPProcessor\"}";
static const char squash_json[] =
    "{\"image_processor\": {\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5], "
    "\"do_center_crop\": null, \"crop_size\": null, \"resample\": 3, \"size\": {\"height\": 32, "
    "\"width\": 32}}}";

static void reads_the_preprocessing_of_transformers_5(void **state)
{
    (void)state;
    struct messages messages;
    const char *folder = exported(test_folder(), "hf");
    test_write_text(folder, "processor_config.json", processor_json); /* counts more */
    for (int round = 0; round < 2; round++) {
        struct clip_model_file *back = open_model(folder, &messages);
        assert_string_equal(messages.text, "");
        assert_true(back->preprocess.mean[1] == 0.25f && back->preprocess.std[1] == 0.75f);
        assert_true(back->model->config.image_mean[2] == 0.125f);
        assert_int_equal(back->preprocess.interpolation, CLIP_BILINEAR);
        assert_int_equal(back->preprocess.shortest, 40);
        assert_int_equal(back->preprocess.resize_mode, CLIP_RESIZE_SHORTEST);
        clip_model_file_free(back);
        remove(test_path(folder, "preprocessor_config.json"));
    }
    test_write_text(folder, "processor_config.json", squash_json);
    struct clip_model_file *back = open_model(folder, &messages);
    assert_int_equal(back->preprocess.resize_mode, CLIP_RESIZE_SQUASH);
    assert_int_equal(back->preprocess.interpolation, CLIP_BICUBIC);
    assert_true(back->preprocess.mean[0] == 0.5f);
    clip_model_file_free(back);
}

/* transformers 4 wrote a processor_config.json of the processor's own keys. */
static void a_processor_without_images_leaves_the_older_file(void **state)
{
    (void)state;
    struct messages messages;
    const char *folder = exported(test_folder(), "hf");
    test_write_text(folder, "processor_config.json", "{\"processor_class\": \"CLIPProcessor\"}");
    test_write_text(folder, "preprocessor_config.json", "{\"image_mean\": [0.1, 0.2, 0.3]}");
    struct clip_model_file *back = open_model(folder, &messages);
    assert_string_equal(messages.text, "");
    assert_true(back->preprocess.mean[2] == 0.3f);
    clip_model_file_free(back);
    remove(test_path(folder, "preprocessor_config.json"));
    back = open_model(folder, &messages);
    assert_non_null(strstr(messages.text, "neither a preprocessor_config.json nor a processor_"));
    assert_non_null(strstr(messages.text, "assuming CLIP's mean and std, bicubic, the shortest"));
    assert_true(back->preprocess.mean[0] == 0.48145466f);
    clip_model_file_free(back);
}

static void refuses_preprocessing_by_file_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } cases[] = {
        {"{\"image_processor\": 3}", "no JSON object"},
        {"{\"image_processor\": {\"resample\": 0}}", "resample"},
        {"{\"image_processor\": {\"do_rescale\": false}}", "do_rescale"},
        {"{\"image_processor\": ", "JSON"},
    };
    struct clip_error error;
    const char *folder = exported(test_folder(), "hf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_model_file *back = NULL;
        test_write_text(folder, "processor_config.json", cases[i].json);
        clip_status status = clip_model_file_open(&back, folder, NULL, &error);
        if (status == CLIP_OK) test_fail("%s was accepted", cases[i].json);
        test_fails(status, &error, status, cases[i].word);
        assert_non_null(strstr(error.message, "processor_config.json"));
    }
}

/* ---- Where texts end ---- */

/* A config of a model trained here, with `vocab_size`, `eos` and "clip_c". */
static struct clip_model_description with_own(int vocab_size, int eos, const char *own)
{
    struct clip_error error;
    struct clip_model_description d;
    char json[1000];
    snprintf(
        json, sizeof json,
        "{\"model_type\": \"clip\", \"text_config\": {\"vocab_size\": %d, \"eos_token_id\": %d}, "
        "\"clip_c\": {\"text_cleaning\": \"open_clip\", \"floor_crop\": false, %s}}",
        vocab_size, eos, own);
    test_ok(clip_model_description_parse_huggingface(json, strlen(json), "a", &d, &error), &error);
    assert_int_equal(d.cleaning, CLIP_TEXT_OPEN_CLIP); /* how it was trained still holds */
    assert_int_equal(d.preprocess.crop, CLIP_CROP_OPEN_CLIP);
    return d;
}

static void own_ids_hold_for_the_config_that_they_were_written_for(void **state)
{
    (void)state;
    static const char old[] = "\"end_id\": 0, \"pad_id\": 0";
    static const char now[] = "\"end_id\": 0, \"pad_id\": 0, \"vocab_size\": 1500, "
                              "\"eos_token_id\": 1499";
    static const char spare[] = "\"end_id\": 0, \"pad_id\": 0, \"vocab_size\": 1600, "
                                "\"eos_token_id\": 1499";
    const struct {
        int vocab_size, eos;
        const char *own;
        int end, pad;
    } cases[] = {
        {1500, 1499, old, 0, 0},
        {1500, 1499, now, 0, 0},
        {1600, 1499, spare, 0, 0},
        {1502, 1499, old, 1499, 1499}, /* two tokens were added behind the end token */
        {1502, 1499, now, 1499, 1499},
        {1502, 2, now, 0, 1501},
        {1602, 1499, spare, 1499, 1499},
        {1500, 1498, now, 1498, 1498},
        {1500, 2, old, 0, 0},
        {1500, 7, "\"end_id\": 7, \"pad_id\": 3", 7, 3},
        {1500, 8, "\"end_id\": 7, \"pad_id\": 3", 8, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_model_description d = with_own(cases[i].vocab_size, cases[i].eos, cases[i].own);
        if (d.ids.end != cases[i].end || d.ids.pad != cases[i].pad) {
            test_fail("case %d: end %d and padding %d", (int)i, (int)d.ids.end, (int)d.ids.pad);
        }
    }
}

/* Hidden states of padding are transformers' on the same folder, which fills up with pad_token;
 * what the model was trained with comes back all the same. */
static void fills_up_with_the_folders_pad_token(void **state)
{
    (void)state;
    struct clip_error error;
    struct messages messages;
    const char *folder = exported(test_folder(), "hf");
    struct clip_model_file *back = open_model(folder, &messages);
    int32_t end = back->tokenizer->end;
    assert_int_equal(back->ids.pad, 0);
    assert_int_equal(back->filler, end);
    clip_model_file_free(back);
    struct clip_embedder *embedder = NULL;
    const char *texts[] = {"a dog"};
    int32_t ids[12];
    test_ok(clip_embedder_open(&embedder, folder, NULL, &error), &error);
    test_ok(clip_embedder_tokenize(embedder, texts, 1, CLIP_PAD_MODEL, ids, NULL, &error), &error);
    assert_int_equal(ids[11], end);
    clip_embedder_free(embedder);
}

/* ---- sentence-transformers ---- */

#define MODULE(n, path, type)                                                                      \
    "{\"idx\": " n ", \"name\": \"" n "\", \"path\": \"" path                                      \
    "\", \"type\": \"sentence_transformers.models." type "\"}"

static void opens_a_folder_of_sentence_transformers(void **state)
{
    (void)state;
    static const struct {
        const char *json, *word;
    } refused[] = {
        {"[" MODULE("0", "0_Transformer", "Transformer") "]", "is a Transformer in"},
        {"[" MODULE("0", "0_CLIPModel", "CLIPModel") ", " MODULE("1", "1_Dense", "Dense") "]",
         "part 2 of this sentence-transformers model is a Dense"},
        {"[" MODULE("0", "../0_CLIPModel", "CLIPModel") "]", "CLIPModel in \"../0_CLIPModel\""},
        {"[" MODULE("0", "a/0_CLIPModel", "CLIPModel") "]", "CLIPModel in"},
        {"[3]", "part without a type"},
        {"[" MODULE("0", "1_CLIPModel", "CLIPModel") "]", "holds no model"},
        {"{}", "holds no model"},
        {"[", "JSON"},
    };
    struct clip_error error;
    struct messages messages;
    const char *folder = test_folder();
    exported(folder, "0_CLIPModel");
    test_write_text(folder, "modules.json",
                    "[" MODULE("0", "0_CLIPModel", "CLIPModel") ", " MODULE("1", "1_Normalize",
                                                                            "Normalize") "]");
    struct clip_model_file *file = small_model(3), *back = open_model(folder, &messages);
    test_ok(clip_model_file_sum(back, &error), &error);
    assert_string_equal(messages.text, ""); /* the preprocessing was found inside as well */
    assert_string_equal(back->checksum, file->checksum);
    assert_non_null(back->tokenizer);
    clip_model_file_free(back);
    clip_model_file_free(file);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        test_write_text(folder, "modules.json", refused[i].json);
        clip_status status = clip_model_file_open(&back, folder, NULL, &error);
        if (status == CLIP_OK) test_fail("%s was accepted", refused[i].json);
        test_fails(status, &error, status, refused[i].word);
    }
}

static void says_how_to_fetch_a_model(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *back = NULL;
    setenv("HF_HUB_CACHE", test_folder(), 1);
    test_fails(clip_model_file_open(&back, "openai/clip-vit-tiny", NULL, &error), &error,
               CLIP_ERR_NOT_FOUND, "(hf download openai/clip-vit-tiny)");
}

/* ---- Families that are not read ---- */

/* A safetensors file folder/name with tensors of these names, each of one number. */
static const char *write_names(const char *folder, const char *name, const char *const *names)
{
    struct clip_error error;
    struct clip_bundle bundle = {0};
    float one = 1;
    struct clip_tensor t = clip_tensor_f32(&one, 1, 1);
    const char *path = test_path(folder, name);
    for (int i = 0; names[i] != NULL; i++)
        test_ok(clip_bundle_add(&bundle, names[i], &t, &error), &error);
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    clip_bundle_release(&bundle);
    return path;
}

static void refused_by_name(const char *path, const char *family)
{
    struct clip_error error;
    struct clip_model_file *back = NULL;
    char sentence[200];
    snprintf(sentence, sizeof sentence, "this is a model of the family %s: not read yet", family);
    clip_status status = clip_model_file_open(&back, path, NULL, &error);
    if (status == CLIP_OK) test_fail("%s was accepted", path);
    test_fails(status, &error, CLIP_ERR_DATA, sentence);
}

static void families_are_told_by_their_configs(void **state)
{
    (void)state;
    static const struct {
        const char *json, *family;
    } cases[] = {
        {"{\"model_type\": \"blip\", \"architectures\": [\"BlipModel\"]}", "BLIP"},
        {"{\"model_type\": \"clipseg\"}", "CLIPSeg"},
        {"{\"model_type\": \"llava\"}", "LLaVA"},
        {"{\"model_type\": \"llava_qwen\", \"architectures\": [\"LlavaQwenForCausalLM\"]}",
         "LLaVA"},
        {"{\"model_type\": \"align\"}", "ALIGN"},
        {"{\"model_type\": \"clip\", \"architectures\": [\"EvaCLIPModel\"]}", "EVA-CLIP"},
        {"{\"model_cfg\": {\"embed_dim\": 1024, \"vision_cfg\": {\"layers\": [3, 4, 6, 3]}}}",
         "ResNet CLIP (RN50)"},
        {"{\"vision_cfg\": {\"layers\": [4, 6, 10, 6]}}", "ResNet CLIP (RN50x4)"},
        {"{\"vision_cfg\": {\"timm_model_name\": \"convnext_base\"}}", "ConvNeXt CLIP"},
        {"{\"vision_cfg\": {\"timm_model_name\": \"eva02_base_patch16_clip_224\"}}", "EVA02 CLIP"},
        {"{\"vision_cfg\": {\"timm_model_name\": \"fastvit_mci2\"}}", "MobileCLIP"},
        {"{\"vision_cfg\": {\"timm_model_name\": \"vitamin_large_224\"}}", "ViTamin CLIP"},
        {"{\"vision_cfg\": {\"timm_model_name\": \"vit_pe_core_base_patch16_224\"}}",
         "Perception Encoder (PE)"},
        {"{\"multimodal_cfg\": {\"width\": 768}, \"vision_cfg\": {\"layers\": 12}}", "CoCa"},
    };
    static const char *const names[] = {"some.weight", NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool theirs = strstr(cases[i].json, "model_type") != NULL;
        const char *folder = test_folder();
        write_names(folder, theirs ? "model.safetensors" : "open_clip_model.safetensors", names);
        test_write_text(folder, theirs ? "config.json" : "open_clip_config.json", cases[i].json);
        refused_by_name(folder, cases[i].family);
    }
}

static void families_are_told_by_bare_weights(void **state)
{
    (void)state;
    static const struct {
        const char *names[6];
        const char *family;
    } cases[] = {
        {{"visual.conv1.weight", "visual.layer3.0.conv1.weight", "visual.layer3.5.conv1.weight",
          "visual.layer1.2.conv1.weight", "positional_embedding"},
         "ResNet CLIP (RN50)"},
        {{"visual.layer3.22.bn1.weight"}, "ResNet CLIP (RN101)"},
        {{"module.visual.layer3.1.bn1.weight"}, "ResNet CLIP"},
        {{"visual.trunk.stages.0.blocks.0.conv_dw.weight", "positional_embedding"},
         "ConvNeXt CLIP"},
        {{"visual.trunk.blocks.0.mlp.fc1_g.weight"}, "EVA02 CLIP"},
        {{"visual.conv1.weight", "visual.attn_pool.attn.in_proj_weight"},
         "Perception Encoder (PE)"},
        {{"visual.conv1.weight", "visual.attn_pool.attn.in_proj_weight",
          "text_decoder.resblocks.0.ln_1.weight"},
         "CoCa"},
        {{"image_encoder.model.conv_exp.se.weight"}, "MobileCLIP"},
        {{"vision_tower.vision_model.x", "multi_modal_projector.linear_1.weight"}, "LLaVA"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused_by_name(write_names(test_folder(), "a.safetensors", cases[i].names),
                        cases[i].family);
}

static int allocations_left; /* of jansson's, before one fails */

static void *failing_malloc(size_t size) { return allocations_left-- == 0 ? NULL : malloc(size); }

/* Whichever of its allocations fails, a description is whole or not there: one that lacks a key
 * would describe another model. */
static void a_description_is_whole_or_an_error(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer whole = {0};
    struct clip_model_description d = clip_model_description_default();
    d.config.embed_dim = d.config.vision.width = d.config.text.width = 768;
    clip_model_description_unify(&d);
    d.config.text.activation = CLIP_GELU_TANH;
    d.config.text.norm_eps = 1e-12;
    d.config.text.causal = false;
    d.config.vision.pooling = CLIP_POOL_MEAN;
    d.config.logit_bias = true;
    d.cleaning = CLIP_TEXT_CANONICALIZE;
    d.preprocess.crop = CLIP_CROP_HUGGINGFACE;
    d.preprocess.shortest = 240;
    d.ids.end = 5;
    d.ids.pad = 1;
    test_ok(clip_model_description_format(&d, &whole, &error), &error);
    for (int failures = 0;; failures++) {
        struct clip_buffer text = {0};
        allocations_left = failures;
        json_set_alloc_funcs(failing_malloc, free);
        clip_status status = clip_model_description_format(&d, &text, &error);
        json_set_alloc_funcs(malloc, free);
        if (status != CLIP_OK) assert_int_equal(status, CLIP_ERR_MEMORY);
        if (status == CLIP_OK) assert_string_equal(text.data, whole.data);
        clip_buffer_release(&text);
        if (allocations_left < 0) continue; /* one has failed */
        assert_true(failures > 60);
        break;
    }
    clip_buffer_release(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_preprocessing_of_transformers_5),
        cmocka_unit_test(a_processor_without_images_leaves_the_older_file),
        cmocka_unit_test(refuses_preprocessing_by_file_and_key),
        cmocka_unit_test(own_ids_hold_for_the_config_that_they_were_written_for),
        cmocka_unit_test(fills_up_with_the_folders_pad_token),
        cmocka_unit_test(opens_a_folder_of_sentence_transformers),
        cmocka_unit_test(says_how_to_fetch_a_model),
        cmocka_unit_test(families_are_told_by_their_configs),
        cmocka_unit_test(families_are_told_by_bare_weights),
        cmocka_unit_test(a_description_is_whole_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
