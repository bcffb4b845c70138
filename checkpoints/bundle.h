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
    struct clip_tensor tensor; /* data: borrowed (written), or the bundle's (read, never changed) */
};
struct clip_bundle_text {
    const char *key, *value; /* value: size bytes and a NUL behind them, no NUL within */
    size_t size;
    bool list; /* value: a JSON list of strings, which HDF5 keeps as a dataset of that many */
};

struct clip_bundle { /* start from {0} */
    struct clip_bundle_tensor *tensors;
    int64_t tensor_count, tensor_capacity;
    struct clip_bundle_text *texts;
    int64_t text_count, text_capacity;
    struct clip_string_map numbers; /* of the tensors by their names, which are its copies */
    struct clip_arena arena;        /* texts, and data that was copied */
    struct clip_mapping *mappings;  /* files that data points into */
    int64_t mapping_count, mapping_capacity;
};
void clip_bundle_release(struct clip_bundle *bundle);
/* The mapping becomes the bundle's (it is {0} then), also where that fails. */
clip_status clip_bundle_keep(struct clip_bundle *bundle, struct clip_mapping *mapping,
                             struct clip_error *error);
/* Moves the tensors of `part`, with the memory and files they lie in, to the bundle; texts stay
 * behind. `part` is {0} afterwards. A name that both have is CLIP_ERR_DATA. */
clip_status clip_bundle_absorb(struct clip_bundle *bundle, struct clip_bundle *part,
                               struct clip_error *error);

/* Borrows data, copies the name. A name that is there already is refused (CLIP_ERR_DATA). */
clip_status clip_bundle_add(struct clip_bundle *bundle, const char *name,
                            const struct clip_tensor *tensor, struct clip_error *error);
/* Copies key and value; a key that is there already, or a NUL byte in the value, is refused. */
clip_status clip_bundle_add_text(struct clip_bundle *bundle, const char *key, const char *value,
                                 size_t n, struct clip_error *error);
/* The same for a list of strings, given and kept as JSON. */
clip_status clip_bundle_add_list(struct clip_bundle *bundle, const char *key, const char *json,
                                 size_t n, struct clip_error *error);
/* The tensor's number; -1: not there. */
int64_t clip_bundle_number(const struct clip_bundle *bundle, const char *name);
/* NULL: not there. */
const struct clip_tensor *clip_bundle_find(const struct clip_bundle *bundle, const char *name);
const struct clip_bundle_text *clip_bundle_text(const struct clip_bundle *bundle, const char *key);

/* Copies the named tensor into dst (`shape` must match): into float32, widening F16 and BF16, or
 * into bfloat16, rounding F32.
 * Names what is missing, misshapen or of a type that is no float. */
clip_status clip_bundle_copy(const struct clip_bundle *bundle, const char *name,
                             const struct clip_tensor *dst, struct clip_error *error);
/* "[2, 3]", "[]" for a scalar: a tensor's shape for a message, into `text`, which it returns. */
#define CLIP_SHAPE_TEXT 96
const char *clip_shape_text(char text[CLIP_SHAPE_TEXT], const struct clip_tensor *tensor);

/* Writers are atomic (temporary, fsync, rename). Readers check everything before they trust it;
 * `out` starts from {0} and is {0} again after a failure. */

/* HDF5: chunked datasets with fletcher32 checksums behind a first block with the file's length and
 * checksum. `prefix` NULL reads all tensors, "model/" only those that begin so; texts are always
 * read. Tensors come in the order of their names' bytes. Same bundle, same bytes. */
clip_status clip_hdf5_write(const char *path, const struct clip_bundle *bundle,
                            struct clip_error *error);
clip_status clip_hdf5_read(const char *path, const char *prefix, struct clip_bundle *out,
                           struct clip_error *error);
/* The same with several prefixes, of which the first that any tensor has is read ("ema/", else
 * "model/"); *chosen is its number, -1 where no tensor has any of them. */
clip_status clip_hdf5_read_first(const char *path, const char *const *prefixes, int count,
                                 int *chosen, struct clip_bundle *out, struct clip_error *error);
/* The same file, but each tensor in one piece, on a multiple of 64 bytes and without checksums of
 * its own (the first block's stands for all), so that clip_hdf5_map need not read it. */
clip_status clip_hdf5_write_mapped(const char *path, const struct clip_bundle *bundle,
                                   struct clip_error *error);
/* Any native file with its tensors left in the mapped file where they lie in one piece (else they
 * are read): opening takes no time that grows with them. `known`: the caller has seen this very
 * file whole before, so its bytes are not read through for their checksum. */
clip_status clip_hdf5_map(const char *path, bool known, struct clip_bundle *out,
                          struct clip_error *error);
bool clip_hdf5_is(const char *path); /* the file begins with our first block or HDF5's signature */

/* https://github.com/huggingface/safetensors, "Format". Data stays mapped (what is not aligned in
 * the file is copied). Tensors are written wide types first, then by name, as the reference writer
 * does, and texts by key; same bundle, same bytes. */
clip_status clip_safetensors_write(const char *path, const struct clip_bundle *bundle,
                                   struct clip_error *error);
clip_status clip_safetensors_read(const char *path, struct clip_bundle *out,
                                  struct clip_error *error);
/* From memory that stays the caller's and outlives the bundle; `name` stands for the path. */
clip_status clip_safetensors_parse(const void *bytes, size_t n, const char *name,
                                   struct clip_bundle *out, struct clip_error *error);

/* What torch.save and torch.jit.save write (a zip archive of a pickle and raw storages), read as
 * data: nothing in it is run (checkpoints/pickle.h). Tensors are those of the dict "state_dict"
 * where there is one (a training checkpoint), else of the dict itself, or of a TorchScript module's
 * parts by their dotted names; other things in it are passed over, but for a tensor of a type that
 * cannot be read. Data stays mapped where it is stored without gaps. The text "archive" is
 * "torchscript" or "state_dict". The old format from before PyTorch 1.6 is refused. */
clip_status clip_torch_read(const char *path, struct clip_bundle *out, struct clip_error *error);
clip_status clip_torch_parse(const void *bytes, size_t n, const char *name, struct clip_bundle *out,
                             struct clip_error *error);
/* The file begins as one of them does, or as the old format. */
bool clip_torch_is(const char *path);

/* Several files that an index names, as transformers writes them: JSON with "weight_map", an object
 * of tensor name to file name; `read` reads one of the files, which lie beside the index. Every
 * tensor has to be in the file that the index says, and no other. */
typedef clip_status clip_bundle_reader(const char *path, struct clip_bundle *out,
                                       struct clip_error *error);
clip_status clip_shards_read(const char *index, clip_bundle_reader *read, struct clip_bundle *out,
                             struct clip_error *error);

/* numpy's .npy 1.0, for embeddings: one F32 tensor. */
clip_status clip_npy_write(const char *path, const struct clip_tensor *tensor,
                           struct clip_error *error);

#endif
