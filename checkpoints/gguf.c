/* GGUF, all numbers little-endian:
 *
 *   "GGUF", u32 version, u64 tensors, u64 values
 *   a value:   text key, u32 type, the value; a list: u32 type of its items, u64 count, the items
 *   a tensor:  text name, u32 dimensions, u64 each of them, the innermost first, u32 type,
 *              u64 offset of its data behind the next boundary
 *   zeros to a multiple of "general.alignment" (32), then the data, each tensor aligned so
 *
 * where a text is a u64 length and so many bytes. */
#include "checkpoints/gguf.h"

#include <stdio.h>
#include <string.h>

#include "checkpoints/internal.h"
#include "core/count.h"
#include "core/file.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_TEXT,
    GGUF_LIST,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES,
};
enum { GGML_F32 = 0, GGML_F16 = 1, GGML_BF16 = 30 };
enum { ALIGNMENT = 32, NUMBERS_MAX = 65536, NAME_SIZE = 128 };

/* The bytes of a number of this type; 0 for texts and lists. */
static size_t size_of(uint32_t type)
{
    static const size_t sizes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < GGUF_TYPES ? sizes[type] : 0;
}

/* ---- Reading ---- */

struct reader {
    const char *path;
    const unsigned char *bytes;
    size_t size, at;
    struct clip_bundle *out;
    struct clip_error *error;
};

#define REFUSE(reader, ...) clip_fail((reader)->error, CLIP_ERR_FORMAT, __VA_ARGS__)

static clip_status was_cut(struct reader *r, const char *what)
{
    return REFUSE(r, "%s: the file ends inside %s; it was cut or damaged, copy it again", r->path,
                  what);
}

/* Reads `width` bytes as an unsigned number. */
static clip_status take(struct reader *r, size_t width, uint64_t *out, const char *what)
{
    if (r->size - r->at < width) return was_cut(r, what);
    *out = 0;
    for (size_t i = 0; i < width; i++) *out |= (uint64_t)r->bytes[r->at + i] << 8 * i;
    r->at += width;
    return CLIP_OK;
}

static clip_status take_u32(struct reader *r, uint32_t *out, const char *what)
{
    uint64_t value = 0;
    clip_status status = take(r, 4, &value, what);
    *out = (uint32_t)value;
    return status;
}

/* Reads a text; *text points into the file. */
static clip_status take_text(struct reader *r, const char **text, size_t *n, const char *what)
{
    uint64_t length = 0;
    clip_status status = take(r, 8, &length, what);
    if (status != CLIP_OK) return status;
    if (length > r->size - r->at) return was_cut(r, what);
    *text = (const char *)r->bytes + r->at;
    *n = (size_t)length;
    r->at += *n;
    return CLIP_OK;
}

/* Reads the name of a value or tensor: text in UTF-8 of a reasonable length. */
static clip_status take_name(struct reader *r, char name[NAME_SIZE], const char *what)
{
    const char *text = NULL;
    size_t n = 0;
    clip_status status = take_text(r, &text, &n, what);
    if (status != CLIP_OK) return status;
    json_t *valid = n > 0 && n < NAME_SIZE && memchr(text, 0, n) == NULL ? json_stringn(text, n)
                                                                         : NULL;
    if (valid == NULL) {
        return REFUSE(r, "%s: %s is not 1 to %d bytes of text in UTF-8; the file is damaged",
                      r->path, what, NAME_SIZE - 1);
    }
    json_decref(valid);
    memcpy(name, text, n);
    name[n] = '\0';
    return CLIP_OK;
}

static double real_of(uint32_t type, uint64_t bits)
{
    float narrow;
    double wide;
    uint32_t half = (uint32_t)bits;
    memcpy(&narrow, &half, sizeof narrow);
    memcpy(&wide, &bits, sizeof wide);
    return type == GGUF_F32 ? (double)narrow : wide;
}

/* Reads a number or truth value; NULL with the error filled. */
static json_t *take_number(struct reader *r, uint32_t type, const char *key)
{
    uint64_t bits = 0;
    json_t *value = NULL;
    if (take(r, size_of(type), &bits, key) != CLIP_OK) return NULL;
    switch (type) {
    case GGUF_I8: value = json_integer((int8_t)bits); break;
    case GGUF_I16: value = json_integer((int16_t)bits); break;
    case GGUF_I32: value = json_integer((int32_t)bits); break;
    case GGUF_BOOL: value = json_boolean(bits != 0); break;
    case GGUF_F32:
    case GGUF_F64: value = json_real(real_of(type, bits)); break; /* NULL if it is not finite */
    default: value = bits > INT64_MAX && type != GGUF_I64 ? NULL : json_integer((int64_t)bits);
    }
    if (value == NULL)
        REFUSE(r, "%s: the value \"%s\" is a number that is of no use", r->path, key);
    return value;
}

static json_t *take_string(struct reader *r, const char *key)
{
    const char *text = NULL;
    size_t n = 0;
    if (take_text(r, &text, &n, key) != CLIP_OK) return NULL;
    json_t *value = memchr(text, 0, n) != NULL ? NULL : json_stringn(text, n);
    if (value == NULL) REFUSE(r, "%s: the value \"%s\" is not text in UTF-8", r->path, key);
    return value;
}

static json_t *take_list(struct reader *r, const char *key)
{
    uint32_t type = 0;
    uint64_t count = 0;
    if (take_u32(r, &type, key) != CLIP_OK || take(r, 8, &count, key) != CLIP_OK) return NULL;
    size_t least = type == GGUF_TEXT ? 8 : size_of(type);
    if (least == 0) {
        REFUSE(r,
               "%s: the value \"%s\" is a list of items of type %u; lists of numbers and of "
               "texts can be read",
               r->path, key, (unsigned)type);
        return NULL;
    }
    if (count > (r->size - r->at) / least) {
        was_cut(r, key);
        return NULL;
    }
    if (type != GGUF_TEXT && count > NUMBERS_MAX) {
        REFUSE(r, "%s: the value \"%s\" is a list of %s; up to %d can be read", r->path, key,
               CLIP_COUNT(count, "number"), NUMBERS_MAX);
        return NULL;
    }
    json_t *list = json_array();
    for (uint64_t i = 0; i < count; i++) {
        json_t *item = type == GGUF_TEXT ? take_string(r, key) : take_number(r, type, key);
        if (item != NULL && json_array_append_new(list, item) == 0) continue;
        if (item != NULL)
            clip_fail(r->error, CLIP_ERR_MEMORY, "memory is short for reading %s", r->path);
        json_decref(list);
        return NULL;
    }
    return list;
}

static clip_status read_value(struct reader *r, json_t *values)
{
    char key[NAME_SIZE];
    uint32_t type = 0;
    clip_status status = CLIP_OK;
    CLIP_TRY(take_name(r, key, "the name of a value"));
    CLIP_TRY(take_u32(r, &type, key));
    if (type >= GGUF_TYPES) {
        return REFUSE(r, "%s: a value is of type %u, which there is not; the file is damaged",
                      r->path, (unsigned)type);
    }
    json_t *value = type == GGUF_LIST   ? take_list(r, key)
                    : type == GGUF_TEXT ? take_string(r, key)
                                        : take_number(r, type, key);
    if (value == NULL) return r->error->status;
    bool twice = json_object_get(values, key) != NULL;
    if (json_object_set_new(values, key, value) != 0 || twice) {
        return REFUSE(r, "%s: there are two values named \"%s\"; the file is damaged", r->path,
                      key);
    }
out:
    return status;
}

/* Reads dimensions and type; *bytes becomes the size of the data. */
static clip_status read_shape(struct reader *r, const char *name, struct clip_tensor *tensor,
                              uint64_t *bytes)
{
    uint32_t ndim = 0, type = 0;
    int64_t product;
    clip_status status = CLIP_OK;
    CLIP_TRY(take_u32(r, &ndim, name));
    if (ndim > CLIP_MAX_DIMS) {
        return REFUSE(r, "%s: the tensor \"%s\" has %s; up to %d can be read", r->path, name,
                      CLIP_COUNT((unsigned)ndim, "dimension"), CLIP_MAX_DIMS);
    }
    tensor->ndim = (int)ndim;
    bool fits = true, empty = false;
    product = 4; /* at most 4 bytes per element */
    for (uint32_t i = 0; i < ndim; i++) {
        uint64_t n = 0;
        CLIP_TRY(take(r, 8, &n, name));
        fits = fits && n <= INT64_MAX && clip_mul_i64(product, n ? (int64_t)n : 1, &product);
        empty = empty || n == 0;
        tensor->shape[ndim - 1 - i] = (int64_t)n;
    }
    CLIP_TRY(take_u32(r, &type, name));
    if (type != GGML_F32 && type != GGML_F16 && type != GGML_BF16) {
        return REFUSE(r,
                      "%s: the tensor \"%s\" is of ggml's type %u; F32 (0), F16 (1) and BF16 "
                      "(30) can be read, quantised ones cannot",
                      r->path, name, (unsigned)type);
    }
    if (!fits) {
        return REFUSE(r, "%s: the shape of \"%s\" is too large to be true; the file is damaged",
                      r->path, name);
    }
    tensor->dtype = type == GGML_F32 ? CLIP_F32 : type == GGML_F16 ? CLIP_F16 : CLIP_BF16;
    *bytes = empty ? 0 : (uint64_t)product / (type == GGML_F32 ? 1 : 2);
out:
    return status;
}

/* Reads a tensor's entry. The offset of its data is kept in tensor.data until it is known where the
 * data begins. */
static clip_status read_tensor(struct reader *r, uint64_t alignment)
{
    char name[NAME_SIZE];
    uint64_t bytes = 0, offset = 0;
    struct clip_tensor tensor = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(take_name(r, name, "the name of a tensor"));
    CLIP_TRY(read_shape(r, name, &tensor, &bytes));
    CLIP_TRY(take(r, 8, &offset, name));
    if (offset % alignment != 0 || bytes > r->size || offset > r->size - bytes) {
        return REFUSE(r,
                      "%s: \"%s\" lies at byte %llu of the data and has %s, which the file does "
                      "not hold there; it was cut or damaged, copy it again",
                      r->path, name, (unsigned long long)offset, CLIP_COUNT(bytes, "byte"));
    }
    tensor.data = (void *)(uintptr_t)offset;
    status = clip_bundle_add(r->out, name, &tensor, r->error);
    if (status != CLIP_OK) clip_error_prefix(r->error, "%s", r->path);
out:
    return status;
}

/* Turns the offsets into pointers. Overlaps are not checked: the format does not forbid them, and
 * nothing is written to the data. */
static clip_status place_data(struct reader *r, uint64_t alignment)
{
    uint64_t begin = (r->at + alignment - 1) / alignment * alignment;
    for (int64_t i = 0; i < r->out->tensor_count; i++) {
        struct clip_bundle_tensor *entry = &r->out->tensors[i];
        uint64_t offset = (uint64_t)(uintptr_t)entry->tensor.data;
        size_t bytes = clip_tensor_bytes(&entry->tensor);
        if (begin > r->size || bytes > r->size - begin || offset > r->size - begin - bytes)
            return was_cut(r, entry->name);
        const unsigned char *data = r->bytes + begin + offset;
        entry->tensor.data = (void *)(uintptr_t)data;
        if (bytes == 0 || (uintptr_t)data % clip_dtype_size(entry->tensor.dtype) == 0) continue;
        entry->tensor.data = clip_arena_alloc(&r->out->arena, (int64_t)bytes, 1, r->error);
        if (entry->tensor.data == NULL) return CLIP_ERR_MEMORY;
        memcpy(entry->tensor.data, data, bytes);
    }
    return CLIP_OK;
}

static clip_status read_all(struct reader *r, json_t *values)
{
    clip_status status = CLIP_OK;
    uint32_t version = 0;
    uint64_t tensors = 0, count = 0;
    if (r->size < 24 || memcmp(r->bytes, "GGUF", 4) != 0) {
        return REFUSE(r,
                      "%s: the file does not begin as a GGUF file does; it was cut or is "
                      "another kind of file",
                      r->path);
    }
    r->at = 4;
    CLIP_TRY(take_u32(r, &version, "its first bytes"));
    CLIP_TRY(take(r, 8, &tensors, "its first bytes"));
    CLIP_TRY(take(r, 8, &count, "its first bytes"));
    if (version != 2 && version != 3) {
        return REFUSE(r, "%s: the file is of GGUF's version %u; 2 and 3 can be read", r->path,
                      (unsigned)version);
    }
    /* these are the smallest possible sizes */
    if (count > r->size / 13 || tensors > r->size / 24) {
        return REFUSE(r,
                      "%s: the file says that it holds %s and %s, and is too short for them; it "
                      "was cut or damaged",
                      r->path, CLIP_COUNT(count, "value"), CLIP_COUNT(tensors, "tensor"));
    }
    while (count-- > 0) CLIP_TRY(read_value(r, values));
    const json_t *own = json_object_get(values, "general.alignment");
    json_int_t alignment = json_is_integer(own) ? json_integer_value(own) : ALIGNMENT;
    if (alignment < 1 || alignment > 65536) {
        return REFUSE(r, "%s: \"general.alignment\" is %lld; expected 1 to 65536", r->path,
                      (long long)alignment);
    }
    while (tensors-- > 0) CLIP_TRY(read_tensor(r, (uint64_t)alignment));
    CLIP_TRY(place_data(r, (uint64_t)alignment));
out:
    return status;
}

clip_status clip_gguf_parse(const void *bytes, size_t n, const char *name, json_t **values,
                            struct clip_bundle *out, struct clip_error *error)
{
    struct reader reader = {.path = name, .bytes = bytes, .size = n, .out = out, .error = error};
    *values = json_object();
    if (*values == NULL)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for reading %s", name);
    clip_status status = read_all(&reader, *values);
    if (status == CLIP_OK) return CLIP_OK;
    clip_bundle_release(out);
    json_decref(*values);
    *values = NULL;
    return status;
}

clip_status clip_gguf_read(const char *path, json_t **values, struct clip_bundle *out,
                           struct clip_error *error)
{
    struct clip_mapping mapping = {0};
    *values = NULL;
    clip_status status = clip_file_map(path, &mapping, error);
    if (status != CLIP_OK) return status;
    status = clip_gguf_parse(mapping.data, mapping.size, path, values, out, error);
    if (status == CLIP_OK) status = clip_bundle_keep(out, &mapping, error);
    if (status == CLIP_OK) return CLIP_OK;
    clip_file_unmap(&mapping);
    clip_bundle_release(out);
    json_decref(*values);
    *values = NULL;
    return status;
}

bool clip_gguf_is(const char *path)
{
    char begin[4] = "";
    FILE *file = clip_path_is_special(path) ? NULL : fopen(path, "rb");
    if (file == NULL) return false;
    size_t n = fread(begin, 1, sizeof begin, file);
    fclose(file);
    return n == sizeof begin && memcmp(begin, "GGUF", 4) == 0;
}

/* ---- Writing ---- */

static clip_status put(struct clip_buffer *out, uint64_t value, size_t width,
                       struct clip_error *error)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < width; i++) bytes[i] = (unsigned char)(value >> 8 * i & 0xff);
    return clip_buffer_append(out, bytes, width, error);
}

static clip_status put_text(struct clip_buffer *out, const char *text, size_t n,
                            struct clip_error *error)
{
    clip_status status = put(out, n, 8, error);
    return status == CLIP_OK ? clip_buffer_append(out, text, n, error) : status;
}

static uint32_t type_of(const json_t *value)
{
    return json_is_integer(value)   ? GGUF_U32
           : json_is_real(value)    ? GGUF_F32
           : json_is_boolean(value) ? GGUF_BOOL
           : json_is_string(value)  ? GGUF_TEXT
                                    : GGUF_LIST;
}

static clip_status put_item(struct clip_buffer *out, const char *key, const json_t *value,
                            struct clip_error *error)
{
    json_int_t integer = json_integer_value(value);
    float real = (float)json_real_value(value);
    uint32_t bits;
    memcpy(&bits, &real, sizeof bits);
    switch (type_of(value)) {
    case GGUF_U32:
        if (integer >= 0 && integer <= UINT32_MAX) return put(out, (uint64_t)integer, 4, error);
        break;
    case GGUF_F32: return put(out, bits, 4, error);
    case GGUF_BOOL: return put(out, json_is_true(value), 1, error);
    case GGUF_TEXT:
        return put_text(out, json_string_value(value), json_string_length(value), error);
    default: break;
    }
    return clip_fail(error, CLIP_ERR_DATA, "the value \"%s\" cannot be written as GGUF", key);
}

static clip_status put_value(struct clip_buffer *out, const char *key, const json_t *value,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    uint32_t type = type_of(value);
    CLIP_TRY(put_text(out, key, strlen(key), error));
    CLIP_TRY(put(out, type, 4, error));
    if (type != GGUF_LIST) return put_item(out, key, value, error);
    type = json_array_size(value) > 0 ? type_of(json_array_get(value, 0)) : GGUF_TEXT;
    CLIP_TRY(put(out, type, 4, error));
    CLIP_TRY(put(out, json_array_size(value), 8, error));
    for (size_t i = 0; i < json_array_size(value); i++)
        CLIP_TRY(put_item(out, key, json_array_get(value, i), error));
out:
    return status;
}

static size_t padding_of(size_t at) { return (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT; }

static clip_status put_tensor(struct clip_buffer *out, const struct clip_bundle_tensor *entry,
                              uint64_t offset, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_tensor *t = &entry->tensor;
    CLIP_TRY(put_text(out, entry->name, strlen(entry->name), error));
    CLIP_TRY(put(out, (uint64_t)t->ndim, 4, error));
    for (int i = t->ndim; i-- > 0;) CLIP_TRY(put(out, (uint64_t)t->shape[i], 8, error));
    CLIP_TRY(put(out,
                 t->dtype == CLIP_F32   ? GGML_F32
                 : t->dtype == CLIP_F16 ? GGML_F16
                                        : GGML_BF16,
                 4, error));
    CLIP_TRY(put(out, offset, 8, error));
out:
    return status;
}

static clip_status make_header(struct clip_buffer *out, const json_t *values,
                               const struct clip_bundle *tensors, struct clip_error *error)
{
    static const char zeros[ALIGNMENT];
    const char *key;
    json_t *value;
    size_t offset = 0;
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_buffer_append(out, "GGUF", 4, error));
    CLIP_TRY(put(out, 3, 4, error));
    CLIP_TRY(put(out, (uint64_t)tensors->tensor_count, 8, error));
    CLIP_TRY(put(out, json_object_size(values), 8, error));
    json_object_foreach((json_t *)(uintptr_t)values, key, value)
    {
        CLIP_TRY(put_value(out, key, value, error));
    }
    for (int64_t i = 0; i < tensors->tensor_count; i++) {
        CLIP_TRY(put_tensor(out, &tensors->tensors[i], offset, error));
        offset += clip_tensor_bytes(&tensors->tensors[i].tensor);
        offset += padding_of(offset);
    }
    CLIP_TRY(clip_buffer_append(out, zeros, padding_of(out->size), error));
out:
    return status;
}

clip_status clip_gguf_write(const char *path, const json_t *values,
                            const struct clip_bundle *tensors, struct clip_error *error)
{
    static const char zeros[ALIGNMENT];
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    struct clip_buffer header = {0};
    CLIP_TRY(make_header(&header, values, tensors, error));
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    CLIP_TRY(clip_atomic_put(&file, header.data, header.size, error));
    for (int64_t i = 0; i < tensors->tensor_count; i++) {
        const struct clip_tensor *tensor = &tensors->tensors[i].tensor;
        size_t n = clip_tensor_bytes(tensor);
        CLIP_TRY(clip_atomic_put(&file, tensor->data, n, error));
        CLIP_TRY(clip_atomic_put(&file, zeros, padding_of(n), error));
    }
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    clip_buffer_release(&header);
    return status;
}
