/* Answers, as all of the api gives them. */
#include "serve/api_parts.h"

#include <stdarg.h>
#include <stdio.h>

static void answer_json(struct clip_api_response *out, int code, json_t *value)
{
    struct clip_error ignored;
    out->code = code;
    out->type = "application/json";
    out->body.size = 0;
    if (value == NULL || clip_json_append(&out->body, value, &ignored) != CLIP_OK) out->code = 500;
    json_decref(value);
}

void clip_api_answer_json(struct clip_api_response *out, json_t *value)
{
    answer_json(out, 200, value);
}

void clip_api_refuse(struct clip_api_response *out, int code, const char *format, ...)
{
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *sentence = json_string(text);
    answer_json(out, code,
                json_pack("{s:o}", "error",
                          sentence != NULL ? sentence : json_string("that is not UTF-8")));
}

void clip_api_refuse_failure(struct clip_api_response *out, bool sent,
                             const struct clip_error *error)
{
    int code = error->status == CLIP_ERR_USAGE ? 400 : 500;
    if (error->status == CLIP_ERR_FORMAT || error->status == CLIP_ERR_DATA) code = sent ? 422 : 410;
    if (error->status == CLIP_ERR_NOT_FOUND || error->status == CLIP_ERR_IO) code = 410;
    clip_api_refuse(out, code, "%s", error->message);
}
