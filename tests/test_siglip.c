/* What sets a SigLIP apart when it is opened: hidden states of whole rows, its texts and their
 * tokenizers. (Its embeddings are compared with the other models', in test_models.c.) */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "embed/embeddings.h"
#include "formats/architectures.h"
#include "tests/fixture.h"
#include "tests/small_model.h"

/* A SigLIP's hidden states: whole rows behind the towers' last LayerNorm. */
static void siglip_gives_its_hidden_states(void **state)
{
    (void)state;
    struct clip_error error;
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        const char *folder = test_root_file(r, "siglip_tiny");
        struct clip_embeddings_extras extras = {.states = true, .layer = CLIP_LAST};
        struct clip_embeddings got = {0};
        struct clip_embedder *e = NULL;
        if (!folder) continue;
        struct clip_bundle expected = fixture_read(folder, "expected.safetensors");
        test_ok(clip_embedder_open(&e, folder, NULL, &error), &error);
        test_ok(clip_embeddings_from_tensors(&got, e, test_path(folder, "expected.safetensors"),
                                             &extras, &error),
                &error);
        fixture_close_to(&expected, "text_last_hidden_state",
                         fixture_f32(&got.bundle, "hidden_states_ln"), 3e-6, 3e-6);
        fixture_close_to(&expected, "vision_last_hidden_state",
                         fixture_f32(&got.bundle, "vision_hidden_states_ln"), 3e-6, 3e-6);
        clip_embeddings_release(&got);
        clip_bundle_release(&expected);
        clip_embedder_free(e);
        count++;
    }
    if (count == 0) test_skip("there is no reference model of SigLIP");
}

/* open_clip cleans a SigLIP's texts, cuts them by the folder's tokenizer and fills them up. */
static void siglip_of_open_clip_reads_texts(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = NULL;
    struct clip_buffer lines = {0};
    int count = 0;
    test_ok(clip_model_file_open(&file, "tests/reference/siglip_openclip_tiny", NULL, &error),
            &error);
    test_ok(
        clip_file_read("tests/reference/siglip_openclip_tiny/texts.jsonl", 1 << 20, &lines, &error),
        &error);
    assert_int_equal(file->cleaning, CLIP_TEXT_CANONICALIZE);
    assert_int_equal(file->preprocess.resize_mode, CLIP_RESIZE_SQUASH);
    char *rest = lines.data;
    for (const char *line; (line = strtok_r(rest, "\n", &rest)) != NULL; count++) {
        json_t *object = clip_json_parse(line, strlen(line), "texts.jsonl", &error);
        const char *text = json_string_value(json_object_get(object, "text"));
        const json_t *expected = json_object_get(object, "ids");
        struct clip_ids ids = {0};
        test_ok(clip_tokenizer_encode(file->tokenizer, text, strlen(text),
                                      &(struct clip_encode_options){
                                          file->cleaning, file->model->config.context_length},
                                      &ids, NULL, &error),
                &error);
        assert_int_equal(ids.count, json_array_size(expected));
        for (int64_t i = 0; i < ids.count; i++) {
            assert_int_equal(ids.ids[i], json_integer_value(json_array_get(expected, (size_t)i)));
        }
        clip_ids_release(&ids);
        json_decref(object);
    }
    assert_true(count > 5);
    clip_buffer_release(&lines);
    clip_model_file_free(file);
}

/* A SigLIP's tokenizer is of another kind: rows of ids are read all the same. */
static void siglip_opens_beside_its_tokenizer(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(13), *back = NULL;
    struct clip_bundle bundle = {0};
    const char *folder = test_folder(), *path = test_path(folder, "s.safetensors");
    struct clip_model_config config = file->model->config;
    clip_tokenizer_free(file->tokenizer);
    clip_model_free(file->model);
    file->tokenizer = NULL;
    clip_architecture_apply(&config, CLIP_ARCHITECTURE_SIGLIP);
    config.vision.activation = config.text.activation = CLIP_GELU_TANH;
    config.logit_bias = true;
    config.embed_dim = config.vision.width;
    test_ok(clip_model_create(&file->model, &config, &error), &error);
    clip_model_init(file->model, 13);
    test_ok(clip_model_file_add(&bundle, file, "", &error), &error);
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    test_write_text(folder, "tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error); /* warns */
    assert_null(back->tokenizer);
    assert_int_equal(clip_architecture_of(&back->model->config), CLIP_ARCHITECTURE_SIGLIP);
    clip_model_file_free(back);
    clip_bundle_release(&bundle);
    clip_model_file_free(file);
}

/* Also the one that tells a SigLIP from a CLIP is named where it is missing. */
static void siglip_names_a_missing_weight(void **state)
{
    (void)state;
    static const char *const missing[] = {"visual.trunk.attn_pool.latent",
                                          "visual.trunk.attn_pool.mlp.fc2.bias",
                                          "text.text_projection.weight"};
    struct clip_error error;
    const char *folder = test_folder(), *path = test_path(folder, "open_clip_model.safetensors");
    struct clip_buffer config = {0};
    test_ok(clip_file_read("tests/reference/siglip_openclip_tiny/open_clip_config.json", 1 << 20,
                           &config, &error),
            &error);
    test_write_text(folder, "open_clip_config.json", config.data);
    clip_buffer_release(&config);
    for (int i = 0; i < 3; i++) {
        struct clip_model_file *file = NULL;
        struct clip_bundle all = {0}, left = {0};
        test_ok(clip_safetensors_read("tests/reference/siglip_openclip_tiny/"
                                      "open_clip_model.safetensors",
                                      &all, &error),
                &error);
        for (int64_t k = 0; k < all.tensor_count; k++) {
            if (strcmp(all.tensors[k].name, missing[i]) == 0) continue;
            test_ok(clip_bundle_add(&left, all.tensors[k].name, &all.tensors[k].tensor, &error),
                    &error);
        }
        test_ok(clip_safetensors_write(path, &left, &error), &error);
        test_fails(clip_model_file_open(&file, folder, NULL, &error), &error, CLIP_ERR_DATA,
                   missing[i]);
        clip_bundle_release(&left);
        clip_bundle_release(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siglip_gives_its_hidden_states),
        cmocka_unit_test(siglip_of_open_clip_reads_texts),
        cmocka_unit_test(siglip_opens_beside_its_tokenizer),
        cmocka_unit_test(siglip_names_a_missing_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
