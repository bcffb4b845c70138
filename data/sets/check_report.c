/* A check's report as JSON and as text. */
#include "core/count.h"
#include "core/escape.h"
#include "core/json.h"
#include "data/sets/check_internal.h"

enum { PRINTED_BAD = 200, PRINTED_PAIRS = 20, BAR = 40 };

static json_t *json_of_range(const struct clip_check_range *range)
{
    return json_pack("{s:I, s:I, s:I}", "min", (json_int_t)range->min, "median",
                     (json_int_t)range->median, "max", (json_int_t)range->max);
}

static json_t *json_of_histogram(const struct clip_check_histogram *histogram)
{
    json_t *object = json_of_range(&histogram->range), *bins = json_array();
    for (int i = 0; i < CLIP_CHECK_BINS; i++)
        clip_json_push(&bins, json_integer(histogram->bins[i]));
    clip_json_set(&object, "bin_width", json_integer(histogram->width));
    clip_json_set(&object, "bins", bins);
    return object;
}

static json_t *json_of_bad(const struct clip_check_report *report)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < report->bad_count; i++) {
        const struct clip_check_bad *bad = &report->bad[i];
        clip_json_push(&list,
                       json_pack("{s:I, s:o, s:o}", "sample", (json_int_t)bad->sample, "name",
                                 clip_json_text(bad->name), "reason", clip_json_text(bad->reason)));
    }
    return list;
}

static json_t *json_of_pairs(const struct clip_check_pairs *pairs)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < pairs->count; i++)
        clip_json_push(&list, json_pack("[o, o]", clip_json_text(pairs->items[i].name),
                                        clip_json_text(pairs->items[i].first)));
    return list;
}

static json_t *json_of_leaks(const struct clip_check_pairs *leaks)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < leaks->count; i++) {
        const struct clip_check_pair *leak = &leaks->items[i];
        clip_json_push(&list,
                       json_pack("{s:o, s:o, s:b}", "name", clip_json_text(leak->name), "other",
                                 clip_json_text(leak->first), "near", (int)leak->near));
    }
    return list;
}

static json_t *json_of_against(const struct clip_check_report *report)
{
    return json_pack("{s:o, s:I, s:I, s:I, s:o, s:I}", "name", clip_json_text(report->against),
                     "samples", (json_int_t)report->against_samples, "bad_count",
                     (json_int_t)report->against_bad, "leak_count", (json_int_t)report->leaks.count,
                     "leaks", json_of_leaks(&report->leaks), "leaked_captions",
                     (json_int_t)report->leaked_captions);
}

static json_t *json_of_counts(const struct clip_check_report *report)
{
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {
        {"samples", report->samples},
        {"good", report->good},
        {"bad_count", report->bad_count},
        {"images", report->images},
        {"tiny", report->tiny},
        {"tiny_below", report->tiny_below},
        {"duplicate_images", report->duplicates.count},
        {"near_duplicate_images", report->near.count},
        {"empty_captions", report->empty_captions},
        {"captions", report->captions},
        {"repeated_captions", report->repeated_captions},
        {"repeated_pairs", report->repeated_pairs},
        {"over_context", report->over_context},
        {"context_length", report->context_length},
    };
    json_t *object = json_pack("{s:s}", "format", report->format);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        clip_json_set(&object, counts[i].key, json_integer(counts[i].value));
    return object;
}

json_t *clip_check_to_json(const struct clip_check_report *report, struct clip_error *error)
{
    json_t *object = json_of_counts(report);
    clip_json_set(&object, "caption_characters", json_of_histogram(&report->characters));
    if (report->context_length > 0)
        clip_json_set(&object, "caption_tokens", json_of_histogram(&report->tokens));
    clip_json_set(&object, "width", json_of_range(&report->width));
    clip_json_set(&object, "height", json_of_range(&report->height));
    clip_json_set(&object, "short_side", json_of_histogram(&report->short_side));
    clip_json_set(&object, "kilobytes", json_of_histogram(&report->kilobytes));
    clip_json_set(&object, "bad", json_of_bad(report));
    clip_json_set(&object, "duplicates", json_of_pairs(&report->duplicates));
    clip_json_set(&object, "near_duplicates", json_of_pairs(&report->near));
    if (report->against != NULL) clip_json_set(&object, "against", json_of_against(report));
    if (object == NULL) clip_fail(error, CLIP_ERR_MEMORY, "memory is short for the report as JSON");
    return object;
}

/* ---- Text ---- */
static void print_histogram(const struct clip_check_histogram *histogram, const char *what,
                            FILE *stream)
{
    int64_t most = 1;
    int first = 0, used = 0;
    if (histogram->measured == 0) return;
    for (int i = 0; i < CLIP_CHECK_BINS; i++) {
        if (histogram->bins[i] > most) most = histogram->bins[i];
        if (histogram->bins[i] > 0) used = i + 1;
    }
    fprintf(stream, "%s: %lld to %lld, median %lld\n", what, (long long)histogram->range.min,
            (long long)histogram->range.max, (long long)histogram->range.median);
    while (histogram->bins[first] == 0) first++;
    for (int i = first; i < used; i++) {
        int64_t low, high;
        clip_check_bin(histogram, i, &low, &high);
        int bar = (int)((double)histogram->bins[i] / (double)most * BAR + 0.5);
        fprintf(stream, "  %6lld-%-6lld %9lld %.*s\n", (long long)low, (long long)high,
                (long long)histogram->bins[i], bar, "########################################");
    }
}

/* A name or reason for `stream`. */
#define SHOWN(text) clip_shown_on(&(struct clip_shown){{0}}, stream, text)

static void print_more(int64_t left, FILE *stream)
{
    if (left > 0) fprintf(stream, "... and %lld more (all of them with --json)\n", (long long)left);
}

static void print_pairs(const struct clip_check_pairs *pairs, const char *same, const char *near,
                        FILE *stream)
{
    for (int64_t i = 0; i < pairs->count && i < PRINTED_PAIRS; i++)
        fprintf(stream, "%s: %s and %s\n", pairs->items[i].near ? near : same,
                SHOWN(pairs->items[i].name), SHOWN(pairs->items[i].first));
    print_more(pairs->count - PRINTED_PAIRS, stream);
}

void clip_check_print(const struct clip_check_report *report, FILE *stream)
{
    for (int64_t i = 0; i < report->bad_count && i < PRINTED_BAD; i++)
        fprintf(stream, "bad: %s\n", SHOWN(report->bad[i].reason));
    print_more(report->bad_count - PRINTED_BAD, stream);
    print_pairs(&report->duplicates, "same image", "", stream);
    print_pairs(&report->near, "", "near", stream);
    print_pairs(&report->leaks, "leak, same image", "leak, near", stream);
    fprintf(stream, "%s: %s, %lld good, %lld bad\n", report->format,
            CLIP_COUNT(report->samples, "sample"), (long long)report->good,
            (long long)report->bad_count);
    fprintf(stream, "images: %lld, of them %lld with the bytes of another\n",
            (long long)report->images, (long long)report->duplicates.count);
    fprintf(stream, "          %lld look like another, %lld are tiny (a side below %lld)\n",
            (long long)report->near.count, (long long)report->tiny, (long long)report->tiny_below);
    if (report->against != NULL)
        fprintf(stream, "against %s (%s, %lld bad): %s of it are here, and %s with its captions\n",
                SHOWN(report->against), CLIP_COUNT(report->against_samples, "sample"),
                (long long)report->against_bad, CLIP_COUNT(report->leaks.count, "image"),
                CLIP_COUNT(report->leaked_captions, "sample"));
    if (report->width.max > 0)
        fprintf(stream, "width %lld to %lld, median %lld; height %lld to %lld, median %lld\n",
                (long long)report->width.min, (long long)report->width.max,
                (long long)report->width.median, (long long)report->height.min,
                (long long)report->height.max, (long long)report->height.median);
    print_histogram(&report->short_side, "short side in pixels", stream);
    print_histogram(&report->kilobytes, "file size in kB", stream);
    if (report->captions + report->empty_captions > 0)
        fprintf(stream, "captions: %lld different, %lld repeated, %lld empty\n",
                (long long)report->captions, (long long)report->repeated_captions,
                (long long)report->empty_captions);
    if (report->repeated_pairs > 0)
        fprintf(stream, "samples whose image and caption came before: %lld\n",
                (long long)report->repeated_pairs);
    print_histogram(&report->characters, "caption length in characters", stream);
    print_histogram(&report->tokens, "caption length in tokens", stream);
    if (report->context_length > 0)
        fprintf(stream, "longer than a context of %s: %lld\n",
                CLIP_COUNT(report->context_length, "token"), (long long)report->over_context);
}
