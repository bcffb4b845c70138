#include "formats/description_parser.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void clip_json_refuse(struct clip_json_parser *p, const char *key, const char *expected)
{
    if (*p->status != CLIP_OK) return;
    *p->status = clip_fail(p->error, CLIP_ERR_DATA,
                           "%s: \"%s\" in %s of the model's description is not usable; expected "
                           "%s",
                           p->name, key, p->section, expected);
}

void clip_json_complain(struct clip_json_parser *p, const char *format, ...)
{
    char text[900];
    va_list arguments;
    if (*p->status != CLIP_OK) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *p->status = clip_fail(p->error, CLIP_ERR_DATA, "%s: %s", p->name, text);
}

const json_t *clip_json_get(const struct clip_json_parser *p, const char *key)
{
    const json_t *value = json_object_get(p->object, key);
    return json_is_null(value) ? NULL : value;
}

void clip_json_integer(struct clip_json_parser *p, const char *key, int64_t *out)
{
    const json_t *value = clip_json_get(p, key);
    if (value == NULL) return;
    if (json_is_integer(value) && json_integer_value(value) > 0)
        *out = json_integer_value(value);
    else
        clip_json_refuse(p, key, "a whole number above 0");
}

void clip_json_id(struct clip_json_parser *p, const char *key, int64_t *out)
{
    const json_t *value = clip_json_get(p, key);
    if (value == NULL) return;
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        *out = json_integer_value(value);
    else
        clip_json_refuse(p, key, "a whole number from 0");
}

void clip_json_real(struct clip_json_parser *p, const char *key, double *out)
{
    const json_t *value = clip_json_get(p, key);
    if (value == NULL) return;
    if (json_is_number(value) && json_number_value(value) > 0)
        *out = json_number_value(value);
    else
        clip_json_refuse(p, key, "a number above 0");
}

void clip_json_bool(struct clip_json_parser *p, const char *key, bool *out)
{
    const json_t *value = clip_json_get(p, key);
    if (value == NULL) return;
    if (json_is_boolean(value))
        *out = json_is_true(value);
    else
        clip_json_refuse(p, key, "true or false");
}

int clip_json_choice(struct clip_json_parser *p, const char *key, const char *const *choices,
                     int otherwise)
{
    const json_t *value = clip_json_get(p, key);
    const char *text = json_string_value(value);
    if (value == NULL) return otherwise;
    for (int i = 0; text != NULL && choices[i] != NULL; i++)
        if (strcmp(choices[i], text) == 0) return i;
    char expected[100] = "";
    for (int i = 0; choices[i] != NULL; i++) {
        size_t at = strlen(expected);
        snprintf(expected + at, sizeof expected - at, "%s\"%s\"", i ? " or " : "", choices[i]);
    }
    clip_json_refuse(p, key, expected);
    return otherwise;
}

int clip_json_name(struct clip_json_parser *p, const char *key, clip_name_fn *name, int otherwise)
{
    const char *names[16] = {NULL};
    for (int i = 0; i < 15 && name(i) != NULL; i++) names[i] = name(i);
    return clip_json_choice(p, key, names, otherwise);
}

void clip_json_three(struct clip_json_parser *p, const char *key, float *out)
{
    const json_t *value = clip_json_get(p, key);
    if (value == NULL) return;
    for (size_t i = 0; i < 3; i++) {
        const json_t *item = json_array_get(value, i);
        double number = json_number_value(item);
        bool fits = json_is_number(item) && fabs(number) < 1e30 &&
                    fabsf((float)number) < 1e30f; /* as it is kept: it is written and read again */
        if (json_array_size(value) != 3 || !fits) {
            clip_json_refuse(p, key, "three numbers");
            return;
        }
        out[i] = (float)number;
    }
}

void clip_json_side(struct clip_json_parser *p, const char *key, int64_t *out)
{
    const json_t *value = clip_json_get(p, key);
    const json_t *a = json_array_get(value, 0), *b = json_array_get(value, 1);
    if (!json_is_array(value))
        clip_json_integer(p, key, out);
    else if (json_array_size(value) == 2 && json_is_integer(a) && json_equal(a, b) &&
             json_integer_value(a) > 0)
        *out = json_integer_value(a);
    else
        clip_json_refuse(p, key, "a whole number above 0 (images are square)");
}

void clip_json_known(struct clip_json_parser *p, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)p->object, key, value)
    {
        bool fine = json_is_null(value) || json_is_false(value) ||
                    (json_is_number(value) && json_number_value(value) == 0) ||
                    (json_is_object(value) && json_object_size(value) == 0);
        for (int i = 0; known[i] != NULL && !fine; i++) fine = strcmp(known[i], key) == 0;
        if (!fine && *p->status == CLIP_OK) {
            *p->status = clip_fail(p->error, CLIP_ERR_DATA,
                                   "%s: \"%s\" in %s of the model's description asks for a kind of "
                                   "model that this program does not have; give a CLIP with plain "
                                   "transformers",
                                   p->name, key, p->section);
        }
    }
}

struct clip_json_parser clip_json_enter(const struct clip_json_parser *parent, const char *key,
                                        const char *section)
{
    struct clip_json_parser p = *parent;
    p.object = json_object_get(parent->object, key);
    if (p.object != NULL && !json_is_object(p.object)) clip_json_refuse(&p, key, "an object");
    p.section = section;
    return p;
}
