/* An export is opened again and used. */
#include "embed/self_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "embed/embedder.h"

enum { WIDTH = 97, HEIGHT = 61 }; /* of the image; no side is a multiple of a patch */

static const char *const sentences[] = {
    "a photo of a cat",
    "Two DOGS, one frisbee & 3.5 metres of grass; it's raining!",
    "Ein Mädchen läuft durch den Wald",
    "一只猫坐在窗边",
    "<|endoftext|> \xF0\x9F\x90\xB6 &amp; \t so on",
};
enum { SENTENCES = sizeof sentences / sizeof *sentences };

struct pair { /* the model and its export */
    const struct clip_model_file *file, *read;
    struct clip_embedder *of_file, *of_read;
    enum clip_dtype dtype;
    struct clip_error *error;
};

static clip_status differ(const struct pair *p, const char *what)
{
    return clip_fail(p->error, CLIP_ERR_DATA,
                     "the export was opened again, and %s; it is not usable, and this is a mistake "
                     "of this program or of the machine: try again",
                     what);
}

static clip_status compare_descriptions(const struct pair *p)
{
    clip_status status;
    struct clip_buffer a = {0}, b = {0};
    struct clip_model_description of_file = clip_model_file_description(p->file);
    struct clip_model_description of_read = clip_model_file_description(p->read);
    CLIP_TRY(clip_model_description_format(&of_file, &a, p->error));
    CLIP_TRY(clip_model_description_format(&of_read, &b, p->error));
    if (strcmp(a.data, b.data) != 0)
        status = clip_fail(p->error, CLIP_ERR_DATA,
                           "the export was opened again, and its description is %.400s instead of "
                           "%.400s; this is a mistake of this program",
                           b.data, a.data);
out:
    clip_buffer_release(&a);
    clip_buffer_release(&b);
    return status;
}

static clip_status encode(const struct clip_model_file *file, const char *text, size_t n,
                          struct clip_ids *out, struct clip_error *error)
{
    const struct clip_encode_options how = {.cleaning = file->cleaning};
    out->count = 0;
    return clip_tokenizer_encode(file->tokenizer, text, n, &how, out, NULL, error);
}

/* Both refuse a text or both give the same tokens. */
static clip_status compare_text(const struct pair *p, const char *text, size_t n,
                                struct clip_ids *a, struct clip_ids *b)
{
    struct clip_error refused;
    clip_status of_file = encode(p->file, text, n, a, &refused);
    clip_status of_read = encode(p->read, text, n, b, &refused);
    if (clip_machine_failed(of_file) || clip_machine_failed(of_read))
        return clip_fail(p->error, refused.status, "%s", refused.message);
    if (of_file == of_read &&
        (of_file != CLIP_OK ||
         (a->count == b->count && memcmp(a->ids, b->ids, (size_t)a->count * sizeof *a->ids) == 0)))
        return CLIP_OK;
    return clip_fail(p->error, CLIP_ERR_DATA,
                     "the export was opened again, and its tokenizer cuts \"%.*s\" in another way "
                     "than the model's; it is not usable, try again",
                     (int)(n < 200 ? n : 200), text);
}

/* Every token's spelling is a text, too: it needs the merges that make the token. */
static clip_status compare_tokenizers(const struct pair *p)
{
    clip_status status = CLIP_OK;
    struct clip_ids a = {0}, b = {0};
    struct clip_buffer of_file = {0}, of_read = {0};
    const struct clip_tokenizer *tokenizer = p->file->tokenizer, *read = p->read->tokenizer;
    if (tokenizer == NULL) return CLIP_OK;
    if (read == NULL) return differ(p, "it has no tokenizer");
    if (read->vocab_size != tokenizer->vocab_size)
        return differ(p, "its tokenizer has another number of tokens");
    for (int i = 0; i < SENTENCES; i++)
        CLIP_TRY(compare_text(p, sentences[i], strlen(sentences[i]), &a, &b));
    for (int64_t id = 0; id < tokenizer->vocab_size; id++) {
        of_file.size = of_read.size = 0;
        CLIP_TRY(clip_tokenizer_spell(tokenizer, (int32_t)id, &of_file, p->error));
        CLIP_TRY(clip_tokenizer_spell(read, (int32_t)id, &of_read, p->error));
        if (strcmp(of_file.data, of_read.data) != 0)
            CLIP_TRY(differ(p, "its tokenizer spells a token in another way"));
        size_t n = of_file.size;
        if (n > 4 && strcmp(of_file.data + n - 4, "</w>") == 0) n -= 4;
        CLIP_TRY(compare_text(p, of_file.data, n, &a, &b));
    }
out:
    clip_ids_release(&a);
    clip_ids_release(&b);
    clip_buffer_release(&of_file);
    clip_buffer_release(&of_read);
    return status;
}

/* Weights of fewer bits give slightly other rows. */
static clip_status compare_rows(const struct pair *p, const float *a, const float *b, int64_t n,
                                const char *what)
{
    int64_t dim = clip_embedder_dim(p->of_file);
    double most = p->dtype == CLIP_F32 ? 1e-5 : p->dtype == CLIP_F16 ? 5e-3 : 5e-2;
    if (memcmp(a, b, (size_t)(n * dim) * sizeof *a) == 0) return CLIP_OK;
    for (int64_t i = 0; i < n; i++) {
        double dot = 0, own = 0;
        for (int64_t j = 0; j < dim; j++) {
            dot += (double)a[i * dim + j] * (double)b[i * dim + j];
            own += (double)a[i * dim + j] * (double)a[i * dim + j];
        }
        /* (a model that has diverged has no rows to compare) */
        if (isfinite(own) && !(fabs(own - dot) <= most)) return differ(p, what);
    }
    return CLIP_OK;
}

static clip_status compare_texts(const struct pair *p)
{
    clip_status status;
    struct clip_error *error = p->error;
    int64_t dim = clip_embedder_dim(p->of_file), vocab = p->file->model->config.vocab_size;
    const int32_t ids[] = {(int32_t)(1 % vocab), (int32_t)(2 % vocab), (int32_t)(vocab - 1)};
    int64_t length = clip_min_i64(3, p->file->model->config.context_length);
    float *a = NULL, *b = NULL;
    CLIP_NEW(a, SENTENCES * dim);
    CLIP_NEW(b, SENTENCES * dim);
    if (p->file->tokenizer != NULL) {
        CLIP_TRY(clip_embedder_texts(p->of_file, sentences, SENTENCES, CLIP_UNIT, a, NULL, error));
        CLIP_TRY(clip_embedder_texts(p->of_read, sentences, SENTENCES, CLIP_UNIT, b, NULL, error));
        CLIP_TRY(compare_rows(p, a, b, SENTENCES, "its texts have other embeddings"));
    } else {
        CLIP_TRY(clip_embedder_ids(p->of_file, ids, 1, length, CLIP_UNIT, a, error));
        CLIP_TRY(clip_embedder_ids(p->of_read, ids, 1, length, CLIP_UNIT, b, error));
        CLIP_TRY(compare_rows(p, a, b, 1, "its tokens have other embeddings"));
    }
out:
    free(a);
    free(b);
    return status;
}

/* Colours that change slowly, and grain. */
static void draw(uint8_t rgb[HEIGHT * WIDTH * 3])
{
    uint32_t grain = 1;
    for (int i = 0; i < HEIGHT * WIDTH * 3; i++) {
        grain = grain * 1664525 + 1013904223;
        int x = i / 3 % WIDTH, y = i / 3 / WIDTH;
        rgb[i] = (uint8_t)(x * (i % 3 + 1) / 2 + y + (int)(grain >> 27));
    }
}

static clip_status compare_images(const struct pair *p)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = p->error;
    int64_t dim = clip_embedder_dim(p->of_file), side = clip_embedder_image_size(p->of_file);
    uint8_t *rgb = NULL;
    float *a = NULL, *b = NULL, *row = NULL;
    CLIP_NEW(rgb, HEIGHT * WIDTH * 3);
    CLIP_NEW(a, 3 * side * side);
    CLIP_NEW(b, 3 * side * side);
    CLIP_NEW(row, 2 * dim);
    draw(rgb);
    const struct clip_image_source image = {.rgb = rgb, .width = WIDTH, .height = HEIGHT};
    CLIP_TRY(clip_embedder_preprocess(p->of_file, &image, 1, a, NULL, error));
    CLIP_TRY(clip_embedder_preprocess(p->of_read, &image, 1, b, NULL, error));
    if (memcmp(a, b, (size_t)(3 * side * side) * sizeof *a) != 0)
        CLIP_TRY(differ(p, "it makes other pixels of an image"));
    CLIP_TRY(clip_embedder_pixels(p->of_file, a, 1, CLIP_UNIT, row, error));
    CLIP_TRY(clip_embedder_pixels(p->of_read, a, 1, CLIP_UNIT, row + dim, error));
    CLIP_TRY(compare_rows(p, row, row + dim, 1, "an image has another embedding"));
out:
    free(rgb);
    free(a);
    free(b);
    free(row);
    return status;
}

static void say_nothing(void *context, enum clip_log_level level, const char *message)
{
    (void)context, (void)level, (void)message;
}

clip_status clip_self_check(const struct clip_model_file *file, const char *path,
                            enum clip_dtype dtype, struct clip_error *error)
{
    clip_status status;
    struct clip_model_file *read = NULL;
    struct pair p = {.file = file, .dtype = dtype, .error = error};
    const struct clip_model_file_options open = {.log = {.write = say_nothing}};
    const struct clip_embedder_options plain = {0};
    CLIP_TRY(clip_model_file_open(&read, path, &open, error));
    p.read = read;
    CLIP_TRY(compare_descriptions(&p));
    CLIP_TRY(compare_tokenizers(&p));
    CLIP_TRY(clip_embedder_create(&p.of_file, file, &plain, error));
    CLIP_TRY(clip_embedder_create(&p.of_read, read, &plain, error));
    CLIP_TRY(compare_images(&p));
    CLIP_TRY(compare_texts(&p));
out:
    clip_embedder_free(p.of_file);
    clip_embedder_free(p.of_read);
    clip_model_file_free(read);
    return status;
}
