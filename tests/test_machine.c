/* A machine that fails is not a bad sample: with no descriptor left in the middle of a data set,
 * training, packing, checking and embedding end with a sentence; nothing is skipped. */
#include "tests/sets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/file.h"
#include "core/threads.h"
#include "data/sets/check.h"
#include "data/sets/loader.h"
#include "data/sets/packed.h"
#include "embed/images.h"
#include "tests/small_model.h"

static const struct clip_dataset_ops *whole;

/* Sample 2 is read by a process that may open nothing more. */
static clip_status read_without_files(const struct clip_dataset *set, int64_t index,
                                      struct clip_rng *rng, struct clip_sample *out,
                                      struct clip_error *error)
{
    struct rlimit before, none;
    if (index != 2) return whole->read(set, index, rng, out, error);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    clip_status status = whole->read(set, index, rng, out, error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    return status;
}

/* Four images; the last one is damaged, which is a bad sample on any machine. */
static struct clip_dataset *open_failing(struct clip_dataset_ops *ops)
{
    const char *folder = test_folder();
    struct clip_error error;
    char name[16];
    for (int i = 0; i < 4; i++) {
        struct clip_image image = {.width = 9, .height = 9};
        struct clip_buffer png = {0};
        image.rgb = calloc(243, 1);
        assert_non_null(image.rgb);
        image.rgb[i] = 1;
        test_ok(clip_image_encode_png(&image, &png, &error), &error);
        snprintf(name, sizeof name, "%d.png", i);
        test_write(folder, name, png.data, i < 3 ? png.size : png.size / 2);
        clip_buffer_release(&png);
        clip_image_release(&image);
    }
    const struct clip_dataset_options plain = {0};
    struct clip_dataset *set =
        test_open_set(test_write_text(folder, "pairs.csv",
                                      "filepath,title\n3.png,d\n0.png,a\n1.png,b\n2.png,c\n"),
                      &plain);
    whole = set->ops;
    *ops = *set->ops;
    ops->read = read_without_files;
    set->ops = ops;
    return set;
}

static void close_failing(struct clip_dataset *set)
{
    set->ops = whole;
    clip_dataset_free(set);
}

static void reasons_are_told_apart(void **state)
{
    static const int machine[] = {EIO, ENOSPC, EDQUOT, EMFILE, ENFILE, EROFS, ESTALE};
    static const int sample[] = {EACCES, EPERM, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EISDIR};
    (void)state;
    for (size_t i = 0; i < sizeof machine / sizeof *machine; i++) {
        assert_int_equal(clip_status_of(machine[i]), CLIP_ERR_MACHINE);
        assert_false(clip_machine_failed(clip_status_of(sample[i])));
    }
    assert_int_equal(clip_status_of(ENOMEM), CLIP_ERR_MEMORY);
    assert_true(clip_machine_failed(CLIP_ERR_MEMORY));
    assert_int_equal(clip_status_of(ENOENT), CLIP_ERR_NOT_FOUND);
    assert_int_equal(clip_status_of(EACCES), CLIP_ERR_IO);
}

static void packing_ends(void **state)
{
    struct clip_dataset_ops ops;
    struct clip_dataset *set = open_failing(&ops);
    struct clip_pack_counts counts;
    struct clip_error error;
    const struct clip_pack_options how = {.quiet = true};
    const char *path = test_path(test_folder(), "packed.h5");
    (void)state;
    test_fails(clip_pack_write(path, set, &how, &counts, &error), &error, CLIP_ERR_MACHINE,
               "Too many open files");
    assert_false(clip_path_exists(path));
    set->ops = whole;
    test_ok(clip_pack_write(path, set, &how, &counts, &error), &error);
    assert_int_equal(counts.bad, 1);
    close_failing(set);
}

static void checking_ends(void **state)
{
    struct clip_dataset_ops ops;
    struct clip_dataset *set = open_failing(&ops);
    struct clip_check_report report;
    struct clip_error error;
    const struct clip_check_options options = {.quiet = true};
    (void)state;
    test_fails(clip_check_run(&report, set, NULL, NULL, &options, &error), &error, CLIP_ERR_MACHINE,
               "1.png");
    set->ops = whole;
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    assert_int_equal(report.bad_count, 1);
    clip_check_release(&report);
    close_failing(set);
}

static void embedding_ends(void **state)
{
    struct clip_dataset_ops ops;
    struct clip_dataset *set = open_failing(&ops);
    struct clip_embedder *e = NULL;
    struct clip_images images = {0};
    struct clip_error error;
    (void)state;
    struct clip_model_file *file = small_model(2);
    const struct clip_embedder_options options = {0};
    test_ok(clip_embedder_create(&e, file, &options, &error), &error);
    test_ok(clip_images_over(&images, set, &error), &error);
    float *rows = calloc((size_t)(4 * clip_embedder_dim(e)), sizeof *rows);
    bool good[4];
    assert_non_null(rows);
    test_fails(clip_images_embed_all(&images, e, CLIP_UNIT, true, rows, good, &error), &error,
               CLIP_ERR_MACHINE, "Too many open files");
    free(rows);
    clip_images_release(&images);
    clip_embedder_free(e);
    clip_model_file_free(file);
    close_failing(set);
}

static void loading_ends(void **state)
{
    static const char text[] = "#version: 0.2\nq q\n";
    struct clip_dataset_ops ops;
    struct clip_dataset *set = open_failing(&ops);
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_loader *loader = NULL;
    struct clip_batch batch;
    struct clip_error error;
    (void)state;
    test_ok(clip_tokenizer_parse(&tokenizer, text, sizeof text - 1, "none", &error), &error);
    const struct clip_loader_options options = {
        .batch_size = 3,
        .context_length = 8,
        .vocab_size = 1000,
        .max_bad_fraction = 1,
        .preprocess = {.image_size = 8, .interpolation = CLIP_BICUBIC, .std = {1, 1, 1}},
        .quiet = true};
    test_ok(clip_loader_create(&loader, set, tokenizer, &options, &error), &error);
    test_fails(clip_loader_next(loader, &batch, NULL, &error), &error, CLIP_ERR_MACHINE, "1.png");
    clip_loader_free(loader);
    clip_tokenizer_free(tokenizer);
    close_failing(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_are_told_apart), cmocka_unit_test(packing_ends),
        cmocka_unit_test(checking_ends),          cmocka_unit_test(embedding_ends),
        cmocka_unit_test(loading_ends),
    };
    clip_threads_set(1); /* the others' files are not to be missing as well */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
