#include "train/config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/ini.h"
#include "train/config_table.h"

enum { LONGEST_VALUE = 160 }; /* so that config.ini's lines stay under inih's 200 bytes */

/* ---- keys ---- */

static const struct clip_key *find_key(const char *section, const char *key, int *index)
{
    for (int i = 0; i < clip_config_key_count; i++)
        if (strcmp(clip_config_keys[i].section, section) == 0 &&
            strcmp(clip_config_keys[i].key, key) == 0) {
            *index = i;
            return &clip_config_keys[i];
        }
    return NULL;
}

static clip_status unknown_key(const char *where, const char *section, const char *key,
                               struct clip_error *error)
{
    const struct clip_key *nearest = NULL;
    int least = 1000;
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        int d = 2 * clip_name_distance(key, k->key) + (strcmp(k->section, section) != 0);
        if (d < least) {
            least = d;
            nearest = k;
        }
    }
    return clip_fail(error, CLIP_ERR_USAGE, "%s: [%s] %s is not a key; the nearest is [%s] %s",
                     where, section, key, nearest->section, nearest->key);
}

/* ---- values ---- */

static clip_status bad_value(const char *where, const struct clip_key *k, const char *value,
                             const char *expected, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_USAGE, "%s: [%s] %s = \"%s\" is not %s, as in %s = %s", where,
                     k->section, k->key, value, expected, k->key,
                     k->standard[0] != '\0' ? k->standard : "0.5,0.5,0.5");
}

static bool parse_real(const char *text, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*out);
}

static bool is_open(const struct clip_key *k) { return (k->flags & KEY_ABOVE_LEAST) != 0; }
static bool may_change(const struct clip_key *k) { return (k->flags & KEY_MAY_CHANGE) != 0; }

static void describe_range(const struct clip_key *k, char *out, size_t n)
{
    if (is_open(k))
        snprintf(out, n, "a number; expected a value above %g, at most %g", k->least, k->most);
    else
        snprintf(out, n, "a%s; expected %.12g to %.12g",
                 k->type == KEY_INT ? " whole number" : " number", k->least, k->most);
}

static clip_status set_number(char *field, const struct clip_key *k, const char *value,
                              const char *where, struct clip_error *error)
{
    char expected[160];
    double number;
    bool ok = parse_real(value, &number) && (k->type != KEY_INT || number == floor(number));
    if (!ok) {
        describe_range(k, expected, sizeof expected);
        return bad_value(where, k, value, expected, error);
    }
    if (number < k->least || number > k->most || (is_open(k) && number <= k->least)) {
        if (is_open(k))
            snprintf(expected, sizeof expected, "above %g and at most %g", k->least, k->most);
        else
            snprintf(expected, sizeof expected, "%.12g to %.12g", k->least, k->most);
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s: [%s] %s = %s is out of range; expected %s, as in %s = %s", where,
                         k->section, k->key, value, expected, k->key, k->standard);
    }
    if (k->type == KEY_INT)
        *(int64_t *)(void *)field = (int64_t)number;
    else
        *(double *)(void *)field = number;
    return CLIP_OK;
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no",
                                                                                "off", "0"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, yes[i]) != 0 && strcmp(text, no[i]) != 0) continue;
        *out = strcmp(text, yes[i]) == 0;
        return true;
    }
    return false;
}

static clip_status set_bool(char *field, const struct clip_key *k, const char *value,
                            const char *where, struct clip_error *error)
{
    if (parse_bool(value, (bool *)(void *)field)) return CLIP_OK;
    return bad_value(where, k, value, "true or false", error);
}

static clip_status set_choice(char *field, const struct clip_key *k, const char *value,
                              const char *where, struct clip_error *error)
{
    char words[160];
    int number = clip_choice_find(k->names, value);
    if (number < 0)
        return clip_fail(error, CLIP_ERR_USAGE, "%s: [%s] %s = \"%s\" is not one of %s", where,
                         k->section, k->key, value,
                         clip_choice_list(k->names, "|", words, sizeof words));
    memcpy(field, &number, sizeof number); /* an enum of values from 0 is stored as an int is */
    return CLIP_OK;
}

static clip_status check_share(const struct clip_key *k, const char *value, const char *where,
                               struct clip_error *error)
{
    char copy[64];
    double number;
    size_t n = strlen(value);
    bool percent = n > 0 && value[n - 1] == '%';
    if (n < sizeof copy) {
        memcpy(copy, value, n + 1);
        if (percent) copy[n - 1] = '\0';
        if (parse_real(copy, &number) && number >= 0 &&
            (percent ? number <= 100 : number == floor(number) && number < 1e12))
            return CLIP_OK;
    }
    return bad_value(where, k, value, "a number of steps or a share in percent", error);
}

static bool parse_triple(const char *value, float out[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        out[i] = strtof(value, &end);
        if (end == value || !isfinite(out[i])) return false;
        while (isspace((unsigned char)*end)) end++;
        if (*end != (i < 2 ? ',' : '\0')) return false;
        value = end + (i < 2);
    }
    return true;
}

/* Writes the typed field of row k; `value` lives as long as the configuration. */
static clip_status set_field(struct clip_config *config, const struct clip_key *k,
                             const char *value, const char *where, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *field = (char *)config + k->offset;
    float triple[3];
    switch (k->type) {
    case KEY_INT:
    case KEY_REAL: return set_number(field, k, value, where, error);
    case KEY_BOOL: return set_bool(field, k, value, where, error);
    case KEY_CHOICE: return set_choice(field, k, value, where, error);
    case KEY_SHARE: CLIP_TRY(check_share(k, value, where, error)); break;
    case KEY_TRIPLE:
        if (value[0] != '\0' && !parse_triple(value, triple))
            return bad_value(where, k, value, "three numbers with commas", error);
        break;
    case KEY_TEXT: break;
    }
    *(const char **)(void *)field = value;
out:
    return status;
}

static clip_status set_value(struct clip_config *config, const char *section, const char *key,
                             const char *value, const char *where, struct clip_error *error)
{
    int index = 0;
    const struct clip_key *k = find_key(section, key, &index);
    if (k == NULL) return unknown_key(where, section, key, error);
    if (strlen(value) > LONGEST_VALUE)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s: [%s] %s is longer than %d bytes; use a shorter path", where, section,
                         key, LONGEST_VALUE);
    char *copy = clip_arena_string(&config->arena, value, strlen(value), error);
    if (copy == NULL) return CLIP_ERR_MEMORY;
    clip_status status = set_field(config, k, copy, where, error);
    if (status == CLIP_OK) config->values[index] = copy;
    return status;
}

/* ---- reading ---- */

clip_status clip_config_init(struct clip_config *config, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *config = (struct clip_config){0};
    CLIP_NEW(config->values, clip_config_key_count);
    for (int i = 0; i < clip_config_key_count; i++)
        CLIP_TRY(set_field(config, &clip_config_keys[i], clip_config_keys[i].standard, "default",
                           error));
out:
    return status;
}

void clip_config_release(struct clip_config *config)
{
    free(config->values);
    clip_arena_release(&config->arena);
    *config = (struct clip_config){0};
}

struct reading {
    struct clip_config *config;
    const char *name;
};

static clip_status read_line(void *context, const char *section, const char *key, const char *value,
                             int line, struct clip_error *error)
{
    const struct reading *r = context;
    char where[512];
    snprintf(where, sizeof where, "%s:%d", r->name, line);
    return set_value(r->config, section, key, value, where, error);
}

clip_status clip_config_read(struct clip_config *config, const char *path, struct clip_error *error)
{
    struct reading reading = {config, path};
    return clip_ini_read(path, read_line, &reading, error);
}

clip_status clip_config_parse(struct clip_config *config, const char *bytes, size_t n,
                              const char *name, struct clip_error *error)
{
    struct reading reading = {config, name};
    return clip_ini_parse(bytes, n, name, read_line, &reading, error);
}

clip_status clip_config_set(struct clip_config *config, const char *assignment,
                            struct clip_error *error)
{
    char section[64], key[64], where[300];
    const char *dot = strchr(assignment, '.'), *equals = strchr(assignment, '=');
    if (dot == NULL || equals == NULL || dot > equals || dot - assignment >= 64 ||
        equals - dot > 64)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "--set %s is not SECTION.KEY=VALUE, as in --set optim.lr=1e-4",
                         assignment);
    snprintf(section, sizeof section, "%.*s", (int)(dot - assignment), assignment);
    snprintf(key, sizeof key, "%.*s", (int)(equals - dot - 1), dot + 1);
    snprintf(where, sizeof where, "--set %.250s", assignment);
    return set_value(config, section, key, equals + 1, where, error);
}

int clip_config_option_count(void) { return clip_config_key_count; }

struct clip_config_option clip_config_option(int i)
{
    static const char *const with_section[] = {"zeroshot", "probe", "lora"};
    const struct clip_key *k = &clip_config_keys[i];
    struct clip_config_option option = {.flag = k->type == KEY_BOOL, .names = k->names};
    snprintf(option.name, sizeof option.name, "%s", k->key);
    for (size_t j = 0; j < sizeof with_section / sizeof *with_section; j++)
        if (strcmp(k->section, with_section[j]) == 0)
            snprintf(option.name, sizeof option.name, "%s-%s", k->section, k->key);
    for (char *c = option.name; *c != '\0'; c++)
        if (*c == '_') *c = '-';
    return option;
}

clip_status clip_config_set_option(struct clip_config *config, const char *name, const char *value,
                                   struct clip_error *error)
{
    char where[64];
    snprintf(where, sizeof where, "--%.40s", name);
    for (int i = 0; i < clip_config_key_count; i++)
        if (strcmp(clip_config_option(i).name, name) == 0)
            return set_value(config, clip_config_keys[i].section, clip_config_keys[i].key, value,
                             where, error);
    return clip_fail(error, CLIP_ERR_USAGE, "%s is no key of the configuration", where);
}

clip_status clip_config_put(struct clip_config *config, const char *section, const char *key,
                            const char *value, struct clip_error *error)
{
    return set_value(config, section, key, value, "clip_train", error);
}

bool clip_config_is_set(const struct clip_config *config, const char *section, const char *key)
{
    int index = 0;
    return find_key(section, key, &index) != NULL && config->values[index] != NULL;
}

/* ---- meaning ---- */

clip_status clip_config_model(const struct clip_config *config, struct clip_model_config *out,
                              struct clip_error *error)
{
    clip_status status;
    const struct clip_activation_keys keys = {config->model.quick_gelu, config->model.gelu_tanh,
                                              config->model.text_gelu_tanh};
    CLIP_TRY(clip_model_preset(out, clip_model_preset_name(config->model.preset), error));
#define TAKE_AS(key, field)                                                                        \
    if (clip_config_is_set(config, "model", #key)) out->field = config->model.key
#define TAKE(key) TAKE_AS(key, key)
    TAKE(embed_dim);
    TAKE(image_size);
    TAKE(patch_size);
    TAKE_AS(vision_width, vision.width);
    TAKE_AS(vision_layers, vision.layers);
    TAKE_AS(vision_heads, vision.heads);
    TAKE_AS(vision_mlp_ratio, vision.mlp_ratio);
    TAKE(context_length);
    TAKE(vocab_size);
    TAKE_AS(text_width, text.width);
    TAKE_AS(text_layers, text.layers);
    TAKE_AS(text_heads, text.heads);
    TAKE_AS(text_mlp_ratio, text.mlp_ratio);
#undef TAKE
#undef TAKE_AS
    clip_architecture_apply(out, config->model.architecture);
    out->vision.norm_eps = out->text.norm_eps = config->model.norm_eps;
    out->logit_bias = clip_losses[config->train.loss].needs_bias;
    clip_loss_choose(out, config->train.loss);
    if (config->model.image_mean[0] != '\0')
        parse_triple(config->model.image_mean, out->image_mean);
    if (config->model.image_std[0] != '\0') parse_triple(config->model.image_std, out->image_std);
    for (int i = 0; i < 3; i++)
        if (!(out->image_std[i] > 0))
            return clip_fail(error, CLIP_ERR_USAGE,
                             "[model] image_std = %s holds a number that is not above 0",
                             config->model.image_std);
    status = clip_activation_apply(out, keys, error);
    if (status == CLIP_OK) status = clip_model_config_check(out, error);
    if (status != CLIP_OK) status = clip_fail(error, CLIP_ERR_USAGE, "[model] %s", error->message);
out:
    return status;
}

double clip_config_share(const char *text, int64_t total)
{
    size_t n = strlen(text);
    double number = strtod(text, NULL);
    return n > 0 && text[n - 1] == '%' ? number / 100 * (double)total : number;
}

/* The value of row i as text: what was written, else what the preset gives, else the default. */
static const char *value_text(const struct clip_config *config, int i, char *room, size_t n)
{
    const struct clip_key *k = &clip_config_keys[i];
    struct clip_model_config preset;
    struct clip_error ignored;
    if (config->values[i] != NULL) return config->values[i];
    if (strcmp(k->section, "model") != 0 ||
        clip_model_preset(&preset, clip_model_preset_name(config->model.preset), &ignored) !=
            CLIP_OK)
        return k->standard;
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {
        {"embed_dim", preset.embed_dim},       {"patch_size", preset.patch_size},
        {"vision_width", preset.vision.width}, {"vision_layers", preset.vision.layers},
        {"vision_heads", preset.vision.heads}, {"text_width", preset.text.width},
        {"text_layers", preset.text.layers},   {"text_heads", preset.text.heads},
    };
    for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++)
        if (strcmp(sizes[j].key, k->key) == 0) {
            snprintf(room, n, "%lld", (long long)sizes[j].value);
            return room;
        }
    return k->standard;
}

clip_status clip_config_write(const struct clip_config *config, struct clip_buffer *out,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char room[32];
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        if (i == 0 || strcmp(k->section, clip_config_keys[i - 1].section) != 0)
            CLIP_TRY(clip_buffer_printf(out, error, "%s[%s]\n", i > 0 ? "\n" : "", k->section));
        CLIP_TRY(clip_buffer_printf(out, error, "%s = %s\n", k->key,
                                    value_text(config, i, room, sizeof room)));
    }
out:
    return status;
}

/* ---- two configurations ---- */

static bool same_share(const char *a, const char *b)
{
    bool percent = a[0] != '\0' && a[strlen(a) - 1] == '%';
    return percent == (b[0] != '\0' && b[strlen(b) - 1] == '%') &&
           clip_config_share(a, 100) == clip_config_share(b, 100);
}

bool clip_key_same(const struct clip_key *k, const char *a, const char *b)
{
    double x, y;
    float p[3], q[3];
    bool yes, no;
    if (strcmp(a, b) == 0) return true;
    switch (k->type) {
    case KEY_INT:
    case KEY_REAL: return parse_real(a, &x) && parse_real(b, &y) && x == y;
    case KEY_BOOL: return parse_bool(a, &yes) && parse_bool(b, &no) && yes == no;
    case KEY_SHARE: return same_share(a, b);
    case KEY_TRIPLE:
        return parse_triple(a, p) && parse_triple(b, q) && p[0] == q[0] && p[1] == q[1] &&
               p[2] == q[2];
    case KEY_CHOICE:
    case KEY_TEXT: break;
    }
    return false;
}

static clip_status add_difference(const struct clip_key *k, const char *a, const char *b,
                                  struct clip_buffer *out, struct clip_error *error)
{
    return clip_buffer_printf(out, error, "%s[%s] %s was %s and is %s", out->size > 0 ? ", " : "",
                              k->section, k->key, a[0] != '\0' ? a : "empty",
                              b[0] != '\0' ? b : "empty");
}

/* The share of train_data that is set aside: val_data, which may change, makes it none. */
static double set_aside(const struct clip_config *config)
{
    return config->data.val_data[0] == '\0' ? config->data.val_share : 0;
}

clip_status clip_config_differences(const struct clip_config *before, const struct clip_config *now,
                                    struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int val_data = 0;
    char room[2][32];
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        const char *a = value_text(before, i, room[0], sizeof room[0]),
                   *b = value_text(now, i, room[1], sizeof room[1]);
        if (!may_change(k) && !clip_key_same(k, a, b))
            CLIP_TRY(add_difference(k, a, b, out, error));
    }
    if (before->data.val_share == now->data.val_share && set_aside(before) != set_aside(now))
        CLIP_TRY(add_difference(find_key("data", "val_data", &val_data), before->data.val_data,
                                now->data.val_data, out, error));
out:
    return status;
}

/* ---- help ---- */

static void range_text(const struct clip_key *k, char *out, size_t n)
{
    switch (k->type) {
    case KEY_INT: snprintf(out, n, "%.12g to %.12g", k->least, k->most); return;
    case KEY_REAL:
        snprintf(out, n, is_open(k) ? "above %g, to %g" : "%g to %g", k->least, k->most);
        return;
    case KEY_BOOL: snprintf(out, n, "true or false"); return;
    case KEY_CHOICE: clip_choice_list(k->names, "|", out, n); return;
    case KEY_SHARE: snprintf(out, n, "steps or N%%"); return;
    case KEY_TRIPLE: snprintf(out, n, "three numbers"); return;
    case KEY_TEXT: snprintf(out, n, "text"); return;
    }
}

static void show_row(FILE *stream, const struct clip_key *k)
{
    char range[160];
    range_text(k, range, sizeof range);
    fprintf(stream, "  %s = %s\n      %s (%s%s)\n", k->key, k->standard, k->help, range,
            may_change(k) ? "; may change at --resume" : "");
}

static void show_markdown_row(FILE *stream, const struct clip_key *k)
{
    char range[160];
    range_text(k, range, sizeof range);
    fprintf(stream, "| `%s` | %s | ", k->key, k->standard);
    for (const char *c = range; *c != '\0'; c++) fprintf(stream, *c == '|' ? ", " : "%c", *c);
    fprintf(stream, " | %s | %s |\n", may_change(k) ? "yes" : "", k->help);
}

void clip_config_help(FILE *stream, bool markdown)
{
    if (markdown)
        fputs("# Configuration\n\n"
              "An INI file sets keys in sections; a line that begins with `;` is a comment. "
              "`--set SECTION.KEY=VALUE` and the option\n`--KEY VALUE` override the file "
              "([training](training.md)). A relative path counts from the working folder.\n\n"
              "`clip_train --help-config-markdown` writes this page from the table that also "
              "checks the values. A key with *yes* under\n*resume* may change when a run "
              "continues with `--resume`, because what is trained does not depend on it.\n\n",
              stream);
    for (int i = 0; i < clip_config_key_count; i++) {
        const struct clip_key *k = &clip_config_keys[i];
        bool first = i == 0 || strcmp(k->section, clip_config_keys[i - 1].section) != 0;
        if (first)
            fprintf(stream, "%s%s[%s]\n", i > 0 ? "\n" : "", markdown ? "## " : "", k->section);
        if (first && markdown)
            fputs("\n| key | default | range | resume | meaning |\n|---|---|---|---|---|\n",
                  stream);
        if (markdown)
            show_markdown_row(stream, k);
        else
            show_row(stream, k);
    }
}
