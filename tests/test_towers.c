/* Towers of every kind, from nothing but their description: PyTorch's own layers of a BERT and of
 * images without a class row (tests/reference/towers, made by tests/make_tower_reference.py),
 * forward and backward; gradients against differences; kinds that make no sense. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "formats/model_description.h"
#include "model/lora.h"
#include "tests/fixture.h"
#include "tests/gradcheck.h"

/* ---- PyTorch's numbers ---- */

static const char *const texts[] = {"text_bert_first",
                                    "text_bert_mean",
                                    "text_bert_mean_matrix",
                                    "text_mean",
                                    "text_attention",
                                    "text_causal_post_norm",
                                    NULL};
static const char *const images[] = {"vision_mean", "vision_first", "vision_post_norm",
                                     "vision_class_mean", NULL};

static struct clip_bundle read_case(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "towers/%s.safetensors", name);
    return fixture_read("tests/reference", path);
}

/* A model as the file describes it, with the weights of its tower. Every parameter of that tower
 * has to be there, and nothing else. */
static struct clip_model *open_case(const struct clip_bundle *f, enum clip_towers tower)
{
    struct clip_error error = {0};
    struct clip_model_description d;
    struct clip_model *model = NULL;
    int64_t there = 0, wanted = 0;
    char name[128];
    const struct clip_bundle_text *config = clip_bundle_text(f, "config");
    assert_non_null(config);
    test_ok(clip_model_description_parse(config->value, config->size, "config", &d, &error),
            &error);
    test_ok(clip_model_create(&model, &d.config, &error), &error);
    for (int64_t i = 0; i < f->tensor_count; i++)
        there += strncmp(f->tensors[i].name, "w.", 2) == 0;
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *p = &model->params[i];
        if (p->tower != tower) continue;
        snprintf(name, sizeof name, "w.%s", p->name);
        test_ok(clip_bundle_copy(f, name, &p->tensor, &error), &error);
        p->tensor.needs_grad = true;
        wanted++;
    }
    assert_int_equal(there, wanted);
    test_ok(clip_model_gradients(model, &error), &error);
    return model;
}

/* Computed in float64 there. Features differ by a 2e-6th of the largest at most, and so do
 * gradients; some times that is allowed, and where a gradient is nothing but rounding (a key's
 * bias, which no score depends on), 1e-6. */
static void compare_gradients(const struct clip_bundle *f, const struct clip_model *model)
{
    char name[128];
    for (int64_t i = 0; i < model->param_count; i++) {
        const struct clip_param *p = &model->params[i];
        if (!p->tensor.needs_grad) continue;
        snprintf(name, sizeof name, "d.%s", p->name);
        fixture_close_to(f, name, p->tensor.grad, 1e-5, 1e-6);
    }
}

static void texts_are_pytorchs(void **state)
{
    (void)state;
    for (int k = 0; texts[k] != NULL; k++) {
        struct clip_bundle f = read_case(texts[k]);
        struct clip_model *model = open_case(&f, CLIP_TOWERS_TEXT);
        struct clip_tape *tape = fixture_tape();
        struct clip_tensor tokens = *fixture_tensor(&f, "input_ids"),
                           offsets = *fixture_tensor(&f, "offsets");
        int64_t blocks = model->config.text.layers;
        fixture_close_to(&f, "states",
                         clip_text_states(tape, model, &tokens, &offsets, blocks)->data, 5e-6,
                         1e-6);
        clip_tape_clear(tape);
        struct clip_tensor *y = clip_text_features(tape, model, &tokens, &offsets);
        fixture_close_to(&f, "features", y->data, 5e-6, 1e-6);
        clip_tape_backward_from(tape, y, fixture_f32(&f, "d_features"));
        fixture_tape_ok(tape);
        compare_gradients(&f, model);
        clip_tape_free(tape);
        clip_model_free(model);
        clip_bundle_release(&f);
    }
}

static void images_are_pytorchs(void **state)
{
    (void)state;
    for (int k = 0; images[k] != NULL; k++) {
        struct clip_bundle f = read_case(images[k]);
        struct clip_model *model = open_case(&f, CLIP_TOWERS_IMAGE);
        struct clip_tape *tape = fixture_tape();
        struct clip_tensor pixels = fixture_leaf(&f, "pixel_values");
        int64_t blocks = model->config.vision.layers;
        fixture_close_to(&f, "states", clip_vision_states(tape, model, &pixels, NULL, blocks)->data,
                         5e-6, 1e-6);
        clip_tape_clear(tape);
        struct clip_tensor *y = clip_vision_features(tape, model, &pixels, NULL);
        fixture_close_to(&f, "features", y->data, 5e-6, 1e-6);
        clip_tape_backward_from(tape, y, fixture_f32(&f, "d_features"));
        fixture_tape_ok(tape);
        compare_gradients(&f, model);
        fixture_close_to(&f, "d.pixel_values", pixels.grad, 1e-5, 1e-6);
        fixture_leaf_free(&pixels);
        clip_tape_free(tape);
        clip_model_free(model);
        clip_bundle_release(&f);
    }
}

/* ---- models of other kinds ---- */

/* Both towers of a model; what they share with no CLIP is in here. */
static const struct kind {
    const char *name;
    struct clip_tower vision, text;
    const char *params[7]; /* whose gradients are measured */
} kinds[] = {
    {"a BERT beside a CLIP's images",
     {.embed_norm = true, .final_norm = true, .class_row = true, .projection = CLIP_PROJECT_MATRIX},
     {.post_norm = true, .embed_norm = true, .projection = CLIP_PROJECT_LINEAR},
     {"token_embedding.weight", "positional_embedding",
      "transformer.resblocks.0.attn.in_proj_weight", "transformer.resblocks.0.attn.out_proj.weight",
      "transformer.resblocks.1.mlp.c_fc.weight", "transformer.resblocks.1.mlp.c_proj.bias",
      "text_projection.weight"}},
    {"means of both",
     {.final_norm = true,
      .patch_bias = true,
      .uneven = true,
      .pooling = CLIP_POOL_MEAN,
      .projection = CLIP_PROJECT_LINEAR},
     {.post_norm = true, .embed_norm = true, .pooling = CLIP_POOL_MEAN},
     {"visual.proj.weight", "visual.proj.bias", "visual.conv1.bias", "visual.conv1.weight",
      "positional_embedding", "transformer.resblocks.1.attn.in_proj_weight",
      "transformer.resblocks.0.mlp.c_proj.weight"}},
    {"attention pools both",
     {.post_norm = true,
      .causal = true,
      .final_norm = true,
      .class_row = true,
      .pooling = CLIP_POOL_ATTENTION,
      .projection = CLIP_PROJECT_MATRIX},
     {.pooling = CLIP_POOL_ATTENTION, .projection = CLIP_PROJECT_LINEAR, .whole_rows = true},
     {"visual.transformer.resblocks.0.attn.in_proj_weight", "visual.class_embedding",
      "visual.attn_pool.kv.weight", "attn_pool.probe", "attn_pool.q.bias",
      "attn_pool.mlp.fc2.weight", "text_projection.bias"}},
};
enum { KINDS = sizeof kinds / sizeof kinds[0], TEXTS = 4, IMAGES = 4 };

static struct clip_model *new_model(const struct kind *kind, int64_t lora_rank)
{
    struct clip_error error = {0};
    struct clip_model_config c;
    struct clip_model *model = NULL;
    test_ok(clip_model_preset(&c, "vit-b-32", &error), &error);
    clip_tower_become(&c.vision, &kind->vision);
    clip_tower_become(&c.text, &kind->text);
    c.embed_dim = c.vision.width = c.text.width = 16;
    c.vision.heads = c.text.heads = c.vision.layers = c.text.layers = 2;
    c.vision.mlp_ratio = c.text.mlp_ratio = 1.5;
    c.text.activation = CLIP_QUICK_GELU; /* which low-rank paths know */
    c.text.norm_eps = 1e-12;
    c.image_size = c.vision.uneven ? 14 : 12;
    c.patch_size = 4;
    c.context_length = 9;
    c.vocab_size = 40;
    if (lora_rank > 0) c.lora = (struct clip_lora_config){lora_rank, 4, CLIP_LORA_ALL};
    test_ok(clip_model_create(&model, &c, &error), &error);
    clip_model_init(model, 3);
    float *noise = gradcheck_normal(model->size, 0.1f, 9);
    for (int64_t i = 0; i < model->size; i++) model->data[i] += noise[i];
    free(noise);
    *(float *)model->logit_scale->data = 1;
    return model;
}

struct pairs {
    struct clip_model *model;
    struct clip_tensor pixels, tokens, offsets;
    int32_t ids[24], at[TEXTS + 1];
};

static void open_pairs(struct pairs *p, const struct kind *kind, int64_t lora_rank)
{
    static const int32_t ends[TEXTS + 1] = {0, 9, 11, 16, 17};
    *p = (struct pairs){.model = new_model(kind, lora_rank)};
    int64_t size = p->model->config.image_size;
    memcpy(p->at, ends, sizeof ends);
    for (int32_t i = 0; i < ends[TEXTS]; i++) p->ids[i] = (i * 17 + 5) % 40;
    p->tokens = clip_tensor_i32(p->ids, ends[TEXTS]);
    p->offsets = clip_tensor_i32(p->at, TEXTS + 1);
    p->pixels = gradcheck_tensor(4, (const int64_t[]){IMAGES, 3, size, size}, 1, 4);
}

static void close_pairs(struct pairs *p)
{
    free(p->pixels.data);
    clip_model_free(p->model);
}

static struct clip_tensor *loss_of(struct clip_tape *t, struct clip_tensor *const *leaves,
                                   const void *context)
{
    struct pairs *p = (struct pairs *)(uintptr_t)context;
    struct clip_tensor *image = clip_vision_encode(t, p->model, leaves[0], NULL);
    struct clip_tensor *text = clip_text_encode(t, p->model, &p->tokens, &p->offsets);
    return clip_infonce(t, image, text, p->model->logit_scale, NULL);
}

/* Pixels in, loss out. With low-rank paths, whose B begins at zero but for the noise. */
static void gradients_are_differences(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * KINDS; k++) {
        const struct kind *kind = &kinds[k / 2];
        struct pairs p;
        open_pairs(&p, kind, k % 2 == 0 ? 0 : 2);
        struct gradcheck check = {.build = loss_of,
                                  .context = &p,
                                  .n = 8,
                                  .leaves = {&p.pixels},
                                  .step = 0.02f,
                                  .tolerance = 5e-3};
        for (int i = 0; i < 7; i++)
            check.leaves[1 + i] = &clip_model_param(p.model, kind->params[i])->tensor;
        gradcheck(kind->name, &check);
        for (int i = 0; i < 8; i++) free(check.leaves[i]->grad);
        close_pairs(&p);
    }
}

/* Loss and gradients of a step; the caller frees the latter. */
static float *gradients_of(struct pairs *p, enum clip_recompute recompute, enum clip_dtype dtype,
                           float *loss)
{
    struct clip_error error = {0};
    struct clip_tape *tape = fixture_tape();
    struct clip_model *m = p->model;
    m->recompute = recompute;
    tape->dtype = dtype;
    clip_model_train(m);
    test_ok(clip_model_gradients(m, &error), &error);
    struct clip_tensor *leaves[] = {&p->pixels}, *y = loss_of(tape, leaves, p);
    *loss = *(const float *)y->data;
    clip_tape_backward(tape, y);
    fixture_tape_ok(tape);
    clip_tape_free(tape);
    float *grad = m->grad;
    m->grad = NULL;
    return grad;
}

/* What backward builds again gives the same bits, and bfloat16 nearly the same numbers. */
static void a_step_is_the_same_however_it_is_computed(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct pairs p;
        float losses[4];
        open_pairs(&p, &kinds[k], 0);
        float *kept = gradients_of(&p, CLIP_RECOMPUTE_NONE, CLIP_F32, &losses[0]);
        float *mlp = gradients_of(&p, CLIP_RECOMPUTE_MLP, CLIP_F32, &losses[1]);
        float *block = gradients_of(&p, CLIP_RECOMPUTE_BLOCK, CLIP_F32, &losses[2]);
        float *bf16 = gradients_of(&p, CLIP_RECOMPUTE_NONE, CLIP_BF16, &losses[3]);
        test_same_f32("MLPs again", mlp, kept, p.model->trained);
        test_same_f32("blocks again", block, kept, p.model->trained);
        test_same_f32("losses", losses, (float[]){losses[1], losses[2], losses[0]}, 3);
        test_close_f64("in bfloat16", (double)losses[3], (double)losses[0], 0.02, 0);
        assert_true(test_distance(bf16, kept, p.model->trained) < 0.05);
        assert_true(test_distance(bf16, kept, p.model->trained) > 0);
        free(kept);
        free(mlp);
        free(block);
        free(bf16);
        close_pairs(&p);
    }
}

/* Packed texts do not see each other, and where nothing is hidden every token counts. */
static void texts_are_packed_and_seen_whole(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct pairs p;
        open_pairs(&p, &kinds[k], 0);
        struct clip_tape *tape = fixture_tape();
        tape->record = false;
        float all[TEXTS * 16], changed[TEXTS * 16];
        memcpy(all, clip_text_features(tape, p.model, &p.tokens, &p.offsets)->data, sizeof all);
        for (int b = 0; b < TEXTS; b++) {
            int32_t own[2] = {0, p.at[b + 1] - p.at[b]};
            struct clip_tensor tokens = clip_tensor_i32(p.ids + p.at[b], own[1]),
                               offsets = clip_tensor_i32(own, 2);
            test_close("text alone", clip_text_features(tape, p.model, &tokens, &offsets)->data,
                       all + b * 16, 16, 1e-6, 1e-6);
        }
        for (int32_t i = 0; i < p.at[1]; i++) {
            p.ids[i] ^= 1;
            memcpy(changed, clip_text_features(tape, p.model, &p.tokens, &p.offsets)->data,
                   sizeof changed);
            p.ids[i] ^= 1;
            assert_true(test_distance(changed, all, 16) > 1e-4);
            test_same_f32("the others", changed + 16, all + 16, (TEXTS - 1) * 16);
        }
        clip_tape_free(tape);
        close_pairs(&p);
    }
}

/* Low-rank paths merged into a post-norm tower's weights are the same model. */
static void low_rank_paths_are_merged(void **state)
{
    (void)state;
    struct pairs with, plain;
    open_pairs(&with, &kinds[0], 2);
    open_pairs(&plain, &kinds[0], 0);
    struct clip_tape *tape = fixture_tape();
    tape->record = false;
    clip_lora_merge(plain.model, with.model, NULL);
    const float *a = clip_text_features(tape, with.model, &with.tokens, &with.offsets)->data;
    const float *b = clip_text_features(tape, plain.model, &with.tokens, &with.offsets)->data;
    test_close("merged", b, a, TEXTS * 16, 1e-5, 1e-6);
    clip_tape_free(tape);
    close_pairs(&with);
    close_pairs(&plain);
}

/* ---- descriptions ---- */

static void kinds_without_sense_are_refused(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_config good, bad[9];
    const char *const words[] = {"end token, which images",
                                 "no class row",
                                 "whole_rows",
                                 "not pooled at the end token",
                                 "of vision towers",
                                 "vision tower without a projection",
                                 "text norm_eps",
                                 "vision norm_eps",
                                 "text tower's activation"};
    test_ok(clip_model_preset(&good, "vit-b-32", &error), &error);
    for (int i = 0; i < 9; i++) bad[i] = good;
    bad[0].vision.pooling = CLIP_POOL_END;
    bad[1].vision.class_row = false;
    bad[2].vision.whole_rows = true;
    bad[3].text.whole_rows = true;
    bad[4].text.class_row = true;
    bad[5].vision.projection = CLIP_PROJECT_NONE;
    bad[6].text.norm_eps = 0;
    bad[7].vision.norm_eps = 1;
    bad[8].text.activation = CLIP_NO_ACTIVATION;
    for (int i = 0; i < 9; i++)
        test_fails(clip_model_config_check(&bad[i], &error), &error, CLIP_ERR_DATA, words[i]);
}

/* What makes up a kind is what clip_tower_properties lists; size, activation and epsilon do not. */
static void a_tower_becomes_of_another_kind(void **state)
{
    (void)state;
    struct clip_tower tower = {.width = 6, .layers = 5, .heads = 3, .mlp_ratio = 2}, other = tower;
    const struct clip_tower all = {.width = 1,
                                   .norm_eps = 1,
                                   .post_norm = true,
                                   .causal = true,
                                   .embed_norm = true,
                                   .final_norm = true,
                                   .pooling = CLIP_POOL_ATTENTION,
                                   .projection = CLIP_PROJECT_LINEAR,
                                   .class_row = true,
                                   .patch_bias = true,
                                   .uneven = true,
                                   .whole_rows = true};
    clip_tower_become(&tower, &all);
    assert_null(clip_tower_differs(&tower, &all));
    assert_int_equal(tower.width, 6);
    assert_true(tower.norm_eps == 0 && tower.post_norm && tower.whole_rows && tower.uneven);
    for (int i = 0; i < CLIP_TOWER_PROPERTIES; i++) {
        const struct clip_tower_property *p = &clip_tower_properties[i];
        struct clip_tower changed = tower;
        clip_tower_set(&changed, p, 0);
        assert_ptr_equal(clip_tower_differs(&changed, &tower), p);
        clip_tower_set(&changed, p, clip_tower_get(&tower, p));
        assert_memory_equal(&changed, &tower, sizeof tower);
    }
    clip_tower_become(&tower, &other);
    assert_memory_equal(&tower, &other, sizeof tower);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_pytorchs),
        cmocka_unit_test(images_are_pytorchs),
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(a_step_is_the_same_however_it_is_computed),
        cmocka_unit_test(texts_are_packed_and_seen_whole),
        cmocka_unit_test(low_rank_paths_are_merged),
        cmocka_unit_test(kinds_without_sense_are_refused),
        cmocka_unit_test(a_tower_becomes_of_another_kind),
    };
    return cmocka_run_group_tests_name("towers", tests, NULL, NULL);
}
