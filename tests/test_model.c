/* The model: parameters as open_clip names, shapes and initialises them, outputs of both towers
 * against open_clip's (every reference folder with an open_clip_config.json), packed captions,
 * patch dropout, presets, locks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "core/threads.h"
#include "formats/architectures.h"
#include "model/loss.h"
#include "tests/fixture.h"
#include "tests/gradcheck.h"

/* ---- names and shapes ---- */

static void compare_parameters(struct clip_model *model, const struct clip_bundle *weights)
{
    assert_int_equal(model->param_count, weights->tensor_count);
    for (int64_t i = 0; i < weights->tensor_count; i++) {
        const struct clip_tensor *want = &weights->tensors[i].tensor;
        struct clip_param *p = clip_model_param(model, weights->tensors[i].name);
        if (p == NULL) test_fail("the model has no parameter %s", weights->tensors[i].name);
        bool same = p->tensor.ndim == want->ndim;
        for (int d = 0; same && d < want->ndim; d++) same = p->tensor.shape[d] == want->shape[d];
        if (!same) test_fail("%s has another shape than open_clip's", p->name);
        bool named = strstr(p->name, "bn") || strstr(p->name, "ln") || strstr(p->name, "bias") ||
                     strstr(p->name, "logit_scale");
        assert_int_equal(p->decays, want->ndim >= 2 && !named);
        assert_ptr_equal(p->tensor.data, model->data + p->offset);
        assert_int_equal(p->offset % 16, 0);
    }
    assert_null(clip_model_param(model, "visual.conv1.bias"));
}

static void parameters_are_open_clips(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        json_t *config = fixture_json(test_root(r), "training/config.json");
        struct clip_bundle weights = fixture_read(test_root(r), "training/init.safetensors");
        struct clip_model *model = fixture_model(json_object_get(config, "model_cfg"), false);
        compare_parameters(model, &weights);
        clip_model_free(model);
        clip_bundle_release(&weights);
        json_decref(config);
    }
}

/* ---- outputs of the reference models ---- */

/* They were computed in float64; in float32 they differ by 2e-6 at most, features and logits by
 * more the larger they are. Ten times that is allowed. */

static void compare_image(const struct clip_bundle *f, struct clip_model *model,
                          struct clip_tape *tape)
{
    struct clip_tensor pixels = *fixture_tensor(f, "pixel_values");
    struct clip_tensor *features = clip_vision_features(tape, model, &pixels, NULL);
    fixture_close_to(f, "image_features", features->data, 1e-5, 5e-6);
    fixture_close_to(f, "image_embeds", clip_vision_encode(tape, model, &pixels, NULL)->data, 0,
                     5e-6);
}

static void compare_text(const struct clip_bundle *f, struct clip_model *model,
                         struct clip_tape *tape)
{
    const struct clip_tensor *ids = fixture_tensor(f, "input_ids");
    const int32_t *lengths = fixture_tensor(f, "lengths")->data;
    struct fixture_text text = fixture_pack(ids->data, ids->shape[0], ids->shape[1]);
    for (int64_t b = 0; b < ids->shape[0]; b++)
        assert_int_equal(text.at[b + 1] - text.at[b], lengths[b]);
    struct clip_tensor *features = clip_text_features(tape, model, &text.tokens, &text.offsets);
    fixture_close_to(f, "text_features", features->data, 1e-5, 5e-6);
    struct clip_tensor *embeds = clip_text_encode(tape, model, &text.tokens, &text.offsets);
    fixture_close_to(f, "text_embeds", embeds->data, 0, 5e-6);
    fixture_text_release(&text);
}

static void compare_outputs(const char *root, const char *folder)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/open_clip_config.json", folder);
    json_t *config = fixture_json(root, path);
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", folder);
    struct clip_bundle weights = fixture_read(root, path);
    snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    struct clip_bundle expected = fixture_read(root, path);
    struct clip_model *model = fixture_model(json_object_get(config, "model_cfg"), false);
    struct clip_tape *tape = fixture_tape();
    compare_parameters(model, &weights);
    fixture_load(model, &weights);
    tape->record = false;
    compare_image(&expected, model, tape);
    compare_text(&expected, model, tape);
    fixture_tape_ok(tape);
    clip_tape_free(tape);
    clip_model_free(model);
    clip_bundle_release(&expected);
    clip_bundle_release(&weights);
    json_decref(config);
}

static void outputs_are_open_clips(void **state)
{
    (void)state;
    int models = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_names names = {0};
        struct clip_error error = {0};
        test_ok(clip_folder_list(test_root(r), &names, &error), &error);
        for (int64_t i = 0; i < names.count; i++) {
            const char *folder = test_path(test_root(r), names.names[i]);
            if (strncmp(names.names[i], "openclip_", 9) != 0) continue;
            if (!clip_path_exists(test_path(folder, "open_clip_config.json"))) continue;
            compare_outputs(test_root(r), names.names[i]);
            models++;
        }
        clip_names_release(&names);
    }
    assert_true(models > 0);
}

/* ---- a small model of our own for the rest ---- */

enum kind { GELU, QUICK_GELU, SIGLIP };

static struct clip_model *small_model(enum kind kind)
{
    struct clip_model *model = NULL;
    struct clip_error error = {0};
    struct clip_model_config config;
    test_ok(clip_model_preset(&config, "vit-b-32", &error), &error);
    config.embed_dim = 12;
    config.image_size = 24;
    config.patch_size = 8;
    config.vision.width = 24;
    config.vision.layers = config.text.layers = 2;
    config.vision.heads = config.text.heads = 2;
    config.vision.mlp_ratio = 2.5;
    config.context_length = 20;
    config.vocab_size = 50;
    config.text.width = 16;
    if (kind == QUICK_GELU) config.vision.activation = config.text.activation = CLIP_QUICK_GELU;
    if (kind == SIGLIP) { /* three patches across, two pixels left over */
        clip_architecture_apply(&config, CLIP_ARCHITECTURE_SIGLIP);
        config.vision.activation = config.text.activation = CLIP_GELU_TANH;
        config.vision.norm_eps = config.text.norm_eps = 1e-6;
        config.logit_bias = true;
        config.embed_dim = config.vision.width;
        config.image_size = 26;
    }
    test_ok(clip_model_create(&model, &config, &error), &error);
    clip_model_init(model, 3);
    /* biases and gains away from 0 and 1 */
    float *noise = gradcheck_normal(model->size, 0.1f, 9);
    for (int64_t i = 0; i < model->size; i++) model->data[i] += noise[i];
    free(noise);
    return model;
}

/* Random captions of these lengths. */
struct captions {
    int32_t ids[80], at[6];
    struct clip_tensor tokens, offsets;
};

static void fill_captions(struct captions *c)
{
    static const int32_t lengths[5] = {2, 20, 3, 11, 20};
    for (int b = 0; b < 5; b++) {
        c->at[b + 1] = c->at[b] + lengths[b];
        for (int32_t i = c->at[b]; i < c->at[b + 1]; i++) c->ids[i] = (i * 17 + b) % 48;
        c->ids[c->at[b]] = 48;
        c->ids[c->at[b + 1] - 1] = 49;
    }
    c->tokens = clip_tensor_i32(c->ids, c->at[5]);
    c->offsets = clip_tensor_i32(c->at, 6);
}

/* A caption's features do not depend on its neighbours, nor an image's on the batch it comes in.
 */
static void rows_do_not_see_their_neighbours(void **state)
{
    (void)state;
    struct clip_model *model = small_model(GELU);
    struct clip_tape *tape = fixture_tape();
    struct captions c = {0};
    fill_captions(&c);
    tape->record = false;
    const float *all = clip_text_features(tape, model, &c.tokens, &c.offsets)->data;
    for (int b = 0; b < 5; b++) {
        int32_t own[2] = {0, c.at[b + 1] - c.at[b]};
        struct clip_tensor tokens = clip_tensor_i32(c.ids + c.at[b], own[1]),
                           offsets = clip_tensor_i32(own, 2);
        test_close("caption alone", clip_text_features(tape, model, &tokens, &offsets)->data,
                   all + b * 12, 12, 1e-6, 1e-6);
    }
    struct clip_tensor pixels = gradcheck_tensor(4, (const int64_t[]){5, 3, 24, 24}, 1, 4);
    all = clip_vision_features(tape, model, &pixels, NULL)->data;
    for (int b = 0; b < 5; b++) {
        float *own = (float *)pixels.data + b * 3 * 24 * 24;
        struct clip_tensor one =
            clip_tensor_view(CLIP_F32, own, 4, (const int64_t[]){1, 3, 24, 24});
        test_close("image alone", clip_vision_features(tape, model, &one, NULL)->data, all + b * 12,
                   12, 1e-6, 1e-6);
    }
    gradcheck_tensor_free(&pixels);
    clip_tape_free(tape);
    clip_model_free(model);
}

/* Text is causal and pooled at its last token: the token before the end changes the features, one
 * beyond does not exist. */
static void every_token_counts(void **state)
{
    (void)state;
    struct clip_model *model = small_model(QUICK_GELU);
    struct clip_tape *tape = fixture_tape();
    int32_t ids[6] = {48, 1, 2, 3, 4, 49}, at[2] = {0, 6};
    struct clip_tensor tokens = clip_tensor_i32(ids, 6), offsets = clip_tensor_i32(at, 2);
    float before[12];
    tape->record = false;
    memcpy(before, clip_text_features(tape, model, &tokens, &offsets)->data, sizeof before);
    for (int i = 0; i < 6; i++) {
        ids[i] ^= 1;
        const float *after = clip_text_features(tape, model, &tokens, &offsets)->data;
        assert_true(test_distance(after, before, 12) > 1e-4);
        ids[i] ^= 1;
    }
    test_same_f32("the same again", clip_text_features(tape, model, &tokens, &offsets)->data,
                  before, 12);
    clip_tape_free(tape);
    clip_model_free(model);
}

/* ---- patch dropout ---- */

static void kept_patches(void **state)
{
    (void)state;
    struct clip_model *model = small_model(GELU);
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor pixels = gradcheck_tensor(4, (const int64_t[]){2, 3, 24, 24}, 1, 4);
    int32_t every[18], some[8] = {0, 2, 5, 8, 1, 3, 4, 7}, turned[8] = {8, 5, 2, 0, 7, 4, 1, 3};
    for (int i = 0; i < 18; i++) every[i] = i % 9;
    struct clip_tensor all = clip_tensor_view(CLIP_I32, every, 2, (const int64_t[]){2, 9});
    struct clip_tensor part = clip_tensor_view(CLIP_I32, some, 2, (const int64_t[]){2, 4});
    struct clip_tensor other = clip_tensor_view(CLIP_I32, turned, 2, (const int64_t[]){2, 4});
    tape->record = false;
    const float *whole = clip_vision_features(tape, model, &pixels, NULL)->data;
    test_same_f32("all patches kept", clip_vision_features(tape, model, &pixels, &all)->data, whole,
                  24);
    float before[24];
    memcpy(before, clip_vision_features(tape, model, &pixels, &part)->data, sizeof before);
    assert_true(test_distance(before, whole, 24) > 1e-3);
    /* attention is a sum over a set: kept patches bring their places with them, in any order */
    test_close("kept in another order", clip_vision_features(tape, model, &pixels, &other)->data,
               before, 24, 1e-5, 1e-6);
    ((float *)pixels.data)[8 + 3] += 5; /* patch 1 of image 0, which it does not keep */
    test_same_f32("a patch left out", clip_vision_features(tape, model, &pixels, &part)->data,
                  before, 24);
    ((float *)pixels.data)[3] += 5; /* patch 0, which it does */
    assert_true(test_distance(clip_vision_features(tape, model, &pixels, &part)->data, before, 12) >
                1e-4);
    gradcheck_tensor_free(&pixels);
    clip_tape_free(tape);
    clip_model_free(model);
}

/* ---- gradients of a whole model: pixels in, loss out ---- */

struct paired {
    struct clip_model *model;
    struct captions captions;
    struct clip_tensor *keep;
};

static struct clip_tensor *paired_loss(struct clip_tape *t, struct clip_tensor *const *leaves,
                                       const void *context)
{
    struct paired *p = (struct paired *)context;
    struct clip_tensor *image = clip_vision_encode(t, p->model, leaves[0], p->keep);
    struct clip_tensor *text =
        clip_text_encode(t, p->model, &p->captions.tokens, &p->captions.offsets);
    return clip_model_loss(t, p->model, image, text, NULL);
}

static void check_gradients(enum kind kind, struct clip_tensor *keep, const char *const names[7])
{
    struct paired p = {.model = small_model(kind), .keep = keep};
    int64_t S = p.model->config.image_size;
    fill_captions(&p.captions);
    *(float *)p.model->logit_scale->data = 1;
    if (p.model->logit_bias != NULL) *(float *)p.model->logit_bias->data = -0.5f;
    struct clip_tensor pixels = gradcheck_tensor(4, (const int64_t[]){5, 3, S, S}, 1, 4);
    clip_model_train(p.model);
    struct gradcheck check = {
        .build = paired_loss, .context = &p, .leaves = {&pixels}, .step = 0.03f, .tolerance = 5e-3};
    for (int i = 0; i < 7; i++) check.leaves[1 + i] = &clip_model_param(p.model, names[i])->tensor;
    for (int64_t i = 0; i < p.model->param_count;
         i++) { /* the check's own gradients; the others' are not wanted */
        p.model->params[i].tensor.needs_grad = false;
        p.model->params[i].tensor.grad = NULL;
    }
    check.n = 8;
    gradcheck("the whole model", &check);
    for (int i = 0; i < 8; i++) free(check.leaves[i]->grad);
    free(pixels.data);
    clip_model_free(p.model);
}

static void gradients_of_a_whole_model(void **state)
{
    (void)state;
    static const char *const clip[] = {"visual.conv1.weight",
                                       "visual.class_embedding",
                                       "visual.positional_embedding",
                                       "visual.transformer.resblocks.1.attn.in_proj_weight",
                                       "positional_embedding",
                                       "token_embedding.weight",
                                       "text_projection"};
    static const char *const siglip[] = {
        "visual.conv1.bias",      "visual.positional_embedding", "visual.attn_pool.q.weight",
        "visual.attn_pool.probe", "visual.attn_pool.kv.weight",  "visual.attn_pool.mlp.fc1.weight",
        "text_projection.bias"};
    int32_t kept[20];
    for (int i = 0; i < 20; i++) kept[i] = i % 4 * 2 + i / 4 % 2;
    struct clip_tensor keep = clip_tensor_view(CLIP_I32, kept, 2, (const int64_t[]){5, 4});
    check_gradients(GELU, NULL, clip);
    check_gradients(QUICK_GELU, &keep, clip);
    check_gradients(SIGLIP, NULL, siglip);
    check_gradients(SIGLIP, &keep, siglip);
}

/* ---- positions of another grid ---- */

static void positions_resize_as_open_clip(void **state)
{
    (void)state;
    struct clip_error error = {0};
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        if (test_root_file(r, "ops/pos_embed.safetensors") == NULL) continue;
        struct clip_bundle values = fixture_read(test_root(r), "ops/pos_embed.safetensors");
        const struct clip_tensor *from = fixture_tensor(&values, "pos");
        int64_t width = from->shape[1], grid = (int64_t)sqrt((double)from->shape[0] - 1);
        for (int64_t i = 0; i < values.tensor_count; i++) {
            const char *name = values.tensors[i].name;
            if (strstr(name, ".open_clip") == NULL) continue;
            const struct clip_tensor *want = &values.tensors[i].tensor;
            int64_t to = (int64_t)sqrt((double)want->shape[0] - 1);
            float *got = calloc((size_t)clip_tensor_count(want), sizeof *got);
            assert_non_null(got);
            test_ok(clip_resize_positions(got, to, from->data, grid, 1, width, &error), &error);
            test_close(name, got, want->data, clip_tensor_count(want), 0, 1e-6);
            free(got);
            count++;
        }
        clip_bundle_release(&values);
    }
    if (count == 0) test_skip("there are no resized positions in any set of reference values");
}

/* The same grid is the same positions; one value everywhere stays it on any grid. */
static void positions_keep_what_they_say(void **state)
{
    (void)state;
    struct clip_error error = {0};
    float from[10 * 3], to[26 * 3];
    for (int i = 0; i < 30; i++) from[i] = (float)(i * i % 7) - 2.5f;
    test_ok(clip_resize_positions(to, 3, from, 3, 1, 3, &error), &error);
    test_same_f32("the same grid", to, from, 30);
    for (int i = 0; i < 30; i++) from[i] = 0.3f;
    test_ok(clip_resize_positions(to, 5, from, 3, 1, 3, &error), &error);
    for (int i = 0; i < 78; i++) assert_true(fabsf(to[i] - 0.3f) < 1e-6f);
    test_ok(clip_resize_positions(to, 2, from, 3, 1, 3, &error), &error);
    for (int i = 0; i < 15; i++) assert_true(fabsf(to[i] - 0.3f) < 1e-6f);
}

/* ---- initial values ---- */

/* Mean and standard deviation of the values, and whether they stay within a bound. */
static void check_spread(struct clip_model *m, const char *name, double std, double bound)
{
    struct clip_param *p = clip_model_param(m, name);
    if (p == NULL) test_fail("no parameter %s", name);
    int64_t n = clip_tensor_count(&p->tensor);
    double sum = 0, squares = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)((float *)p->tensor.data)[i];
        sum += x;
        squares += x * x;
        largest = fmax(largest, fabs(x));
    }
    double mean = sum / (double)n, deviation = sqrt(squares / (double)n - mean * mean);
    if (fabs(mean) > 5 * std / sqrt((double)n))
        test_fail("%s: mean %g of %lld values", name, mean, (long long)n);
    if (fabs(deviation - std) > 5 * std / sqrt(2 * (double)n))
        test_fail("%s: standard deviation %g, expected %g", name, deviation, std);
    if (bound > 0 && (largest > bound || largest < 0.9 * bound))
        test_fail("%s: largest %g of a uniform draw within %g", name, largest, bound);
}

static void check_constant(struct clip_model *m, const char *name, float value)
{
    struct clip_param *p = clip_model_param(m, name);
    for (int64_t i = 0; i < clip_tensor_count(&p->tensor); i++)
        if (fabsf(((float *)p->tensor.data)[i] - value) > 0)
            test_fail("%s is not all %g", name, (double)value);
}

static void check_uniform(struct clip_model *m, const char *name, double bound)
{
    check_spread(m, name, bound / sqrt(3), bound);
}

/* open_clip 3.3, TextTransformer.init_parameters and VisionTransformer.__init__; torch's defaults
 * elsewhere. */
static void initial_values_spread_as_open_clips(void **state)
{
    (void)state;
    struct clip_model *m = NULL;
    struct clip_error error = {0};
    struct clip_model_config config;
    test_ok(clip_model_preset(&config, "vit-b-32", &error), &error);
    config.vision.width = 128;
    config.vision.layers = 2;
    config.vision.heads = 2;
    config.text.width = 96;
    config.text.layers = 3;
    config.text.heads = 3;
    config.vocab_size = 3000;
    config.embed_dim = 64;
    test_ok(clip_model_create(&m, &config, &error), &error);
    clip_model_init(m, 1);
    double text = 1 / sqrt(96), residual = text / sqrt(6), vision = 1 / sqrt(128);
    check_spread(m, "token_embedding.weight", 0.02, 0);
    check_spread(m, "positional_embedding", 0.01, 0);
    check_spread(m, "text_projection", text, 0);
    check_spread(m, "transformer.resblocks.2.attn.in_proj_weight", text, 0);
    check_spread(m, "transformer.resblocks.2.attn.out_proj.weight", residual, 0);
    check_spread(m, "transformer.resblocks.0.mlp.c_fc.weight", 1 / sqrt(2.0 * 96), 0);
    check_spread(m, "transformer.resblocks.0.mlp.c_proj.weight", residual, 0);
    check_uniform(m, "transformer.resblocks.0.mlp.c_fc.bias", text);
    check_uniform(m, "transformer.resblocks.0.mlp.c_proj.bias", 1 / sqrt(4.0 * 96));
    check_spread(m, "visual.class_embedding", vision, 0);
    check_spread(m, "visual.positional_embedding", vision, 0);
    check_spread(m, "visual.proj", vision, 0);
    check_uniform(m, "visual.conv1.weight", 1 / sqrt(3.0 * 32 * 32));
    check_uniform(m, "visual.transformer.resblocks.1.attn.in_proj_weight", sqrt(6.0 / (4 * 128)));
    check_uniform(m, "visual.transformer.resblocks.1.attn.out_proj.weight", vision);
    check_uniform(m, "visual.transformer.resblocks.0.mlp.c_fc.weight", vision);
    check_uniform(m, "visual.transformer.resblocks.0.mlp.c_proj.weight", 1 / sqrt(4.0 * 128));
    check_constant(m, "visual.ln_pre.weight", 1);
    check_constant(m, "ln_final.weight", 1);
    check_constant(m, "transformer.resblocks.1.ln_2.weight", 1);
    check_constant(m, "visual.ln_post.bias", 0);
    check_constant(m, "visual.transformer.resblocks.1.attn.in_proj_bias", 0);
    check_constant(m, "transformer.resblocks.1.attn.out_proj.bias", 0);
    check_constant(m, "logit_scale", (float)log(1 / 0.07));
    clip_model_free(m);
}

static void initial_values_are_keyed_by_seed(void **state)
{
    (void)state;
    struct clip_model *a = small_model(GELU), *b = small_model(GELU);
    clip_model_init(a, 5);
    clip_model_init(b, 5);
    test_same_f32("the same seed", a->data, b->data, a->size);
    clip_model_init(b, 6);
    assert_true(test_distance(a->data, b->data, a->size) > 0.1);
    /* two parameters of one shape do not draw the same numbers */
    const struct clip_block *blocks = a->text.blocks;
    assert_true(test_distance(blocks[0].in_proj_w->data, blocks[1].in_proj_w->data, 16 * 48) > 0.1);
    clip_model_free(a);
    clip_model_free(b);
}

/* ---- presets, checks, locks ---- */

static int64_t count_parameters(struct clip_model_config config, int64_t vision_layers,
                                int64_t text_layers, int64_t vocab_size)
{
    struct clip_model *model = NULL;
    struct clip_error error = {0};
    config.vision.layers = vision_layers;
    config.text.layers = text_layers;
    config.vocab_size = vocab_size;
    test_ok(clip_model_create(&model, &config, &error), &error);
    int64_t n = clip_model_parameters(model);
    clip_model_free(model);
    return n;
}

/* The count is linear in layers and vocabulary: it is taken from models of one and two of each, so
 * that no test needs gigabytes. */
static void presets_have_their_parameter_counts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters;
    } presets[] = {{"vit-b-32", 151277313}, {"vit-b-16", 149620737}, {"vit-l-14", 427616513}};
    struct clip_error error = {0};
    struct clip_model_config config;
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        test_ok(clip_model_preset(&config, presets[i].name, &error), &error);
        int64_t one = count_parameters(config, 1, 1, 1), total = one;
        total += (config.vision.layers - 1) * (count_parameters(config, 2, 1, 1) - one);
        total += (config.text.layers - 1) * (count_parameters(config, 1, 2, 1) - one);
        total += (config.vocab_size - 1) * (count_parameters(config, 1, 1, 2) - one);
        assert_int_equal(total, presets[i].parameters);
    }
    test_fails(clip_model_preset(&config, "vit-b-33", &error), &error, CLIP_ERR_USAGE, "vit-b-32");
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_config good, bad;
    test_ok(clip_model_preset(&good, "vit-b-32", &error), &error);
    test_ok(clip_model_config_check(&good, &error), &error);
    const struct {
        size_t at;
        int64_t value;
        const char *word;
    } cases[] = {
        {offsetof(struct clip_model_config, embed_dim), 0, "embed_dim"},
        {offsetof(struct clip_model_config, image_size), 225, "patch_size"},
        {offsetof(struct clip_model_config, patch_size), -1, "patch_size"},
        {offsetof(struct clip_model_config, vision.width), 769, "heads"},
        {offsetof(struct clip_model_config, vision.heads), 0, "heads"},
        {offsetof(struct clip_model_config, text.heads), 7, "heads"},
        {offsetof(struct clip_model_config, text.layers), 0, "text_layers"},
        {offsetof(struct clip_model_config, context_length), (int64_t)1 << 40, "context_length"},
        {offsetof(struct clip_model_config, vocab_size), INT64_MAX, "vocab_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct clip_model *model = NULL;
        bad = good;
        memcpy((char *)&bad + cases[i].at, &cases[i].value, sizeof cases[i].value);
        test_fails(clip_model_config_check(&bad, &error), &error, CLIP_ERR_DATA, cases[i].word);
        test_fails(clip_model_create(&model, &bad, &error), &error, CLIP_ERR_DATA, cases[i].word);
        assert_null(model);
    }
    bad = good;
    bad.text.mlp_ratio = NAN;
    test_fails(clip_model_config_check(&bad, &error), &error, CLIP_ERR_DATA, "mlp_ratio");
}

static int64_t count_trained(const struct clip_model *model, const char *prefix)
{
    int64_t n = 0;
    for (int64_t i = 0; i < model->param_count; i++)
        n += model->params[i].tensor.needs_grad &&
             strncmp(model->params[i].name, prefix, strlen(prefix)) == 0;
    return n;
}

/* Gradients lie side by side, of what is trained alone. */
static void check_train_offsets(struct clip_model *model)
{
    struct clip_error error = {0};
    int64_t next = 0;
    test_ok(clip_model_gradients(model, &error), &error);
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *p = &model->params[i];
        float *grad = p->tensor.needs_grad ? model->grad + next : NULL;
        assert_ptr_equal(clip_model_param_of(model, &p->tensor), p);
        assert_ptr_equal(p->tensor.grad, grad);
        assert_ptr_equal(clip_param_in(p, model->grad), grad != NULL ? grad : p->tensor.data);
        assert_ptr_equal(clip_param_in(p, NULL), p->tensor.data);
        if (grad == NULL) continue;
        assert_int_equal(p->train_offset, next);
        next += (clip_tensor_count(&p->tensor) + 15) / 16 * 16;
    }
    assert_int_equal(model->trained, next);
}

/* Each parameter belongs to the tower that its name says. */
static void parameters_know_their_tower(void **state)
{
    (void)state;
    static const enum kind kinds[] = {GELU, SIGLIP};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct clip_model *model = small_model(kinds[k]);
        for (int64_t i = 0; i < model->param_count; i++) {
            const struct clip_param *p = &model->params[i];
            enum clip_towers tower = strncmp(p->name, "logit_", 6) == 0    ? CLIP_TOWERS_BOTH
                                     : strncmp(p->name, "visual.", 7) == 0 ? CLIP_TOWERS_IMAGE
                                                                           : CLIP_TOWERS_TEXT;
            assert_int_equal(p->tower, tower);
        }
        clip_model_free(model);
    }
}

static void locks(void **state)
{
    (void)state;
    struct clip_model *model = small_model(GELU);
    clip_model_train(model);
    int64_t all = count_trained(model, "");
    assert_int_equal(all, model->param_count);
    check_train_offsets(model);
    assert_int_equal(model->trained, model->size);
    clip_model_lock_image(model, 0);
    assert_int_equal(count_trained(model, "visual."), 0);
    assert_true(model->logit_scale->needs_grad && model->text.proj->needs_grad);
    check_train_offsets(model);
    assert_in_range(model->trained, 1, model->size - 1);
    clip_model_train(model);
    clip_model_lock_image(model, 1);
    /* twelve of the last block, ln_post's two, proj */
    assert_int_equal(count_trained(model, "visual."), 15);
    assert_int_equal(count_trained(model, "visual.transformer.resblocks.1."), 12);
    clip_model_train(model);
    clip_model_lock_text(model, 2);
    /* both blocks, ln_final's two, text_projection; not the embeddings */
    assert_int_equal(count_trained(model, "transformer."), 24);
    assert_false(model->text.tokens->needs_grad || model->text.positions->needs_grad);
    assert_true(model->text.final_norm_w->needs_grad && model->text.proj->needs_grad &&
                model->vision.patch_w->needs_grad);
    clip_model_free(model);
}

/* Products and their multiply-adds of a model small enough to count by hand. */
static void flops_are_counted(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_config c;
    test_ok(clip_model_preset(&c, "vit-b-32", &error), &error);
    c.vision.layers = c.text.layers = 1;
    double rows = 2 * 50.0, w = 768, tokens = 20, t = 512;
    double macs = 2 * 49.0 * 3 * 32 * 32 * w + rows * w * w * 12 +
                  2 * 2 * 50.0 * 50 * w;                       /* vision */
    macs += tokens * t * t * 12 + 2 * (2 * 10.0 * 11 / 2) * t; /* text, causal */
    macs += 2 * 512 * (w + t) + 2 * 2 * 512;                   /* projections, logits */
    test_close_f64("forward", clip_model_flops(&c, 2, 20, false), 2 * macs, 0.01, 0);
    test_close_f64("with backward", clip_model_flops(&c, 2, 20, true), 6 * macs, 0.01, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_open_clips),
        cmocka_unit_test(outputs_are_open_clips),
        cmocka_unit_test(rows_do_not_see_their_neighbours),
        cmocka_unit_test(every_token_counts),
        cmocka_unit_test(kept_patches),
        cmocka_unit_test(gradients_of_a_whole_model),
        cmocka_unit_test(positions_resize_as_open_clip),
        cmocka_unit_test(positions_keep_what_they_say),
        cmocka_unit_test(initial_values_spread_as_open_clips),
        cmocka_unit_test(initial_values_are_keyed_by_seed),
        cmocka_unit_test(presets_have_their_parameter_counts),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(parameters_know_their_tower),
        cmocka_unit_test(locks),
        cmocka_unit_test(flops_are_counted),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
