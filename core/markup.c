#include "core/markup.h"

#include <stdint.h>
#include <string.h>

clip_status clip_markup_text(struct clip_buffer *out, const char *text, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (const char *at = text; *at != '\0'; at++) {
        const char *entity = *at == '&'    ? "&amp;"
                             : *at == '<'  ? "&lt;"
                             : *at == '>'  ? "&gt;"
                             : *at == '"'  ? "&quot;"
                             : *at == '\'' ? "&#39;"
                                           : NULL;
        bool control = ((unsigned char)*at < ' ' && *at != '\n' && *at != '\t') || *at == 127;
        if (entity != NULL)
            CLIP_TRY(clip_buffer_append(out, entity, strlen(entity), error));
        else
            CLIP_TRY(clip_buffer_append(out, control ? "?" : at, 1, error));
    }
out:
    return status;
}

clip_status clip_markup_base64(struct clip_buffer *out, const void *bytes, size_t n,
                               struct clip_error *error)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = bytes;
    clip_status status = clip_buffer_reserve(out, n / 3 * 4 + 4, error);
    if (status != CLIP_OK) return status;
    char *to = out->data + out->size;
    for (size_t i = 0; i < n; i += 3) {
        unsigned second = i + 1 < n ? at[i + 1] : 0, third = i + 2 < n ? at[i + 2] : 0;
        unsigned group = (unsigned)at[i] << 16 | second << 8 | third;
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = i + 1 < n ? digits[group >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[group & 63] : '=';
    }
    out->size = (size_t)(to - out->data);
    *to = '\0';
    return CLIP_OK;
}

static int digit_of(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

clip_status clip_markup_from_base64(struct clip_buffer *out, const char *text, size_t n,
                                    struct clip_error *error)
{
    size_t padding = n > 1 && text[n - 1] == '=' ? 1 + (text[n - 2] == '=') : 0;
    clip_status status = clip_buffer_reserve(out, n / 4 * 3 + 1, error);
    if (status != CLIP_OK) return status;
    char *to = out->data + out->size;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t group = 0;
        int bytes = i + 4 < n ? 3 : 3 - (int)padding;
        for (size_t k = i; k < i + 4; k++) {
            int digit = n % 4 != 0 ? -1 : k >= n - padding ? 0 : digit_of(text[k]);
            if (digit < 0) {
                return clip_fail(error, CLIP_ERR_FORMAT,
                                 "character %zu is not base64, or some are "
                                 "missing",
                                 k + 1);
            }
            group = group << 6 | (uint32_t)digit;
        }
        for (int k = 0; k < bytes; k++) *to++ = (char)(group >> (16 - 8 * k) & 0xFF);
    }
    out->size = (size_t)(to - out->data);
    *to = '\0';
    return CLIP_OK;
}
