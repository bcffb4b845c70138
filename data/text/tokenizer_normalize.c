/* The normalizers of a Unigram tokenizer.json: steps on a text's code points, one after another.
 *
 * It reads Lowercase, Strip, Precompiled (tokenizer_charsmap.c) and Replace. The regex of a Replace
 * may be one character, \s or a class of characters ([...]), alone or followed by + or {n,}, which
 * is what SigLIP's files use. Everything else is refused by name. */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "data/text/text_points.h"
#include "data/text/tokenizer_internal.h"

enum step_kind { STEP_LOWERCASE, STEP_STRIP, STEP_STRING, STEP_RUN, STEP_CHARSMAP };

struct clip_normalizer_step {
    enum step_kind kind;
    bool left, right;           /* STRIP: at which ends */
    struct clip_points pattern; /* STRING: what is searched; RUN: the class */
    bool space;                 /* RUN: the class includes white space */
    bool many;                  /* RUN: a run of any length, else one character */
    int64_t least;              /* RUN: shorter runs stay */
    struct clip_points content; /* what replaces it */
    struct clip_charsmap map;   /* CHARSMAP */
};

void clip_normalizer_release(struct clip_normalizer *n)
{
    for (int64_t i = 0; i < n->count; i++) {
        clip_points_release(&n->steps[i].pattern);
        clip_points_release(&n->steps[i].content);
        clip_charsmap_release(&n->steps[i].map);
    }
    free(n->steps);
    free(n->name);
    *n = (struct clip_normalizer){0};
}

/* ---- Reading ---- */

/* Does a character of a regex stand for itself, in a class or outside? */
static bool is_plain(int32_t point, bool in_class)
{
    return point > 0x7F || point == ' ' || (point >= '0' && point <= '9') ||
           ((point | 32) >= 'a' && (point | 32) <= 'z') ||
           strchr(in_class ? "!\"#$%'()*+,./:;<=>?@_`{|}" : "!\"#%',/:;<=>@_`~", (int)point) !=
               NULL;
}

/* Reads one character, an escaped one, or \s. */
static bool read_atom(const struct clip_points *regex, int64_t *at, bool in_class,
                      struct clip_normalizer_step *step, clip_status *status,
                      struct clip_error *error)
{
    if (*at >= regex->count) return false;
    int32_t point = regex->at[(*at)++];
    if (point == '\\') {
        if (*at >= regex->count) return false;
        point = regex->at[(*at)++];
        if (point == 's') {
            step->space = true;
            return true;
        }
        if (point > 0x7E || point < '!' || (point >= '0' && point <= '9') ||
            ((point | 32) >= 'a' && (point | 32) <= 'z'))
            return false;
    } else if (!is_plain(point, in_class)) {
        return false;
    }
    *status = clip_points_add(&step->pattern, point, error);
    return *status == CLIP_OK;
}

/* Reads a regex. false: it is not of a known form, or memory is short (*status). */
static bool read_regex(const struct clip_points *regex, struct clip_normalizer_step *step,
                       clip_status *status, struct clip_error *error)
{
    int64_t at = 0;
    step->least = 1;
    if (regex->count > 0 && regex->at[0] == '[') {
        for (at = 1; at < regex->count && regex->at[at] != ']';)
            if (!read_atom(regex, &at, true, step, status, error)) return false;
        if (at < 2 || at++ >= regex->count) return false;
    } else if (!read_atom(regex, &at, false, step, status, error)) {
        return false;
    }
    step->many = at < regex->count;
    if (at == regex->count) return true;
    if (regex->at[at] == '+') return at + 1 == regex->count;
    /* {n,} with one digit */
    if (regex->count - at != 4 || regex->at[at] != '{' || regex->at[at + 2] != ',' ||
        regex->at[at + 3] != '}')
        return false;
    step->least = regex->at[at + 1] - '0';
    return step->least >= 1 && step->least <= 9;
}

static clip_status read_replace(struct clip_normalizer_step *step, const json_t *json,
                                const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_points regex = {0};
    const json_t *pattern = json_object_get(json, "pattern");
    const char *string = json_string_value(json_object_get(pattern, "String"));
    const char *expression = json_string_value(json_object_get(pattern, "Regex"));
    const char *content = json_string_value(json_object_get(json, "content"));
    if (content == NULL || (string == NULL) == (expression == NULL) ||
        (string != NULL && !*string)) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: a Replace of the normalizer needs a pattern and a content; the file "
                         "is damaged",
                         name);
    }
    CLIP_TRY(clip_points_decode(&step->content, content, strlen(content), error));
    if (string != NULL) {
        step->kind = STEP_STRING;
        CLIP_TRY(clip_points_decode(&step->pattern, string, strlen(string), error));
        goto out;
    }
    step->kind = STEP_RUN;
    CLIP_TRY(clip_points_decode(&regex, expression, strlen(expression), error));
    if (!read_regex(&regex, step, &status, error)) {
        if (status != CLIP_OK) goto out;
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the regex %.60s of the tokenizer's normalizer is not read here: "
                           "only a character, \\s or a class, with + or {n,}",
                           name, expression));
    }
out:
    clip_points_release(&regex);
    return status;
}

static clip_status read_step(struct clip_normalizer *n, const json_t *json, const char *name,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *table = json_object_get(json, "precompiled_charsmap");
    CLIP_TRY(clip_array_grow(&n->steps, &n->capacity, n->count + 1, sizeof *n->steps, error));
    struct clip_normalizer_step *step = &n->steps[n->count];
    n->count++; /* it is released with the others, whatever happens */
    if (clip_json_is(json, "type", "Lowercase")) {
        step->kind = STEP_LOWERCASE;
    } else if (clip_json_is(json, "type", "Strip")) {
        step->kind = STEP_STRIP;
        step->left = json_is_true(json_object_get(json, "strip_left"));
        step->right = json_is_true(json_object_get(json, "strip_right"));
    } else if (clip_json_is(json, "type", "Replace")) {
        CLIP_TRY(read_replace(step, json, name, error));
    } else if (clip_json_is(json, "type", "Precompiled") && json_is_string(table)) {
        step->kind = STEP_CHARSMAP;
        CLIP_TRY(clip_charsmap_read(&step->map, json_string_value(table), name, error));
    } else {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the tokenizer's normalizer %.40s is not read here; Lowercase, "
                           "Strip, Replace and Precompiled (with its table) are",
                           name, type != NULL ? type : "without a type"));
    }
out:
    return status;
}

clip_status clip_normalizer_read(struct clip_normalizer *n, const json_t *json, const char *name,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t i;
    json_t *step;
    if (json == NULL || json_is_null(json)) return CLIP_OK;
    n->name = clip_string_copy(name, error);
    if (n->name == NULL) return CLIP_ERR_MEMORY;
    if (!clip_json_is(json, "type", "Sequence")) return read_step(n, json, name, error);
    if (json_array_size(json_object_get(json, "normalizers")) > CLIP_NORMALIZER_STEPS)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the tokenizer's normalizer has more than the %d steps that are read",
                         name, CLIP_NORMALIZER_STEPS);
    json_array_foreach(json_object_get(json, "normalizers"), i, step)
    {
        CLIP_TRY(read_step(n, step, name, error));
    }
out:
    return status;
}

/* ---- Running ---- */

static void strip(struct clip_points *text, bool left, bool right)
{
    int64_t from = 0, to = text->count;
    while (right && to > 0 && clip_point_is_space(text->at[to - 1], false)) to--;
    while (left && from < to && clip_point_is_space(text->at[from], false)) from++;
    if (from > 0) memmove(text->at, text->at + from, (size_t)(to - from) * sizeof *text->at);
    text->count = to - from;
}

static bool in_class(const struct clip_normalizer_step *step, int32_t point)
{
    if (step->space && clip_point_is_space(point, false)) return true;
    for (int64_t i = 0; i < step->pattern.count; i++)
        if (step->pattern.at[i] == point) return true;
    return false;
}

/* How many characters the step replaces at `at`; 0 if none. */
static int64_t match(const struct clip_normalizer_step *step, const struct clip_points *text,
                     int64_t at)
{
    int64_t n = step->pattern.count;
    if (step->kind == STEP_STRING) {
        bool same = n <= text->count - at &&
                    memcmp(text->at + at, step->pattern.at, (size_t)n * sizeof *text->at) == 0;
        return same ? n : 0;
    }
    for (n = 0; at + n < text->count && (step->many || n == 0); n++)
        if (!in_class(step, text->at[at + n])) break;
    return n >= step->least ? n : 0;
}

/* It ends early where the text has become longer than `most`. */
static clip_status replace(const struct clip_normalizer_step *step, struct clip_points *text,
                           int64_t most, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_points out = {0};
    for (int64_t at = 0; at < text->count && out.count <= most;) {
        int64_t n = match(step, text, at);
        if (n == 0) CLIP_TRY(clip_points_add(&out, text->at[at], error));
        for (int64_t k = 0; n > 0 && k < step->content.count; k++)
            CLIP_TRY(clip_points_add(&out, step->content.at[k], error));
        at += n > 0 ? n : 1;
    }
    clip_points_swap(text, &out);
out:
    clip_points_release(&out);
    return status;
}

clip_status clip_normalizer_run(const struct clip_normalizer *n, struct clip_points *text,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t most = text->count < INT64_MAX / CLIP_NORMALIZED_TIMES
                       ? text->count * CLIP_NORMALIZED_TIMES
                       : INT64_MAX;
    if (most < CLIP_NORMALIZED_LEAST) most = CLIP_NORMALIZED_LEAST;
    for (int64_t i = 0; i < n->count; i++) {
        const struct clip_normalizer_step *step = &n->steps[i];
        switch (step->kind) {
        case STEP_LOWERCASE: CLIP_TRY(clip_points_lower(text, false, error)); break;
        case STEP_STRIP: strip(text, step->left, step->right); break;
        case STEP_STRING:
        case STEP_RUN: CLIP_TRY(replace(step, text, most, error)); break;
        case STEP_CHARSMAP: CLIP_TRY(clip_charsmap_run(&step->map, text, most, error)); break;
        }
        if (text->count > most)
            return clip_fail(error, CLIP_ERR_DATA,
                             "%s: the tokenizer's normalizer turns a text into more than %lld "
                             "characters; the file is damaged or means harm",
                             n->name, (long long)most);
    }
out:
    return status;
}
