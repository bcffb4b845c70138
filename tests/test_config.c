/* The configuration's table: each key is there on purpose, as one that decides the result of a run
 * or one that may change at --resume; values that mean the same are the same; the words of a choice
 * are all there are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "train/config.h"
#include "train/config_table.h"
#include "train/validate.h"

enum resume { DECIDES, MAY_CHANGE };

/* Whoever adds a key thinks about this: with another value, would a run that goes on come to other
 * weights than one that had it from the start? Then it decides. (micro_batch changes the order of
 * sums alone, and a machine with less memory must be able to go on.) */
static const struct {
    const char *name;
    enum resume resume;
} expected[] = {
    {"model.preset", DECIDES},
    {"model.embed_dim", DECIDES},
    {"model.image_size", DECIDES},
    {"model.patch_size", DECIDES},
    {"model.vision_width", DECIDES},
    {"model.vision_layers", DECIDES},
    {"model.vision_heads", DECIDES},
    {"model.vision_mlp_ratio", DECIDES},
    {"model.context_length", DECIDES},
    {"model.vocab_size", DECIDES},
    {"model.text_width", DECIDES},
    {"model.text_layers", DECIDES},
    {"model.text_heads", DECIDES},
    {"model.text_mlp_ratio", DECIDES},
    {"model.quick_gelu", DECIDES},
    {"model.architecture", DECIDES},
    {"model.gelu_tanh", DECIDES},
    {"model.text_gelu_tanh", DECIDES},
    {"model.norm_eps", DECIDES},
    {"model.end_id", DECIDES}, /* kept in the checkpoint's description */
    {"model.pad_id", DECIDES},
    {"model.image_mean", DECIDES},
    {"model.image_std", DECIDES},
    {"data.train_data", DECIDES},
    {"data.train_data_weights", DECIDES},
    {"data.samples_per_epoch", DECIDES},
    {"data.stream", DECIDES},
    {"data.shard_group", DECIDES},
    {"data.allow_pipe", MAY_CHANGE},
    {"data.retries", MAY_CHANGE},
    {"data.cache_folder", MAY_CHANGE},
    {"data.cache_bytes", MAY_CHANGE},
    {"data.val_data", MAY_CHANGE},
    {"data.val_share", DECIDES}, /* the rest is trained on */
    {"data.images_root", DECIDES},
    {"data.csv_separator", DECIDES},
    {"data.csv_img_key", DECIDES},
    {"data.csv_caption_key", DECIDES},
    {"data.csv_negative_key", DECIDES},
    {"data.tokenizer", DECIDES},
    {"data.workers", MAY_CHANGE},
    {"data.aug_scale_min", DECIDES},
    {"data.aug_flip", DECIDES},
    {"data.aug_pad", DECIDES},
    {"data.class_templates", DECIDES},
    {"data.max_bad_fraction", MAY_CHANGE}, /* ends a run, and changes none that goes on */
    {"data.max_pixels", DECIDES},          /* larger images are left out */
    {"data.upright", DECIDES},
    {"data.fast_decode", DECIDES},
    {"data.interpolation", DECIDES},
    {"data.resize_mode", DECIDES},
    {"data.center_crop", DECIDES},
    {"data.resize_to", DECIDES},
    {"data.text_cleaning", DECIDES},
    {"train.epochs", DECIDES}, /* the schedule spans the run */
    {"train.steps", DECIDES},
    {"train.batch_size", DECIDES},
    {"train.micro_batch", MAY_CHANGE},
    {"train.world_size", DECIDES},
    {"train.wire", DECIDES},
    {"train.precision", DECIDES},
    {"train.needs_init", MAY_CHANGE}, /* whether a run may begin, not what it becomes */
    {"train.seed", DECIDES},
    {"train.output", MAY_CHANGE},
    {"train.val_every", MAY_CHANGE},
    {"train.save_every", MAY_CHANGE},
    {"train.keep", MAY_CHANGE},
    {"train.log_every", MAY_CHANGE},
    {"train.report", MAY_CHANGE},
    {"train.tensorboard", MAY_CHANGE},
    {"train.loss", DECIDES},
    {"train.multi_positive", DECIDES},
    {"train.teacher_embeddings", DECIDES},
    {"train.distill_weight", DECIDES},
    {"train.best_metric", MAY_CHANGE}, /* chooses among checkpoints, as val_data does */
    {"train.early_stop", MAY_CHANGE},
    {"train.recompute", MAY_CHANGE},
    {"train.patch_dropout", DECIDES},
    {"train.lock_image", DECIDES},
    {"train.unlocked_image_blocks", DECIDES},
    {"train.lock_text", DECIDES},
    {"train.unlocked_text_blocks", DECIDES},
    {"train.cache_locked", DECIDES}, /* rows that are kept are computed in float32 */
    {"optim.lr", DECIDES},
    {"optim.beta1", DECIDES},
    {"optim.beta2", DECIDES},
    {"optim.eps", DECIDES},
    {"optim.wd", DECIDES},
    {"optim.warmup", DECIDES},
    {"optim.lr_scheduler", DECIDES},
    {"optim.cooldown", DECIDES},
    {"optim.grad_clip_norm", DECIDES},
    {"optim.layer_decay", DECIDES},
    {"optim.lr_width", DECIDES},
    {"optim.ema_decay", DECIDES},
    {"optim.moments", DECIDES},
    {"zeroshot.images", MAY_CHANGE},
    {"zeroshot.classes", MAY_CHANGE},
    {"zeroshot.templates", MAY_CHANGE},
    {"probe.images", MAY_CHANGE},
    {"probe.classes", MAY_CHANGE},
    {"probe.templates", MAY_CHANGE},
    {"probe.data", MAY_CHANGE},
    {"lora.rank", DECIDES},
    {"lora.alpha", DECIDES},
    {"lora.targets", DECIDES},
};
enum { KEYS = sizeof expected / sizeof *expected };

static void name_of(const struct clip_key *k, char *out, size_t n)
{
    snprintf(out, n, "%s.%s", k->section, k->key);
}

/* What clip_config_differences says of two configurations with one key set each; heap. */
static char *difference(const char *before, const char *now)
{
    struct clip_error error = {0};
    struct clip_config a, b;
    struct clip_buffer out = {0};
    test_ok(clip_config_init(&a, &error), &error);
    test_ok(clip_config_init(&b, &error), &error);
    if (before[0] != '\0') test_ok(clip_config_set(&a, before, &error), &error);
    if (now[0] != '\0') test_ok(clip_config_set(&b, now, &error), &error);
    test_ok(clip_config_differences(&a, &b, &out, &error), &error);
    test_ok(clip_buffer_append(&out, "", 0, &error), &error);
    clip_config_release(&a);
    clip_config_release(&b);
    return out.data;
}

/* A value that is allowed and is not the default. */
static void another_value(const struct clip_key *k, char *out, size_t n)
{
    switch (k->type) {
    case KEY_INT: snprintf(out, n, "%.17g", floor((k->least + k->most) / 2)); break;
    case KEY_REAL: snprintf(out, n, "%.17g", (k->least + k->most) / 2); break;
    case KEY_BOOL: snprintf(out, n, strcmp(k->standard, "true") == 0 ? "false" : "true"); break;
    case KEY_CHOICE: snprintf(out, n, "%s", k->names(1)); break;
    case KEY_SHARE: snprintf(out, n, "7%%"); break;
    case KEY_TRIPLE: snprintf(out, n, "0.25,0.5,1"); break;
    case KEY_TEXT: snprintf(out, n, "another"); break;
    }
}

static void every_key_was_thought_about(void **state)
{
    (void)state;
    char name[64];
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        name_of(k, name, sizeof name);
        if (i >= KEYS || strcmp(expected[i].name, name) != 0)
            test_fail("%s is not in this test's list at its place: add it, with what it does",
                      name);
        if ((k->flags & KEY_MAY_CHANGE ? MAY_CHANGE : DECIDES) != expected[i].resume)
            test_fail("%s: whether it may change is not what this test expects", name);
    }
    assert_int_equal(clip_config_key_count, KEYS);
}

static void what_decides_is_told(void **state)
{
    (void)state;
    char name[64], value[64], set[160];
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        name_of(k, name, sizeof name);
        another_value(k, value, sizeof value);
        snprintf(set, sizeof set, "%s=%s", name, value);
        char *told = difference("", set), *back = difference(set, "");
        snprintf(set, sizeof set, "[%s] %s was ", k->section, k->key);
        bool decides = expected[i].resume == DECIDES;
        if ((strstr(told, set) != NULL) != decides || (strstr(back, set) != NULL) != decides)
            test_fail("%s = %s: \"%s\", \"%s\"", name, value, told, back);
        free(told);
        free(back);
    }
}

static void the_same_in_other_words_is_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *before, *now;
        bool same;
    } cases[] = {
        {"optim.lr=1e-3", "optim.lr=0.001", true},
        {"optim.lr=1e-3", "optim.lr=0.0011", false},
        {"optim.lr=5e-4", "", true},
        {"train.batch_size=1e2", "train.batch_size=100", true},
        {"data.aug_flip=yes", "data.aug_flip=true", true},
        {"data.aug_flip=0", "", true},
        {"data.aug_flip=1", "", false},
        {"optim.warmup=5e2", "optim.warmup=500", true},
        {"optim.warmup=5.0%", "optim.warmup=5%", true},
        {"optim.warmup=5%", "optim.warmup=5", false},
        {"model.image_mean=0.50, 0.5,.5", "model.image_mean=0.5,0.5,0.5", true},
        {"model.image_mean=0.5,0.5,0.4", "model.image_mean=0.5,0.5,0.5", false},
        {"model.image_mean=0.5,0.5,0.5", "", false},
        {"model.vision_width=1024", "model.preset=vit-l-14", false},
        {"data.tokenizer=a", "data.tokenizer=./a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *told = difference(cases[i].before, cases[i].now);
        if ((told[0] == '\0') != cases[i].same)
            test_fail("%s and %s: \"%s\"", cases[i].before, cases[i].now, told);
        free(told);
    }
}

/* val_data may change, but where val_share sets images aside for want of it, training would gain or
 * lose those. */
static void val_data_in_place_of_a_share_is_told(void **state)
{
    (void)state;
    struct clip_error error = {0};
    static const char *const data[] = {"", "a.csv", "b.csv"};
    for (int share = 0; share < 2; share++)
        for (int from = 0; from < 3; from++)
            for (int to = 0; to < 3; to++) {
                struct clip_config c[2];
                struct clip_buffer out = {0};
                for (int k = 0; k < 2; k++) {
                    test_ok(clip_config_init(&c[k], &error), &error);
                    test_ok(
                        clip_config_put(&c[k], "data", "val_share", share ? "0.1" : "0", &error),
                        &error);
                    test_ok(clip_config_put(&c[k], "data", "val_data", data[k == 0 ? from : to],
                                            &error),
                            &error);
                }
                test_ok(clip_config_differences(&c[0], &c[1], &out, &error), &error);
                assert_int_equal(out.size > 0, share && (from == 0) != (to == 0));
                if (out.size > 0) assert_non_null(strstr(out.data, "[data] val_data was "));
                clip_buffer_release(&out);
                for (int k = 0; k < 2; k++) clip_config_release(&c[k]);
            }
}

static int number_in(const struct clip_config *config, const struct clip_key *k)
{
    int number;
    memcpy(&number, (const char *)config + k->offset, sizeof number);
    return number;
}

static void refuse(struct clip_config *config, const char *name, const char *value,
                   const char *behind, const char *words)
{
    struct clip_error error = {0};
    char set[300];
    snprintf(set, sizeof set, "%s=%s%s", name, value, behind);
    test_fails(clip_config_set(config, set, &error), &error, CLIP_ERR_USAGE, words);
}

static void choices_are_their_words_and_no_others(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_config config;
    char name[64], set[200], words[160];
    int choices = 0;
    test_ok(clip_config_init(&config, &error), &error);
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        if (k->type != KEY_CHOICE) continue;
        choices++;
        name_of(k, name, sizeof name);
        assert_string_equal(k->names(number_in(&config, k)), k->standard);
        clip_choice_list(k->names, "|", words, sizeof words);
        for (int value = 0; k->names(value) != NULL; value++) {
            snprintf(set, sizeof set, "%s=%s", name, k->names(value));
            test_ok(clip_config_set(&config, set, &error), &error);
            assert_int_equal(number_in(&config, k), value);
            refuse(&config, name, k->names(value), "x", words);
            refuse(&config, name, k->names(value), " ", words);
            refuse(&config, name, "", "", words);
            refuse(&config, name, words, "", words);
            assert_int_equal(number_in(&config, k), value); /* as it was */
        }
    }
    assert_true(choices >= 13);
    clip_config_release(&config);
}

/* The words of older versions are there, in their order; more may follow. */
static void words_stay_what_they_were(void **state)
{
    (void)state;
    static const struct {
        clip_name_fn *names;
        const char *words;
    } all[] = {
        {clip_model_preset_name, "vit-b-32|vit-b-16|vit-l-14"},
        {clip_architecture_name, "clip|siglip"},
        {clip_interpolation_name, "bicubic|bilinear"},
        {clip_resize_mode_name, "shortest|longest|squash"},
        {clip_crop_name, "open_clip|huggingface"},
        {clip_text_cleaning_name, "open_clip|huggingface|canonicalize"},
        {clip_precision_name, "fp32|bf16"},
        {clip_loss_name, "infonce|siglip"},
        {clip_metric_name, "val_loss|image_retrieval_recall@1|text_retrieval_recall@1|acc1"},
        {clip_recompute_name, "none|mlp|block"},
        {clip_cache_locked_name, "auto|off"},
        {clip_schedule_name, "cosine|const|const-cooldown"},
        {clip_moments_name, "f32|bf16"},
        {clip_weights_name, "ema|raw"},
    };
    char words[160];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t n = strlen(all[i].words);
        clip_choice_list(all[i].names, "|", words, sizeof words);
        if (strncmp(words, all[i].words, n) != 0 || (words[n] != '\0' && words[n] != '|'))
            test_fail("%s does not begin with %s", words, all[i].words);
        assert_null(all[i].names(-1));
        assert_null(all[i].names(1000));
    }
}

static void numbers_keep_to_their_range(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_config config;
    char name[64], set[160];
    test_ok(clip_config_init(&config, &error), &error);
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        if (k->type != KEY_INT && k->type != KEY_REAL) continue;
        name_of(k, name, sizeof name);
        snprintf(set, sizeof set, "%s=%.17g", name, k->least);
        if (k->flags & KEY_ABOVE_LEAST)
            test_fails(clip_config_set(&config, set, &error), &error, CLIP_ERR_USAGE, "above");
        else
            test_ok(clip_config_set(&config, set, &error), &error);
        snprintf(set, sizeof set, "%s=%.17g", name, k->most);
        test_ok(clip_config_set(&config, set, &error), &error);
        const double outside[] = {k->least - 1, 2 * k->most};
        for (int side = 0; side < 2; side++) {
            snprintf(set, sizeof set, "%s=%.17g", name, outside[side]);
            test_fails(clip_config_set(&config, set, &error), &error, CLIP_ERR_USAGE,
                       "out of range");
        }
        snprintf(set, sizeof set, "%s=few", name);
        test_fails(clip_config_set(&config, set, &error), &error, CLIP_ERR_USAGE, "number");
    }
    clip_config_release(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_was_thought_about),
        cmocka_unit_test(what_decides_is_told),
        cmocka_unit_test(the_same_in_other_words_is_the_same),
        cmocka_unit_test(val_data_in_place_of_a_share_is_told),
        cmocka_unit_test(choices_are_their_words_and_no_others),
        cmocka_unit_test(words_stay_what_they_were),
        cmocka_unit_test(numbers_keep_to_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
