/* The parameters of all requests, in one table: their names, what they are, who takes them. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "serve/api_parts.h"

struct parameter {
    const char *name;
    unsigned requests; /* the enum clip_api_request_kind that take it */
    /* Adds the value to what is asked; false with *out filled where it is wrong. */
    bool (*take)(const struct clip_api_call *call, const struct parameter *p, const char *value,
                 struct clip_api_asked *asked, struct clip_api_response *out);
    int64_t least, most; /* of a number; `most` of the others: how many may be given */
    bool minus;          /* of a term: look for what is unlike it */
    size_t field;        /* of a string or a number: where it stands in struct clip_api_asked */
};

int64_t clip_api_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 15 || text[digits] != '\0') return -1;
    return strtoll(text, NULL, 10);
}

bool clip_api_find_row(const struct clip_api_call *call, const char *key, int64_t number,
                       int64_t *row, struct clip_api_response *out)
{
    const char *colon = key[0] != '\0' ? ": " : "";
    *row = number - call->shown->first;
    if (number < call->shown->first)
        clip_api_refuse(
            out, 410,
            "%s%sthe index was put together anew since image %lld was shown; load the page again",
            key, colon, (long long)number);
    else if (*row >= call->index->count || call->shown->all.skip[*row])
        clip_api_refuse(out, 404, "%s%sthere is no image %lld in the index", key, colon,
                        (long long)number);
    else
        return true;
    return false;
}

/* ---- kinds ---- */

/* Is there room for one more where there are `count`, and is the value a text? */
static bool check_text(const struct parameter *p, const char *value, int64_t count,
                       struct clip_api_response *out)
{
    size_t n = strlen(value);
    json_t *string = n <= CLIP_API_TEXT_BYTES ? json_string(value) : NULL; /* NULL: no UTF-8 */
    json_decref(string);
    if (count == p->most)
        clip_api_refuse(out, 400, "%s: at most %lld can be given", p->name, (long long)p->most);
    else if (string == NULL || n == 0)
        clip_api_refuse(out, 400, "%s: expected a text of 1 to %d bytes of UTF-8", p->name,
                        CLIP_API_TEXT_BYTES);
    else
        return true;
    return false;
}

static bool take_text(const struct clip_api_call *call, const struct parameter *p,
                      const char *value, struct clip_api_asked *asked,
                      struct clip_api_response *out)
{
    struct clip_error error;
    (void)call;
    if (!check_text(p, value, clip_query_count(&asked->query, CLIP_QUERY_TEXT), out)) return false;
    if (clip_query_add_text(&asked->query, value, p->minus, &error) == CLIP_OK) return true;
    clip_api_refuse_failure(out, false, &error);
    return false;
}

static bool take_label(const struct clip_api_call *call, const struct parameter *p,
                       const char *value, struct clip_api_asked *asked,
                       struct clip_api_response *out)
{
    (void)call;
    if (!check_text(p, value, asked->label_count, out)) return false;
    asked->labels[asked->label_count++] = value;
    return true;
}

/* The row of an image of the index, given as its number or its path there. */
static bool find_image(const struct clip_api_call *call, const struct parameter *p,
                       const char *value, int64_t *row, struct clip_api_response *out)
{
    int64_t number = clip_api_number(value);
    if (number >= 0) return clip_api_find_row(call, p->name, number, row, out);
    for (*row = 0; *row < call->index->count; ++*row)
        if (!call->shown->all.skip[*row] && strcmp(clip_index_name(call->index, *row), value) == 0)
            return true;
    clip_api_refuse(out, 404, "%s: there is no image \"%.300s\" in the index", p->name, value);
    return false;
}

static bool take_row(const struct clip_api_call *call, const struct parameter *p, const char *value,
                     struct clip_api_asked *asked, struct clip_api_response *out)
{
    struct clip_error error;
    int64_t row;
    if (clip_query_count(&asked->query, CLIP_QUERY_ROW) == p->most) {
        clip_api_refuse(out, 400, "%s: at most %lld can be given", p->name, (long long)p->most);
        return false;
    }
    if (!find_image(call, p, value, &row, out)) return false;
    if (clip_query_add_row(&asked->query, row, p->minus, &error) == CLIP_OK) return true;
    clip_api_refuse_failure(out, false, &error);
    return false;
}

static bool take_string(const struct clip_api_call *call, const struct parameter *p,
                        const char *value, struct clip_api_asked *asked,
                        struct clip_api_response *out)
{
    (void)call;
    if (strlen(value) > CLIP_API_TEXT_BYTES) {
        clip_api_refuse(out, 400, "%s: longer than %d bytes", p->name, CLIP_API_TEXT_BYTES);
        return false;
    }
    *(const char **)((char *)asked + p->field) = value;
    return true;
}

static bool take_number(const struct clip_api_call *call, const struct parameter *p,
                        const char *value, struct clip_api_asked *asked,
                        struct clip_api_response *out)
{
    int64_t number = clip_api_number(value);
    (void)call;
    if (number >= p->least && number <= p->most) {
        *(int64_t *)((char *)asked + p->field) = number;
        return true;
    }
    if (p->most == INT64_MAX)
        clip_api_refuse(out, 400, "%s: expected a whole number", p->name);
    else
        clip_api_refuse(out, 400, "%s: expected a whole number from %lld to %lld", p->name,
                        (long long)p->least, (long long)p->most);
    return false;
}

static bool take_order(const struct clip_api_call *call, const struct parameter *p,
                       const char *value, struct clip_api_asked *asked,
                       struct clip_api_response *out)
{
    (void)call;
    if (strcmp(value, "newest") == 0) {
        asked->order = CLIP_API_NEWEST;
    } else if (strcmp(value, "oldest") == 0) {
        asked->order = CLIP_API_OLDEST;
    } else {
        clip_api_refuse(out, 400, "%s: expected newest or oldest", p->name);
        return false;
    }
    return true;
}

static bool take_similarity(const struct clip_api_call *call, const struct parameter *p,
                            const char *value, struct clip_api_asked *asked,
                            struct clip_api_response *out)
{
    char *end;
    (void)call;
    asked->least = strtod(value, &end);
    if (end != value && *end == '\0' && asked->least >= -1 && asked->least <= 1) return true;
    clip_api_refuse(out, 400, "%s: expected a similarity from -1 to 1", p->name);
    return false;
}

/* ---- the table ---- */

#define FIELD(name) offsetof(struct clip_api_asked, name)
static const struct parameter parameters[] = {
    /* a query's terms: texts (with ::WEIGHT) and images of the index */
    {"text", CLIP_API_SEARCH, take_text, .most = CLIP_API_TERMS},
    {"minus", CLIP_API_SEARCH, take_text, .most = CLIP_API_TERMS, .minus = true},
    {"like", CLIP_API_SEARCH, take_row, .most = CLIP_API_TERMS},
    {"unlike", CLIP_API_SEARCH, take_row, .most = CLIP_API_TERMS, .minus = true},
    /* which part of the results */
    {"under", CLIP_API_IMAGES | CLIP_API_SEARCH, take_string, .field = FIELD(under)},
    {"offset", CLIP_API_IMAGES | CLIP_API_SEARCH, take_number, 0, INT64_MAX,
     .field = FIELD(offset)},
    {"limit", CLIP_API_IMAGES | CLIP_API_SEARCH, take_number, 1, CLIP_API_LIMIT,
     .field = FIELD(limit)},
    {"sort", CLIP_API_IMAGES | CLIP_API_SEARCH, take_order},
    {"least", CLIP_API_SEARCH, take_similarity},
    /* one image */
    {"image", CLIP_API_CLASSIFY | CLIP_API_DETAIL, take_row, .most = 1},
    {"label", CLIP_API_CLASSIFY, take_label, .most = CLIP_API_LABELS},
    {"template", CLIP_API_CLASSIFY, take_string, .field = FIELD(template)},
    {0},
};

static const struct parameter *find(const char *name)
{
    for (const struct parameter *p = parameters; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

bool clip_api_take(const struct clip_api_call *call, enum clip_api_request_kind kind,
                   struct clip_api_asked *out, struct clip_api_response *response)
{
    const struct clip_api_request *r = &call->request;
    struct clip_error error;
    *out = (struct clip_api_asked){.limit = 60, .least = -INFINITY};
    for (int64_t i = 0; i < r->parameter_count; i++) {
        const struct parameter *p = find(r->parameters[i].key);
        if (p == NULL || (p->requests & kind) == 0) continue;
        if (!p->take(call, p, r->parameters[i].value, out, response)) return false;
    }
    if (r->body_size > 0 &&
        clip_query_add_bytes(&out->query, r->body, r->body_size, &error) != CLIP_OK) {
        clip_api_refuse_failure(response, false, &error);
        return false;
    }
    return true;
}

void clip_api_asked_release(struct clip_api_asked *asked) { clip_query_release(&asked->query); }
