/* A small model with random weights and a tokenizer trained on a few captions, for tests of what a
 * model is used through; and images to show it. */
#ifndef CLIP_TESTS_SMALL_MODEL_H
#define CLIP_TESTS_SMALL_MODEL_H

#include "formats/model_file.h"
#include "tests/support.h"

/* image 32, patch 8, width 48, 2 layers; context 12, width 40, 2 layers; embedding 24.
 * clip_model_file_free it. */
struct clip_model_file *small_model(uint64_t seed);
/* Writes a PNG of width x height random pixels, and gives its path. */
const char *small_image(const char *folder, const char *name, int64_t width, int64_t height,
                        uint64_t seed);

#endif
