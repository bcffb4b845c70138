/* No ONNX: this program was built without protobuf-c and the format's onnx.proto. */
#include "checkpoints/onnx.h"

clip_status clip_onnx_create(struct clip_onnx **out, struct clip_error *error)
{
    *out = NULL;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "this program was built without ONNX; install "
                     "libprotobuf-c-dev, protobuf-c-compiler and libonnx-dev and build it again");
}

void clip_onnx_free(struct clip_onnx *onnx) { (void)onnx; }

void clip_onnx_input(struct clip_onnx *onnx, const char *name, enum clip_dtype dtype,
                     const char *shape)
{
    (void)onnx, (void)name, (void)dtype, (void)shape;
}

void clip_onnx_output(struct clip_onnx *onnx, const char *name, const char *value,
                      enum clip_dtype dtype, const char *shape)
{
    (void)onnx, (void)name, (void)value, (void)dtype, (void)shape;
}

const char *clip_onnx_weight(struct clip_onnx *onnx, const char *name,
                             const struct clip_tensor *tensor)
{
    (void)onnx, (void)name, (void)tensor;
    return "";
}

const char *clip_onnx_ints(struct clip_onnx *onnx, const int64_t *values, int64_t n)
{
    (void)onnx, (void)values, (void)n;
    return "";
}

const char *clip_onnx_float(struct clip_onnx *onnx, float value)
{
    (void)onnx, (void)value;
    return "";
}

const char *clip_onnx_node(struct clip_onnx *onnx, const char *op, const char *attributes,
                           const char *const *inputs)
{
    (void)onnx, (void)op, (void)attributes, (void)inputs;
    return "";
}

void clip_onnx_text(struct clip_onnx *onnx, const char *key, const char *text)
{
    (void)onnx, (void)key, (void)text;
}

clip_status clip_onnx_write(struct clip_onnx *onnx, const char *path, size_t limit,
                            struct clip_error *error)
{
    (void)onnx, (void)limit;
    return clip_fail(error, CLIP_ERR_USAGE, "%s: this program was built without ONNX", path);
}
