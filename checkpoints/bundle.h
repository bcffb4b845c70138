/* A bundle: named tensors and named texts, what every weight file is read into and written from.
 *
 * The native file (HDF5) holds          and a bundle names it
 *   /model/visual.conv1.weight ...        "model/visual.conv1.weight"   parameters, open_clip's
 *                                                                       names, F32
 *   /ema/...                              "ema/..."                     their moving average,
 *                                                                       where there is one
 *   /optimizer/exp_avg/..., exp_avg_sq    "optimizer/exp_avg/..."       AdamW's moments
 *   string datasets of /                  texts: "config" (JSON of the model), "run" (INI as used),
 *                                         "state" (JSON: step, position, seed, ...), "tokenizer"
 *                                         (its text format), "format" ("clip.c 1")
 * A safetensors file has one level of names: a bare name is read as such, and its __metadata__ are
 * the texts. docs/checkpoints.md describes both formats for their readers. */
#ifndef CLIP_CHECKPOINTS_BUNDLE_H
#define CLIP_CHECKPOINTS_BUNDLE_H

#include "autograd/tensor.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"
#include "core/string_map.h"

struct clip_bundle_tensor {
    const char *name;
    /* data is borrowed (to be written) or the bundle's (read, never changed) */
    struct clip_tensor tensor;
};
struct clip_bundle_text {
    const char *key, *value; /* value has `size` bytes and a NUL behind them, no NUL within */
    size_t size;
    bool list; /* value is a JSON list of strings, which HDF5 stores as a dataset of that many */
};

/* Where tensors without data, which were added with a shape alone, come from when they are written,
 * one at a time: fill sets tensor->data, for as long as that one is written. */
struct clip_bundle_source {
    clip_status (*fill)(void *context, const char *name, struct clip_tensor *tensor,
                        struct clip_error *error);
    void *context;
};

struct clip_bundle { /* start from {0} */
    struct clip_bundle_tensor *tensors;
    int64_t tensor_count, tensor_capacity;
    struct clip_bundle_text *texts;
    int64_t text_count, text_capacity;
    struct clip_string_map numbers;   /* the tensors' numbers by their names, which the map owns */
    struct clip_arena arena;          /* texts, and data that was copied */
    struct clip_bundle_source source; /* of clip_hdf5_write */
    struct clip_mapping *mappings;    /* files that data points into */
    int64_t mapping_count, mapping_capacity;
};
void clip_bundle_release(struct clip_bundle *bundle);
/* Gives the mapping to the bundle; it is {0} then, even after a failure. */
clip_status clip_bundle_keep(struct clip_bundle *bundle, struct clip_mapping *mapping,
                             struct clip_error *error);
/* Moves the tensors of `part`, with their memory and mapped files, to the bundle; texts are not
 * moved. `part` is {0} afterwards. A name that both have is CLIP_ERR_DATA. */
clip_status clip_bundle_absorb(struct clip_bundle *bundle, struct clip_bundle *part,
                               struct clip_error *error);

/* Adds a tensor: borrows its data and copies the name. A name that the bundle has already is
 * refused (CLIP_ERR_DATA). */
clip_status clip_bundle_add(struct clip_bundle *bundle, const char *name,
                            const struct clip_tensor *tensor, struct clip_error *error);
/* Adds a text: copies key and value. A key that the bundle has already, or a NUL byte in the value,
 * is refused. */
clip_status clip_bundle_add_text(struct clip_bundle *bundle, const char *key, const char *value,
                                 size_t n, struct clip_error *error);
/* The same for a list of strings, which is passed and kept as JSON. */
clip_status clip_bundle_add_list(struct clip_bundle *bundle, const char *key, const char *json,
                                 size_t n, struct clip_error *error);
/* The tensor's number; -1 if there is none of that name. */
int64_t clip_bundle_number(const struct clip_bundle *bundle, const char *name);
/* NULL if there is none of that name. */
const struct clip_tensor *clip_bundle_find(const struct clip_bundle *bundle, const char *name);
const struct clip_bundle_text *clip_bundle_text(const struct clip_bundle *bundle, const char *key);

/* Copies the named tensor into dst, whose shape must match: to float32, which widens F16 and BF16,
 * or to bfloat16, which rounds F32. The error names what is missing, has another shape, or is of a
 * type that is no float. */
clip_status clip_bundle_copy(const struct clip_bundle *bundle, const char *name,
                             const struct clip_tensor *dst, struct clip_error *error);
/* Writes a tensor's shape for a message into `text`, as "[2, 3]", or "[]" for a scalar. Returns
 * `text`. */
#define CLIP_SHAPE_TEXT 96
const char *clip_shape_text(char text[CLIP_SHAPE_TEXT], const struct clip_tensor *tensor);

/* Writers are atomic (temporary file, fsync, rename). Readers check everything before they trust
 * it. For them, `out` must be {0}, and it is {0} again after a failure. */

/* HDF5: chunked datasets with fletcher32 checksums, behind a first block with the file's length and
 * checksum. A `prefix` of NULL reads all tensors, "model/" only those whose names begin with it;
 * texts are always read. Tensors are in the order of their names' bytes. The same bundle gives the
 * same bytes. */
clip_status clip_hdf5_write(const char *path, const struct clip_bundle *bundle,
                            struct clip_error *error);
clip_status clip_hdf5_read(const char *path, const char *prefix, struct clip_bundle *out,
                           struct clip_error *error);
/* The same with several prefixes: the first one that any tensor has is read ("ema/", else
 * "model/"). *chosen is its number, or -1 if no tensor has any of them. */
clip_status clip_hdf5_read_first(const char *path, const char *const *prefixes, int count,
                                 int *chosen, struct clip_bundle *out, struct clip_error *error);
/* Writes the same, but each tensor in one piece, at a multiple of 64 bytes and without its own
 * checksum (the first block's covers all), so that clip_hdf5_map need not read it. */
clip_status clip_hdf5_write_mapped(const char *path, const struct clip_bundle *bundle,
                                   struct clip_error *error);
/* Opens any native file. Tensors that are stored in one piece stay in the mapped file, others are
 * read; so opening takes no time that grows with the tensors. `known`: the caller has already seen
 * this very file intact, so it is not read to verify its checksum. */
clip_status clip_hdf5_map(const char *path, bool known, struct clip_bundle *out,
                          struct clip_error *error);
/* does the file begin with our first block or HDF5's signature? */
bool clip_hdf5_is(const char *path);

/* safetensors (https://github.com/huggingface/safetensors, "Format"). Data stays mapped, except
 * that what is not aligned in the file is copied. Tensors are written wide types first, then by
 * name, as the reference writer does, and texts by key. The same bundle gives the same bytes. */
clip_status clip_safetensors_write(const char *path, const struct clip_bundle *bundle,
                                   struct clip_error *error);
/* Does a file begin so: a header's size, and its first brace? */
bool clip_safetensors_is(const char *path);
clip_status clip_safetensors_read(const char *path, struct clip_bundle *out,
                                  struct clip_error *error);
/* The same from memory that belongs to the caller and outlives the bundle; `name` takes the place
 * of the path. */
clip_status clip_safetensors_parse(const void *bytes, size_t n, const char *name,
                                   struct clip_bundle *out, struct clip_error *error);

/* Reads what torch.save and torch.jit.save write (a zip archive of a pickle and raw storages) as
 * data: nothing in it is run (checkpoints/pickle.h). The tensors are those of the dict "state_dict"
 * if there is one (a training checkpoint), else of the dict itself, or of a TorchScript module's
 * parts under their dotted names. Other things are skipped, but a tensor of a type that cannot be
 * read is an error. Data stays mapped if it is stored without gaps. The text "archive" is
 * "torchscript" or "state_dict". The format from before PyTorch 1.6 is refused. */
clip_status clip_torch_read(const char *path, struct clip_bundle *out, struct clip_error *error);
clip_status clip_torch_parse(const void *bytes, size_t n, const char *name, struct clip_bundle *out,
                             struct clip_error *error);
/* Does the file begin like one of these, or like the old format? */
bool clip_torch_is(const char *path);

/* Reads several files that an index lists, as transformers writes them: JSON with "weight_map", an
 * object that maps tensor names to file names. `read` reads one of the files, which are beside the
 * index. Every tensor must be in exactly the file that the index names. */
typedef clip_status clip_bundle_reader(const char *path, struct clip_bundle *out,
                                       struct clip_error *error);
clip_status clip_shards_read(const char *index, clip_bundle_reader *read, struct clip_bundle *out,
                             struct clip_error *error);

/* Writes numpy's .npy 1.0, for embeddings: one F32 tensor. */
clip_status clip_npy_write(const char *path, const struct clip_tensor *tensor,
                           struct clip_error *error);

#endif
