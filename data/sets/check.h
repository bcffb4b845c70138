/* `clip_data check`: what a data set holds and what is wrong with it, before hours go into it.
 *
 * Every image is read and decoded once (several captions of one image share it), every caption
 * is read and, where there is a tokenizer, tokenized. Samples go through clip_parallel_for; the
 * report does not depend on the number of threads. The report is shown as text, JSON or one HTML
 * file, and the samples that it finds nothing wrong with can be written as a clean list. */
#ifndef CLIP_DATA_SETS_CHECK_H
#define CLIP_DATA_SETS_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/memory.h"
#include "core/status.h"
#include "data/image/image.h"
#include "data/sets/dataset.h"
#include "data/text/tokenizer.h"

struct clip_check_options {
    const struct clip_tokenizer *tokenizer; /* NULL: lengths in characters alone */
    enum clip_text_cleaning cleaning;
    int64_t context_length;          /* captions with more tokens are counted; 0: 77 */
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    int64_t tiny;                    /* an image whose short side is below is tiny; 0: 32 */
    bool images_only;                /* captions are not looked at */
    bool quiet;                      /* no progress on stderr */
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
    const char *name;   /* the image's path, or its name inside the source */
    const char *reason; /* the whole sentence */
};

struct clip_check_pair {
    const char *name, *first; /* an image, and the earlier one (or the other set's) it is like */
    int64_t sample, first_sample;
    bool near; /* it looks like it; false: it has its bytes */
};
struct clip_check_pairs {
    struct clip_check_pair *items;
    int64_t count, capacity;
};

enum clip_check_verdict {                      /* what is wrong with a sample; bits */
                          CLIP_CHECK_BAD = 1,  /* it cannot be read */
                          CLIP_CHECK_TINY = 2, /* its image's short side is below `tiny` */
                          CLIP_CHECK_COPY = 4, /* another name has its image's bytes, earlier */
                          CLIP_CHECK_NEAR = 8, /* an earlier image looks like its own */
                          CLIP_CHECK_REPEAT =
                              16, /* an earlier sample has its image and its caption */
                          CLIP_CHECK_LEAK =
                              32, /* its image, or one that looks like it, is in the other set */
};

struct clip_check_report {
    const char *format; /* the source's: "csv", "class folders", ... */
    int64_t samples, good;
    unsigned char *verdicts;    /* [samples] bits of enum clip_check_verdict */
    struct clip_check_bad *bad; /* [bad_count] in the samples' order */
    int64_t bad_count, bad_capacity;
    int64_t images;                     /* different ones by name, bad ones too */
    int64_t tiny, tiny_below;           /* images with a short side below tiny_below */
    struct clip_check_pairs duplicates; /* same bytes, another name; a pair each beyond the first */
    struct clip_check_pairs near;       /* other bytes, but it looks like an earlier one */
    int64_t empty_captions;             /* nothing or only spaces: these samples are bad too */
    int64_t captions;                   /* different texts among the captions that can be read */
    int64_t repeated_captions; /* samples whose caption an earlier sample has, byte for byte */
    int64_t repeated_pairs;    /* samples whose caption and image an earlier sample has */
    int64_t over_context;      /* captions longer than context_length tokens, both ends counted */
    int64_t context_length;    /* what was counted against; 0 without a tokenizer */
    struct clip_check_histogram characters, tokens;    /* tokens with both ends */
    struct clip_check_histogram short_side, kilobytes; /* of good images; bytes / 1024 */
    struct clip_check_range width, height;             /* of good images, pixels */
    /* against another set */
    const char *against; /* its name; NULL: there was none */
    int64_t against_samples, against_bad;
    struct clip_check_pairs leaks; /* images of this set that are, or look like, one of that */
    int64_t leaked_captions;       /* samples whose caption is there too */
    struct clip_arena arena;       /* names and reasons */
};

/* Fails only when memory is short: what is wrong with samples is the report. `against`, with its
 * name, may be NULL: another set, of which nothing should be in this one. Borrows names from both
 * sets: release the report first. Start from {0}. */
clip_status clip_check_run(struct clip_check_report *out, const struct clip_dataset *dataset,
                           const struct clip_dataset *against, const char *against_name,
                           const struct clip_check_options *options, struct clip_error *error);
void clip_check_release(struct clip_check_report *report);

/* One object: samples, good, bad_count, bad [{sample, name, reason}], images, tiny, tiny_below,
 * duplicate_images, duplicates [[name, first]], near_duplicate_images, near_duplicates,
 * empty_captions, captions, repeated_captions, repeated_pairs, caption_characters, caption_tokens,
 * short_side and kilobytes {min, median, max, bin_width, bins}, width and height {min, median,
 * max}, over_context, context_length; with another set `against` {name, samples, bad_count,
 * leak_count, leaks [{name, other, near}], leaked_captions}. json_decref it; NULL with *error
 * filled. */
json_t *clip_check_to_json(const struct clip_check_report *report, struct clip_error *error);
/* For a person to read. Write errors stay in ferror(stream). */
void clip_check_print(const struct clip_check_report *report, FILE *stream);
/* The same as one HTML file, with small copies of the images that are alike. `name` is the data
 * set's as the person calls it. */
clip_status clip_check_write_html(const char *path, const struct clip_check_report *report,
                                  const char *name, const struct clip_dataset *dataset,
                                  const struct clip_dataset *against, struct clip_error *error);

struct clip_check_fixed {
    int64_t kept;
    int64_t bad, tiny, copies, near, repeats, leaks; /* left out; each sample under its first
                                                        reason, in this order */
};
/* Can a clean list of the set be written to `path`? Another suffix than .csv and .tsv, and a set
 * whose images have no paths (a tar, a packed file), are CLIP_ERR_USAGE with what to do instead.
 * `data` is the set's name. Ask before the pass over all images. */
clip_status clip_check_can_fix(const char *path, const struct clip_dataset *dataset,
                               const char *data, struct clip_error *error);
/* Writes the samples without a verdict as a csv or, by its suffix, tsv, atomically. Paths in it are
 * as they were where they are absolute, else relative to the new file's folder. */
clip_status clip_check_fix(const char *path, const struct clip_check_report *report,
                           const struct clip_dataset *dataset, bool images_only,
                           struct clip_check_fixed *out, struct clip_error *error);

#endif
