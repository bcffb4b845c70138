/* `clip_data check`: what a data set holds and what is wrong with it, before hours go into it.
 *
 * Every picture is read and decoded once (several captions of one picture share it), every caption
 * is read and, where there is a tokenizer, tokenized. Samples go through clip_parallel_for; the
 * report does not depend on the number of threads. */
#ifndef CLIP_DATA_CHECK_H
#define CLIP_DATA_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/memory.h"
#include "core/status.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/tokenizer.h"

struct clip_check_options {
    const struct clip_tokenizer *tokenizer; /* NULL: lengths in characters alone */
    enum clip_text_cleaning cleaning;
    int64_t context_length; /* captions with more tokens are counted; 0: 77 */
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    bool images_only; /* captions are not looked at */
    bool quiet;       /* no progress on stderr */
};

struct clip_check_range { /* 0 where nothing was measured */
    int64_t min, median, max;
};

enum { CLIP_CHECK_BINS = 12 };
struct clip_check_histogram { /* bin b counts values in [b * width, (b + 1) * width), the last one
                                 everything from there on */
    int64_t width, bins[CLIP_CHECK_BINS];
    int64_t measured;
    struct clip_check_range range;
};

struct clip_check_bad {
    int64_t sample;
    const char *name;   /* the picture's path, or its name inside the source */
    const char *reason; /* the whole sentence */
};

struct clip_check_report {
    const char *format; /* the source's: "csv", "class folders", ... */
    int64_t samples, good;
    struct clip_check_bad *bad; /* [bad_count] in the samples' order */
    int64_t bad_count, bad_capacity;
    int64_t pictures;           /* different ones by name, bad ones too */
    int64_t duplicate_pictures; /* beyond the first of each content: same bytes, another name */
    const char **duplicates;    /* [2 * duplicate_pictures] a name and the first with its bytes */
    int64_t empty_captions;     /* nothing or only spaces: these samples are bad too */
    int64_t captions;           /* different texts among the captions that can be read */
    int64_t repeated_captions;  /* samples whose caption an earlier sample has, byte for byte */
    int64_t over_context;       /* captions longer than context_length tokens, both ends counted */
    int64_t context_length;     /* what was counted against; 0 without a tokenizer */
    struct clip_check_histogram characters, tokens; /* tokens with both ends */
    struct clip_check_range width, height;          /* of good pictures, pixels */
    struct clip_arena arena;                        /* names and reasons */
};

/* Fails only when memory is short: what is wrong with samples is the report. Borrows names from the
 * data set: release the report first. Start from {0}. */
clip_status clip_check_run(struct clip_check_report *out, const struct clip_dataset *dataset,
                           const struct clip_check_options *options, struct clip_error *error);
void clip_check_release(struct clip_check_report *report);

/* One object: samples, good, bad_count, bad [{sample, name, reason}], pictures, duplicate_pictures,
 * duplicates [[name, first]], empty_captions, captions, repeated_captions, caption_characters and
 * caption_tokens {min, median, max, bin_width, bins}, width and height {min, median, max},
 * over_context, context_length. json_decref it; NULL with *error filled. */
json_t *clip_check_to_json(const struct clip_check_report *report, struct clip_error *error);
/* For a person to read. Write errors stay in ferror(stream). */
void clip_check_print(const struct clip_check_report *report, FILE *stream);

#endif
