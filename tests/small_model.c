#include "tests/small_model.h"

#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

static const char *const captions[] = {
    "a red circle on a blue background",
    "two green squares",
    "a photo of a dog",
    "the small yellow star is above the large red circle",
    "a dog and a cat in the snow",
    "a large blue triangle left of a green square",
};
enum { CAPTIONS = sizeof captions / sizeof *captions };

static struct clip_tokenizer *make_tokenizer(void)
{
    struct clip_error error;
    struct clip_buffer text = {0};
    struct clip_tokenizer *tokenizer = NULL;
    size_t sizes[CAPTIONS];
    for (int i = 0; i < CAPTIONS; i++) sizes[i] = strlen(captions[i]);
    test_ok(
        clip_tokenizer_train(captions, sizes, CAPTIONS, 540, CLIP_TEXT_OPEN_CLIP, &text, &error),
        &error);
    test_ok(clip_tokenizer_parse(&tokenizer, text.data, text.size, "small", &error), &error);
    clip_buffer_release(&text);
    return tokenizer;
}

struct clip_model_file *small_model(uint64_t seed)
{
    struct clip_error error;
    struct clip_model_file *file = clip_array_new(1, sizeof *file, &error);
    assert_non_null(file);
    file->tokenizer = make_tokenizer();
    struct clip_model_config config;
    test_ok(clip_model_preset(&config, "vit-b-32", &error), &error);
    config.embed_dim = 24;
    config.image_size = 32;
    config.patch_size = 8;
    config.vision.width = 48;
    config.vision.layers = config.text.layers = 2;
    config.vision.heads = 4;
    config.context_length = 12;
    config.vocab_size = file->tokenizer->vocab_size;
    config.text.width = 40;
    config.text.heads = 2;
    test_ok(clip_model_create(&file->model, &config, &error), &error);
    clip_model_init(file->model, seed);
    file->preprocess.image_size = config.image_size;
    memcpy(file->preprocess.mean, config.image_mean, sizeof config.image_mean);
    memcpy(file->preprocess.std, config.image_std, sizeof config.image_std);
    file->source = clip_string_copy("small", &error);
    test_ok(clip_model_file_sum(file, &error), &error);
    return file;
}

const char *small_image(const char *folder, const char *name, int64_t width, int64_t height,
                        uint64_t seed)
{
    struct clip_error error;
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 0, 0);
    struct clip_image image = {.width = width, .height = height};
    const char *path = test_path(folder, name);
    image.rgb = malloc((size_t)(width * height * 3));
    assert_non_null(image.rgb);
    for (int64_t i = 0; i < width * height * 3; i++) image.rgb[i] = (uint8_t)clip_rng_u32(&rng);
    test_ok(clip_image_write_png(path, &image, &error), &error);
    free(image.rgb);
    return path;
}
