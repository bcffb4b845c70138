/* Streams of tar shards: every sample has its turn, from anywhere, whatever shards are damaged; and
 * shards that commands write. */
#include "tests/support.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/progress.h"
#include "data/sets/loader.h"

enum { SIDE = 8, CONTEXT = 24 };
static struct clip_tokenizer *tokenizer;
static struct clip_buffer png;

static int begin(void **state)
{
    static const char text[] = "#version: 0.2\nq q\n";
    struct clip_image image = {.width = 9, .height = 9};
    struct clip_error error;
    (void)state;
    image.rgb = calloc(9 * 9, 3);
    bool fine = image.rgb != NULL && clip_image_encode_png(&image, &png, &error) == CLIP_OK;
    clip_image_release(&image);
    return !fine ||
           clip_tokenizer_parse(&tokenizer, text, sizeof text - 1, "none", &error) != CLIP_OK;
}

static int end(void **state)
{
    (void)state;
    clip_tokenizer_free(tokenizer);
    clip_buffer_release(&png);
    return 0;
}

static void add(struct archive *archive, const char *name, const void *bytes, size_t n)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)n);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, bytes, n), (la_ssize_t)n);
    archive_entry_free(entry);
}

/* FOLDER/NUMBER.tar with `count` pairs, whose captions are "NUMBER KEY". */
static void write_shard(const char *folder, int number, int count)
{
    char name[32];
    snprintf(name, sizeof name, "%d.tar", number);
    const char *path = test_write_text(folder, name, "");
    struct archive *archive = archive_write_new();
    archive_write_set_format_ustar(archive);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (int i = 0; i < count; i++) {
        char caption[32];
        snprintf(caption, sizeof caption, "%d %d", number, i);
        snprintf(name, sizeof name, "%03d.png", i);
        add(archive, name, png.data, png.size);
        snprintf(name, sizeof name, "%03d.txt", i);
        add(archive, name, caption, strlen(caption));
    }
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}

struct opened {
    struct clip_dataset *set;
    struct clip_order_part *parts;
    int64_t part_count;
};
static struct clip_stream_options how = {.shard_group = 2, .cache_bytes = 1 << 20};

static clip_status try_open(struct opened *out, const char *data, bool apart,
                            struct clip_error *error)
{
    static const struct clip_dataset_options plain = {0};
    *out = (struct opened){0};
    how.apart = apart;
    return clip_dataset_stream_open(&out->set, data, &plain, &how, &out->parts, &out->part_count,
                                    error);
}

static struct opened open_stream(const char *folder, const char *shards, bool apart)
{
    struct opened out;
    struct clip_error error;
    char data[1024];
    snprintf(data, sizeof data, shards, folder, folder);
    test_ok(try_open(&out, data, apart, &error), &error);
    return out;
}

static void close_stream(struct opened *o)
{
    clip_dataset_free(o->set);
    free(o->parts);
}

static struct clip_loader *load(const struct opened *o, int64_t batch, int workers)
{
    const struct clip_loader_options options = {
        .batch_size = batch,
        .context_length = CONTEXT,
        .seed = 3,
        .workers = workers,
        .parts = o->parts,
        .part_count = o->part_count,
        .shard_group = how.shard_group,
        .shuffle = true,
        .augment = true,
        .preprocess = {.image_size = SIDE, .std = {1, 1, 1}},
        .augmentation = {.scale_min = 0.5},
        .max_bad_fraction = 0.9,
        .quiet = true,
    };
    struct clip_loader *loader = NULL;
    struct clip_error error;
    test_ok(clip_loader_create(&loader, o->set, tokenizer, &options, &error), &error);
    return loader;
}

static struct clip_batch next(struct clip_loader *loader)
{
    struct clip_batch batch;
    struct clip_error error;
    test_ok(clip_loader_next(loader, &batch, NULL, &error), &error);
    return batch;
}

/* Which shard and which of its pairs the caption says. */
static void pair_of(const struct clip_batch *batch, int64_t i, int *shard, int *pair)
{
    char text[32];
    size_t from = i > 0 ? batch->caption_ends[i - 1] : 0;
    size_t n = batch->caption_ends[i] - from;
    assert_true(n < sizeof text);
    memcpy(text, batch->captions + from, n);
    text[n] = '\0';
    assert_int_equal(sscanf(text, "%d %d", shard, pair), 2);
}

/* Seven shards of five, two at a time: each epoch has every pair once, in another order. */
static void every_pair_once_in_an_epoch(void **state)
{
    const char *folder = test_folder();
    int orders[2][35];
    (void)state;
    for (int i = 0; i < 7; i++) write_shard(folder, i, 5);
    struct opened o = open_stream(folder, "%s/{0..6}.tar", false);
    assert_int_equal(o.set->count, 35);
    for (int workers = 0; workers < 4; workers += 3) {
        struct clip_loader *loader = load(&o, 5, workers);
        for (int epoch = 0; epoch < 3; epoch++) {
            bool seen[7][5] = {{false}}, open[7] = {false};
            int shards = 0;
            for (int at = 0; at < 35; at += 5) {
                struct clip_batch batch = next(loader);
                assert_int_equal(batch.epoch, epoch);
                for (int64_t i = 0; i < 5; i++) {
                    int shard, pair;
                    pair_of(&batch, i, &shard, &pair);
                    assert_false(seen[shard][pair]);
                    seen[shard][pair] = true;
                    if (epoch < 2) orders[epoch][at + i] = shard * 5 + pair;
                    /* of a group nothing is left when the next one begins */
                    if ((at + i) % 10 == 0) memset(open, 0, sizeof open);
                    if ((at + i) % 10 == 0) shards = 0;
                    shards += !open[shard];
                    open[shard] = true;
                    assert_true(shards <= 2);
                }
            }
        }
        assert_memory_not_equal(orders[0], orders[1], sizeof orders[0]);
        assert_int_equal(clip_loader_counts(loader).bad, 0);
        clip_loader_free(loader);
    }
    close_stream(&o);
}

static void goes_on_from_any_position(void **state)
{
    enum { STEPS = 30 };
    const char *folder = test_folder();
    struct clip_position positions[STEPS + 1] = {{0, 0}};
    int64_t samples[STEPS][4];
    float first[STEPS][3 * SIDE * SIDE];
    (void)state;
    for (int i = 0; i < 5; i++) write_shard(folder, i, 3 + i);
    test_write_text(folder, "2.tar", "no tar at all, but long enough to be looked at");
    struct opened o = open_stream(folder, "%s/{0..4}.tar", false);
    struct clip_loader *loader = load(&o, 4, 0);
    for (int i = 0; i < STEPS; i++) {
        struct clip_batch batch = next(loader);
        memcpy(samples[i], batch.samples, sizeof samples[i]);
        memcpy(first[i], batch.pixels, sizeof first[i]);
        positions[i + 1] = batch.next;
    }
    clip_loader_free(loader);
    close_stream(&o);
    for (int start = 0; start < STEPS; start += 7) {
        o = open_stream(folder, "%s/{0..4}.tar", false);
        loader = load(&o, 4, start % 3);
        clip_loader_seek(loader, positions[start]);
        for (int i = start; i < STEPS; i++) {
            struct clip_batch batch = next(loader);
            assert_memory_equal(samples[i], batch.samples, sizeof samples[i]);
            assert_memory_equal(first[i], batch.pixels, sizeof first[i]);
        }
        clip_loader_free(loader);
        close_stream(&o);
    }
}

/* The first shard has four: one of two gives each twice in a round, one of six all in three. */
static void shards_of_other_sizes(void **state)
{
    const char *folder = test_folder();
    int times[3][6] = {{0}};
    (void)state;
    write_shard(folder, 0, 4);
    write_shard(folder, 1, 2);
    write_shard(folder, 2, 6);
    struct opened o = open_stream(folder, "%s/{0..2}.tar", false);
    struct clip_loader *loader = load(&o, 4, 0);
    assert_int_equal(o.set->count, 12);
    for (int b = 0; b < 3 * 3; b++) {
        struct clip_batch batch = next(loader);
        for (int64_t i = 0; i < 4; i++) {
            int shard, pair;
            pair_of(&batch, i, &shard, &pair);
            times[shard][pair]++;
        }
    }
    for (int i = 0; i < 4; i++) assert_int_equal(times[0][i], 3);
    for (int i = 0; i < 2; i++) assert_int_equal(times[1][i], 6);
    for (int i = 0; i < 6; i++) assert_int_equal(times[2][i], 2);
    clip_loader_free(loader);
    close_stream(&o);
}

/* One that is none, one that is missing, and one that is cut: two and a half of eight shards. */
static void damaged_shards_cost_their_samples(void **state)
{
    const char *folder = test_folder();
    char path[600];
    (void)state;
    for (int i = 0; i < 8; i++) write_shard(folder, i, 6);
    test_write_text(folder, "3.tar", "no tar at all, but long enough to be looked at");
    snprintf(path, sizeof path, "%s/5.tar", folder);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/6.tar", folder);
    assert_int_equal(truncate(path, 3 * 4 * 512 + 512 + 20),
                     0); /* three pairs, and half an image */
    struct opened o = open_stream(folder, "%s/{0..7}.tar", false);
    struct clip_loader *loader = load(&o, 6, 2);
    bool seen[8][6] = {{false}};
    for (int b = 0; b < 4 * 8; b++) {
        struct clip_batch batch = next(loader);
        assert_int_equal(batch.count, 6);
        assert_int_equal(batch.epoch, b / 8);
        for (int64_t i = 0; i < 6; i++) {
            int shard, pair;
            pair_of(&batch, i, &shard, &pair);
            seen[shard][pair] = true;
        }
    }
    for (int i = 0; i < 6; i++) {
        assert_true(seen[0][i] && seen[1][i] && seen[2][i] && seen[4][i] && seen[7][i]);
        assert_false(seen[3][i] || seen[5][i]);
        assert_int_equal(seen[6][i], i < 3);
    }
    /* six samples of each of the two, and the cut pair once, whatever came how often */
    assert_int_equal(clip_loader_counts(loader).bad, 6 + 6 + 1);
    assert_int_equal(clip_loader_bad(loader)->count, 3);
    clip_loader_free(loader);
    close_stream(&o);
}

static void too_many_bad_ones_end_the_run(void **state)
{
    const char *folder = test_folder();
    struct clip_batch batch;
    struct clip_error error;
    (void)state;
    write_shard(folder, 0, 6);
    struct opened o = open_stream(folder, "%s/{0..9}.tar", false);
    struct clip_loader *loader = load(&o, 6, 0);
    clip_status status = CLIP_OK;
    for (int i = 0; i < 30 && status == CLIP_OK; i++)
        status = clip_loader_next(loader, &batch, NULL, &error);
    assert_int_equal(status, CLIP_OK); /* 0.9 of them are bad: just so many may be */
    clip_loader_free(loader);
    close_stream(&o);
    o = open_stream(folder, "%s/{0..10}.tar", false);
    loader = load(&o, 6, 0);
    for (int i = 0; i < 30 && status == CLIP_OK; i++)
        status = clip_loader_next(loader, &batch, NULL, &error);
    test_fails(status, &error, CLIP_ERR_DATA, "max_bad_fraction = 0.9 allows");
    clip_loader_free(loader);
    close_stream(&o);
}

static void sets_of_shards_are_mixed(void **state)
{
    const char *folder = test_folder();
    int small = 0, all = 0;
    (void)state;
    for (int i = 0; i < 6; i++) write_shard(folder, i, i < 2 ? 3 : 5);
    struct opened o = open_stream(folder, "%s/{0,1}.tar::%s/{2..5}.tar", true);
    assert_int_equal(o.part_count, 2);
    assert_int_equal(o.set->count, 2 * 3 + 4 * 5);
    o.parts[0].weight = 1;
    o.parts[1].weight = 3;
    struct clip_loader *loader = load(&o, 5, 2);
    for (int b = 0; b < 400; b++) {
        struct clip_batch batch = next(loader);
        for (int64_t i = 0; i < 5; i++) {
            int shard, pair;
            pair_of(&batch, i, &shard, &pair);
            small += shard < 2;
            all++;
        }
    }
    assert_in_range(small, all / 4 - 100, all / 4 + 100);
    clip_loader_free(loader);
    close_stream(&o);
}

/* Forty thousand names, of which one is there. */
static void many_shards_open_at_once(void **state)
{
    const char *folder = test_folder();
    double began = clip_seconds();
    (void)state;
    write_shard(folder, 0, 4);
    struct opened o = open_stream(folder, "%s/{0..39999}.tar", false);
    struct clip_loader *loader = load(&o, 4, 0);
    assert_true(clip_seconds() - began < 1);
    assert_int_equal(o.set->count, 160000);
    clip_loader_free(loader);
    close_stream(&o);
}

/* ---- commands ---- */
static void commands_write_shards(void **state)
{
    const char *folder = test_folder(), *cache = test_folder();
    char data[1024];
    struct clip_error error;
    struct clip_names left = {0};
    struct opened o;
    (void)state;
    for (int i = 0; i < 4; i++) write_shard(folder, i, 3);
    snprintf(data, sizeof data, "%s/3.tar", folder);
    assert_int_equal(truncate(data, 2 * 4 * 512 + 512 + 20), 0);
    snprintf(data, sizeof data, "pipe:cat %s/{0..5}.tar", folder);
    test_fails(try_open(&o, data, false, &error), &error, CLIP_ERR_USAGE, "allow_pipe = true");
    how.allow_pipe = true;
    test_fails(try_open(&o, data, false, &error), &error, CLIP_ERR_USAGE, "cache_folder");
    how.cache_folder = cache;
    test_write_text(cache, "clip-shard-of-one-that-died", "");
    test_ok(try_open(&o, data, false, &error), &error);
    struct clip_loader *loader = load(&o, 3, 2);
    bool seen[4][3] = {{false}};
    for (int b = 0; b < 3 * 6; b++) {
        struct clip_batch batch = next(loader);
        for (int64_t i = 0; i < 3; i++) {
            int shard, pair;
            pair_of(&batch, i, &shard, &pair);
            seen[shard][pair] = true;
        }
    }
    for (int i = 0; i < 11; i++) assert_true(seen[i / 3][i % 3]);
    assert_false(seen[3][2]);
    /* two commands fail, and the third one's last pair is cut; each names its command */
    assert_int_equal(clip_loader_counts(loader).bad, 3 + 3 + 1);
    const struct clip_names *bad = clip_loader_bad(loader);
    int failed = 0, cut = 0;
    for (int64_t i = 0; i < bad->count; i++) {
        failed += strstr(bad->names[i], ".tar ended with status 1") != NULL;
        cut += strstr(bad->names[i], "3.tar (002.png)") != NULL &&
               strncmp(bad->names[i], "pipe:cat", 8) == 0;
    }
    assert_int_equal(failed, 2);
    assert_int_equal(cut, 1);
    test_ok(clip_folder_list(cache, &left, &error), &error);
    assert_in_range(left.count, 1, 5); /* the group, the next one and the example */
    clip_names_release(&left);
    clip_loader_free(loader);
    close_stream(&o);
    test_ok(clip_folder_list(cache, &left, &error), &error);
    assert_int_equal(left.count, 0);
    clip_names_release(&left);
    snprintf(data, sizeof data, "pipe:cat %s/{0..3}.tar", folder);
    how.cache_bytes = 5000;
    test_fails(try_open(&o, data, false, &error), &error, CLIP_ERR_DATA, "writes more than the");
    how.cache_bytes = 1 << 20;
    how.allow_pipe = false;
    how.cache_folder = NULL;
}

static void commands_are_tried_again(void **state)
{
    const char *folder = test_folder();
    char data[1024];
    struct clip_error error;
    struct opened o;
    (void)state;
    write_shard(folder, 0, 3);
    how.allow_pipe = true;
    how.cache_folder = test_folder();
    /* it writes half a shard and fails, once */
    snprintf(
        data, sizeof data,
        "pipe:cd %s && { mkdir tried 2>/dev/null && head -c 2000 0.tar && exit 7; cat 0.tar; }",
        folder);
    test_fails(try_open(&o, data, false, &error), &error, CLIP_ERR_DATA, "ended with status 7");
    snprintf(
        data, sizeof data,
        "pipe:cd %s && { mkdir again 2>/dev/null && head -c 2000 0.tar && exit 7; cat 0.tar; }",
        folder);
    how.retries = 1;
    test_ok(try_open(&o, data, false, &error), &error);
    assert_int_equal(o.set->count, 3);
    close_stream(&o);
    how.retries = 0;
    how.allow_pipe = false;
    how.cache_folder = NULL;
}

static void refusals(void **state)
{
    const char *folder = test_folder();
    static const struct clip_dataset_options plain = {0};
    struct clip_dataset *set;
    struct clip_error error;
    struct opened o;
    char data[1024];
    int64_t shards;
    bool pipes;
    (void)state;
    test_fails(try_open(&o, test_write_text(folder, "a.csv", "filepath,title\n"), false, &error),
               &error, CLIP_ERR_USAGE, "only tar shards");
    snprintf(data, sizeof data, "%s/{0..3}.tar", folder);
    test_fails(try_open(&o, data, false, &error), &error, CLIP_ERR_NOT_FOUND, "3.tar");
    test_fails(clip_dataset_open(&set, "pipe:cat a.tar", &plain, &error), &error, CLIP_ERR_USAGE,
               "is a command");
    test_ok(clip_dataset_shard_count("pipe:cat {0..9}.tar::b.tar", &shards, &pipes, &error),
            &error);
    assert_int_equal(shards, 11);
    assert_true(pipes);
    test_ok(clip_dataset_shard_count("a.csv::b.tar", &shards, &pipes, &error), &error);
    assert_int_equal(shards, 0);
    assert_false(pipes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_once_in_an_epoch),
        cmocka_unit_test(goes_on_from_any_position),
        cmocka_unit_test(shards_of_other_sizes),
        cmocka_unit_test(damaged_shards_cost_their_samples),
        cmocka_unit_test(too_many_bad_ones_end_the_run),
        cmocka_unit_test(sets_of_shards_are_mixed),
        cmocka_unit_test(many_shards_open_at_once),
        cmocka_unit_test(commands_write_shards),
        cmocka_unit_test(commands_are_tried_again),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
