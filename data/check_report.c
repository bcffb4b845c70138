/* A check's report as JSON and as text. */
#include <string.h>

#include "data/check.h"

enum { PRINTED_BAD = 200, PRINTED_DUPLICATES = 20, BAR = 40 };

/* Names may hold any bytes, JSON holds UTF-8: what is none becomes '?'. NULL: memory is short. */
static json_t *text_of(const char *bytes)
{
    json_t *text = json_string(bytes);
    if (text != NULL) return text;
    struct clip_buffer copy = {0};
    struct clip_error error;
    if (clip_buffer_append(&copy, bytes, strlen(bytes), &error) != CLIP_OK) return NULL;
    for (size_t i = 0; i < copy.size; i++)
        if ((unsigned char)copy.data[i] >= 0x80) copy.data[i] = '?';
    text = json_string(copy.data);
    clip_buffer_release(&copy);
    return text;
}

static json_t *json_of_range(const struct clip_check_range *range)
{
    return json_pack("{s:I, s:I, s:I}", "min", (json_int_t)range->min, "median",
                     (json_int_t)range->median, "max", (json_int_t)range->max);
}

static json_t *json_of_histogram(const struct clip_check_histogram *histogram)
{
    json_t *object = json_of_range(&histogram->range);
    json_t *bins = json_array();
    bool good = object != NULL && bins != NULL;
    for (int i = 0; good && i < CLIP_CHECK_BINS; i++)
        good = json_array_append_new(bins, json_integer(histogram->bins[i])) == 0;
    good = good && json_object_set_new(object, "bin_width", json_integer(histogram->width)) == 0;
    good = good && json_object_set(object, "bins", bins) == 0;
    json_decref(bins);
    if (good) return object;
    json_decref(object);
    return NULL;
}

static json_t *json_of_bad(const struct clip_check_report *report)
{
    json_t *list = json_array();
    for (int64_t i = 0; list != NULL && i < report->bad_count; i++) {
        const struct clip_check_bad *bad = &report->bad[i];
        json_t *item = json_pack("{s:I, s:o, s:o}", "sample", (json_int_t)bad->sample, "name",
                                 text_of(bad->name), "reason", text_of(bad->reason));
        if (item != NULL && json_array_append_new(list, item) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *json_of_duplicates(const struct clip_check_report *report)
{
    json_t *list = json_array();
    for (int64_t i = 0; list != NULL && i < report->duplicate_pictures; i++) {
        json_t *item = json_pack("[o, o]", text_of(report->duplicates[2 * i]),
                                 text_of(report->duplicates[2 * i + 1]));
        if (item != NULL && json_array_append_new(list, item) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

json_t *clip_check_to_json(const struct clip_check_report *report, struct clip_error *error)
{
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "format", report->format,
        "samples", (json_int_t)report->samples, "good", (json_int_t)report->good, "bad_count",
        (json_int_t)report->bad_count, "pictures", (json_int_t)report->pictures,
        "duplicate_pictures", (json_int_t)report->duplicate_pictures, "empty_captions",
        (json_int_t)report->empty_captions, "captions", (json_int_t)report->captions,
        "repeated_captions", (json_int_t)report->repeated_captions, "over_context",
        (json_int_t)report->over_context, "context_length", (json_int_t)report->context_length);
    bool good = object != NULL;
    good = good && json_object_set_new(object, "caption_characters",
                                       json_of_histogram(&report->characters)) == 0;
    if (report->context_length > 0)
        good = good && json_object_set_new(object, "caption_tokens",
                                           json_of_histogram(&report->tokens)) == 0;
    good = good && json_object_set_new(object, "width", json_of_range(&report->width)) == 0;
    good = good && json_object_set_new(object, "height", json_of_range(&report->height)) == 0;
    good = good && json_object_set_new(object, "bad", json_of_bad(report)) == 0;
    good = good && json_object_set_new(object, "duplicates", json_of_duplicates(report)) == 0;
    if (good) return object;
    json_decref(object);
    clip_fail(error, CLIP_ERR_MEMORY, "memory is short for the report as JSON");
    return NULL;
}

/* Text ----------------------------------------------------------------------------------------- */
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
    fprintf(stream, "caption length in %s: %lld to %lld, median %lld\n", what,
            (long long)histogram->range.min, (long long)histogram->range.max,
            (long long)histogram->range.median);
    while (histogram->bins[first] == 0) first++;
    for (int i = first; i < used; i++) {
        int64_t low = i * histogram->width, high = low + histogram->width - 1;
        if (i == CLIP_CHECK_BINS - 1 && histogram->range.max > high) high = histogram->range.max;
        int bar = (int)((double)histogram->bins[i] / (double)most * BAR + 0.5);
        fprintf(stream, "  %6lld-%-6lld %9lld %.*s\n", (long long)low, (long long)high,
                (long long)histogram->bins[i], bar, "########################################");
    }
}

void clip_check_print(const struct clip_check_report *report, FILE *stream)
{
    for (int64_t i = 0; i < report->bad_count && i < PRINTED_BAD; i++)
        fprintf(stream, "bad: %s\n", report->bad[i].reason);
    if (report->bad_count > PRINTED_BAD)
        fprintf(stream, "... and %lld more (all of them with --json)\n",
                (long long)(report->bad_count - PRINTED_BAD));
    for (int64_t i = 0; i < report->duplicate_pictures && i < PRINTED_DUPLICATES; i++)
        fprintf(stream, "same picture: %s and %s\n", report->duplicates[2 * i],
                report->duplicates[2 * i + 1]);
    if (report->duplicate_pictures > PRINTED_DUPLICATES)
        fprintf(stream, "... and %lld more (all of them with --json)\n",
                (long long)(report->duplicate_pictures - PRINTED_DUPLICATES));
    fprintf(stream, "%s: %lld samples, %lld good, %lld bad\n", report->format,
            (long long)report->samples, (long long)report->good, (long long)report->bad_count);
    fprintf(stream, "pictures: %lld, of them %lld with the bytes of another\n",
            (long long)report->pictures, (long long)report->duplicate_pictures);
    if (report->width.max > 0)
        fprintf(stream, "width %lld to %lld, median %lld; height %lld to %lld, median %lld\n",
                (long long)report->width.min, (long long)report->width.max,
                (long long)report->width.median, (long long)report->height.min,
                (long long)report->height.max, (long long)report->height.median);
    if (report->captions + report->empty_captions > 0)
        fprintf(stream, "captions: %lld different, %lld repeated, %lld empty\n",
                (long long)report->captions, (long long)report->repeated_captions,
                (long long)report->empty_captions);
    print_histogram(&report->characters, "characters", stream);
    print_histogram(&report->tokens, "tokens", stream);
    if (report->context_length > 0)
        fprintf(stream, "longer than a context of %lld tokens: %lld\n",
                (long long)report->context_length, (long long)report->over_context);
}
