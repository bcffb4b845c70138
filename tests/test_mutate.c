/* Thousands of damaged files of each format that is read: cut, flipped, spliced, lying in numbers.
 * Whatever they hold, opening them ends in a model or in a whole sentence about the file; it takes
 * no memory beyond what the file's own size accounts for; and what was opened can be read to its
 * end. Under the sanitizers (`make mutate`) nothing else may happen either.
 *
 * MUTATE_COUNT (40) files a format, each a function of its number: MUTATE_FIRST=N MUTATE_COUNT=1
 * makes that one again, MUTATE_FORMAT=gguf takes only the formats whose name holds that. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoints/hdf5_parts.h"
#include "core/choice.h"
#include "core/rng.h"
#include "data/image/image.h"
#include "formats/model_export.h"
#include "tests/resigned.h"
#include "tests/small_model.h"

enum { PIXELS_MAX = 1 << 20, FACTOR = 40, BASE = 3 << 20 };

/* ---- Watching memory ---- */

/* AddressSanitizer tells of each allocation. Without it a limit on the address space stands in: a
 * size that a file lies about then ends in CLIP_ERR_MEMORY, which is a failure here. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *))
    __attribute__((weak));
size_t __sanitizer_get_allocated_size(const volatile void *p) __attribute__((weak));

static struct {
    int64_t live, peak;
} memory;

static void on_malloc(const volatile void *p, size_t n)
{
    (void)p;
    int64_t live = __atomic_add_fetch(&memory.live, (int64_t)n, __ATOMIC_RELAXED);
    if (live > memory.peak) memory.peak = live;
}

static void on_free(const volatile void *p)
{
    if (p != NULL)
        __atomic_sub_fetch(&memory.live, (int64_t)__sanitizer_get_allocated_size(p),
                           __ATOMIC_RELAXED);
}

static void watch_memory(void)
{
    if (__sanitizer_install_malloc_and_free_hooks != NULL) {
        __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
        return;
    }
    const struct rlimit limit = {(rlim_t)4 << 30, (rlim_t)4 << 30};
    setrlimit(RLIMIT_AS, &limit);
}

/* ---- Damaging ---- */

static uint64_t a_lie(struct clip_rng *rng)
{
    static const uint64_t lies[] = {
        0,
        1,
        2,
        7,
        0x7f,
        0xff,
        0x7fff,
        0xffff,
        0x7fffffff,
        0xffffffff,
        0x100000000,
        0x7fffffffffffffff,
        0xffffffffffffffff,
        0x8000000000000000,
        0x3fffffffffffffff,
        0xfffffffffffffff8,
        0x10000,
        0x1000000,
        0x40000000,
    };
    uint32_t k = clip_rng_below(rng, 2 * (uint32_t)(sizeof lies / sizeof *lies));
    return k < sizeof lies / sizeof *lies ? lies[k] : clip_rng_u32(rng) >> clip_rng_below(rng, 32);
}

/* Headers lie at the front (and a zip's at the end), so half of the places are there. */
static size_t a_place(struct clip_rng *rng, size_t n)
{
    size_t near = n < 2048 ? n : 2048;
    if (n == 0) return 0;
    switch (clip_rng_below(rng, 4)) {
    case 0: return clip_rng_below(rng, (uint32_t)near);
    case 1: return n - 1 - clip_rng_below(rng, (uint32_t)near);
    case 2: return clip_rng_below(rng, (uint32_t)(near < 64 ? near : 64));
    default: return clip_rng_below(rng, (uint32_t)n);
    }
}

static void replace(struct clip_buffer *b, size_t at, size_t old, const char *new, size_t n)
{
    struct clip_error error;
    if (old > b->size - at) old = b->size - at;
    test_ok(clip_buffer_reserve(b, n, &error), &error);
    memmove(b->data + at + n, b->data + at + old, b->size - at - old);
    memcpy(b->data + at, new, n);
    b->size += n - old;
}

/* A number in a text becomes another one. */
static void lie_in_text(struct clip_buffer *b, struct clip_rng *rng)
{
    static const char *const numbers[] = {
        "0",
        "-1",
        "1",
        "65536",
        "4294967295",
        "9223372036854775807",
        "18446744073709551616",
        "1e300",
        "0.5",
        "null",
        "true",
        "\"x\"",
        "[]",
        "{}",
        "[[[[[[[[[[]]]]]]]]]]",
    };
    size_t at = a_place(rng, b->size), n = 0;
    while (at < b->size && (b->data[at] < '0' || b->data[at] > '9')) at++;
    while (at + n < b->size && b->data[at + n] >= '0' && b->data[at + n] <= '9') n++;
    if (n == 0) return;
    const char *number = numbers[clip_rng_below(rng, sizeof numbers / sizeof *numbers)];
    replace(b, at, n, number, strlen(number));
}

static void copy_piece(struct clip_buffer *b, struct clip_rng *rng)
{
    size_t from = a_place(rng, b->size), to = a_place(rng, b->size);
    size_t n = 1 + clip_rng_below(rng, 64), old = clip_rng_below(rng, 65);
    char piece[64];
    if (n > b->size - from) n = b->size - from;
    memcpy(piece, b->data + from, n);
    replace(b, to, old, piece, n);
}

static void damage_once(struct clip_buffer *b, struct clip_rng *rng)
{
    size_t at = a_place(rng, b->size), width = (size_t)1 << clip_rng_below(rng, 4);
    uint64_t lie = a_lie(rng);
    if (b->size == 0) return;
    switch (clip_rng_below(rng, 6)) {
    case 0: /* cut */
        b->size = clip_rng_below(rng, 4) == 0 ? b->size - 1 - at % b->size : at;
        break;
    case 1:
    case 2: /* flipped */
        for (uint32_t k = clip_rng_below(rng, 4) + 1; k-- > 0; at = a_place(rng, b->size))
            b->data[at] = (char)(b->data[at] ^ 1 << clip_rng_below(rng, 8));
        break;
    case 3: copy_piece(b, rng); break;
    case 4: /* lying, in bytes, least significant first */
        for (size_t i = 0; i < width && at + i < b->size; i++)
            b->data[at + i] = (char)(lie >> 8 * i & 0xff);
        break;
    default: lie_in_text(b, rng);
    }
}

/* File number i of a format. */
static void damage(struct clip_buffer *b, uint32_t format, uint64_t i)
{
    struct clip_rng rng = clip_rng_at(20251124, CLIP_RNG_TEST, format, i);
    for (uint32_t k = clip_rng_below(&rng, 3) + 1; k-- > 0;) damage_once(b, &rng);
}

/* ---- Opening ---- */

struct format {
    const char *name; /* of the format, in what is printed */
    const char *folder;
    const char *file;  /* that is damaged */
    const char *model; /* that is opened then; NULL: the file */
    clip_status (*open)(const char *path, struct clip_error *error);
    struct structures *inside; /* of an HDF5 file: they are damaged and signed again; or NULL */
    struct clip_buffer whole;
    size_t bytes; /* of all files that are read, about */
};

static void touch(const void *data, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) sum += ((const unsigned char *)data)[i];
    volatile unsigned used = sum;
    (void)used;
}

static clip_status open_model(const char *path, struct clip_error *error)
{
    struct clip_model_file *file = NULL;
    clip_status status = clip_model_file_open(&file, path, NULL, error);
    for (int64_t i = 0; file != NULL && i < file->model->param_count; i++) {
        const struct clip_tensor *t = &file->model->params[i].tensor;
        touch(t->data, (size_t)clip_tensor_count(t) * sizeof(float));
    }
    clip_model_file_free(file);
    return status;
}

static void touch_bundle(const struct clip_bundle *bundle)
{
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        const struct clip_tensor *t = &bundle->tensors[i].tensor;
        touch(t->data, (size_t)clip_tensor_count(t) * clip_dtype_size(t->dtype));
    }
}

static clip_status open_bundle(const char *path, struct clip_error *error)
{
    struct clip_bundle bundle = {0};
    clip_status status = clip_safetensors_read(path, &bundle, error);
    touch_bundle(&bundle);
    clip_bundle_release(&bundle);
    return status;
}

static clip_status open_tokenizer(const char *path, struct clip_error *error)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_ids ids = {0};
    static const char text[] = "The quick \xEF\xAC\x81x, isn't it? e\xCC\x81 \xC3\xA9 12";
    clip_status status = clip_tokenizer_open(&tokenizer, path, NULL, error);
    if (status == CLIP_OK)
        status = clip_tokenizer_encode(tokenizer, text, strlen(text),
                                       &(struct clip_encode_options){CLIP_TEXT_OPEN_CLIP}, &ids,
                                       NULL, error);
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
    return status;
}

static clip_status open_image(const char *path, struct clip_error *error)
{
    const struct clip_image_limits limits = {.max_pixels = PIXELS_MAX};
    struct clip_image image = {0};
    clip_status status = clip_image_decode_file(path, &limits, &image, error);
    if (status == CLIP_OK) touch(image.rgb, (size_t)(image.width * image.height * 3));
    clip_image_release(&image);
    return status;
}

static void put_file(const char *path, const struct clip_buffer *b)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, b->data, b->size) != (ssize_t)b->size) test_fail("%s", path);
    close(fd);
}

/* A native file whose first block is made to fit what is damaged behind it: what reaches the reader
 * is then not only what was written completely. Every number in it is read. */
static clip_status open_sealed(const char *path, struct clip_error *error)
{
    char block[CLIP_HDF5_BLOCK];
    struct clip_bundle bundle = {0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int64_t size = fd >= 0 ? (int64_t)lseek(fd, 0, SEEK_END) : 0;
    if (size >= CLIP_HDF5_BLOCK && (clip_hdf5_seal(block, fd, size, path, error) != CLIP_OK ||
                                    pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block))
        test_fail("%s", path);
    close(fd);
    clip_status status = clip_hdf5_map(path, true, &bundle, error);
    touch_bundle(&bundle);
    clip_bundle_release(&bundle);
    return status == CLIP_OK ? open_model(path, error) : status;
}

/* A native file that is whole, but whose description is the damaged text at `path`. */
static clip_status open_described(const char *path, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle whole = {0}, forged = {0};
    struct clip_buffer text = {0};
    char *folder = clip_path_folder(path, error);
    const char *native = folder != NULL ? test_path(folder, "a.h5") : NULL;
    char *lying = folder != NULL ? clip_path_join(folder, "lying.h5", error) : NULL;
    if (lying == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(clip_hdf5_read(native, NULL, &whole, error));
    CLIP_TRY(clip_file_read(path, 1 << 20, &text, error));
    for (int64_t i = 0; i < whole.tensor_count; i++)
        CLIP_TRY(clip_bundle_add(&forged, whole.tensors[i].name, &whole.tensors[i].tensor, error));
    CLIP_TRY(clip_bundle_add_text(&forged, "config", text.data, text.size, error));
    CLIP_TRY(clip_hdf5_write(lying, &forged, error));
    CLIP_TRY(open_model(lying, error));
out:
    clip_bundle_release(&whole);
    clip_bundle_release(&forged);
    clip_buffer_release(&text);
    free(folder);
    free(lying);
    return status;
}

/* A whole sentence: text, on one line, that ends inside the message. */
static const char *what_is_wrong(const struct clip_error *error, clip_status status)
{
    size_t n = strnlen(error->message, sizeof error->message);
    if (status != error->status) return "the status and the error's differ";
    if (status == CLIP_ERR_MEMORY) return "it took memory that the file does not account for";
    if (n < 20 || n == sizeof error->message) return "there is no sentence";
    if (strstr(error->message, "(null)") != NULL) return "the sentence names nothing";
    if (strchr(error->message, '\n') != NULL) return "the sentence has several lines";
    if (error->message[n - 1] == ' ' || error->message[n - 1] == ':') return "it breaks off";
    return NULL;
}

/* For a crash: which file it was. */
static char now[256];
static void name_case(int signal_number)
{
    ssize_t n = write(STDOUT_FILENO, now, strlen(now));
    (void)n;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}
static void name_case_of_report(void) { name_case(SIGABRT); }
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static int64_t number_of(const char *variable, int64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL && *text != '\0' ? atoll(text) : otherwise;
}

static void keep(const char *path, const struct format *f, int64_t i)
{
    struct clip_error error;
    struct clip_buffer bytes = {0};
    char kept[128];
    snprintf(kept, sizeof kept, "/tmp/mutated-%lld-%s", (long long)i, clip_path_name(f->name));
    if (clip_file_read(path, 1 << 28, &bytes, &error) == CLIP_OK)
        (void)clip_file_write(kept, bytes.data, bytes.size, &error);
    clip_buffer_release(&bytes);
}

static FILE *nothing; /* /dev/null */

static void try(const struct format *f, int64_t i, int64_t *opened)
{
    struct clip_error error = {0};
    struct clip_buffer b = {0};
    char path[512], model[512];
    snprintf(path, sizeof path, "%s/%s", f->folder, f->file);
    snprintf(model, sizeof model, "%s/%s", f->folder, f->model != NULL ? f->model : f->file);
    snprintf(now, sizeof now, "# MUTATE_FIRST=%lld, format %s\n", (long long)i, f->name);
    test_ok(clip_buffer_append(&b, f->whole.data, f->whole.size, &error), &error);
    uint32_t key = 0;
    for (const char *c = f->name; *c != '\0'; c++) key = key * 31 + (unsigned char)*c;
    if (f->inside != NULL) {
        struct clip_rng rng = clip_rng_at(20251124, CLIP_RNG_TEST, key, (uint64_t)i);
        damage_inside(&b, f->inside, &rng);
    } else {
        damage(&b, key, (uint64_t)i);
    }
    put_file(path, &b);
    int64_t before = memory.live;
    memory.peak = before;
    FILE *kept = stderr; /* warnings are not shown; sanitizers write to the descriptor itself */
    if (nothing != NULL) stderr = nothing;
    clip_status status = f->open(model, &error);
    stderr = kept;
    int64_t taken = memory.peak - before, honest = BASE + FACTOR * (int64_t)f->bytes;
    const char *wrong = status != CLIP_OK ? what_is_wrong(&error, status) : NULL;
    if (wrong != NULL || taken > honest) {
        keep(path, f, i);
        test_fail("%s, MUTATE_FIRST=%lld: %s (%lld bytes taken, %lld honest); \"%s\"", f->name,
                  (long long)i, wrong != NULL ? wrong : "it took more memory than it may",
                  (long long)taken, (long long)honest, status != CLIP_OK ? error.message : "");
    }
    *opened += status == CLIP_OK;
    clip_buffer_release(&b);
}

/* Damages folder/file again and again; it is whole again afterwards. */
static void mutate(struct format f)
{
    struct clip_error error;
    char path[512];
    int64_t first = number_of("MUTATE_FIRST", 0), count = number_of("MUTATE_COUNT", 40);
    int64_t opened = 0;
    const char *only = getenv("MUTATE_FORMAT");
    if (only != NULL && strstr(f.name, only) == NULL) return;
    snprintf(path, sizeof path, "%s/%s", f.folder, f.file);
    test_ok(clip_file_read(path, 1 << 28, &f.whole, &error), &error);
    f.bytes += f.whole.size;
    if (f.inside != NULL) find_structures(&f.whole, f.inside);
    if (f.inside != NULL) assert_true(f.inside->count > 10);
    snprintf(now, sizeof now, "%s/%s", f.folder, f.model != NULL ? f.model : f.file);
    test_ok(f.open(now, &error), &error); /* whole, it opens */
    for (int64_t i = first; i < first + count; i++) try(&f, i, &opened);
    put_file(path, &f.whole);
    clip_buffer_release(&f.whole);
    print_message("# %s: %d damaged, %d opened all the same\n", f.name, (int)count, (int)opened);
}

/* ---- Formats ---- */

static const char *exported(const char *format, const char *name)
{
    struct clip_error error;
    struct clip_model_file *file = small_model(3);
    int i = clip_choice_find(clip_export_format_name, format);
    if (strcmp(format, "huggingface") == 0) { /* transformers' rules: then its files decide more */
        file->cleaning = CLIP_TEXT_HUGGINGFACE;
        file->preprocess.crop = CLIP_CROP_HUGGINGFACE;
        file->ids.end = file->ids.pad = file->tokenizer->end;
    }
    const struct clip_export_options options = {(enum clip_export_format)i, CLIP_F32, false};
    const char *folder = test_folder();
    test_ok(clip_model_export(file, test_path(folder, name), &options, &error), &error);
    clip_model_file_free(file);
    return folder;
}

static size_t size_of(const char *folder, const char *name)
{
    struct clip_error error;
    struct clip_buffer b = {0};
    test_ok(clip_file_read(test_path(folder, name), 1 << 28, &b, &error), &error);
    size_t n = b.size;
    clip_buffer_release(&b);
    return n;
}

static void native_files(void **state)
{
    (void)state;
    const char *folder = exported("hdf5", "a.h5");
    mutate((struct format){"native", folder, "a.h5", .open = open_model});
    mutate((struct format){"native-sealed", folder, "a.h5", .open = open_sealed});
    static struct structures inside;
    mutate(
        (struct format){"native-signed", folder, "a.h5", .open = open_sealed, .inside = &inside});
    struct clip_error error;
    struct clip_bundle bundle = {0};
    test_ok(clip_hdf5_read(test_path(folder, "a.h5"), NULL, &bundle, &error), &error);
    test_ok(clip_hdf5_write_mapped(test_path(folder, "mapped.h5"), &bundle, &error), &error);
    mutate((struct format){"native-signed-mapped", folder, "mapped.h5", .open = open_sealed,
                           .inside = &inside});
    test_write_text(folder, "config", clip_bundle_text(&bundle, "config")->value);
    clip_bundle_release(&bundle);
    mutate((struct format){"native-config", folder, "config", .open = open_described,
                           .bytes = 2 * size_of(folder, "a.h5")});
}

static void safetensors_files(void **state)
{
    (void)state;
    const char *folder = exported("safetensors", "a.safetensors");
    mutate((struct format){"safetensors", folder, "a.safetensors", .open = open_model});
    mutate((struct format){"tensors", folder, "a.safetensors", .open = open_bundle});
}

static void gguf_files(void **state)
{
    (void)state;
    const char *folder = exported("gguf", "a.gguf");
    mutate((struct format){"gguf", folder, "a.gguf", .open = open_model});
}

/* `without`: a file that is taken away first, so that others are read in its place; NULL: none. */
static void folders_of(const char *format, const char *weights, const char *const *files,
                       const char *without)
{
    const char *folder = exported(format, "model");
    const char *model = test_path(folder, "model");
    size_t bytes = size_of(model, weights) + size_of(model, "tokenizer.json") +
                   size_of(model, "vocab.json");
    if (without != NULL) remove(test_path(model, without));
    for (int i = 0; files[i] != NULL; i++) {
        const char *name = test_path(format, files[i]);
        mutate((struct format){name, model, files[i], ".", open_model, .bytes = bytes});
    }
}

static void huggingface_folders(void **state)
{
    (void)state;
    static const char *const files[] = {
        "config.json",           "preprocessor_config.json", "tokenizer.json",
        "tokenizer_config.json", "model.safetensors",        NULL,
    };
    static const char *const others[] = {"vocab.json", "merges.txt", NULL};
    folders_of("huggingface", "model.safetensors", files, NULL);
    folders_of("huggingface", "model.safetensors", others, "tokenizer.json");
}

static void open_clip_folders(void **state)
{
    (void)state;
    static const char *const files[] = {"open_clip_config.json", NULL};
    folders_of("open_clip", "open_clip_model.safetensors", files, NULL);
}

static void copy(const char *from, const char *folder, const char *name)
{
    struct clip_error error;
    struct clip_buffer b = {0};
    test_ok(clip_file_read(from, 1 << 28, &b, &error), &error);
    test_write(folder, name, b.data, b.size);
    clip_buffer_release(&b);
}

/* The weights of a folder of ours in two shards, with their index, as transformers writes them. */
static void shard(const char *model)
{
    struct clip_error error;
    struct clip_bundle whole = {0}, parts[2] = {{0}, {0}};
    struct clip_buffer index = {0};
    const char *path = test_path(model, "model.safetensors");
    test_ok(clip_safetensors_read(path, &whole, &error), &error);
    test_ok(clip_buffer_printf(&index, &error, "{\"metadata\": {}, \"weight_map\": {"), &error);
    for (int64_t i = 0; i < whole.tensor_count; i++) {
        const struct clip_bundle_tensor *t = &whole.tensors[i];
        test_ok(clip_bundle_add(&parts[i % 2], t->name, &t->tensor, &error), &error);
        test_ok(clip_buffer_printf(&index, &error, "%s\"%s\": \"%d.safetensors\"",
                                   i > 0 ? ", " : "", t->name, (int)(i % 2)),
                &error);
    }
    test_ok(clip_buffer_printf(&index, &error, "}}"), &error);
    test_write(model, "model.safetensors.index.json", index.data, index.size);
    for (int i = 0; i < 2; i++) {
        path = test_path(model, i == 0 ? "0.safetensors" : "1.safetensors");
        test_ok(clip_safetensors_write(path, &parts[i], &error), &error);
        clip_bundle_release(&parts[i]);
    }
    clip_buffer_release(&index);
    clip_bundle_release(&whole);
    remove(test_path(model, "model.safetensors"));
}

static void shards(void **state)
{
    (void)state;
    const char *model = test_path(exported("huggingface", "model"), "model");
    size_t bytes = size_of(model, "model.safetensors") + size_of(model, "tokenizer.json");
    shard(model);
    mutate((struct format){"shards/index", model, "model.safetensors.index.json", ".", open_model,
                           .bytes = bytes});
    mutate((struct format){"shards/part", model, "1.safetensors", ".", open_model, .bytes = bytes});
}

/* A SigLIP of open_clip's, with its tokenizer, and of transformers', as we write it. */
static void siglip_folders(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = NULL;
    const char *source = "tests/reference/siglip_openclip_tiny", *folder = test_folder();
    static const char *const names[] = {"open_clip_config.json", "open_clip_model.safetensors",
                                        "tokenizer.json", "tokenizer_config.json"};
    size_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        copy(test_path(source, names[i]), folder, names[i]);
        bytes += size_of(folder, names[i]);
    }
    for (int i = 0; i < 4; i++) {
        const char *name = test_path("siglip", names[i]);
        mutate((struct format){name, folder, names[i], ".", open_model, .bytes = bytes});
    }
    const struct clip_export_options options = {CLIP_EXPORT_HUGGINGFACE, CLIP_F32, false};
    const char *model = test_path(test_folder(), "model");
    test_ok(clip_model_file_open(&file, source, NULL, &error), &error);
    test_ok(clip_model_export(file, model, &options, &error), &error);
    clip_model_file_free(file);
    mutate((struct format){"siglip/config.json", model, "config.json", ".", open_model,
                           .bytes = bytes});
}

/* PyTorch's archives come from the reference set, since nothing of ours writes them. */
static void torch_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *file, *config;
    } files[] = {
        {"torch-bin", "openclip_tiny/open_clip_pytorch_model.bin",
         "openclip_tiny/open_clip_config.json"},
        {"torch-training", "openclip_tiny/epoch_1.pt", "openclip_tiny/open_clip_config.json"},
        {"torch-jit", "openai_jit_tiny/model.pt", NULL},
        {"torch-siglip", "siglip_openclip_tiny/epoch_1.pt",
         "siglip_openclip_tiny/open_clip_config.json"},
        {"torch-custom-text", "custom_text_tiny/epoch_1.pt",
         "custom_text_tiny/open_clip_config.json"},
    };
    int found = 0;
    for (int root = 0; test_root(root) != NULL; root++) {
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            const char *path = test_root_file(root, files[i].file), *folder = test_folder();
            if (path == NULL) continue;
            copy(path, folder, "a.pt");
            if (files[i].config != NULL)
                copy(test_root_file(root, files[i].config), folder, "open_clip_config.json");
            mutate((struct format){files[i].name, folder, "a.pt", .open = open_model});
            found++;
        }
    }
    if (found == 0) test_skip("no file of PyTorch's is there");
}

static void tokenizer_files(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer b = {0};
    struct clip_model_file *file = small_model(3);
    const char *folder = test_folder();
    test_write(folder, "a.txt", file->tokenizer->text.data, file->tokenizer->text.size);
    mutate((struct format){"merges", folder, "a.txt", .open = open_tokenizer});
    clip_model_file_free(file);
    test_ok(clip_file_read("tests/reference/tokens/toy_merges.txt.gz", 1 << 20, &b, &error),
            &error);
    test_write(folder, "a.txt.gz", b.data, b.size);
    clip_buffer_release(&b);
    mutate((struct format){"merges.gz", folder, "a.txt.gz", .open = open_tokenizer});
    static const char *const unigrams[] = {"unigram.json", "unigram_charsmap.json"};
    for (size_t i = 0; i < sizeof unigrams / sizeof *unigrams; i++) {
        const char *path = test_path("tests/reference/tokens", unigrams[i]);
        test_ok(clip_file_read(path, 1 << 20, &b, &error), &error);
        test_write(folder, unigrams[i], b.data, b.size);
        clip_buffer_release(&b);
        mutate((struct format){unigrams[i], folder, unigrams[i], .open = open_tokenizer});
    }
}

static void images(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_names names;
    const char *source = "tests/reference/preprocess/images";
    test_ok(clip_folder_list(source, &names, &error), &error);
    const char *folder = test_folder();
    for (int64_t i = 0; i < names.count; i++) {
        struct clip_buffer b = {0};
        test_ok(clip_file_read(test_path(source, names.names[i]), 1 << 24, &b, &error), &error);
        test_write(folder, names.names[i], b.data, b.size);
        clip_buffer_release(&b);
        mutate((struct format){names.names[i], folder, names.names[i], .open = open_image,
                               .bytes = 3 * PIXELS_MAX / FACTOR * 2});
    }
    clip_names_release(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_files),      cmocka_unit_test(safetensors_files),
        cmocka_unit_test(gguf_files),        cmocka_unit_test(huggingface_folders),
        cmocka_unit_test(open_clip_folders), cmocka_unit_test(torch_files),
        cmocka_unit_test(siglip_folders),    cmocka_unit_test(shards),
        cmocka_unit_test(tokenizer_files),   cmocka_unit_test(images),
    };
    setenv("CLIP_BPE", "", 1);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(name_case_of_report);
    else
        for (int i = 0; i < 3; i++) signal((int[]){SIGSEGV, SIGABRT, SIGFPE}[i], name_case);
    nothing = fopen("/dev/null", "w");
    watch_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
