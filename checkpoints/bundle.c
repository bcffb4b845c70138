/* The bundle itself: two growing lists, a map from names to tensors, and copying out of it. */
#include "checkpoints/bundle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/convert.h"
#include "checkpoints/internal.h"
#include "kernels/bf16.h"

void clip_bundle_release(struct clip_bundle *bundle)
{
    free(bundle->tensors);
    free(bundle->texts);
    clip_string_map_release(&bundle->numbers);
    clip_arena_release(&bundle->arena);
    for (int64_t i = 0; i < bundle->mapping_count; i++) clip_file_unmap(&bundle->mappings[i]);
    free(bundle->mappings);
    *bundle = (struct clip_bundle){0};
}

clip_status clip_bundle_keep(struct clip_bundle *bundle, struct clip_mapping *mapping,
                             struct clip_error *error)
{
    clip_status status = clip_array_grow(&bundle->mappings, &bundle->mapping_capacity,
                                         bundle->mapping_count + 1, sizeof *bundle->mappings,
                                         error);
    if (status == CLIP_OK)
        bundle->mappings[bundle->mapping_count++] = *mapping;
    else
        clip_file_unmap(mapping);
    *mapping = (struct clip_mapping){0};
    return status;
}

clip_status clip_bundle_absorb(struct clip_bundle *bundle, struct clip_bundle *part,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < part->tensor_count; i++)
        CLIP_TRY(clip_bundle_add(bundle, part->tensors[i].name, &part->tensors[i].tensor, error));
    while (part->mapping_count > 0)
        CLIP_TRY(clip_bundle_keep(bundle, &part->mappings[--part->mapping_count], error));
out: /* tensors may point to the memory of `part` even after a failure */
    clip_arena_join(&bundle->arena, &part->arena);
    clip_bundle_release(part);
    return status;
}

clip_status clip_bundle_add(struct clip_bundle *bundle, const char *name,
                            const struct clip_tensor *tensor, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t number;
    CLIP_TRY(clip_array_grow(&bundle->tensors, &bundle->tensor_capacity, bundle->tensor_count + 1,
                             sizeof *bundle->tensors, error));
    CLIP_TRY(clip_string_map_number(&bundle->numbers, name, strlen(name), &number, error));
    if (number != bundle->tensor_count) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "there are two tensors named \"%s\"; every name must be there once", name);
    }
    struct clip_bundle_tensor *entry = &bundle->tensors[bundle->tensor_count++];
    entry->name = bundle->numbers.entries[number].key;
    entry->tensor = *tensor;
    entry->tensor.grad = NULL;
    entry->tensor.node = NULL;
    entry->tensor.needs_grad = false;
out:
    return status;
}

clip_status clip_bundle_add_text(struct clip_bundle *bundle, const char *key, const char *value,
                                 size_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (memchr(value, 0, n) != NULL) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the text \"%s\" holds a NUL byte; only plain text can be kept", key);
    }
    if (clip_bundle_text(bundle, key) != NULL) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "there are two texts named \"%s\"; every name must be there once", key);
    }
    CLIP_TRY(clip_array_grow(&bundle->texts, &bundle->text_capacity, bundle->text_count + 1,
                             sizeof *bundle->texts, error));
    struct clip_bundle_text *text = &bundle->texts[bundle->text_count];
    text->key = clip_arena_string(&bundle->arena, key, strlen(key), error);
    text->value = text->key != NULL ? clip_arena_string(&bundle->arena, value, n, error) : NULL;
    if (text->value == NULL) return CLIP_ERR_MEMORY;
    text->size = n;
    text->list = false;
    bundle->text_count++;
out:
    return status;
}

clip_status clip_bundle_add_list(struct clip_bundle *bundle, const char *key, const char *json,
                                 size_t n, struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(clip_bundle_add_text(bundle, key, json, n, error));
    bundle->texts[bundle->text_count - 1].list = true;
out:
    return status;
}

int64_t clip_bundle_number(const struct clip_bundle *bundle, const char *name)
{
    return clip_string_map_find(&bundle->numbers, name, strlen(name));
}

const struct clip_tensor *clip_bundle_find(const struct clip_bundle *bundle, const char *name)
{
    int64_t number = clip_bundle_number(bundle, name);
    return number >= 0 ? &bundle->tensors[number].tensor : NULL;
}

const struct clip_bundle_text *clip_bundle_text(const struct clip_bundle *bundle, const char *key)
{
    for (int64_t i = 0; i < bundle->text_count; i++)
        if (strcmp(bundle->texts[i].key, key) == 0) return &bundle->texts[i];
    return NULL;
}

const char *clip_shape_text(char text[CLIP_SHAPE_TEXT], const struct clip_tensor *tensor)
{
    int at = snprintf(text, CLIP_SHAPE_TEXT, "[");
    for (int i = 0; i < tensor->ndim; i++) {
        at += snprintf(text + at, (size_t)(CLIP_SHAPE_TEXT - at), "%s%lld", i ? ", " : "",
                       (long long)tensor->shape[i]);
    }
    snprintf(text + at, (size_t)(CLIP_SHAPE_TEXT - at), "]");
    return text;
}

static bool same_shape(const struct clip_tensor *a, const struct clip_tensor *b)
{
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

static clip_status copy_bf16(const char *name, const struct clip_tensor *dst,
                             const struct clip_tensor *src, struct clip_error *error)
{
    int64_t n = clip_tensor_count(src);
    const float *wide = src->data;
    uint16_t *out = dst->data;
    if (src->dtype == CLIP_BF16) {
        if (n > 0) memcpy(out, src->data, (size_t)n * sizeof *out);
        return CLIP_OK;
    }
    if (src->dtype != CLIP_F32)
        return clip_fail(error, CLIP_ERR_DATA, "\"%s\" is of type %s; expected F32 or BF16", name,
                         clip_dtype_name(src->dtype));
    for (int64_t i = 0; i < n; i++) out[i] = clip_bf16_round(wide[i]);
    return CLIP_OK;
}

clip_status clip_bundle_copy(const struct clip_bundle *bundle, const char *name,
                             const struct clip_tensor *dst, struct clip_error *error)
{
    char have[CLIP_SHAPE_TEXT], want[CLIP_SHAPE_TEXT];
    const struct clip_tensor *src = clip_bundle_find(bundle, name);
    if (src == NULL) return clip_fail(error, CLIP_ERR_DATA, "the weight \"%s\" is missing", name);
    if (!same_shape(src, dst)) {
        return clip_fail(error, CLIP_ERR_DATA, "\"%s\" has shape %s where %s is expected", name,
                         clip_shape_text(have, src), clip_shape_text(want, dst));
    }
    int64_t n = clip_tensor_count(src);
    if (dst->dtype == CLIP_BF16) return copy_bf16(name, dst, src, error);
    float *out = dst->data;
    const uint16_t *half = src->data;
    switch (src->dtype) {
    case CLIP_F32:
        if (n > 0) memcpy(out, src->data, (size_t)n * sizeof *out);
        return CLIP_OK;
    case CLIP_F16:
        for (int64_t i = 0; i < n; i++) out[i] = clip_f16_to_f32(half[i]);
        return CLIP_OK;
    case CLIP_BF16:
        for (int64_t i = 0; i < n; i++) out[i] = clip_bf16_widen(half[i]);
        return CLIP_OK;
    default:
        return clip_fail(error, CLIP_ERR_DATA, "\"%s\" is of type %s; expected F32, F16 or BF16",
                         name, clip_dtype_name(src->dtype));
    }
}

clip_status clip_atomic_put(struct clip_atomic *file, const void *bytes, size_t n,
                            struct clip_error *error)
{
    if (n == 0 || fwrite(bytes, 1, n, file->stream) == n) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_IO,
                     "%s: writing failed (%s); make room or choose another place", file->path,
                     strerror(errno));
}

size_t clip_tensor_bytes(const struct clip_tensor *tensor)
{
    return (size_t)clip_tensor_count(tensor) * clip_dtype_size(tensor->dtype);
}
