/* Several threads at once: each opens a model of its own and embeds, all share one embedder, all
 * ask a server whose index changes meanwhile. What they get is what one alone gets. `make tsan`
 * runs it under the thread sanitizer. */
#include "tests/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "embed/embedder.h"
#include "formats/model_export.h"
#include "search/index_update.h"
#include "tests/served.h"
#include "tests/small_model.h"

enum { CALLERS = 4, E = 24, IMAGES = 3, TEXTS = 3, ROUNDS = 3 };

static const char *const texts[TEXTS] = {"a red circle", "a dog", "two green squares"};

/* What one caller is to do and what it got. */
struct caller {
    const char *path;             /* of the model it opens, or NULL: it uses */
    struct clip_embedder *shared; /* this one */
    const struct clip_image_source *images;
    float rows[IMAGES * E], words[TEXTS * E];
    struct clip_error error, failures[IMAGES];
    clip_status status;
};

static clip_status embed(struct caller *c)
{
    struct clip_embedder *e = c->shared;
    if (c->path != NULL) {
        clip_status status = clip_embedder_open(&e, c->path, NULL, &c->error);
        if (status != CLIP_OK) return status;
    }
    clip_status status =
        clip_embedder_images(e, c->images, IMAGES, CLIP_UNIT, c->rows, c->failures, &c->error);
    if (status == CLIP_OK)
        status = clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, c->words, NULL, &c->error);
    if (c->path != NULL) clip_embedder_free(e);
    return status;
}

static void *call(void *context)
{
    struct caller *c = context;
    for (int round = 0; round < ROUNDS; round++) {
        c->status = embed(c);
        if (c->status != CLIP_OK) break;
    }
    return NULL;
}

static void call_at_once(struct caller *callers)
{
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    for (int i = 0; i < CALLERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        test_ok(callers[i].status, &callers[i].error);
        test_same_f32("images", callers[i].rows, callers[0].rows, IMAGES * E);
        test_same_f32("texts", callers[i].words, callers[0].words, TEXTS * E);
    }
}

/* Files of one model in several formats, and images. */
static void callers_of_files(struct caller *callers, struct clip_image_source *images)
{
    static const struct {
        const char *name;
        enum clip_export_format format;
    } files[CALLERS] = {{"m.h5", CLIP_EXPORT_HDF5},
                        {"m.safetensors", CLIP_EXPORT_SAFETENSORS},
                        {"m", CLIP_EXPORT_HUGGINGFACE},
                        {"m.h5", CLIP_EXPORT_HDF5}};
    struct clip_error error;
    struct clip_model_file *file = small_model(3);
    const char *folder = test_folder();
    char name[16];
    for (int i = 0; i < IMAGES; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        images[i].path = small_image(folder, name, 50 + i, 41, (uint64_t)i);
    }
    for (int i = 0; i < CALLERS; i++) {
        const struct clip_export_options options = {files[i].format, CLIP_F32, false};
        callers[i] = (struct caller){.images = images};
        callers[i].path = test_path(folder, files[i].name);
        if (i < CALLERS - 1)
            test_ok(clip_model_export(file, callers[i].path, &options, &error), &error);
    }
    clip_model_file_free(file);
}

static void several_callers_open_models_of_their_own(void **state)
{
    (void)state;
    struct clip_image_source images[IMAGES] = {0};
    static struct caller callers[CALLERS];
    callers_of_files(callers, images);
    call_at_once(callers);
}

static void several_callers_share_one(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image_source images[IMAGES] = {0};
    static struct caller callers[CALLERS];
    struct clip_embedder *e = NULL;
    callers_of_files(callers, images);
    test_ok(clip_embedder_open(&e, callers[0].path, NULL, &error), &error);
    for (int i = 1; i < CALLERS; i++) callers[i].path = NULL, callers[i].shared = e;
    call_at_once(callers);
    clip_embedder_free(e);
}

/* ---- a server ---- */

struct visitor {
    const struct served *served;
    const atomic_int *done;
    const struct clip_buffer *image;
    int number, answered, wrong;
};

static void *visit(void *context)
{
    struct visitor *v = context;
    static const char *const targets[] = {
        "/api/search?text=a+dog&limit=5",
        "/thumbnail/2",
        "/api/images?limit=20",
        "/image/4",
        "/api/image?image=1",
        "/api/about",
        "/api/search?like=6&sort=newest",
        "",
    };
    enum { TARGETS = sizeof targets / sizeof *targets };
    for (int i = v->number; atomic_load(v->done) == 0 || v->answered < TARGETS; i++) {
        const char *target = targets[i % TARGETS];
        struct reply r = *target != '\0' ? served_get(v->served, target)
                                         : served_request(v->served, "POST", "/api/search", "",
                                                          v->image->data, v->image->size);
        /* 410: the index was put together anew meanwhile */
        if (r.code == 200 || r.code == 410 || r.code == 404)
            v->answered++;
        else
            v->wrong = r.code == 0 ? -1 : r.code;
        clip_buffer_release(&r.all);
        if (v->wrong != 0) break;
    }
    return NULL;
}

static void visitors_are_answered_while_the_index_changes(void **state)
{
    (void)state;
    struct clip_error error;
    struct served s;
    served_open(&s);
    struct clip_index_options options = {.quiet = true, .segment_rows = 5};
    struct clip_index_changes changes;
    struct clip_buffer image;
    struct visitor visitors[CALLERS];
    pthread_t threads[CALLERS];
    atomic_int done = 0;
    char name[24];
    test_ok(clip_file_read(test_path(s.folder, "02.png"), 1 << 20, &image, &error), &error);
    for (int i = 0; i < CALLERS; i++) {
        visitors[i] = (struct visitor){&s, &done, &image, .number = i * 3};
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &visitors[i]), 0);
    }
    for (int round = 0; round < 8; round++) {
        snprintf(name, sizeof name, "n%d.png", round);
        small_image(s.folder, name, 40, 30, (uint64_t)round + 100);
        if (round % 2 == 1) unlink(test_path(s.folder, name));
        test_ok(clip_index_update_images(s.path, s.e, &s.folder, 1, &options, &changes, &error),
                &error);
        if (round % 4 == 3) test_ok(clip_index_compact(s.path, &options, &changes, &error), &error);
    }
    atomic_store(&done, 1);
    for (int i = 0; i < CALLERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(visitors[i].wrong, 0);
        assert_true(visitors[i].answered >= 8);
    }
    clip_buffer_release(&image);
    served_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_callers_open_models_of_their_own),
        cmocka_unit_test(several_callers_share_one),
        cmocka_unit_test(visitors_are_answered_while_the_index_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
