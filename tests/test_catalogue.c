/* The index as the page's server shows it while clip_search brings it up to date. */
#include "tests/support.h"

#include <string.h>
#include <unistd.h>

#include "search/index_update.h"
#include "serve/catalogue.h"
#include "tests/small_model.h"

enum { IMAGES = 12 };

struct scene {
    const char *folder, *path;
    struct clip_model_file *file;
    struct clip_embedder *e;
    struct clip_catalogue *catalogue;
};

static void update(const struct scene *s, const struct clip_embedder *e, bool force)
{
    struct clip_index_options options = {.quiet = true, .segment_rows = 5, .force = force};
    struct clip_index_changes changes;
    struct clip_error error;
    test_ok(clip_index_update_images(s->path, e, &s->folder, 1, &options, &changes, &error),
            &error);
}

static struct clip_embedder *embedder_over(struct clip_model_file *file)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_model_file_sum(file, &error), &error);
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    return e;
}

static void open_scene(struct scene *s)
{
    struct clip_error error;
    char name[16];
    *s = (struct scene){.folder = test_folder(), .path = test_path(test_folder(), "a.index")};
    for (int i = 0; i < IMAGES; i++) {
        snprintf(name, sizeof name, "%02d.png", i);
        small_image(s->folder, name, 40, 30, (uint64_t)i);
    }
    s->file = small_model(1);
    s->e = embedder_over(s->file);
    update(s, s->e, false);
    test_ok(clip_catalogue_create(&s->catalogue, s->path, s->e, &error), &error);
}

static void close_scene(struct scene *s)
{
    clip_catalogue_free(s->catalogue);
    clip_embedder_free(s->e);
    clip_model_file_free(s->file);
}

/* What is shown now: images, the first number, the version. */
static void expect(const struct scene *s, int64_t live, int64_t first, int64_t version)
{
    const struct clip_shown *shown = clip_catalogue_take(s->catalogue);
    assert_int_equal(shown->index.live, live);
    assert_int_equal(shown->all.count, live);
    assert_int_equal(shown->folders[0].count, live);
    assert_int_equal(shown->first, first);
    assert_int_equal(shown->version, version);
    clip_catalogue_give(s->catalogue, shown);
}

static void what_is_added_and_removed_shows(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    expect(&s, IMAGES, 0, 1);
    small_image(s.folder, "new.png", 40, 30, 77);
    unlink(test_path(s.folder, "01.png"));
    expect(&s, IMAGES, 0, 1); /* the index knows nothing of it yet */
    update(&s, s.e, false);
    expect(&s, IMAGES, 0, 2);
    const struct clip_shown *shown = clip_catalogue_take(s.catalogue);
    assert_true(shown->all.skip[1]);
    assert_non_null(strstr(clip_index_name(&shown->index, 2), "02.png")); /* as it was */
    assert_non_null(strstr(clip_index_name(&shown->index, IMAGES), "new.png"));
    clip_catalogue_give(s.catalogue, shown);
    update(&s, s.e, false); /* nothing new, nothing written */
    expect(&s, IMAGES, 0, 2);
    close_scene(&s);
}

/* Somebody who is still looking has the old one, whole. */
static void an_index_that_is_put_together_anew_gives_new_numbers(void **state)
{
    (void)state;
    struct scene s;
    struct clip_error error;
    struct clip_index_options options = {.quiet = true};
    struct clip_index_changes changes;
    open_scene(&s);
    const struct clip_shown *old = clip_catalogue_take(s.catalogue);
    test_ok(clip_index_compact(s.path, &options, &changes, &error), &error);
    expect(&s, IMAGES, IMAGES, 2);
    small_image(s.folder, "new.png", 40, 30, 77);
    update(&s, s.e, false);
    expect(&s, IMAGES + 1, IMAGES, 3);
    float before[24], row[24];
    const struct clip_image_source asked = {.path = clip_index_name(&old->index, 7)};
    clip_index_row(&old->index, 7, before);
    test_ok(clip_embedder_images(s.e, &asked, 1, CLIP_UNIT, row, NULL, &error), &error);
    test_same_f32("a row of the old index", before, row, 24);
    clip_catalogue_give(s.catalogue, old);
    close_scene(&s);
}

static void one_that_cannot_be_shown_leaves_the_last(void **state)
{
    (void)state;
    struct scene s;
    struct clip_error error;
    open_scene(&s);
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *other = embedder_over(file);
    small_image(s.folder, "new.png", 40, 30, 77);
    update(&s, other, true); /* of another model */
    expect(&s, IMAGES, 0, 1);
    test_ok(clip_file_write(s.path, "{}", 2, &error), &error);
    expect(&s, IMAGES, 0, 1);
    unlink(s.path);
    expect(&s, IMAGES, 0, 1);
    update(&s, s.e, true);
    expect(&s, IMAGES + 1, IMAGES, 2);
    clip_embedder_free(other);
    clip_model_file_free(file);
    close_scene(&s);
}

static void an_index_of_texts_is_refused(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_index_options options = {.quiet = true};
    struct clip_index_changes changes;
    struct clip_error error;
    struct clip_catalogue *catalogue = NULL;
    const char *texts[] = {"a dog"}, *path = test_path(test_folder(), "texts.index");
    test_ok(clip_index_update_texts(path, s.e, texts, 1, &options, &changes, &error), &error);
    test_fails(clip_catalogue_create(&catalogue, path, s.e, &error), &error, CLIP_ERR_DATA,
               "index of texts");
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_and_removed_shows),
        cmocka_unit_test(an_index_that_is_put_together_anew_gives_new_numbers),
        cmocka_unit_test(one_that_cannot_be_shown_leaves_the_last),
        cmocka_unit_test(an_index_of_texts_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
