/* Reference files for tests: folders of safetensors and JSON laid out as tests/reference/README.md
 * says. Tests run over every root that is there (the small committed set, and a large one where
 * there is one) and take sizes from the files. A tensor that is missing, or of another type, fails
 * the running test with its name. */
#ifndef CLIP_TESTS_FIXTURE_H
#define CLIP_TESTS_FIXTURE_H

#include <jansson.h>

#include "checkpoints/bundle.h"
#include "model/model.h"
#include "tests/support.h"

/* clip_bundle_release or json_decref the result. */
struct clip_bundle fixture_read(const char *root, const char *path);
json_t *fixture_json(const char *root, const char *path);
double fixture_number(const json_t *object, const char *key);

/* The named tensor; `format` as printf's. */
const struct clip_tensor *fixture_tensor(const struct clip_bundle *bundle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const float *fixture_f32(const struct clip_bundle *bundle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
float fixture_scalar(const struct clip_bundle *bundle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A copy of the named tensor with a zeroed gradient that needs filling: a leaf. fixture_leaf_free
 * releases both. */
struct clip_tensor fixture_leaf(const struct clip_bundle *bundle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void fixture_leaf_free(struct clip_tensor *leaf);

/* got against the tensor of that name. */
void fixture_close_to(const struct clip_bundle *bundle, const char *name, const float *got,
                      double relative, double absolute);

/* A model of the sizes in an open_clip model_cfg, zeroed; clip_model_free it. */
struct clip_model *fixture_model(const json_t *model_cfg, bool logit_bias);
/* Copies every parameter from the bundle's tensor of that name; only logit_bias may be missing. */
void fixture_load(struct clip_model *model, const struct clip_bundle *weights);

/* Captions packed from padded rows [B,T]: each up to and with its largest id, as open_clip pools.
 */
struct fixture_text {
    int32_t *ids, *at;
    struct clip_tensor tokens, offsets; /* views of them: [total], [B+1] */
};
struct fixture_text fixture_pack(const int32_t *ids, int64_t rows, int64_t context);
void fixture_text_release(struct fixture_text *text);

/* A tape, or a failed test. */
struct clip_tape *fixture_tape(void);
void fixture_tape_ok(const struct clip_tape *tape);

#endif
