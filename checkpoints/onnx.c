/* ONNX through protobuf-c. The messages are in an arena. Weights are borrowed and streamed to the
 * file: the framing of the two outer levels, the model and its graph, is written here, so that
 * these messages never exist in memory as bytes. */
#include "checkpoints/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <onnx/onnx.pb-c.h> /* made by protoc-c */

#include "checkpoints/internal.h"

enum { IR_VERSION = 8, OPSET = 17, INPUTS_MAX = 8, ATTRIBUTES_MAX = 8, DIMS_MAX = 8 };
/* bytes; smaller data stays in the model's file */
enum { OUTSIDE_LEAST = 1024, OUTSIDE_ALIGN = 4096 };

struct clip_onnx {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    int64_t node_capacity, initializer_capacity, input_capacity, output_capacity, text_capacity;
    int64_t values; /* how many values were named by a number */
    struct clip_arena arena;
    clip_status status;
    struct clip_error error;
};

clip_status clip_onnx_create(struct clip_onnx **out, struct clip_error *error)
{
    struct clip_onnx *o = clip_array_new(1, sizeof *o, error);
    if (o == NULL) return CLIP_ERR_MEMORY;
    onnx__model_proto__init(&o->model);
    onnx__graph_proto__init(&o->graph);
    onnx__operator_set_id_proto__init(&o->opset);
    o->opset.domain = (char *)(uintptr_t) "";
    o->opset.has_version = 1;
    o->opset.version = OPSET;
    o->opsets[0] = &o->opset;
    o->model.has_ir_version = 1;
    o->model.ir_version = IR_VERSION;
    o->model.producer_name = (char *)(uintptr_t) "clip.c";
    o->model.n_opset_import = 1;
    o->model.opset_import = o->opsets;
    o->graph.name = (char *)(uintptr_t) "clip";
    *out = o;
    return CLIP_OK;
}

void clip_onnx_free(struct clip_onnx *o)
{
    if (o == NULL) return;
    free(o->graph.node);
    free(o->graph.initializer);
    free(o->graph.input);
    free(o->graph.output);
    free(o->model.metadata_props);
    clip_arena_release(&o->arena);
    free(o);
}

/* ---- Building ---- */

/* Takes memory from the arena; NULL once anything has failed. */
static void *take(struct clip_onnx *o, int64_t n, size_t size)
{
    if (o->status != CLIP_OK) return NULL;
    void *memory = clip_arena_alloc(&o->arena, n, size, &o->error);
    if (memory == NULL) o->status = CLIP_ERR_MEMORY;
    return memory;
}

static char *copy(struct clip_onnx *o, const char *text)
{
    if (o->status != CLIP_OK) return NULL;
    char *memory = clip_arena_string(&o->arena, text, strlen(text), &o->error);
    if (memory == NULL) o->status = CLIP_ERR_MEMORY;
    return memory;
}

/* Appends a message to one of the graph's lists (`list`: the address of its pointer). */
static void append(struct clip_onnx *o, void *list, size_t *count, int64_t *capacity, void *message)
{
    if (o->status != CLIP_OK) return;
    o->status = clip_array_grow(list, capacity, (int64_t)*count + 1, sizeof(void *), &o->error);
    if (o->status == CLIP_OK) (*(void ***)list)[(*count)++] = message;
}

static int32_t type_of(enum clip_dtype dtype)
{
    return dtype == CLIP_F32    ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT
           : dtype == CLIP_F16  ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16
           : dtype == CLIP_BF16 ? ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16
                                : ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
}

/* "batch,3" -> two dimensions. */
static Onnx__ValueInfoProto *value_info(struct clip_onnx *o, const char *name,
                                        enum clip_dtype dtype, const char *shape)
{
    Onnx__ValueInfoProto *info = take(o, 1, sizeof *info);
    Onnx__TypeProto *type = take(o, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = take(o, 1, sizeof *tensor);
    Onnx__TensorShapeProto *dims = take(o, 1, sizeof *dims);
    Onnx__TensorShapeProto__Dimension **list = take(o, DIMS_MAX, sizeof *list);
    char *rest = copy(o, shape), *own = copy(o, name);
    if (o->status != CLIP_OK) return NULL;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(dims);
    info->name = own;
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = type_of(dtype);
    tensor->shape = dims;
    dims->dim = list;
    for (char *word; dims->n_dim < DIMS_MAX && (word = strsep(&rest, ",")) != NULL;) {
        Onnx__TensorShapeProto__Dimension *dim = take(o, 1, sizeof *dim);
        if (dim == NULL) return NULL;
        onnx__tensor_shape_proto__dimension__init(dim);
        if (*word >= '0' && *word <= '9') {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = strtoll(word, NULL, 10);
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = word;
        }
        list[dims->n_dim++] = dim;
    }
    return info;
}

void clip_onnx_input(struct clip_onnx *o, const char *name, enum clip_dtype dtype,
                     const char *shape)
{
    append(o, &o->graph.input, &o->graph.n_input, &o->input_capacity,
           value_info(o, name, dtype, shape));
}

/* A node's output is an output of the graph if it has its name. */
void clip_onnx_output(struct clip_onnx *o, const char *name, const char *value,
                      enum clip_dtype dtype, const char *shape)
{
    append(o, &o->graph.output, &o->graph.n_output, &o->output_capacity,
           value_info(o, name, dtype, shape));
    CLIP_ONNX_NODE(o, "Identity", "", value);
    if (o->status != CLIP_OK) return;
    o->graph.node[o->graph.n_node - 1]->output[0] = o->graph.output[o->graph.n_output - 1]->name;
}

static Onnx__TensorProto *add_initializer(struct clip_onnx *o, char *name, enum clip_dtype dtype,
                                          const void *data, size_t bytes)
{
    Onnx__TensorProto *t = take(o, 1, sizeof *t);
    if (t == NULL) return NULL;
    onnx__tensor_proto__init(t);
    t->name = name;
    t->has_data_type = 1;
    t->data_type = type_of(dtype);
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)data};
    append(o, &o->graph.initializer, &o->graph.n_initializer, &o->initializer_capacity, t);
    return o->status == CLIP_OK ? t : NULL;
}

const char *clip_onnx_weight(struct clip_onnx *o, const char *name,
                             const struct clip_tensor *tensor)
{
    char *own = copy(o, name);
    int64_t *dims = take(o, tensor->ndim, sizeof *dims);
    Onnx__TensorProto *t =
        add_initializer(o, own, tensor->dtype, tensor->data, clip_tensor_bytes(tensor));
    if (t == NULL) return "";
    memcpy(dims, tensor->shape, (size_t)tensor->ndim * sizeof *dims);
    t->n_dims = (size_t)tensor->ndim;
    t->dims = dims;
    if (tensor->dtype != CLIP_F16 && tensor->dtype != CLIP_BF16) return own;
    return CLIP_ONNX_NODE(o, "Cast", "to=1", own);
}

static char *new_name(struct clip_onnx *o, const char *what)
{
    char text[64];
    snprintf(text, sizeof text, "%s_%lld", what, (long long)o->values++);
    return copy(o, text);
}

const char *clip_onnx_ints(struct clip_onnx *o, const int64_t *values, int64_t n)
{
    int64_t *data = take(o, n, sizeof *data), *dims = take(o, 1, sizeof *dims);
    char *name = new_name(o, "ints");
    Onnx__TensorProto *t = add_initializer(o, name, CLIP_I64, data, (size_t)n * sizeof *data);
    if (t == NULL) return "";
    memcpy(data, values, (size_t)n * sizeof *data);
    dims[0] = n;
    t->n_dims = 1;
    t->dims = dims;
    return name;
}

const char *clip_onnx_float(struct clip_onnx *o, float value)
{
    float *data = take(o, 1, sizeof *data);
    char *name = new_name(o, "float");
    Onnx__TensorProto *t = add_initializer(o, name, CLIP_F32, data, sizeof *data);
    if (t == NULL) return "";
    *data = value;
    return name;
}

/* Makes an attribute from "axis=1", "epsilon=1e-05" or "perm=[0,2,1]"; the text is cut up. */
static Onnx__AttributeProto *make_attribute(struct clip_onnx *o, char *word)
{
    Onnx__AttributeProto *a = take(o, 1, sizeof *a);
    int64_t *list = take(o, DIMS_MAX, sizeof *list);
    if (o->status != CLIP_OK) return NULL;
    onnx__attribute_proto__init(a);
    a->name = strsep(&word, "=");
    a->has_type = 1;
    if (*word == '[') {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        a->ints = list;
        while (*word != '\0' && *word != ']' && a->n_ints < DIMS_MAX)
            list[a->n_ints++] = strtoll(word + 1, &word, 10);
    } else if (strpbrk(word, ".e") != NULL) {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        a->has_f = 1;
        a->f = strtof(word, NULL);
    } else {
        a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        a->has_i = 1;
        a->i = strtoll(word, NULL, 10);
    }
    return a;
}

static void name_outputs(struct clip_onnx *o, Onnx__NodeProto *node, int count)
{
    char text[96];
    node->output = take(o, count, sizeof *node->output);
    for (int i = 0; i < count && o->status == CLIP_OK; i++) {
        snprintf(text, sizeof text, "%s.%d", node->name, i);
        node->output[i] = i == 0 ? node->name : copy(o, text);
        node->n_output++;
    }
}

const char *clip_onnx_node(struct clip_onnx *o, const char *op, const char *attributes,
                           const char *const *inputs)
{
    Onnx__NodeProto *node = take(o, 1, sizeof *node);
    char **input = take(o, INPUTS_MAX, sizeof *input), *rest = copy(o, attributes);
    Onnx__AttributeProto **list = take(o, ATTRIBUTES_MAX, sizeof *list);
    int outputs = 1;
    if (o->status != CLIP_OK) return "";
    onnx__node_proto__init(node);
    node->op_type = copy(o, op);
    node->name = new_name(o, op);
    node->input = input;
    node->attribute = list;
    while (inputs[node->n_input] != NULL && node->n_input < INPUTS_MAX) {
        input[node->n_input] = copy(o, inputs[node->n_input]);
        node->n_input++;
    }
    for (char *word; node->n_attribute < ATTRIBUTES_MAX && (word = strsep(&rest, " ")) != NULL;)
        if (strncmp(word, "outputs=", 8) == 0)
            outputs = atoi(word + 8);
        else if (*word)
            list[node->n_attribute++] = make_attribute(o, word);
    name_outputs(o, node, outputs);
    append(o, &o->graph.node, &o->graph.n_node, &o->node_capacity, node);
    return o->status == CLIP_OK ? node->name : "";
}

void clip_onnx_text(struct clip_onnx *o, const char *key, const char *text)
{
    Onnx__StringStringEntryProto *entry = take(o, 1, sizeof *entry);
    char *own_key = copy(o, key), *own_text = copy(o, text);
    if (o->status != CLIP_OK) return;
    onnx__string_string_entry_proto__init(entry);
    entry->key = own_key;
    entry->value = own_text;
    append(o, &o->model.metadata_props, &o->model.n_metadata_props, &o->text_capacity, entry);
}

/* ---- Writing ---- */

struct sink { /* protobuf-c's buffer that writes to a file */
    ProtobufCBuffer base;
    struct clip_atomic *file;
    clip_status status;
    struct clip_error *error;
};

static void sink_append(ProtobufCBuffer *buffer, size_t n, const uint8_t *bytes)
{
    struct sink *sink = (struct sink *)buffer;
    if (sink->status == CLIP_OK) sink->status = clip_atomic_put(sink->file, bytes, n, sink->error);
}

/* Writes a base-128 number of protobuf; returns how many bytes it has. */
static size_t varint(uint8_t out[10], uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* Writes what comes before `size` bytes of field number `field`; returns how many bytes it has. */
static size_t frame(uint8_t out[20], unsigned field, uint64_t size)
{
    size_t n = varint(out, field << 3 | 2); /* wire type 2: a length, then as many bytes */
    return n + varint(out + n, size);
}

enum { MODEL_GRAPH = 7, GRAPH_INITIALIZER = 5, TENSOR_RAW_DATA = 9 }; /* field numbers */

static bool is_outside(const Onnx__TensorProto *tensor) { return tensor->n_external_data > 0; }

/* An initializer without its data. */
static Onnx__TensorProto head_of(const Onnx__TensorProto *tensor)
{
    Onnx__TensorProto head = *tensor;
    head.has_raw_data = 0;
    head.raw_data = (ProtobufCBinaryData){0};
    return head;
}

static size_t tensor_size(const Onnx__TensorProto *tensor)
{
    uint8_t bytes[20];
    Onnx__TensorProto head = head_of(tensor);
    size_t size = onnx__tensor_proto__get_packed_size(&head);
    if (is_outside(tensor)) return size;
    return size + frame(bytes, TENSOR_RAW_DATA, tensor->raw_data.len) + tensor->raw_data.len;
}

/* Copies of model and graph without what is streamed. */
static void heads_of(const struct clip_onnx *o, Onnx__ModelProto *model, Onnx__GraphProto *graph)
{
    *model = o->model;
    *graph = o->graph;
    graph->n_initializer = 0;
    graph->initializer = NULL;
}

static size_t graph_size(const struct clip_onnx *o)
{
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    uint8_t bytes[20];
    heads_of(o, &model, &graph);
    size_t size = onnx__graph_proto__get_packed_size(&graph);
    for (size_t i = 0; i < o->graph.n_initializer; i++) {
        size_t n = tensor_size(o->graph.initializer[i]);
        size += frame(bytes, GRAPH_INITIALIZER, n) + n;
    }
    return size;
}

static clip_status write_file(const struct clip_onnx *o, struct clip_atomic *file,
                              struct clip_error *error)
{
    struct sink sink = {{sink_append}, file, CLIP_OK, error};
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    uint8_t bytes[20];
    heads_of(o, &model, &graph);
    onnx__model_proto__pack_to_buffer(&model, &sink.base);
    sink_append(&sink.base, frame(bytes, MODEL_GRAPH, graph_size(o)), bytes);
    onnx__graph_proto__pack_to_buffer(&graph, &sink.base);
    for (size_t i = 0; i < o->graph.n_initializer; i++) {
        const Onnx__TensorProto *tensor = o->graph.initializer[i];
        Onnx__TensorProto head = head_of(tensor);
        sink_append(&sink.base, frame(bytes, GRAPH_INITIALIZER, tensor_size(tensor)), bytes);
        onnx__tensor_proto__pack_to_buffer(&head, &sink.base);
        if (is_outside(tensor)) continue;
        sink_append(&sink.base, frame(bytes, TENSOR_RAW_DATA, tensor->raw_data.len), bytes);
        sink_append(&sink.base, tensor->raw_data.len, tensor->raw_data.data);
    }
    return sink.status;
}

/* ---- External data ---- */

static Onnx__StringStringEntryProto *entry(struct clip_onnx *o, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *e = take(o, 1, sizeof *e);
    char *own_key = copy(o, key), *own_value = copy(o, value);
    if (e == NULL || o->status != CLIP_OK) return NULL;
    onnx__string_string_entry_proto__init(e);
    e->key = own_key;
    e->value = own_value;
    return e;
}

/* Where the next tensor's data begins after `offset` bytes. */
static size_t next_place(size_t offset)
{
    return (offset + OUTSIDE_ALIGN - 1) / OUTSIDE_ALIGN * OUTSIDE_ALIGN;
}

/* Says in all initializers but small ones that their data is in the file `name` beside the
 * model's. */
static void point_outside(struct clip_onnx *o, const char *name)
{
    size_t offset = 0;
    for (size_t i = 0; i < o->graph.n_initializer && o->status == CLIP_OK; i++) {
        Onnx__TensorProto *t = o->graph.initializer[i];
        char place[32], length[32];
        Onnx__StringStringEntryProto **list = take(o, 3, sizeof *list);
        if (list == NULL || t->raw_data.len < OUTSIDE_LEAST) continue;
        offset = next_place(offset);
        snprintf(place, sizeof place, "%zu", offset);
        snprintf(length, sizeof length, "%zu", t->raw_data.len);
        offset += t->raw_data.len;
        list[0] = entry(o, "location", name);
        list[1] = entry(o, "offset", place);
        list[2] = entry(o, "length", length);
        t->n_external_data = 3;
        t->external_data = list;
        t->has_data_location = 1;
        t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    }
}

static clip_status write_outside(const struct clip_onnx *o, const char *path,
                                 struct clip_error *error)
{
    static const char zeros[OUTSIDE_ALIGN];
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    size_t offset = 0;
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    for (size_t i = 0; i < o->graph.n_initializer; i++) {
        const Onnx__TensorProto *t = o->graph.initializer[i];
        if (!is_outside(t)) continue;
        size_t place = next_place(offset);
        CLIP_TRY(clip_atomic_put(&file, zeros, place - offset, error));
        CLIP_TRY(clip_atomic_put(&file, t->raw_data.data, t->raw_data.len, error));
        offset = place + t->raw_data.len;
    }
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    return status;
}

/* ---- Reading back ---- */

/* Do two messages have the same fields, that is, do they pack to the same bytes? */
static bool same_message(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    size_t n = protobuf_c_message_get_packed_size(a);
    if (n != protobuf_c_message_get_packed_size(b)) return false;
    uint8_t *x = malloc(2 * n + 1);
    if (x == NULL) return false;
    protobuf_c_message_pack(a, x);
    protobuf_c_message_pack(b, x + n);
    bool same = memcmp(x, x + n, n) == 0;
    free(x);
    return same;
}

static bool same_tensor(const Onnx__TensorProto *a, const Onnx__TensorProto *b)
{
    Onnx__TensorProto x = head_of(a), y = head_of(b);
    if (!same_message(&x.base, &y.base)) return false;
    if (is_outside(a)) return true; /* see compare_outside */
    return a->raw_data.len == b->raw_data.len &&
           memcmp(a->raw_data.data, b->raw_data.data, a->raw_data.len) == 0;
}

static clip_status differs(const char *path, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_IO,
                     "%s reads back differently from what was written; do not "
                     "use the file, check the disk and export again",
                     path);
}

static clip_status compare_outside(const struct clip_onnx *o, const char *path,
                                   struct clip_error *error)
{
    struct clip_mapping mapping = {0};
    clip_status status = clip_file_map(path, &mapping, error);
    if (status != CLIP_OK) return status;
    bool same = true;
    size_t offset = 0;
    for (size_t i = 0; same && i < o->graph.n_initializer; i++) {
        const Onnx__TensorProto *t = o->graph.initializer[i];
        if (!is_outside(t)) continue;
        size_t place = next_place(offset), n = t->raw_data.len;
        offset = place + n;
        same = offset <= mapping.size &&
               memcmp((const char *)mapping.data + place, t->raw_data.data, n) == 0;
    }
    same = same && offset == mapping.size;
    clip_file_unmap(&mapping);
    return same ? CLIP_OK : differs(path, error);
}

static clip_status compare(const struct clip_onnx *o, const char *path, struct clip_error *error)
{
    struct clip_mapping mapping = {0};
    clip_status status = clip_file_map(path, &mapping, error);
    if (status != CLIP_OK) return status;
    Onnx__ModelProto *read = onnx__model_proto__unpack(NULL, mapping.size, mapping.data), model;
    Onnx__GraphProto graph;
    bool same = read != NULL && read->graph != NULL &&
                read->graph->n_initializer == o->graph.n_initializer;
    heads_of(o, &model, &graph);
    model.graph = &graph;
    for (size_t i = 0; same && i < o->graph.n_initializer; i++)
        same = same_tensor(o->graph.initializer[i], read->graph->initializer[i]);
    if (same) {
        size_t n = read->graph->n_initializer;
        read->graph->n_initializer = 0;
        same = same_message(&model.base, &read->base);
        read->graph->n_initializer = n;
    }
    if (read != NULL) onnx__model_proto__free_unpacked(read, NULL);
    clip_file_unmap(&mapping);
    return same ? CLIP_OK : differs(path, error);
}

clip_status clip_onnx_write(struct clip_onnx *o, const char *path, size_t limit,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    struct clip_buffer outside = {0};
    if (o->status == CLIP_OK && graph_size(o) > limit) {
        CLIP_TRY(clip_buffer_printf(&outside, error, "%s.data", path));
        point_outside(o, clip_path_name(outside.data));
    }
    if (o->status != CLIP_OK) {
        *error = o->error;
        CLIP_TRY(o->status);
    }
    if (outside.data != NULL) {
        CLIP_TRY(write_outside(o, outside.data, error));
        CLIP_TRY(compare_outside(o, outside.data, error));
    }
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    CLIP_TRY(write_file(o, &file, error));
    CLIP_TRY(clip_atomic_commit(&file, error));
    CLIP_TRY(compare(o, path, error));
out:
    clip_buffer_release(&outside);
    clip_atomic_abort(&file);
    return status;
}
