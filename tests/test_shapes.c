/* The drawn demo set: what is kept out of training, that captions are true, that images show what
 * they say, and that the files do not depend on the number of threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "data/demo/shapes.h"
#include "data/sets/dataset.h"
#include "data/text/tokenizer.h"
#include "tests/support.h"

enum { SCENES = 3000, SIZE = 64 };

static void a_quarter_of_the_pairs_is_kept_out(void **state)
{
    (void)state;
    int total = 0, colours[CLIP_SHAPES_COLOURS] = {0}, forms[CLIP_SHAPES_FORMS] = {0};
    for (int c = 0; c < CLIP_SHAPES_COLOURS; c++)
        for (int f = 0; f < CLIP_SHAPES_FORMS; f++)
            if (clip_shapes_is_unseen(c, f)) {
                total++;
                colours[c]++;
                forms[f]++;
            }
    assert_int_equal(total, 12);
    for (int f = 0; f < CLIP_SHAPES_FORMS; f++) assert_int_equal(forms[f], 2);
    for (int c = 0; c < CLIP_SHAPES_COLOURS; c++) assert_in_range(colours[c], 1, 2);
}

static void make_scene(struct clip_shapes_scene *scene, uint64_t seed, enum clip_shapes_split split,
                       int64_t number)
{
    clip_shapes_scene_make(scene, seed, split, number, CLIP_SHAPES_TWO_OBJECTS);
}

static void training_scenes_hold_seen_pairs_alone_and_all_of_them(void **state)
{
    (void)state;
    int met[CLIP_SHAPES_COLOURS][CLIP_SHAPES_FORMS] = {{0}}, two = 0, backgrounds = 0, sizes = 0;
    for (int i = 0; i < SCENES; i++) {
        struct clip_shapes_scene s;
        make_scene(&s, 7, i % 2 ? CLIP_SHAPES_VAL : CLIP_SHAPES_TRAIN, i);
        two += s.count == 2;
        backgrounds |= 1 << s.background;
        for (int k = 0; k < s.count; k++) {
            met[s.object[k].colour][s.object[k].form]++;
            sizes |= 1 << s.object[k].large;
        }
    }
    for (int c = 0; c < CLIP_SHAPES_COLOURS; c++)
        for (int f = 0; f < CLIP_SHAPES_FORMS; f++)
            assert_true(clip_shapes_is_unseen(c, f) ? met[c][f] == 0 : met[c][f] > 20);
    assert_in_range(two, SCENES / 20, SCENES * 19 / 20);
    assert_int_equal(backgrounds, (1 << CLIP_SHAPES_BACKGROUNDS) - 1);
    assert_int_equal(sizes, 3);
}

/* A caption's words; ',' ends one. */
struct words {
    char text[256], *word[48];
    int count;
};

static void split(struct words *w, const struct clip_buffer *caption)
{
    assert_true(caption->size > 0 && caption->size < sizeof w->text);
    memcpy(w->text, caption->data, caption->size + 1);
    w->count = 0;
    for (char *p = strtok(w->text, " ,"); p != NULL; p = strtok(NULL, " ,")) {
        assert_true(w->count < 48);
        w->word[w->count++] = p;
    }
}

static int colour_of(const char *word)
{
    for (int c = 0; c < CLIP_SHAPES_COLOURS; c++)
        if (strcmp(word, clip_shapes_colour_name(c)) == 0) return c;
    return -1;
}

static int form_of(const char *word)
{
    for (int f = 0; f < CLIP_SHAPES_FORMS; f++)
        if (strcmp(word, clip_shapes_form_name(f)) == 0) return f;
    return -1;
}

/* The object that word i belongs to: the only one that has this colour or form, else -1. */
static int owner(const struct clip_shapes_scene *s, const char *word)
{
    int colour = colour_of(word), form = form_of(word), found = -1, n = 0;
    for (int k = 0; k < s->count; k++)
        if ((colour >= 0 && s->object[k].colour == colour) ||
            (form >= 0 && s->object[k].form == form)) {
            found = k;
            n++;
        }
    if (n == 0 && (colour >= 0 || form >= 0)) test_fail("\"%s\" is not in the image", word);
    return n == 1 ? found : -1;
}

/* A colour and a form next to each other, or joined by words that join them, name a pair: it must
 * be in the image. */
static void check_pairs(const struct clip_shapes_scene *s, const struct words *w)
{
    static const char *const joins[] = {"that", "is",     "in", "painted", "of",
                                        "the",  "colour", "a",  "whose"};
    for (int i = 0; i < w->count; i++) {
        if (colour_of(w->word[i]) < 0 && form_of(w->word[i]) < 0) continue;
        int j = i + 1;
        bool direct = true;
        for (size_t k = 0; j < w->count && k < sizeof joins / sizeof *joins; k++)
            if (strcmp(w->word[j], joins[k]) == 0) {
                j++;
                k = (size_t)-1;
                direct = false;
            }
        if (j >= w->count) return;
        int colour = colour_of(w->word[i]), form = form_of(w->word[j]);
        if (!direct && s->count == 2 && colour >= 0)
            continue; /* "... that is red a ring" cannot be */
        if (colour < 0 || form < 0) {
            colour = colour_of(w->word[j]);
            form = form_of(w->word[i]);
            if (direct) continue; /* "a circle red": no phrasing of ours */
        }
        if (colour < 0 || form < 0) continue;
        bool there = false;
        for (int k = 0; k < s->count; k++)
            there |= s->object[k].colour == colour && s->object[k].form == form;
        if (!there || clip_shapes_is_unseen(colour, form))
            test_fail("%s %s is named, but is not in the image", w->word[i], w->word[j]);
    }
}

/* "left", "above" and so on between two things that can be told apart. */
static void check_relation(const struct clip_shapes_scene *s, const struct words *w)
{
    for (int i = 1; i + 1 < w->count; i++) {
        const char *word = w->word[i];
        bool left = strcmp(word, "left") == 0, right = strcmp(word, "right") == 0;
        bool above = strcmp(word, "above") == 0 || strcmp(word, "over") == 0;
        bool below = strcmp(word, "below") == 0 || strcmp(word, "under") == 0;
        if ((left || right) && strcmp(w->word[i + 1], "of") != 0) continue;
        if (!left && !right && !above && !below) continue;
        assert_int_equal(s->count, 2);
        int first = -1, second = -1;
        for (int j = 0; j < i && first < 0; j++) first = owner(s, w->word[j]);
        for (int j = i + 1; j < w->count && second < 0; j++) second = owner(s, w->word[j]);
        if (first < 0 || second < 0) continue;
        assert_int_not_equal(first, second);
        const struct clip_shapes_object *a = &s->object[first], *b = &s->object[second];
        float dx = b->x - a->x, dy = b->y - a->y;
        if (left) assert_true(dx > fabsf(dy));
        if (right) assert_true(-dx > fabsf(dy));
        if (above) assert_true(dy > fabsf(dx));
        if (below) assert_true(-dy > fabsf(dx));
    }
}

static void captions_are_true(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer caption = {0};
    for (int i = 0; i < SCENES; i++) {
        struct clip_shapes_scene s;
        struct words w;
        struct clip_rng rng = clip_rng_at(3, CLIP_RNG_TEST, 0, (uint64_t)i);
        make_scene(&s, 3, CLIP_SHAPES_TRAIN, i);
        caption.size = 0;
        test_ok(clip_shapes_caption(&s, i % 100, &rng, &caption, &error), &error);
        assert_null(strpbrk(caption.data, "OCFSPRB\t\"\n")); /* every slot was filled */
        split(&w, &caption);
        for (int k = 0; k < w.count; k++) {
            const char *word = w.word[k];
            owner(&s, word);
            bool small = !strcmp(word, "small") || !strcmp(word, "little") || !strcmp(word, "tiny");
            bool large = !strcmp(word, "large") || !strcmp(word, "big") || !strcmp(word, "huge");
            if (small) assert_true(!s.object[0].large || !s.object[s.count - 1].large);
            if (large) assert_true(s.object[0].large || s.object[s.count - 1].large);
        }
        check_pairs(&s, &w);
        check_relation(&s, &w);
    }
    clip_buffer_release(&caption);
}

static void phrasings_are_many(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_shapes_scene s;
    struct clip_names seen = {0};
    struct clip_buffer caption = {0};
    clip_shapes_scene_single(&s, 0, CLIP_SHAPES_TRAIN, 0,
                             &(struct clip_shapes_look){1, 0, true, 2});
    for (int i = 0; i < 2000; i++) {
        struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, (uint64_t)i);
        caption.size = 0;
        test_ok(clip_shapes_caption(&s, i % 100, &rng, &caption, &error), &error);
        bool known = false;
        for (int64_t k = 0; k < seen.count && !known; k++)
            known = strcmp(seen.names[k], caption.data) == 0;
        if (!known) test_ok(clip_names_add(&seen, caption.data, &error), &error);
    }
    assert_true(seen.count > 60);
    clip_names_release(&seen);
    clip_buffer_release(&caption);
}

/* Which pixels an object covers: those that differ from the same scene without it. */
static int64_t covered(const struct clip_shapes_scene *scene, int object, bool mask[SIZE * SIZE])
{
    uint8_t with[SIZE * SIZE * 3], without[SIZE * SIZE * 3];
    struct clip_shapes_scene s = *scene;
    int64_t n = 0;
    s.count = 0;
    clip_shapes_draw(&s, SIZE, without);
    s.count = 1;
    s.object[0] = scene->object[object];
    clip_shapes_draw(&s, SIZE, with);
    for (int i = 0; i < SIZE * SIZE; i++)
        n += mask[i] = memcmp(with + 3 * i, without + 3 * i, 3) != 0;
    return n;
}

static void objects_are_inside_and_apart(void **state)
{
    (void)state;
    static bool first[SIZE * SIZE], second[SIZE * SIZE];
    for (int i = 0; i < 600; i++) {
        struct clip_shapes_scene s;
        make_scene(&s, 11, CLIP_SHAPES_TRAIN, i);
        for (int k = 0; k < s.count; k++) {
            const struct clip_shapes_object *o = &s.object[k];
            int64_t n = covered(&s, k, k == 0 ? first : second);
            double area = (double)n / (SIZE * SIZE), round = 3.1416 * o->radius * o->radius;
            assert_true(area > 0.35 * round && area < 1.6 * round + 0.01);
            assert_true(o->x - o->radius > 0 && o->x + o->radius < 1);
            assert_true(o->y - o->radius > 0 && o->y + o->radius < 1);
        }
        int64_t both = 0;
        for (int p = 0; s.count == 2 && p < SIZE * SIZE; p++) both += first[p] && second[p];
        assert_true(both <= 2); /* smoothed edges may meet */
    }
}

static void images_have_the_colour_and_size_they_say(void **state)
{
    (void)state;
    float largest_small = 0, smallest_large = 1;
    uint8_t rgb[SIZE * SIZE * 3];
    for (int i = 0; i < 480; i++) {
        struct clip_shapes_scene s;
        int colour = i % CLIP_SHAPES_COLOURS, form = i / CLIP_SHAPES_COLOURS % CLIP_SHAPES_FORMS;
        clip_shapes_scene_single(
            &s, 5, CLIP_SHAPES_SEEN, i,
            &(struct clip_shapes_look){colour, form, i % 3 == 0, i % CLIP_SHAPES_BACKGROUNDS});
        const struct clip_shapes_object *o = &s.object[0];
        assert_int_equal(s.count, 1);
        assert_int_equal(s.background, i % CLIP_SHAPES_BACKGROUNDS);
        if (i % 3 == 0)
            smallest_large = fminf(smallest_large, o->radius);
        else
            largest_small = fmaxf(largest_small, o->radius);
        clip_shapes_draw(&s, SIZE, rgb);
        /* A ring's middle shows the background: look at its band. */
        float off = form == CLIP_SHAPES_FORMS - 1 ? 0.74f * o->radius * o->aspect : 0;
        float x = o->x + off * cosf(o->angle), y = o->y + off * sinf(o->angle);
        const uint8_t *p = rgb + 3 * ((int)(y * SIZE) * SIZE + (int)(x * SIZE));
        for (int c = 0; c < 3; c++) {
            double wanted = 255 * (double)o->rgb[c];
            if (fabs(p[c] - wanted) > 0.42 * wanted + 14)
                test_fail("image %d, %s %s: channel %d is %d where about %.0f was to be", i,
                          clip_shapes_colour_name(colour), clip_shapes_form_name(form), c, p[c],
                          wanted);
        }
    }
    assert_true(smallest_large > largest_small + 0.03f);
}

static void rings_are_hollow(void **state)
{
    (void)state;
    uint8_t rgb[SIZE * SIZE * 3], empty[SIZE * SIZE * 3];
    struct clip_shapes_scene s;
    clip_shapes_scene_single(&s, 5, CLIP_SHAPES_SEEN, 1,
                             &(struct clip_shapes_look){0, CLIP_SHAPES_FORMS - 1, true, 0});
    assert_string_equal(clip_shapes_form_name(CLIP_SHAPES_FORMS - 1), "ring");
    clip_shapes_draw(&s, SIZE, rgb);
    int at = 3 * ((int)(s.object[0].y * SIZE) * SIZE + (int)(s.object[0].x * SIZE));
    s.count = 0;
    clip_shapes_draw(&s, SIZE, empty);
    test_same_u8("a ring's middle", rgb + at, empty + at, 3);
}

static void as_many_images_show_two_objects_as_is_wished(void **state)
{
    (void)state;
    int half = 0;
    for (int i = 0; i < 200; i++) {
        struct clip_shapes_scene s;
        clip_shapes_scene_make(&s, 5, CLIP_SHAPES_TRAIN, i, 0);
        assert_int_equal(s.count, 1);
        clip_shapes_scene_make(&s, 5, CLIP_SHAPES_TRAIN, i, 100);
        assert_int_equal(s.count, 2);
        clip_shapes_scene_make(&s, 5, CLIP_SHAPES_TRAIN, i, 50);
        half += s.count == 2;
    }
    assert_in_range(half, 75, 125);
}

static void another_seed_or_number_gives_another_image(void **state)
{
    (void)state;
    uint8_t a[SIZE * SIZE * 3], b[SIZE * SIZE * 3];
    struct clip_shapes_scene s;
    make_scene(&s, 1, CLIP_SHAPES_TRAIN, 4);
    clip_shapes_draw(&s, SIZE, a);
    clip_shapes_draw(&s, SIZE, b);
    test_same_u8("the same scene drawn twice", a, b, sizeof a);
    make_scene(&s, 2, CLIP_SHAPES_TRAIN, 4);
    clip_shapes_draw(&s, SIZE, b);
    assert_memory_not_equal(a, b, sizeof a);
    make_scene(&s, 1, CLIP_SHAPES_TRAIN, 5);
    clip_shapes_draw(&s, SIZE, b);
    assert_memory_not_equal(a, b, sizeof a);
    make_scene(&s, 1, CLIP_SHAPES_VAL, 4);
    clip_shapes_draw(&s, SIZE, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static const char *write_set(int threads, struct clip_shapes_counts *counts)
{
    const char *folder = test_folder();
    struct clip_shapes_options options = {.output = folder,
                                          .count = 50,
                                          .image_size = 16,
                                          .seed = 9,
                                          .quiet = true,
                                          .two_objects = CLIP_SHAPES_TWO_OBJECTS};
    struct clip_error error;
    clip_threads_set(threads);
    test_ok(clip_shapes_write(&options, counts, &error), &error);
    clip_threads_set(0);
    return folder;
}

/* The two folders hold the same names with the same bytes. */
static int64_t compare_folders(const char *a, const char *b)
{
    struct clip_names names = {0}, others = {0};
    struct clip_error error;
    int64_t files = 0;
    test_ok(clip_folder_list(a, &names, &error), &error);
    test_ok(clip_folder_list(b, &others, &error), &error);
    assert_int_equal(names.count, others.count);
    for (int64_t i = 0; i < names.count; i++) {
        assert_string_equal(names.names[i], others.names[i]);
        char *x = clip_path_join(a, names.names[i], &error),
             *y = clip_path_join(b, names.names[i], &error);
        if (clip_path_is_folder(x)) {
            files += compare_folders(x, y);
        } else {
            struct clip_buffer p = {0}, q = {0};
            test_ok(clip_file_read(x, 1 << 24, &p, &error), &error);
            test_ok(clip_file_read(y, 1 << 24, &q, &error), &error);
            assert_int_equal(p.size, q.size);
            assert_memory_equal(p.data, q.data, p.size);
            clip_buffer_release(&p);
            clip_buffer_release(&q);
            files++;
        }
        free(x);
        free(y);
    }
    clip_names_release(&names);
    clip_names_release(&others);
    return files;
}

/* The zero-shot folder opens with its classes and holds every one of them equally often. */
static void check_zeroshot(const char *folder, const char *set_folder, const char *classes,
                           int64_t count, int64_t used)
{
    struct clip_class_list list = {0};
    struct clip_templates templates = {0};
    struct clip_dataset *set = NULL;
    struct clip_error error;
    int64_t seen[64] = {0}, n = 0;
    test_ok(clip_class_list_read(test_path(folder, classes), &list, &error), &error);
    test_ok(clip_templates_read(test_path(folder, "templates.txt"), &templates, &error), &error);
    test_ok(
        clip_dataset_open_classes(&set, test_path(folder, set_folder), &list, &templates, &error),
        &error);
    assert_int_equal(set->count, count);
    for (int64_t i = 0; i < set->count; i++) seen[clip_dataset_label(set, i)]++;
    for (int64_t c = 0; c < list.count; c++) {
        n += seen[c] > 0;
        assert_true(seen[c] == 0 || seen[c] == count / used);
    }
    assert_int_equal(n, used);
    clip_dataset_free(set);
    clip_templates_release(&templates);
    clip_class_list_release(&list);
}

/* The first class of zeroshot_seen (red square: red circle is never seen) has both sizes and all
 * backgrounds in turn. */
static void check_sizes_and_backgrounds(const char *folder)
{
    struct clip_image_limits limits = {.max_pixels = 1000};
    struct clip_error error;
    for (int i = 0; i < 2 * CLIP_SHAPES_BACKGROUNDS; i++) {
        struct clip_image image = {0};
        struct clip_shapes_scene s;
        uint8_t rgb[16 * 16 * 3];
        char name[64];
        snprintf(name, sizeof name, "zeroshot_seen/red_square/%04d.png", i);
        test_ok(clip_image_decode_file(test_path(folder, name), &limits, &image, &error), &error);
        clip_shapes_scene_single(&s, 9, CLIP_SHAPES_SEEN, i,
                                 &(struct clip_shapes_look){0, 1, i % 2 == 1, i / 2});
        clip_shapes_draw(&s, 16, rgb);
        test_same_u8(name, image.rgb, rgb, sizeof rgb);
        clip_image_release(&image);
    }
}

static void the_set_is_whole_and_the_same_for_any_threads(void **state)
{
    (void)state;
    struct clip_shapes_counts counts, again;
    struct clip_dataset_options options = {0};
    struct clip_dataset *set = NULL;
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    const char *one = write_set(1, &counts), *three = write_set(3, &again);
    assert_memory_equal(&counts, &again, sizeof counts);
    int64_t images = counts.train_images + counts.val_pairs + counts.zeroshot_seen +
                     counts.zeroshot_unseen;
    assert_int_equal(compare_folders(one, three), images + 6);
    assert_int_equal(counts.train_images, 50);
    assert_true(counts.zeroshot_seen >= 2000 && counts.zeroshot_unseen >= 2000);
    check_sizes_and_backgrounds(one);
    check_zeroshot(one, "zeroshot_seen", "classes_48.txt", counts.zeroshot_seen, 36);
    check_zeroshot(one, "zeroshot_unseen", "classes_12.txt", counts.zeroshot_unseen, 12);
    check_zeroshot(one, "zeroshot_unseen", "classes_48.txt", counts.zeroshot_unseen, 12);
    test_ok(clip_dataset_open(&set, test_path(one, "train.csv"), &options, &error), &error);
    assert_int_equal(set->count, counts.train_pairs);
    struct clip_sample sample = {0};
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_TEST, 0, 0);
    struct clip_image_limits limits = {.max_pixels = 1000};
    struct clip_image image = {0};
    test_ok(set->ops->read(set, set->count - 1, &rng, &sample, &error), &error);
    test_ok(clip_image_decode((const uint8_t *)sample.image.data, sample.image.size, &limits,
                              &image, &error),
            &error);
    assert_int_equal(image.width, 16);
    test_ok(clip_tokenizer_open(&tokenizer, test_path(one, "tokenizer.txt"), NULL, &error), &error);
    struct clip_ids ids = {0};
    test_ok(clip_tokenizer_encode(tokenizer, "a small red square", 18,
                                  &(struct clip_encode_options){CLIP_TEXT_OPEN_CLIP}, &ids, NULL,
                                  &error),
            &error);
    assert_int_equal(ids.count, 6); /* one token per word, and both ends */
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
    clip_image_release(&image);
    clip_sample_release(&sample);
    clip_dataset_free(set);
}

static void wrong_wishes_get_a_sentence(void **state)
{
    (void)state;
    const char *file = test_write_text(test_folder(), "file", "x");
    struct clip_shapes_counts counts;
    struct clip_error error;
    struct clip_shapes_options options = {
        .output = file, .count = 1, .image_size = 16, .quiet = true};
    assert_int_not_equal(clip_shapes_write(&options, &counts, &error), CLIP_OK);
    assert_non_null(strstr(error.message, file));
    options.output = test_folder();
    options.image_size = 15;
    test_fails(clip_shapes_write(&options, &counts, &error), &error, CLIP_ERR_USAGE,
               "--image-size 15");
    options.image_size = 16;
    options.count = 0;
    test_fails(clip_shapes_write(&options, &counts, &error), &error, CLIP_ERR_USAGE, "--count 0");
    options.count = 1;
    options.two_objects = 101;
    test_fails(clip_shapes_write(&options, &counts, &error), &error, CLIP_ERR_USAGE,
               "--two-objects 101");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quarter_of_the_pairs_is_kept_out),
        cmocka_unit_test(training_scenes_hold_seen_pairs_alone_and_all_of_them),
        cmocka_unit_test(captions_are_true),
        cmocka_unit_test(phrasings_are_many),
        cmocka_unit_test(objects_are_inside_and_apart),
        cmocka_unit_test(images_have_the_colour_and_size_they_say),
        cmocka_unit_test(rings_are_hollow),
        cmocka_unit_test(as_many_images_show_two_objects_as_is_wished),
        cmocka_unit_test(another_seed_or_number_gives_another_image),
        cmocka_unit_test(the_set_is_whole_and_the_same_for_any_threads),
        cmocka_unit_test(wrong_wishes_get_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
