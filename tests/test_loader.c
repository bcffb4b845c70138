/* The loader: the same bits for any number of workers and from any position, bad samples skipped
 * and counted, positives joined, and a sentence where there can be no batch. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/sets/loader.h"

enum { SIDE = 12, CONTEXT = 24 };

/* One merge that no caption has: one token per byte, so that lengths are easy to foretell. */
static struct clip_tokenizer *tokenizer;

static int make_tokenizer(void **state)
{
    static const char text[] = "#version: 0.2\nq q\n";
    struct clip_error error;
    (void)state;
    return clip_tokenizer_parse(&tokenizer, text, sizeof text - 1, "none", &error) != CLIP_OK;
}

static int free_tokenizer(void **state)
{
    (void)state;
    clip_tokenizer_free(tokenizer);
    return 0;
}

static void write_image(const char *folder, const char *name, int number)
{
    struct clip_image image = {.width = 10 + number % 7, .height = 10 + number % 5};
    struct clip_buffer png = {0};
    struct clip_error error;
    int64_t n = image.width * image.height * 3;
    image.rgb = malloc((size_t)n);
    assert_non_null(image.rgb);
    for (int64_t i = 0; i < n; i++) image.rgb[i] = (uint8_t)(i * (number + 3) + 40 * number);
    test_ok(clip_image_encode_png(&image, &png, &error), &error);
    test_write(folder, name, png.data, png.size);
    clip_buffer_release(&png);
    clip_image_release(&image);
}

/* A csv of `count` rows with an image each; every `bad_every`-th row (0: none) is bad in one of
 * four ways. */
static const char *write_pairs(int count, int bad_every)
{
    const char *folder = test_folder();
    struct clip_buffer text = {0};
    struct clip_error error;
    test_ok(clip_buffer_printf(&text, &error, "filepath,title\n"), &error);
    for (int i = 0; i < count; i++) {
        char name[32];
        int kind = bad_every > 0 && i % bad_every == bad_every - 1 ? 1 + i / bad_every % 4 : 0;
        snprintf(name, sizeof name, "%d.png", i);
        if (kind == 1)
            test_write_text(folder, name, "\x89PNG\r\n\x1a\nbroken");
        else if (kind != 2)
            write_image(folder, name, i);
        char caption[32];
        snprintf(caption, sizeof caption, "number %d", i);
        const char *blank = kind == 3 ? "  " : "\xe3\x80\x80"; /* an ideographic space */
        test_ok(clip_buffer_printf(&text, &error, "%s,%s\n", name, kind < 3 ? caption : blank),
                &error);
    }
    const char *path = test_write(folder, "pairs.csv", text.data, text.size);
    clip_buffer_release(&text);
    return path;
}

static const char *write_rows(const char *rows)
{
    const char *folder = test_folder();
    char text[1024];
    write_image(folder, "a.png", 1);
    write_image(folder, "b.png", 2);
    write_image(folder, "c.png", 3);
    snprintf(text, sizeof text, "filepath,title\n%s", rows);
    return test_write_text(folder, "pairs.csv", text);
}

static struct clip_loader_options options_of(int64_t batch_size)
{
    return (struct clip_loader_options){
        .batch_size = batch_size,
        .context_length = CONTEXT,
        .vocab_size = 515,
        .seed = 7,
        .shuffle = true,
        .augment = true,
        .preprocess = {.image_size = SIDE,
                       .interpolation = CLIP_BICUBIC,
                       .mean = {0.5f, 0.4f, 0.3f},
                       .std = {0.25f, 0.26f, 0.27f}},
        .augmentation = {.scale_min = 0.5, .flip = true},
        .max_bad_fraction = 0.5,
        .quiet = true,
    };
}

static struct clip_dataset *open_pairs(const char *path)
{
    static const struct clip_dataset_options plain = {0};
    struct clip_dataset *set = NULL;
    struct clip_error error;
    test_ok(clip_dataset_open(&set, path, &plain, &error), &error);
    return set;
}

static struct clip_loader *create(const struct clip_dataset *set,
                                  const struct clip_loader_options *options)
{
    struct clip_loader *loader = NULL;
    struct clip_error error;
    test_ok(clip_loader_create(&loader, set, tokenizer, options, &error), &error);
    return loader;
}

static struct clip_batch next(struct clip_loader *loader)
{
    struct clip_batch batch;
    struct clip_error error;
    double waited = -1;
    test_ok(clip_loader_next(loader, &batch, &waited, &error), &error);
    assert_true(waited >= 0);
    return batch;
}

static void next_fails(struct clip_loader *loader, clip_status status, const char *word)
{
    struct clip_batch batch;
    struct clip_error error;
    test_fails(clip_loader_next(loader, &batch, NULL, &error), &error, status, word);
}

/* All that a batch holds, as bytes. */
static void append_batch(struct clip_buffer *out, const struct clip_batch *batch)
{
    struct clip_error error;
    size_t n = (size_t)batch->count;
    const struct {
        const void *bytes;
        size_t n;
    } parts[] = {{&batch->count, sizeof batch->count},
                 {&batch->epoch, sizeof batch->epoch},
                 {&batch->next, sizeof batch->next},
                 {batch->pixels, n * 3 * SIDE * SIDE * sizeof *batch->pixels},
                 {batch->offsets, (n + 1) * sizeof *batch->offsets},
                 {batch->tokens, (size_t)batch->offsets[n] * sizeof *batch->tokens},
                 {batch->ids, n * sizeof *batch->ids},
                 {batch->samples, n * sizeof *batch->samples}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        test_ok(clip_buffer_append(out, parts[i].bytes, parts[i].n, &error), &error);
}

/* ---- Order ---- */
static void epochs_are_permutations(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(23, 0));
    struct clip_loader_options options = options_of(5);
    struct clip_loader *loader = create(set, &options);
    int64_t order[3][20];
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        bool seen[23] = {false};
        for (int64_t b = 0; b < 4; b++) { /* 23 = 4 * 5 + 3: the rest is dropped */
            struct clip_batch batch = next(loader);
            assert_int_equal(batch.count, 5);
            assert_int_equal(batch.epoch, epoch);
            assert_int_equal(batch.next.epoch, b < 3 ? epoch : epoch + 1);
            assert_int_equal(batch.next.index, b < 3 ? 5 * (b + 1) : 0);
            for (int64_t i = 0; i < 5; i++) {
                assert_in_range(batch.samples[i], 0, 22);
                assert_false(seen[batch.samples[i]]);
                seen[batch.samples[i]] = true;
                order[epoch][5 * b + i] = batch.samples[i];
            }
        }
    }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    assert_memory_not_equal(order[1], order[2], sizeof order[0]);
    clip_loader_free(loader);
    options.seed = 8;
    loader = create(set, &options);
    assert_memory_not_equal(next(loader).samples, order[0], 5 * sizeof order[0][0]);
    clip_loader_free(loader);
    clip_dataset_free(set);
}

static void in_order_without_shuffle(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(11, 4));
    for (int workers = 0; workers <= 3; workers++) {
        struct clip_loader_options options = options_of(4);
        options.shuffle = false;
        options.augment = false;
        options.workers = workers;
        struct clip_loader *loader = create(set, &options);
        static const int64_t good[] = {0, 1, 2, 4, 5, 6, 8, 9, 10}; /* 3 and 7 are bad */
        for (int pass = 0; pass < 2; pass++) {
            int64_t n = 0;
            for (;;) {
                struct clip_batch batch = next(loader);
                if (batch.count == 0) break;
                assert_int_equal(batch.count, n < 8 ? 4 : 1);
                for (int64_t i = 0; i < batch.count; i++)
                    assert_int_equal(batch.samples[i], good[n++]);
            }
            assert_int_equal(n, 9);
            assert_int_equal(next(loader).count, 0);
            assert_int_equal(clip_loader_counts(loader).bad, 2);
            clip_loader_seek(loader, (struct clip_position){0});
            assert_int_equal(clip_loader_counts(loader).bad, 0);
        }
        clip_loader_free(loader);
    }
    clip_dataset_free(set);
}

/* ---- The same bits ---- */
enum { STEPS = 14 };

static void workers_do_not_matter(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(37, 6));
    struct clip_buffer expected = {0};
    for (int workers = 0; workers <= 4; workers++) {
        struct clip_loader_options options = options_of(8);
        struct clip_buffer got = {0};
        options.workers = workers;
        struct clip_loader *loader = create(set, &options);
        for (int i = 0; i < STEPS; i++) {
            struct clip_batch batch = next(loader);
            append_batch(&got, &batch);
        }
        assert_int_equal(clip_loader_counts(loader).bad, 6);
        clip_loader_free(loader);
        if (workers == 0) {
            expected = got;
            continue;
        }
        assert_int_equal(got.size, expected.size);
        assert_memory_equal(got.data, expected.data, got.size);
        clip_buffer_release(&got);
    }
    clip_buffer_release(&expected);
    clip_dataset_free(set);
}

/* A small set, gone through several times in an epoch of 20, and a larger one. */
static void mix(struct clip_loader_options *options)
{
    static const struct clip_order_part parts[] = {{4, 1}, {29, 1}};
    options->parts = parts;
    options->part_count = 2;
    options->samples_per_epoch = 20;
}

static void goes_on_the_same(bool mixed)
{
    struct clip_dataset *set = open_pairs(write_pairs(29, 9));
    for (int workers = 0; workers <= 2; workers += 2) {
        struct clip_loader_options options = options_of(6);
        if (mixed) mix(&options);
        struct clip_position positions[STEPS + 1] = {{0, 0}};
        struct clip_buffer batches[STEPS] = {{0}};
        options.workers = workers;
        struct clip_loader *loader = create(set, &options);
        for (int i = 0; i < STEPS; i++) {
            struct clip_batch batch = next(loader);
            append_batch(&batches[i], &batch);
            positions[i + 1] = batch.next;
        }
        static const int starts[] = {7, 0, 3, 4, 12, 5};
        for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
            if (s % 2 == 0) { /* as a resumed run: a new loader */
                clip_loader_free(loader);
                loader = create(set, &options);
            }
            clip_loader_seek(loader, positions[starts[s]]);
            for (int i = starts[s]; i < STEPS && i < starts[s] + 6; i++) {
                struct clip_buffer again = {0};
                struct clip_batch batch = next(loader);
                append_batch(&again, &batch);
                assert_int_equal(again.size, batches[i].size);
                assert_memory_equal(again.data, batches[i].data, again.size);
                clip_buffer_release(&again);
            }
        }
        for (int i = 0; i < STEPS; i++) clip_buffer_release(&batches[i]);
        clip_loader_free(loader);
    }
    clip_dataset_free(set);
}

static void seeking_goes_on_the_same(void **state)
{
    (void)state;
    goes_on_the_same(false);
    goes_on_the_same(true);
}

/* Processes that share the batches read together what one reads. */
static void a_process_reads_its_own(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(29, 9));
    struct clip_loader_options options = options_of(6);
    for (int mixed = 0; mixed < 2; mixed++) {
        struct clip_loader *of_all, *of_some[3];
        if (mixed) mix(&options);
        options.own_begin = options.own_count = 0;
        of_all = create(set, &options);
        options.own_count = 2;
        for (int r = 0; r < 3; r++, options.own_begin += 2) of_some[r] = create(set, &options);
        for (int i = 0; i < STEPS; i++) {
            struct clip_batch whole = next(of_all);
            for (int r = 0; r < 3; r++) {
                struct clip_batch own = next(of_some[r]);
                int64_t pixels = 3 * SIDE * SIDE;
                assert_int_equal(own.count, 2);
                assert_int_equal(own.next.epoch, whole.next.epoch);
                assert_int_equal(own.next.index, whole.next.index);
                assert_memory_equal(own.samples, whole.samples + 2 * r, 2 * sizeof *own.samples);
                assert_memory_equal(own.keys, whole.keys + 2 * r, 2 * sizeof *own.keys);
                assert_memory_equal(own.pixels, whole.pixels + 2 * r * pixels,
                                    (size_t)(2 * pixels) * sizeof *own.pixels);
            }
        }
        clip_loader_free(of_all);
        for (int r = 0; r < 3; r++) clip_loader_free(of_some[r]);
    }
    clip_dataset_free(set);
}

/* Half of the draws are of the four first ones, each time cropped otherwise. */
static void sets_are_mixed_by_weight(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(29, 0));
    struct clip_loader_options options = options_of(5);
    struct clip_buffer first = {0};
    struct clip_error error;
    int64_t small = 0, alike = 0, seen = 0;
    mix(&options);
    struct clip_loader *loader = create(set, &options);
    for (int i = 0; i < 200; i++) {
        struct clip_batch batch = next(loader);
        size_t bytes = 3 * SIDE * SIDE * sizeof(float);
        assert_int_equal(batch.epoch, i / 4);
        for (int64_t k = 0; k < 5; k++) {
            small += batch.samples[k] < 4;
            if (batch.samples[k] != 1 || batch.epoch > 0) continue;
            const char *pixels = (const char *)batch.pixels + (size_t)k * bytes;
            if (seen++ == 0)
                test_ok(clip_buffer_append(&first, pixels, bytes, &error), &error);
            else
                alike += memcmp(first.data, pixels, bytes) == 0;
        }
    }
    assert_in_range(small, 450, 550);
    assert_true(seen > 1);
    assert_int_equal(alike, 0);
    clip_loader_free(loader);
    options.samples_per_epoch = 4;
    test_fails(clip_loader_create(&loader, set, tokenizer, &options, &error), &error,
               CLIP_ERR_USAGE, "batch_size = 5 is larger than samples_per_epoch = 4");
    clip_buffer_release(&first);
    clip_dataset_free(set);
}

static void stops_at_any_time(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(40, 0));
    struct clip_loader_options options = options_of(3);
    options.workers = 4;
    for (int steps = 0; steps < 8; steps++) {
        struct clip_loader *loader = create(set, &options);
        for (int i = 0; i < steps; i++) {
            assert_int_equal(next(loader).count, 3);
            if (i % 2 == 1) clip_loader_seek(loader, (struct clip_position){i, i});
        }
        clip_loader_free(loader);
    }
    clip_loader_free(NULL);
    clip_dataset_free(set);
}

/* ---- What a batch holds ---- */
static void pixels_are_preprocessed(void **state)
{
    (void)state;
    const char *path = write_pairs(3, 0);
    struct clip_dataset *set = open_pairs(path);
    struct clip_loader_options options = options_of(3);
    struct clip_image image = {0};
    struct clip_error error;
    uint8_t bytes[SIDE * SIDE * 3];
    float expected[3 * SIDE * SIDE];
    options.augment = options.shuffle = false;
    struct clip_loader *loader = create(set, &options);
    struct clip_batch batch = next(loader);
    const struct clip_image_limits limits = {.max_pixels = 1000};
    for (int64_t i = 0; i < 3; i++) {
        const char *file = set->ops->image_name(set, i);
        test_ok(clip_image_decode_file(file, &limits, &image, &error), &error);
        test_ok(clip_preprocess_image(&options.preprocess, &image, bytes, &error), &error);
        clip_preprocess_normalise(&options.preprocess, bytes, expected);
        test_same_f32("pixels", batch.pixels + i * 3 * SIDE * SIDE, expected, 3 * SIDE * SIDE);
        clip_image_release(&image);
    }
    clip_loader_free(loader);
    clip_dataset_free(set);
}

static void captions_are_packed_and_cut(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_rows("a.png,abc\n"
                                                     "b.png,abcdefghijklmnopqrstuvwxyz\n"
                                                     "c.png,x\n"));
    struct clip_loader_options options = options_of(3);
    options.shuffle = false;
    struct clip_loader *loader = create(set, &options);
    struct clip_batch batch = next(loader);
    const int32_t offsets[] = {0, 5, 5 + CONTEXT, 5 + CONTEXT + 3};
    const int32_t start = tokenizer->start, end = tokenizer->end;
    test_same_i32("offsets", batch.offsets, offsets, 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(batch.tokens[offsets[i]], start);
        assert_int_equal(batch.tokens[offsets[i + 1] - 1], end);
    }
    assert_int_equal(clip_loader_counts(loader).cut, 1);
    assert_int_equal(clip_loader_counts(loader).bad, 0);
    clip_loader_free(loader);
    clip_dataset_free(set);
}

static void positives_are_joined(void **state)
{
    (void)state;
    /* 0-1 one image, 1-3 one caption, 3-5 one image: 0, 1, 3, 5 are one; 2-6 one caption. */
    struct clip_dataset *set = open_pairs(write_rows("a.png,one\n"
                                                     "a.png,two\n"
                                                     "./a.png,six\n"
                                                     "b.png,two\n"
                                                     "c.png,four\n"
                                                     "b.png,five\n"
                                                     "././a.png,six\n"
                                                     "./b.png,One\n"));
    const int32_t expected[] = {0, 0, 2, 0, 4, 0, 2, 7};
    struct clip_loader_options options = options_of(8);
    options.shuffle = false;
    struct clip_loader *loader = create(set, &options);
    struct clip_batch batch = next(loader);
    test_same_i32("ids", batch.ids, expected, 8);
    clip_loader_free(loader);
    clip_dataset_free(set);
}

static void positives_against_all_pairs(void **state)
{
    (void)state;
    enum { N = 64 };
    struct clip_buffer text = {0};
    struct clip_error error;
    const char *folder = test_folder();
    struct clip_rng rng = clip_rng_at(3, CLIP_RNG_TEST, 0, 0);
    uint32_t captions[N];
    test_ok(clip_buffer_printf(&text, &error, "filepath,title\n"), &error);
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.png", i);
        write_image(folder, name, i);
    }
    for (int i = 0; i < N; i++) {
        captions[i] = clip_rng_below(&rng, 60);
        test_ok(clip_buffer_printf(&text, &error, "%u.png,caption %u\n", clip_rng_below(&rng, 40),
                                   captions[i]),
                &error);
    }
    struct clip_dataset *set = open_pairs(test_write(folder, "p.csv", text.data, text.size));
    struct clip_loader_options options = options_of(N);
    struct clip_loader *loader = create(set, &options);
    struct clip_batch batch = next(loader);
    int32_t ids[N];
    for (int i = 0; i < N; i++) ids[i] = i;
    for (bool changed = true; changed;) { /* spread the smallest number until nothing changes */
        changed = false;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int64_t a = batch.samples[i], b = batch.samples[j];
                if (set->group[a] != set->group[b] && captions[a] != captions[b]) continue;
                if (ids[j] <= ids[i]) continue;
                ids[j] = ids[i];
                changed = true;
            }
    }
    test_same_i32("ids", batch.ids, ids, N);
    clip_loader_free(loader);
    clip_dataset_free(set);
    clip_buffer_release(&text);
}

/* ---- Bad samples ---- */
static void too_many_bad(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(20, 4)); /* 5 bad */
    for (int workers = 0; workers <= 2; workers++) {
        struct clip_loader_options options = options_of(15);
        options.workers = workers;
        options.max_bad_fraction = 0.25;
        struct clip_loader *loader = create(set, &options);
        for (int i = 0; i < 40; i++) assert_int_equal(next(loader).count, 15);
        assert_int_equal(clip_loader_counts(loader).bad, 5); /* each once, however often met */
        clip_loader_free(loader);
        options.max_bad_fraction = 0.2;
        loader = create(set, &options);
        struct clip_batch batch;
        struct clip_error error = {0};
        while (clip_loader_next(loader, &batch, NULL, &error) == CLIP_OK) continue;
        next_fails(loader, CLIP_ERR_DATA,
                   "5 of the data's 20 samples are bad so far, more than "
                   "max_bad_fraction = 0.2 allows");
        next_fails(loader, CLIP_ERR_DATA, "pairs.csv:");
        clip_loader_free(loader);
    }
    clip_dataset_free(set);
}

static void bad_samples_have_reasons(void **state)
{
    (void)state;
    static const char *const words[] = {"(3.png): ", "7.png: no such file",
                                        "(11.png): the caption is empty",
                                        "(15.png): nothing is left of the caption"};
    struct clip_dataset *set = open_pairs(write_pairs(16, 4));
    struct clip_loader_options options = options_of(1);
    options.shuffle = false;
    options.max_bad_fraction = 0;
    for (int i = 0; i < 4; i++) {
        struct clip_loader *loader = create(set, &options);
        clip_loader_seek(loader, (struct clip_position){0, 4 * i + 3});
        next_fails(loader, CLIP_ERR_DATA, words[i]);
        clip_loader_seek(loader, (struct clip_position){0, 0}); /* and goes on elsewhere */
        assert_int_equal(next(loader).samples[0], 0);
        clip_loader_free(loader);
    }
    clip_dataset_free(set);
}

/* A bad sample's place, and no other, is taken by a good one; epochs keep their length. */
static void a_bad_ones_place_is_taken(void **state)
{
    (void)state;
    struct clip_dataset *whole = open_pairs(write_pairs(20, 0));
    struct clip_dataset *set = open_pairs(write_pairs(20, 4));
    struct clip_loader_options options = options_of(6);
    for (options.workers = 0; options.workers <= 2; options.workers += 2) {
        struct clip_loader *of_good = create(whole, &options), *loader = create(set, &options);
        int taken = 0;
        for (int i = 0; i < 9; i++) {
            struct clip_batch good = next(of_good), batch = next(loader);
            assert_int_equal(batch.count, 6);
            assert_int_equal(batch.epoch, i / 3);
            assert_int_equal(batch.next.epoch, good.next.epoch);
            assert_int_equal(batch.next.index, good.next.index);
            for (int k = 0; k < 6; k++) {
                assert_int_not_equal(batch.samples[k] % 4, 3);
                if (good.samples[k] % 4 == 3)
                    taken++;
                else
                    assert_int_equal(batch.samples[k], good.samples[k]);
            }
        }
        assert_true(taken > 5);
        clip_loader_free(of_good);
        clip_loader_free(loader);
    }
    clip_dataset_free(whole);
    clip_dataset_free(set);
}

static void none_is_good(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(3, 1));
    struct clip_loader_options options = options_of(3);
    options.max_bad_fraction = 1;
    struct clip_loader *loader = create(set, &options);
    next_fails(loader, CLIP_ERR_DATA, "no sample of the data's 3 is good");
    clip_loader_free(loader);
    clip_dataset_free(set);
}

static void refusals(void **state)
{
    (void)state;
    struct clip_dataset *set = open_pairs(write_pairs(5, 0));
    struct clip_loader *loader = NULL;
    struct clip_error error;
    struct clip_loader_options options = options_of(6);
    test_fails(clip_loader_create(&loader, set, tokenizer, &options, &error), &error,
               CLIP_ERR_USAGE, "batch_size = 6 is larger than the data, which has 5 samples");
    options = options_of(5);
    options.vocab_size = 514;
    test_fails(clip_loader_create(&loader, set, tokenizer, &options, &error), &error,
               CLIP_ERR_USAGE, "a vocabulary of 515, larger than the model's vocab_size = 514");
    options = options_of(0);
    test_fails(clip_loader_create(&loader, set, tokenizer, &options, &error), &error,
               CLIP_ERR_USAGE, "batch_size");
    assert_null(loader);
    options = options_of(6); /* in order, a smaller last batch is what one wants */
    options.shuffle = false;
    loader = create(set, &options);
    assert_int_equal(next(loader).count, 5);
    clip_loader_free(loader);
    clip_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_are_permutations),
        cmocka_unit_test(in_order_without_shuffle),
        cmocka_unit_test(workers_do_not_matter),
        cmocka_unit_test(seeking_goes_on_the_same),
        cmocka_unit_test(a_process_reads_its_own),
        cmocka_unit_test(sets_are_mixed_by_weight),
        cmocka_unit_test(stops_at_any_time),
        cmocka_unit_test(pixels_are_preprocessed),
        cmocka_unit_test(captions_are_packed_and_cut),
        cmocka_unit_test(positives_are_joined),
        cmocka_unit_test(positives_against_all_pairs),
        cmocka_unit_test(too_many_bad),
        cmocka_unit_test(bad_samples_have_reasons),
        cmocka_unit_test(a_bad_ones_place_is_taken),
        cmocka_unit_test(none_is_good),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, make_tokenizer, free_tokenizer);
}
