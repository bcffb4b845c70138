/* safetensors (https://github.com/huggingface/safetensors, "Format"):
 *
 *   8 bytes   N, the header's size, unsigned, little-endian
 *   N bytes   JSON: {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, ...,
 *             "__metadata__": {"key": "text", ...}}, begins with '{', may end in spaces
 *   the rest  the data; offsets count from its start, cover all of it, without gap or overlap
 *
 * No name comes twice, a shape may be [] (a scalar) or hold a 0 (no bytes). */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/internal.h"
#include "core/count.h"
#include "core/json.h"

#define HEADER_LIMIT 100000000u /* bytes; the reference reader's */
#define METADATA "__metadata__"
#define METADATA_LIMIT 10000 /* entries; files have a handful */

static const enum clip_dtype dtypes[] = {
    CLIP_F32, CLIP_F16, CLIP_BF16, CLIP_I32, CLIP_I64, CLIP_U8,
};

/* ---- Reading ---- */

struct span { /* where a tensor lies in the data */
    int64_t begin, end;
    const char *name;
};

struct reader {
    const char *path;
    const unsigned char *data; /* the data part */
    int64_t size;              /* of the data part */
    struct clip_bundle *out;
    struct span *spans; /* one per tensor */
    int64_t count;
    struct clip_error *error;
};

#define REFUSE(reader, ...) clip_fail((reader)->error, CLIP_ERR_FORMAT, __VA_ARGS__)

static clip_status read_dtype(struct reader *r, const char *name, const json_t *value,
                              enum clip_dtype *out)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(text, clip_dtype_name(dtypes[i])) == 0) {
            *out = dtypes[i];
            return CLIP_OK;
        }
    }
    if (text == NULL) {
        return REFUSE(r, "%s: the tensor \"%s\" has no \"dtype\"; the file is damaged", r->path,
                      name);
    }
    return REFUSE(r,
                  "%s: the tensor \"%s\" is of type %s; F32, F16, BF16, I32, I64 and U8 can be "
                  "read",
                  r->path, name, text);
}

/* Reads the shape into *tensor and the bytes that it needs into *bytes. */
static clip_status read_shape(struct reader *r, const char *name, const json_t *value,
                              struct clip_tensor *tensor, int64_t *bytes)
{
    if (!json_is_array(value)) {
        return REFUSE(r, "%s: the tensor \"%s\" has no \"shape\"; the file is damaged", r->path,
                      name);
    }
    size_t ndim = json_array_size(value);
    if (ndim > CLIP_MAX_DIMS) {
        return REFUSE(r, "%s: the tensor \"%s\" has %s; up to %d can be read", r->path, name,
                      CLIP_COUNT(ndim, "dimension"), CLIP_MAX_DIMS);
    }
    tensor->ndim = (int)ndim;
    int64_t product = (int64_t)clip_dtype_size(tensor->dtype);
    bool fits = true, empty = false;
    for (size_t i = 0; i < ndim; i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return REFUSE(r,
                          "%s: the shape of \"%s\" is not a list of whole numbers from 0; the "
                          "file is damaged",
                          r->path, name);
        }
        tensor->shape[i] = json_integer_value(item);
        empty = empty || tensor->shape[i] == 0; /* a zero does not hide an overflow of the others */
        int64_t n = tensor->shape[i] ? tensor->shape[i] : 1;
        fits = fits && clip_mul_i64(product, n, &product);
    }
    if (!fits) {
        return REFUSE(r, "%s: the shape of \"%s\" is too large to be true; the file is damaged",
                      r->path, name);
    }
    *bytes = empty ? 0 : product;
    return CLIP_OK;
}

static clip_status read_offsets(struct reader *r, const char *name, const json_t *value,
                                int64_t bytes, struct span *span)
{
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end)) {
        return REFUSE(r, "%s: the tensor \"%s\" has no two \"data_offsets\"; the file is damaged",
                      r->path, name);
    }
    *span = (struct span){json_integer_value(begin), json_integer_value(end), name};
    if (span->begin < 0 || span->end < span->begin || span->end > r->size) {
        return REFUSE(r,
                      "%s: \"%s\" lies at bytes %lld to %lld of the data, which "
                      "has %lld; the file was cut or damaged, copy it again",
                      r->path, name, (long long)span->begin, (long long)span->end,
                      (long long)r->size);
    }
    if (span->end - span->begin != bytes) {
        return REFUSE(r,
                      "%s: \"%s\" has %s where its shape and type need %lld; the file is damaged",
                      r->path, name, CLIP_COUNT(span->end - span->begin, "byte"), (long long)bytes);
    }
    return CLIP_OK;
}

static clip_status read_tensor(struct reader *r, const char *name, const json_t *entry)
{
    struct clip_tensor tensor = {0};
    struct span *span = &r->spans[r->count];
    int64_t bytes = 0;
    clip_status status = CLIP_OK;
    if (!json_is_object(entry)) {
        return REFUSE(r, "%s: the entry \"%s\" is not an object; the file is damaged", r->path,
                      name);
    }
    CLIP_TRY(read_dtype(r, name, json_object_get(entry, "dtype"), &tensor.dtype));
    CLIP_TRY(read_shape(r, name, json_object_get(entry, "shape"), &tensor, &bytes));
    CLIP_TRY(read_offsets(r, name, json_object_get(entry, "data_offsets"), bytes, span));
    const unsigned char *data = r->data + span->begin;
    /* the mapping is read-only, and nobody writes to what was read */
    tensor.data = (void *)(uintptr_t)data;
    if (bytes > 0 && (uintptr_t)data % clip_dtype_size(tensor.dtype) != 0) {
        tensor.data = clip_arena_alloc(&r->out->arena, bytes, 1, r->error);
        if (tensor.data == NULL) return CLIP_ERR_MEMORY;
        memcpy(tensor.data, data, (size_t)bytes);
    }
    CLIP_TRY(clip_bundle_add(r->out, name, &tensor, r->error));
    r->count++;
out:
    return status;
}

static clip_status read_metadata(struct reader *r, const json_t *entry)
{
    const char *key;
    json_t *value;
    if (!json_is_object(entry) || json_object_size(entry) > METADATA_LIMIT) {
        return REFUSE(r,
                      "%s: " METADATA " is not an object of at most %d texts; the file is "
                      "damaged",
                      r->path, METADATA_LIMIT);
    }
    json_object_foreach((json_t *)(uintptr_t)entry, key, value)
    {
        if (!json_is_string(value)) {
            return REFUSE(r, "%s: \"%s\" in " METADATA " is not a text; the file is damaged",
                          r->path, key);
        }
        clip_status status = clip_bundle_add_text(r->out, key, json_string_value(value),
                                                  json_string_length(value), r->error);
        if (status != CLIP_OK) return status;
    }
    return CLIP_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Checks that the tensors cover the data, and each byte once. */
static clip_status check_cover(struct reader *r)
{
    int64_t at = 0;
    qsort(r->spans, (size_t)r->count, sizeof *r->spans, by_place);
    for (int64_t i = 0; i < r->count; i++) {
        const struct span *span = &r->spans[i];
        if (span->begin < at) {
            return REFUSE(r, "%s: \"%s\" and \"%s\" share bytes of the data; the file is damaged",
                          r->path, r->spans[i - 1].name, span->name);
        }
        if (span->begin > at) {
            return REFUSE(r,
                          "%s: %s of the data before \"%s\" %s to no tensor; the file is damaged",
                          r->path, CLIP_COUNT(span->begin - at, "byte"), span->name,
                          clip_counted_word(span->begin - at, "belongs", "belong"));
        }
        at = span->end;
    }
    if (at != r->size) {
        return REFUSE(r, "%s: the last %s %s to no tensor; the file is damaged", r->path,
                      CLIP_COUNT(r->size - at, "byte"),
                      clip_counted_word(r->size - at, "belongs", "belong"));
    }
    return CLIP_OK;
}

static clip_status read_entries(struct reader *r, const json_t *header)
{
    const char *name;
    json_t *entry;
    clip_status status = CLIP_OK;
    r->spans = clip_array_new((int64_t)json_object_size(header), sizeof *r->spans, r->error);
    if (r->spans == NULL) return CLIP_ERR_MEMORY;
    json_object_foreach((json_t *)(uintptr_t)header, name, entry)
    {
        if (strcmp(name, METADATA) == 0)
            CLIP_TRY(read_metadata(r, entry));
        else
            CLIP_TRY(read_tensor(r, name, entry));
    }
    CLIP_TRY(check_cover(r));
out:
    free(r->spans);
    return status;
}

clip_status clip_safetensors_parse(const void *bytes, size_t n, const char *name,
                                   struct clip_bundle *out, struct clip_error *error)
{
    const unsigned char *file = bytes;
    struct reader reader = {.path = name, .out = out, .error = error};
    json_t *header = NULL;
    clip_status status = CLIP_OK;
    uint64_t size = 0;
    for (size_t i = 0; i < 8 && n >= 8; i++) size |= (uint64_t)file[i] << 8 * i;
    if (n < 8 || size > n - 8) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the file is shorter than its header; it was cut or is no safetensors "
                         "file",
                         name);
    }
    if (size > HEADER_LIMIT || size == 0 || file[8] != '{') {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: there is no safetensors header (JSON of at most %u bytes that begins "
                         "with '{'); give a safetensors file",
                         name, HEADER_LIMIT);
    }
    header = clip_json_parse((const char *)file + 8, (size_t)size, name, error);
    if (header == NULL) return clip_error_prefix(error, "the safetensors header is damaged");
    if (!json_is_object(header))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: the header is not a JSON object", name));
    reader.data = file + 8 + size;
    reader.size = (int64_t)(n - 8 - (size_t)size);
    CLIP_TRY(read_entries(&reader, header));
out:
    json_decref(header);
    if (status != CLIP_OK) clip_bundle_release(out);
    return status;
}

bool clip_safetensors_is(const char *path)
{
    unsigned char begin[9];
    FILE *file = clip_path_is_special(path) ? NULL : fopen(path, "rb");
    if (file == NULL) return false;
    size_t n = fread(begin, 1, sizeof begin, file);
    fclose(file);
    if (n != sizeof begin || begin[8] != '{') return false;
    uint64_t size = 0;
    for (int i = 7; i >= 0; i--) size = size << 8 | begin[i];
    return size <= HEADER_LIMIT;
}

clip_status clip_safetensors_read(const char *path, struct clip_bundle *out,
                                  struct clip_error *error)
{
    struct clip_mapping mapping = {0};
    clip_status status = clip_file_map(path, &mapping, error);
    if (status != CLIP_OK) return status;
    status = clip_safetensors_parse(mapping.data, mapping.size, path, out, error);
    if (status == CLIP_OK)
        status = clip_bundle_keep(out, &mapping, error);
    else
        clip_file_unmap(&mapping);
    if (status != CLIP_OK) clip_bundle_release(out);
    return status;
}

/* ---- Writing ---- */

/* The reference writer's order of types: wide ones first, so that all data is aligned. */
static int rank_of(enum clip_dtype dtype)
{
    static const int rank[] = {
        [CLIP_I64] = 0,  [CLIP_F32] = 1, [CLIP_I32] = 2,
        [CLIP_BF16] = 3, [CLIP_F16] = 4, [CLIP_U8] = 5,
    };
    return rank[dtype];
}

static int by_rank_and_name(const void *a, const void *b)
{
    const struct clip_bundle_tensor *x = *(const struct clip_bundle_tensor *const *)a;
    const struct clip_bundle_tensor *y = *(const struct clip_bundle_tensor *const *)b;
    int p = rank_of(x->tensor.dtype), q = rank_of(y->tensor.dtype);
    if (p != q) return p < q ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const struct clip_bundle_text *const *)a)->key,
                  (*(const struct clip_bundle_text *const *)b)->key);
}

/* Puts `value`, whose reference it takes, into the object. NULL: the value could not be made. */
static clip_status put(json_t *object, const char *key, json_t *value, struct clip_error *error)
{
    if (json_object_set_new(object, key, value) == 0) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "\"%s\" cannot be written: its name or text is not UTF-8, or memory is short",
                     key);
}

static clip_status put_tensor(json_t *header, const struct clip_bundle_tensor *entry, int64_t begin,
                              struct clip_error *error)
{
    const struct clip_tensor *tensor = &entry->tensor;
    json_t *shape = json_array();
    for (int i = 0; i < tensor->ndim; i++) clip_json_push(&shape, json_integer(tensor->shape[i]));
    return put(header, entry->name,
               json_pack("{s:s, s:o, s:[I, I]}", "dtype", clip_dtype_name(tensor->dtype), "shape",
                         shape, "data_offsets", (json_int_t)begin,
                         (json_int_t)(begin + (int64_t)clip_tensor_bytes(tensor))),
               error);
}

static clip_status put_texts(json_t *header, const struct clip_bundle *bundle,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *metadata = NULL;
    const struct clip_bundle_text **texts = NULL;
    if (bundle->text_count == 0) return CLIP_OK;
    CLIP_NEW(texts, bundle->text_count);
    for (int64_t i = 0; i < bundle->text_count; i++) texts[i] = &bundle->texts[i];
    qsort(texts, (size_t)bundle->text_count, sizeof *texts, by_key);
    metadata = json_object();
    for (int64_t i = 0; i < bundle->text_count; i++) {
        json_t *value = json_stringn(texts[i]->value, texts[i]->size);
        CLIP_TRY(put(metadata, texts[i]->key, value, error));
    }
    CLIP_TRY(put(header, METADATA, json_incref(metadata), error));
out:
    json_decref(metadata);
    free(texts);
    return status;
}

/* Makes the header, with its size before it and spaces behind it, so that the data starts at a
 * multiple of 8. */
static clip_status make_header(const struct clip_bundle *bundle,
                               const struct clip_bundle_tensor *const *order,
                               struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t at = 0;
    json_t *header = json_object();
    CLIP_TRY(put_texts(header, bundle, error));
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        if (strcmp(order[i]->name, METADATA) == 0) {
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "a tensor cannot be named " METADATA "; rename it"));
        }
        CLIP_TRY(put_tensor(header, order[i], at, error));
        at += (int64_t)clip_tensor_bytes(&order[i]->tensor);
    }
    CLIP_TRY(clip_buffer_append(out, "\0\0\0\0\0\0\0", 8, error));
    CLIP_TRY(clip_json_append(out, header, error));
    while (out->size % 8 != 0) CLIP_TRY(clip_buffer_append(out, " ", 1, error));
    if (out->size - 8 > HEADER_LIMIT) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "names and texts need a header of %s; safetensors allows %u",
                           CLIP_COUNT(out->size - 8, "byte"), HEADER_LIMIT));
    }
    for (size_t i = 0; i < 8; i++)
        out->data[i] = (char)(unsigned char)((uint64_t)(out->size - 8) >> 8 * i & 0xff);
out:
    json_decref(header);
    return status;
}

clip_status clip_safetensors_write(const char *path, const struct clip_bundle *bundle,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    struct clip_buffer header = {0};
    const struct clip_bundle_tensor **order = NULL;
    CLIP_NEW(order, bundle->tensor_count);
    for (int64_t i = 0; i < bundle->tensor_count; i++) order[i] = &bundle->tensors[i];
    qsort(order, (size_t)bundle->tensor_count, sizeof *order, by_rank_and_name);
    status = make_header(bundle, order, &header, error);
    if (status != CLIP_OK) {
        clip_error_prefix(error, "%s", path);
        goto out;
    }
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    CLIP_TRY(clip_atomic_put(&file, header.data, header.size, error));
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        const struct clip_tensor *tensor = &order[i]->tensor;
        CLIP_TRY(clip_atomic_put(&file, tensor->data, clip_tensor_bytes(tensor), error));
    }
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    clip_buffer_release(&header);
    free(order);
    return status;
}
