/* The names by which people call an image's path and its captions, in csv columns and JSON keys. */
#include <string.h>

#include "data/sets/dataset_internal.h"

/* Looked for in this order where no key is asked for: open_clip's, Hugging Face's, BLIP's,
 * Flickr30k's. */
const char *const clip_image_keys[] = {"filepath", "image",      "file_name",  "filename",
                                       "path",     "image_name", "image_path", NULL};
const char *const clip_caption_keys[] = {"title", "caption", "text", "captions", "comment", NULL};

bool clip_key_is_asked(const char *asked, const char *const *usual)
{
    return asked != NULL && asked[0] != '\0' && strcmp(asked, usual[0]) != 0;
}

const json_t *clip_json_image(const json_t *object, const char *asked)
{
    if (clip_key_is_asked(asked, clip_image_keys)) return json_object_get(object, asked);
    for (int i = 0; clip_image_keys[i] != NULL; i++)
        if (json_object_get(object, clip_image_keys[i]) != NULL)
            return json_object_get(object, clip_image_keys[i]);
    return NULL;
}

/* The captions that a value holds, a text or a list: counted down in *which, and the one at which
 * that reaches 0 found. */
static const json_t *take(const json_t *value, int64_t *which)
{
    int64_t n = json_is_string(value) ? 1 : (int64_t)json_array_size(value), at = *which;
    *which -= n;
    if (at < 0 || at >= n) return NULL;
    return json_is_string(value) ? value : json_array_get(value, (size_t)at);
}

static const json_t *find(const json_t *object, const char *asked, int64_t *which)
{
    char key[256];
    const json_t *found = NULL;
    if (!clip_key_is_asked(asked, clip_caption_keys)) {
        for (int i = 0; clip_caption_keys[i] != NULL; i++) {
            const json_t *value = json_object_get(object, clip_caption_keys[i]);
            if (value != NULL) return take(value, which);
        }
        return NULL;
    }
    if (json_object_get(object, asked) != NULL) return take(json_object_get(object, asked), which);
    for (const char *at = asked; found == NULL && *at != '\0';) {
        size_t n = clip_key_next(&at, key, sizeof key);
        if (n > 0) found = take(json_object_get(object, key), which);
    }
    return found;
}

const json_t *clip_json_caption(const json_t *object, const char *asked, int64_t which)
{
    return find(object, asked, &which);
}

int64_t clip_json_captions(const json_t *object, const char *asked)
{
    int64_t which = INT64_MAX;
    find(object, asked, &which);
    return INT64_MAX - which;
}

size_t clip_key_next(const char **at, char *key, size_t size)
{
    size_t n = strcspn(*at, ","), space = strspn(*at, " ");
    const char *name = *at + (space < n ? space : n);
    size_t length = n - (size_t)(name - *at);
    while (length > 0 && name[length - 1] == ' ') length--;
    *at += n + ((*at)[n] == ',');
    if (length >= size) length = size - 1;
    memcpy(key, name, length);
    key[length] = '\0';
    return length;
}
