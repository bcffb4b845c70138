/* PyTorch's archives: NAME/data.pkl, NAME/data/KEY for each storage, NAME/byteorder and others.
 *
 * In the pickle a tensor is torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...), a
 * storage the persistent id ("storage", torch.FloatStorage, KEY, device, elements); several tensors
 * may share one. A TorchScript module is an object whose state is a dict of its attributes.
 * (torch/serialization.py, torch/_utils.py, torch/csrc/jit/serialization/pickler.cpp) */
#include <stdio.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "checkpoints/pickle.h"
#include "checkpoints/zip.h"
#include "core/file.h"

enum {
    DEPTH_LIMIT = 32,        /* modules within modules */
    STEPS_LIMIT = 1 << 20,   /* values that are visited: a pickle may refer in circles */
    TENSOR_NAME_LIMIT = 512, /* bytes */
};

/* The types of storages; an element size of 0 is for types that no weight can have here. */
static const struct storage_type {
    const char *name;
    enum clip_dtype dtype;
    int size;
    bool usable;
} storage_types[] = {
    {"torch FloatStorage", CLIP_F32, 4, true},
    {"torch HalfStorage", CLIP_F16, 2, true},
    {"torch BFloat16Storage", CLIP_BF16, 2, true},
    {"torch LongStorage", CLIP_I64, 8, true},
    {"torch IntStorage", CLIP_I32, 4, true},
    {"torch ByteStorage", CLIP_U8, 1, true},
    {"torch DoubleStorage", CLIP_U8, 8, false},
    {"torch ShortStorage", CLIP_U8, 2, false},
    {"torch CharStorage", CLIP_U8, 1, false},
    {"torch BoolStorage", CLIP_U8, 1, false},
    {"torch.storage UntypedStorage", CLIP_U8, 1, true}, /* typed by the tensor's dtype */
};
static const struct storage_type dtypes[] = {
    /* the last argument of _rebuild_tensor_v3 */
    {"torch float32", CLIP_F32, 4, true},   {"torch float16", CLIP_F16, 2, true},
    {"torch bfloat16", CLIP_BF16, 2, true}, {"torch int64", CLIP_I64, 8, true},
    {"torch int32", CLIP_I32, 4, true},     {"torch uint8", CLIP_U8, 1, true},
    {"torch float64", CLIP_U8, 8, false},   {"torch bool", CLIP_U8, 1, false},
};
static const char *const functions[] = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch Size",
    "torch device",
    "torch.jit._pickle build_intlist",
    "torch.jit._pickle build_doublelist",
    "torch.jit._pickle build_boollist",
    "torch.jit._pickle build_tensorlist",
    "torch.jit._pickle restore_type_tag",
    "_codecs encode",
};

#define FIND(table, value) find_type(table, sizeof(table) / sizeof *(table), value)
static const struct storage_type *find_type(const struct storage_type *table, size_t n,
                                            const struct clip_pickle_value *value)
{
    for (size_t i = 0; i < n; i++)
        if (clip_pickle_is(value, CLIP_PICKLE_GLOBAL, table[i].name)) return &table[i];
    return NULL;
}

/* Is this a class that weights consist of? A module of TorchScript may have any name below
 * __torch__, because only its state is used. */
static bool known(const char *name)
{
    const struct clip_pickle_value value = {
        .kind = CLIP_PICKLE_GLOBAL, .text = name, .size = strlen(name)};
    if (strncmp(name, "__torch__.", 10) == 0) return true;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(name, functions[i]) == 0) return true;
    return FIND(storage_types, &value) != NULL || FIND(dtypes, &value) != NULL;
}

struct reader {
    const char *path;
    struct clip_zip zip;
    char root[256]; /* "NAME/" */
    struct clip_bundle *out;
    struct clip_arena values; /* the pickle's values */
    int64_t steps;
    struct clip_error *error;
    /* the storage that was read last, since neighbours often share one */
    char key[64];
    const unsigned char *data;
    uint64_t size;
};

static clip_status damaged(const struct reader *r, const char *name, const char *what)
{
    clip_fail(r->error, CLIP_ERR_FORMAT, "%s: the tensor \"%.200s\" %s; the file is damaged",
              r->path, name, what);
    return CLIP_ERR_FORMAT;
}

/* ---- Storages ---- */

static clip_status read_storage(struct reader *r, const char *name, const char *key)
{
    char path[400];
    if (r->data != NULL && strcmp(r->key, key) == 0) return CLIP_OK;
    snprintf(path, sizeof path, "%sdata/%s", r->root, key);
    const struct clip_zip_entry *entry = clip_zip_find(&r->zip, path);
    if (entry == NULL) return damaged(r, name, "has no storage in the archive");
    clip_status status = clip_zip_read(&r->zip, entry, &r->out->arena, &r->data, r->error);
    if (status != CLIP_OK) {
        r->data = NULL;
        return status;
    }
    snprintf(r->key, sizeof r->key, "%s", key);
    r->size = entry->size;
    return CLIP_OK;
}

/* Finds the storage by the id's type and key. The id's number of elements is not used: what must
 * fit into the storage is what the tensor reaches. */
static clip_status find_storage(struct reader *r, const char *name,
                                const struct clip_pickle_value *value,
                                const struct storage_type **type)
{
    const struct clip_pickle_value *id = value->kind == CLIP_PICKLE_PERSISTENT ? value->with : NULL;
    if (id == NULL || id->kind != CLIP_PICKLE_TUPLE || id->count < 5 ||
        !clip_pickle_is(id->items[0], CLIP_PICKLE_TEXT, "storage") ||
        id->items[2]->kind != CLIP_PICKLE_TEXT || id->items[2]->size >= sizeof r->key ||
        strlen(id->items[2]->text) != id->items[2]->size)
        return damaged(r, name, "names no storage");
    *type = FIND(storage_types, id->items[1]);
    if (*type == NULL) return damaged(r, name, "has a storage of no known type");
    return read_storage(r, name, id->items[2]->text);
}

/* ---- Tensors ---- */

struct view { /* a part of a storage, in elements */
    /* reach: one more than the last element that is read */
    int64_t offset, stride[CLIP_MAX_DIMS], reach;
};

/* Reads sizes and strides. The last element that they reach must be in the storage, and there may
 * be no more elements than the storage has, so that a copy is no larger than the file. */
static clip_status read_view(struct reader *r, const char *name,
                             const struct clip_pickle_value *with, struct clip_tensor *tensor,
                             struct view *view)
{
    const struct clip_pickle_value *size = with->items[2], *stride = with->items[3];
    bool fine = with->items[1]->kind == CLIP_PICKLE_INTEGER && with->items[1]->integer >= 0 &&
                size->kind == CLIP_PICKLE_TUPLE && stride->kind == CLIP_PICKLE_TUPLE &&
                size->count == stride->count;
    if (!fine) return damaged(r, name, "has no usable shape");
    if (size->count > CLIP_MAX_DIMS) return damaged(r, name, "has more than four dimensions");
    int64_t count = 1, reach = with->items[1]->integer, step;
    tensor->ndim = (int)size->count;
    view->offset = reach;
    for (int i = 0; i < tensor->ndim && fine; i++) {
        fine = size->items[i]->kind == CLIP_PICKLE_INTEGER && size->items[i]->integer >= 0 &&
               stride->items[i]->kind == CLIP_PICKLE_INTEGER && stride->items[i]->integer >= 0;
        if (!fine) break;
        tensor->shape[i] = size->items[i]->integer;
        view->stride[i] = stride->items[i]->integer;
        fine =
            clip_mul_i64(count, tensor->shape[i], &count) &&
            (tensor->shape[i] < 2 || (clip_mul_i64(tensor->shape[i] - 1, view->stride[i], &step) &&
                                      !__builtin_add_overflow(reach, step, &reach)));
    }
    int64_t have = (int64_t)(r->size / clip_dtype_size(tensor->dtype));
    view->reach = count > 0 ? reach + 1 : 0;
    if (!fine || view->reach > have || count > have)
        return damaged(r, name, "reaches beyond its storage");
    return CLIP_OK;
}

static bool is_contiguous(const struct clip_tensor *tensor, const struct view *view)
{
    int64_t expected = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] > 1 && view->stride[i] != expected) return false;
        expected *= tensor->shape[i];
    }
    return true;
}

/* Copies the elements in order, the last dimension fastest. */
static void gather(unsigned char *to, const unsigned char *from, const struct clip_tensor *tensor,
                   const struct view *view)
{
    size_t size = clip_dtype_size(tensor->dtype);
    int64_t at[CLIP_MAX_DIMS] = {0}, count = clip_tensor_count(tensor);
    for (int64_t i = 0; i < count; i++) {
        int64_t place = view->offset;
        for (int d = 0; d < tensor->ndim; d++) place += at[d] * view->stride[d];
        memcpy(to + (size_t)i * size, from + (size_t)place * size, size);
        for (int d = tensor->ndim - 1; d >= 0 && ++at[d] == tensor->shape[d]; d--) at[d] = 0;
    }
}

static clip_status add_tensor(struct reader *r, const char *name,
                              const struct clip_pickle_value *with, bool third)
{
    clip_status status;
    struct clip_tensor tensor = {0};
    const struct storage_type *type = NULL;
    struct view view = {0};
    if (with->count < (third ? 7 : 4)) return damaged(r, name, "is not described whole");
    CLIP_TRY(find_storage(r, name, with->items[0], &type));
    if (third) type = FIND(dtypes, with->items[6]);
    if (type == NULL || !type->usable) {
        const struct clip_pickle_value *what = third ? with->items[6]
                                                     : with->items[0]->with->items[1];
        bool named = what->kind == CLIP_PICKLE_GLOBAL;
        CLIP_TRY(clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: the tensor \"%.200s\" is of type %.60s; float32, float16, "
                           "bfloat16, int32, int64 and uint8 can be read",
                           r->path, name, named ? what->text : "unknown"));
    }
    tensor.dtype = type->dtype;
    CLIP_TRY(read_view(r, name, with, &tensor, &view));
    size_t size = clip_dtype_size(tensor.dtype);
    const unsigned char *data = r->data + (size_t)view.offset * size;
    tensor.data = (void *)(uintptr_t)data;
    int64_t count = clip_tensor_count(&tensor);
    if (count > 0 && (!is_contiguous(&tensor, &view) || (uintptr_t)data % size != 0)) {
        tensor.data = clip_arena_alloc(&r->out->arena, count, size, r->error);
        if (tensor.data == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        gather(tensor.data, r->data, &tensor, &view);
    }
    status = clip_bundle_add(r->out, name, &tensor, r->error);
    if (status == CLIP_ERR_DATA) clip_error_prefix(r->error, "%s", r->path);
out:
    return status;
}

/* ---- The tree ---- */

static bool calls(const struct clip_pickle_value *value, const char *name)
{
    return value->kind == CLIP_PICKLE_CALL && clip_pickle_is(value->of, CLIP_PICKLE_GLOBAL, name);
}

/* The attributes of a TorchScript module: a dict, which is its state. */
static const struct clip_pickle_value *attributes(const struct clip_pickle_value *value)
{
    bool module = value->kind == CLIP_PICKLE_CALL && value->of->size > 10 &&
                  memcmp(value->of->text, "__torch__.", 10) == 0;
    if (!module || value->state == NULL || value->state->kind != CLIP_PICKLE_DICT) return NULL;
    return value->state;
}

static clip_status walk(struct reader *r, const struct clip_pickle_value *value, char *name,
                        size_t used, int depth);

static clip_status walk_items(struct reader *r, const struct clip_pickle_value *dict, char *name,
                              size_t used, int depth)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i + 1 < dict->count; i += 2) {
        const struct clip_pickle_value *key = dict->items[i];
        if (++r->steps > STEPS_LIMIT || depth > DEPTH_LIMIT) {
            return clip_fail(r->error, CLIP_ERR_FORMAT,
                             "%s: the pickle holds itself or is nested too deeply to be weights",
                             r->path);
        }
        if (key->kind != CLIP_PICKLE_TEXT) continue; /* an optimizer's parameters are numbered */
        size_t more = key->size + (used > 0);
        if (memchr(key->text, 0, key->size) != NULL || used + more >= TENSOR_NAME_LIMIT) {
            return clip_fail(r->error, CLIP_ERR_FORMAT,
                             "%s: a tensor's name is too long or holds "
                             "a zero; the file is damaged",
                             r->path);
        }
        snprintf(name + used, TENSOR_NAME_LIMIT - used, "%s%s", used ? "." : "", key->text);
        CLIP_TRY(walk(r, dict->items[i + 1], name, used + more, depth + 1));
        name[used] = '\0';
    }
out:
    return status;
}

/* Adds the tensors of a value; what is neither a tensor nor a collection of them is skipped. */
static clip_status walk(struct reader *r, const struct clip_pickle_value *value, char *name,
                        size_t used, int depth)
{
    bool parameter = calls(value, "torch._utils _rebuild_parameter");
    if (parameter && value->with->count > 0) value = value->with->items[0];
    bool second = calls(value, "torch._utils _rebuild_tensor_v2");
    bool third = calls(value, "torch._utils _rebuild_tensor_v3");
    if (second || third) return add_tensor(r, name, value->with, third);
    if (value->kind == CLIP_PICKLE_DICT || calls(value, "collections OrderedDict"))
        return walk_items(r, value, name, used, depth);
    const struct clip_pickle_value *state = attributes(value);
    return state != NULL ? walk_items(r, state, name, used, depth) : CLIP_OK;
}

/* ---- The archive ---- */

/* Sets root to "NAME/" by the entry NAME/data.pkl. */
static clip_status find_root(struct reader *r)
{
    static const char tail[] = "/data.pkl";
    for (int64_t i = 0; i < r->zip.count; i++) {
        const char *name = r->zip.entries[i].name, *slash = strchr(name, '/');
        if (slash == NULL || strcmp(slash, tail) != 0) continue;
        if ((size_t)(slash - name) + 2 > sizeof r->root) continue;
        snprintf(r->root, sizeof r->root, "%.*s/", (int)(slash - name), name);
        return CLIP_OK;
    }
    return clip_fail(r->error, CLIP_ERR_FORMAT,
                     "%s: the zip archive holds no data.pkl, so PyTorch did not write it; give "
                     "what torch.save or torch.jit.save wrote",
                     r->path);
}

static const struct clip_zip_entry *entry_of(const struct reader *r, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s%s", r->root, name);
    return clip_zip_find(&r->zip, path);
}

static clip_status check_byteorder(struct reader *r)
{
    const struct clip_zip_entry *entry = entry_of(r, "byteorder");
    const unsigned char *data;
    if (entry == NULL) return CLIP_OK; /* older archives have none and are little-endian */
    clip_status status = clip_zip_read(&r->zip, entry, &r->values, &data, r->error);
    if (status != CLIP_OK) return status;
    if (entry->size == 6 && memcmp(data, "little", 6) == 0) return CLIP_OK;
    return clip_fail(r->error, CLIP_ERR_FORMAT,
                     "%s: the archive was written on a big-endian "
                     "machine, which cannot be read; save it as safetensors",
                     r->path);
}

static clip_status read_tree(struct reader *r)
{
    clip_status status;
    char name[TENSOR_NAME_LIMIT] = "";
    const unsigned char *pickle;
    struct clip_pickle_value *root = NULL;
    const struct clip_zip_entry *entry = entry_of(r, "data.pkl");
    CLIP_TRY(clip_zip_read(&r->zip, entry, &r->values, &pickle, r->error));
    CLIP_TRY(clip_pickle_parse(pickle, (size_t)entry->size, r->path, known, &r->values, &root,
                               r->error));
    const struct clip_pickle_value *weights = clip_pickle_get(root, "state_dict");
    CLIP_TRY(walk(r, weights != NULL ? weights : root, name, 0, 0));
    if (r->out->tensor_count == 0) {
        CLIP_TRY(
            clip_fail(r->error, CLIP_ERR_DATA, "%s: the archive holds no named tensors", r->path));
    }
    const char *kind = attributes(root) != NULL ? "torchscript" : "state_dict";
    CLIP_TRY(clip_bundle_add_text(r->out, "archive", kind, strlen(kind), r->error));
out:
    return status;
}

clip_status clip_torch_parse(const void *bytes, size_t n, const char *name, struct clip_bundle *out,
                             struct clip_error *error)
{
    clip_status status;
    struct reader r = {.path = name, .out = out, .error = error};
    if (!clip_zip_is(bytes, n)) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: this is PyTorch's format from before version 1.6, or no file of its; "
                         "write it anew with torch.save(torch.load(...), ...), or as safetensors",
                         name);
    }
    CLIP_TRY(clip_zip_open(&r.zip, bytes, n, name, error));
    CLIP_TRY(find_root(&r));
    CLIP_TRY(check_byteorder(&r));
    CLIP_TRY(read_tree(&r));
out:
    clip_arena_release(&r.values);
    clip_zip_release(&r.zip);
    if (status != CLIP_OK) clip_bundle_release(out);
    return status;
}

clip_status clip_torch_read(const char *path, struct clip_bundle *out, struct clip_error *error)
{
    struct clip_mapping mapping = {0};
    clip_status status = clip_file_map(path, &mapping, error);
    if (status != CLIP_OK) return status;
    status = clip_torch_parse(mapping.data, mapping.size, path, out, error);
    if (status == CLIP_OK)
        status = clip_bundle_keep(out, &mapping, error);
    else
        clip_file_unmap(&mapping);
    if (status != CLIP_OK) clip_bundle_release(out);
    return status;
}

bool clip_torch_is(const char *path)
{
    unsigned char start[4] = {0};
    FILE *file = clip_path_is_special(path) ? NULL : fopen(path, "rb");
    size_t n = file != NULL ? fread(start, 1, sizeof start, file) : 0;
    if (file != NULL) fclose(file);
    return clip_zip_is(start, n) || (n >= 2 && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5);
}
