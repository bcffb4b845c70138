#include "core/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"

/* ---- JSON as Python writes it ---- */
/* json.dumps writes a float that is no number as a bare NaN, Infinity or -Infinity. The length of
 * such a word at `at`, 0 for anything else. */
static size_t constant_at(const char *at, const char *end)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(end - at) >= n && memcmp(at, words[i], n) == 0) return n;
    }
    return 0;
}

/* The string that begins at `at`, its quotes included. */
static size_t string_size(const char *at, const char *end)
{
    const char *p = at + 1;
    while (p < end && *p != '"') p += *p == '\\' && p + 1 < end ? 2 : 1;
    return (size_t)((p < end ? p + 1 : end) - at);
}

/* The first value's bytes: a list or an object to its last bracket, a string, or one word. */
static size_t value_size(const char *bytes, size_t n)
{
    const char *p = bytes, *end = bytes + n;
    int64_t depth = 0;
    do {
        if (p == end) break;
        if (*p == '"')
            p += string_size(p, end);
        else if (depth == 0 && strchr("[{", *p) == NULL)
            while (p < end && strchr(",]} \t\r\n", *p) == NULL) p++;
        else {
            depth += *p == '[' || *p == '{';
            depth -= *p == ']' || *p == '}';
            p++;
        }
    } while (depth > 0);
    return (size_t)(p - bytes);
}

/* out = the n bytes with null for each of Python's constants outside strings; *any: there were. */
static clip_status replace_constants(const char *bytes, size_t n, struct clip_buffer *out,
                                     bool *any)
{
    clip_status status = CLIP_OK;
    struct clip_error error;
    const char *kept = bytes, *end = bytes + n;
    *any = false;
    for (const char *p = bytes; p < end;) {
        size_t word = constant_at(p, end);
        if (word > 0) {
            CLIP_TRY(clip_buffer_append(out, kept, (size_t)(p - kept), &error));
            CLIP_TRY(clip_buffer_append(out, "null", 4, &error));
            kept = p + word;
            *any = true;
        }
        p += word > 0 ? word : *p == '"' ? string_size(p, end) : 1;
    }
    CLIP_TRY(clip_buffer_append(out, kept, (size_t)(end - kept), &error));
out:
    return status;
}

/* ---- memory that jansson does not get ---- */
/* Where its parser cannot make room for a token's next byte, it goes on without the byte, and reads
 * and writes past its buffer where that was the closing quote. So it is left from within malloc;
 * what it had made till then is lost. */
static _Thread_local jmp_buf *parsing;

static void *watched_malloc(size_t n)
{
    void *bytes = malloc(n);
    if (bytes == NULL && parsing != NULL) longjmp(*parsing, 1);
    return bytes;
}

void clip_json_watch_memory(void) { json_set_alloc_funcs(watched_malloc, free); }

static json_t *load(const char *bytes, size_t n, size_t flags, json_error_t *fault)
{
    jmp_buf here;
    if (setjmp(here) == 0) {
        parsing = &here;
        json_t *value = json_loadb(bytes, n, flags, fault);
        parsing = NULL;
        return value;
    }
    parsing = NULL;
    *fault = (json_error_t){.text = "memory is short", .line = 1};
    fault->text[sizeof fault->text - 1] = json_error_out_of_memory; /* for json_error_code */
    return NULL;
}

json_t *clip_json_load(const char *bytes, size_t n, size_t flags, json_error_t *fault)
{
    struct clip_buffer replaced = {0};
    json_error_t second;
    bool any;
    json_t *value = load(bytes != NULL ? bytes : "", n, flags, fault);
    if (value != NULL || bytes == NULL || json_error_code(fault) == json_error_out_of_memory)
        return value;
    if (flags & JSON_DISABLE_EOF_CHECK) n = value_size(bytes, n);
    if (replace_constants(bytes, n, &replaced, &any) == CLIP_OK && any) {
        value = load(replaced.data, replaced.size, flags, &second);
        *fault = second;
        if (value != NULL) fault->position = (int)n;
    }
    clip_buffer_release(&replaced);
    return value;
}

static json_t *parse(const char *bytes, size_t n, size_t flags, const char *name,
                     struct clip_error *error)
{
    json_error_t fault;
    json_t *value = clip_json_load(bytes, n, flags, &fault);
    for (char *c = fault.text; value == NULL && *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = ' '; /* a sentence is one line */
    if (value == NULL && json_error_code(&fault) == json_error_out_of_memory)
        clip_fail(error, CLIP_ERR_MEMORY, "memory is short for reading %s", name);
    else if (value == NULL)
        clip_fail(error, CLIP_ERR_FORMAT, "%s:%d:%d: this is not valid JSON: %s", name, fault.line,
                  fault.column, fault.text);
    return value;
}

json_t *clip_json_parse(const char *bytes, size_t n, const char *name, struct clip_error *error)
{
    return parse(bytes, n, JSON_REJECT_DUPLICATES, name, error);
}

json_t *clip_json_parse_reals(const char *bytes, size_t n, const char *name,
                              struct clip_error *error)
{
    return parse(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, name, error);
}

json_t *clip_json_read(const char *path, size_t limit, struct clip_error *error)
{
    struct clip_buffer bytes = {0};
    json_t *value = NULL;
    if (clip_file_read(path, limit, &bytes, error) == CLIP_OK)
        value = clip_json_parse(bytes.data, bytes.size, path, error);
    clip_buffer_release(&bytes);
    return value;
}

static void keep_if(json_t **whole, bool done)
{
    if (done) return;
    json_decref(*whole);
    *whole = NULL;
}

void clip_json_set(json_t **object, const char *key, json_t *value)
{
    keep_if(object, json_object_set_new(*object, key, value) == 0);
}

void clip_json_push(json_t **list, json_t *value)
{
    keep_if(list, json_array_append_new(*list, value) == 0);
}

json_t *clip_json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *clip_json_text(const char *bytes)
{
    json_t *text = json_string(bytes);
    char *copy = text == NULL ? strdup(bytes) : NULL;
    if (copy == NULL) return text;
    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    text = json_string(copy);
    free(copy);
    return text;
}

json_t *clip_json_texts(const char *const *items, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) clip_json_push(&list, clip_json_text(items[i]));
    return list;
}

static clip_status pack(json_t **out, const char *format, va_list arguments,
                        struct clip_error *error)
{
    json_error_t fault;
    *out = json_vpack_ex(&fault, 0, format, arguments);
    if (*out != NULL) return CLIP_OK;
    if (json_error_code(&fault) == json_error_invalid_utf8)
        return clip_fail(error, CLIP_ERR_DATA, "a text of the result is not UTF-8");
    return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for a result in JSON: %s",
                     fault.text);
}

bool clip_json_is(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL && strcmp(value, text) == 0;
}

clip_status clip_json_pack(json_t **out, struct clip_error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    clip_status status = pack(out, format, arguments, error);
    va_end(arguments);
    return status;
}

clip_status clip_json_add(json_t *list, struct clip_error *error, const char *format, ...)
{
    va_list arguments;
    json_t *item;
    va_start(arguments, format);
    clip_status status = pack(&item, format, arguments, error);
    va_end(arguments);
    if (status != CLIP_OK) return status;
    if (json_array_append_new(list, item) == 0) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for a list in JSON");
}

/* Writes 0.1 as 0.1 and not as 0.10000000000000001, and always with a point or an exponent, so that
 * it is read back as a real number. */
static clip_status append_real(struct clip_buffer *out, double x, struct clip_error *error)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    const char *tail = strpbrk(text, ".e") == NULL ? ".0" : "";
    return clip_buffer_printf(out, error, "%s%s", text, tail);
}

/* What jansson writes goes to a buffer of ours, which remembers a failure: jansson drops that of an
 * object's key, and goes on without the key. */
struct dump {
    struct clip_buffer *out;
    struct clip_error *error;
    clip_status status;
};

static int take_dump(const char *bytes, size_t n, void *context)
{
    struct dump *dump = context;
    if (dump->status == CLIP_OK)
        dump->status = clip_buffer_append(dump->out, bytes, n, dump->error);
    return dump->status == CLIP_OK ? 0 : -1;
}

clip_status clip_json_dump(struct clip_buffer *out, const json_t *value, size_t flags,
                           struct clip_error *error)
{
    struct dump dump = {out, error, CLIP_OK};
    int failed = json_dump_callback(value, take_dump, &dump, flags);
    if (dump.status != CLIP_OK || failed == 0) return dump.status;
    return clip_fail(error, CLIP_ERR_MEMORY,
                     "a JSON value could not be written: "
                     "memory is short or a text is not UTF-8");
}

static clip_status append_key(struct clip_buffer *out, const char *key, struct clip_error *error)
{
    json_t *text = json_string(key);
    if (text == NULL)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for the JSON key \"%s\"", key);
    clip_status status = clip_json_dump(out, text, JSON_ENCODE_ANY | JSON_COMPACT, error);
    json_decref(text);
    return status != CLIP_OK ? status : clip_buffer_append(out, ":", 1, error);
}

clip_status clip_json_append(struct clip_buffer *out, const json_t *value, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (json_is_object(value)) {
        const char *separator = "{";
        const char *key;
        json_t *member;
        json_object_foreach((json_t *)value, key, member)
        {
            CLIP_TRY(clip_buffer_append(out, separator, 1, error));
            CLIP_TRY(append_key(out, key, error));
            CLIP_TRY(clip_json_append(out, member, error));
            separator = ",";
        }
        CLIP_TRY(clip_buffer_append(out, *separator == '{' ? "{}" : "}", *separator == '{' ? 2 : 1,
                                    error));
    } else if (json_is_array(value)) {
        CLIP_TRY(clip_buffer_append(out, "[", 1, error));
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i > 0) CLIP_TRY(clip_buffer_append(out, ",", 1, error));
            CLIP_TRY(clip_json_append(out, json_array_get(value, i), error));
        }
        CLIP_TRY(clip_buffer_append(out, "]", 1, error));
    } else if (json_is_real(value)) {
        CLIP_TRY(append_real(out, json_real_value(value), error));
    } else {
        CLIP_TRY(clip_json_dump(out, value, JSON_ENCODE_ANY | JSON_COMPACT, error));
    }
out:
    return status;
}
