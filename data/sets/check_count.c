/* What a check counts when every sample is measured: lengths and sizes, repeated captions, repeated
 * images, and what two sets share. */
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "data/sets/check_internal.h"
#include "data/sets/dataset_internal.h"

/* ---- Ranges and histograms ---- */
static int compare_values(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The range of the values, which it sorts; the median is the lower of the two in the middle. */
static struct clip_check_range range_of(int64_t *values, int64_t n)
{
    if (n == 0) return (struct clip_check_range){0};
    qsort(values, (size_t)n, sizeof *values, compare_values);
    return (struct clip_check_range){values[0], values[(n - 1) / 2], values[n - 1]};
}

/* Makes bins of 1, 2, 5, 10, 20, ... so that they reach the largest value or four times the
 * median. */
static struct clip_check_histogram histogram_of(int64_t *values, int64_t n)
{
    struct clip_check_histogram histogram = {.width = 1, .measured = n};
    struct clip_check_range range = range_of(values, n);
    int64_t reach = range.max < 4 * range.median ? range.max : 4 * range.median;
    for (int step = 0; histogram.width * CLIP_CHECK_BINS <= reach; step++)
        histogram.width = step % 3 == 1 ? histogram.width / 2 * 5 : histogram.width * 2;
    histogram.range = range;
    for (int64_t i = 0; i < n; i++) {
        int64_t bin = values[i] / histogram.width;
        histogram.bins[bin < CLIP_CHECK_BINS ? bin : CLIP_CHECK_BINS - 1]++;
    }
    return histogram;
}

void clip_check_bin(const struct clip_check_histogram *histogram, int bin, int64_t *low,
                    int64_t *high)
{
    *low = bin * histogram->width;
    *high = *low + histogram->width - 1;
    if (bin == CLIP_CHECK_BINS - 1 && histogram->range.max > *high) *high = histogram->range.max;
}

static bool has_image(const struct clip_check_fact *fact) { return fact->width > 0; }

static bool has_caption(const struct clip_check_fact *fact)
{
    return fact->characters > 0 && !fact->empty;
}

static int64_t short_side(const struct clip_check_fact *fact)
{
    return fact->width < fact->height ? fact->width : fact->height;
}

enum measure { CHARACTERS, TOKENS, WIDTH, HEIGHT, SHORT_SIDE, KILOBYTES };

/* Collects the measure of each sample that has one; returns how many there are. */
static int64_t collect(const struct clip_check_fact *facts, int64_t n, enum measure measure,
                       int64_t *values)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct clip_check_fact *fact = &facts[i];
        if (measure == CHARACTERS && has_caption(fact)) values[m++] = fact->characters;
        if (measure == TOKENS && fact->tokens > 0) values[m++] = fact->tokens;
        if (measure < WIDTH || !has_image(fact)) continue;
        if (measure == WIDTH) values[m++] = fact->width;
        if (measure == HEIGHT) values[m++] = fact->height;
        if (measure == SHORT_SIDE) values[m++] = short_side(fact);
        if (measure == KILOBYTES) values[m++] = fact->bytes / 1024;
    }
    return m;
}

static clip_status count_sizes(struct clip_check_report *report,
                               const struct clip_check_fact *facts, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const int64_t n = report->samples;
    int64_t *values = NULL;
    CLIP_NEW(values, n);
    report->characters = histogram_of(values, collect(facts, n, CHARACTERS, values));
    report->tokens = histogram_of(values, collect(facts, n, TOKENS, values));
    report->width = range_of(values, collect(facts, n, WIDTH, values));
    report->height = range_of(values, collect(facts, n, HEIGHT, values));
    report->short_side = histogram_of(values, collect(facts, n, SHORT_SIDE, values));
    report->kilobytes = histogram_of(values, collect(facts, n, KILOBYTES, values));
    for (int64_t i = 0; i < n; i++) {
        report->over_context += facts[i].tokens > report->context_length;
        report->empty_captions += facts[i].empty;
        report->tiny += has_image(&facts[i]) && short_side(&facts[i]) < report->tiny_below;
    }
out:
    free(values);
    return status;
}

/* ---- Equal keys ---- */
struct keyed {
    uint64_t key;
    int64_t sample;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

enum kind { TEXT, CONTENT, PAIR };

/* first[i] = the first sample with the same caption as i, the same image bytes, or both; -1 if i
 * has none. */
static clip_status find_equal(const struct clip_check_fact *facts, int64_t n, enum kind kind,
                              int64_t *first, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct keyed *keyed = NULL;
    int64_t m = 0;
    CLIP_NEW(keyed, n);
    for (int64_t i = 0; i < n; i++) {
        first[i] = -1;
        if (kind == TEXT && has_caption(&facts[i])) keyed[m++] = (struct keyed){facts[i].text, i};
        if (kind == CONTENT && has_image(&facts[i]))
            keyed[m++] = (struct keyed){facts[i].content, i};
        int64_t reader = facts[i].reader;
        if (kind != PAIR || facts[i].bad || reader < 0 || !has_image(&facts[reader])) continue;
        uint64_t both[2] = {facts[reader].content, facts[i].text};
        keyed[m++] = (struct keyed){clip_hash64(both, sizeof both), i};
    }
    qsort(keyed, (size_t)m, sizeof *keyed, compare_keyed);
    for (int64_t i = 0, group = 0; i < m; i++) {
        if (keyed[i].key != keyed[group].key) group = i;
        first[keyed[i].sample] = keyed[group].sample;
    }
out:
    free(keyed);
    return status;
}

/* ---- Images that are alike ---- */
static clip_status add_pair(struct clip_check_pairs *pairs, const struct clip_dataset *dataset,
                            int64_t sample, const struct clip_dataset *other, int64_t first,
                            bool near, struct clip_error *error)
{
    clip_status status = clip_array_grow(&pairs->items, &pairs->capacity, pairs->count + 1,
                                         sizeof *pairs->items, error);
    if (status != CLIP_OK) return status;
    pairs->items[pairs->count++] = (struct clip_check_pair){
        .name = dataset->ops->image_name(dataset, sample),
        .first = other->ops->image_name(other, first),
        .sample = sample,
        .first_sample = first,
        .near = near,
    };
    return CLIP_OK;
}

/* The looks of different images, one for each content: looks, and whose they are [count]. */
struct gallery {
    struct clip_look *looks;
    int64_t *samples, count;
};

static void gallery_release(struct gallery *gallery)
{
    free(gallery->looks);
    free(gallery->samples);
}

static clip_status gallery_fill(struct gallery *out, const struct clip_check_fact *facts, int64_t n,
                                const int64_t *same, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += same[i] == i;
    CLIP_NEW(out->looks, count);
    CLIP_NEW(out->samples, count);
    for (int64_t i = 0; i < n; i++) {
        if (same[i] != i) continue;
        out->looks[out->count] = facts[i].look;
        out->samples[out->count++] = i;
    }
out:
    return status;
}

static clip_status find_alike(struct clip_check_report *report, const struct clip_check_fact *facts,
                              const struct clip_dataset *dataset, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const int64_t n = report->samples;
    struct gallery gallery = {0};
    int64_t *same = NULL, *near = NULL;
    CLIP_NEW(same, n);
    CLIP_TRY(find_equal(facts, n, CONTENT, same, error));
    for (int64_t i = 0; i < n; i++)
        if (same[i] >= 0 && same[i] != i)
            CLIP_TRY(add_pair(&report->duplicates, dataset, i, dataset, same[i], false, error));
    CLIP_TRY(gallery_fill(&gallery, facts, n, same, error));
    CLIP_NEW(near, gallery.count);
    CLIP_TRY(clip_looks_match(gallery.looks, gallery.count, near, error));
    for (int64_t i = 0; i < gallery.count; i++)
        if (near[i] >= 0)
            CLIP_TRY(add_pair(&report->near, dataset, gallery.samples[i], dataset,
                              gallery.samples[near[i]], true, error));
out:
    gallery_release(&gallery);
    free(same);
    free(near);
    return status;
}

/* ---- Verdicts ---- */
static void mark_pairs(struct clip_check_report *report, const struct clip_check_pairs *pairs,
                       enum clip_check_verdict verdict)
{
    for (int64_t i = 0; i < pairs->count; i++)
        report->verdicts[pairs->items[i].sample] |= (unsigned char)verdict;
}

/* What is wrong with an image is wrong with all of its samples. */
static void spread(struct clip_check_report *report, const struct clip_check_fact *facts)
{
    const unsigned char of_image = CLIP_CHECK_TINY | CLIP_CHECK_COPY | CLIP_CHECK_NEAR |
                                   CLIP_CHECK_LEAK;
    for (int64_t i = 0; i < report->samples; i++)
        if (facts[i].reader >= 0)
            report->verdicts[i] |= report->verdicts[facts[i].reader] & of_image;
}

clip_status clip_check_count(struct clip_check_report *report, const struct clip_check_fact *facts,
                             const struct clip_dataset *dataset,
                             const struct clip_check_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const int64_t n = report->samples;
    int64_t *first = NULL;
    CLIP_NEW(report->verdicts, n);
    CLIP_NEW(first, n);
    report->good = n - report->bad_count;
    CLIP_TRY(count_sizes(report, facts, error));
    CLIP_TRY(find_equal(facts, n, TEXT, first, error));
    for (int64_t i = 0; i < n; i++) {
        report->captions += first[i] == i;
        report->repeated_captions += first[i] >= 0 && first[i] != i;
    }
    CLIP_TRY(find_alike(report, facts, dataset, error));
    CLIP_TRY(find_equal(facts, n, PAIR, first, error));
    for (int64_t i = 0; i < n; i++) {
        bool repeat = first[i] >= 0 && first[i] != i;
        bool tiny = has_image(&facts[i]) && short_side(&facts[i]) < options->tiny;
        report->repeated_pairs += repeat;
        report->verdicts[i] = (unsigned char)((facts[i].bad ? CLIP_CHECK_BAD : 0) |
                                              (tiny ? CLIP_CHECK_TINY : 0) |
                                              (repeat ? CLIP_CHECK_REPEAT : 0));
    }
    mark_pairs(report, &report->duplicates, CLIP_CHECK_COPY);
    mark_pairs(report, &report->near, CLIP_CHECK_NEAR);
    spread(report, facts);
out:
    free(first);
    return status;
}

/* ---- Another set ---- */
static int compare_hashes(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

/* Sorts the hashes of the set's captions or images; returns how many there are. */
static int64_t sort_hashes(const struct clip_check_fact *facts, int64_t n, enum kind kind,
                           struct keyed *out)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (kind == TEXT ? has_caption(&facts[i]) : has_image(&facts[i]))
            out[m++] = (struct keyed){kind == TEXT ? facts[i].text : facts[i].content, i};
    qsort(out, (size_t)m, sizeof *out, compare_keyed);
    return m;
}

/* The first of the sorted hashes that equals `hash`; NULL if there is none. */
static const struct keyed *find_hash(const struct keyed *sorted, int64_t n, uint64_t hash)
{
    const struct keyed wanted = {.key = hash};
    const struct keyed *found = bsearch(&wanted, sorted, (size_t)n, sizeof *sorted, compare_hashes);
    while (found != NULL && found > sorted && found[-1].key == hash) found--;
    return found;
}

static clip_status
leaked_images(struct clip_check_report *report, const struct clip_check_fact *facts,
              const struct clip_dataset *dataset, const struct clip_dataset *other,
              const struct clip_check_fact *others, struct keyed *sorted, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct gallery mine = {0}, theirs = {0};
    int64_t *same = NULL, *near = NULL, n = report->samples, at = 0;
    int64_t longer = n > other->count ? n : other->count;
    int64_t m = sort_hashes(others, other->count, CONTENT, sorted);
    CLIP_NEW(same, longer);
    CLIP_TRY(find_equal(others, other->count, CONTENT, same, error));
    CLIP_TRY(gallery_fill(&theirs, others, other->count, same, error));
    CLIP_TRY(find_equal(facts, n, CONTENT, same, error));
    CLIP_TRY(gallery_fill(&mine, facts, n, same, error));
    CLIP_NEW(near, mine.count);
    CLIP_TRY(clip_looks_find(mine.looks, mine.count, theirs.looks, theirs.count, near, error));
    for (int64_t i = 0; i < n; i++) { /* images with equal bytes share a look */
        if (!has_image(&facts[i])) continue;
        const struct keyed *equal = find_hash(sorted, m, facts[i].content);
        at = 0;
        for (int64_t low = 0, high = mine.count; low < high;) {
            int64_t middle = (low + high) / 2;
            if (mine.samples[middle] <= same[i])
                at = middle, low = middle + 1;
            else
                high = middle;
        }
        int64_t like = near[at] >= 0 ? theirs.samples[near[at]] : -1;
        if (equal != NULL) like = equal->sample;
        if (like >= 0)
            CLIP_TRY(add_pair(&report->leaks, dataset, i, other, like, equal == NULL, error));
    }
out:
    gallery_release(&mine);
    gallery_release(&theirs);
    free(same);
    free(near);
    return status;
}

clip_status clip_check_leaks(struct clip_check_report *report, const struct clip_check_fact *facts,
                             const struct clip_dataset *dataset, const struct clip_dataset *other,
                             const struct clip_check_fact *others, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct keyed *sorted = NULL;
    CLIP_NEW(sorted, other->count);
    CLIP_TRY(leaked_images(report, facts, dataset, other, others, sorted, error));
    int64_t m = sort_hashes(others, other->count, TEXT, sorted);
    for (int64_t i = 0; i < report->samples; i++)
        if (has_caption(&facts[i]) && find_hash(sorted, m, facts[i].text) != NULL)
            report->leaked_captions++;
    mark_pairs(report, &report->leaks, CLIP_CHECK_LEAK);
    spread(report, facts);
out:
    free(sorted);
    return status;
}
