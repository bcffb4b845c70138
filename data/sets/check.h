/* `clip_data check`: what a data set holds and what is wrong with it, before hours of training go
 * into it.
 *
 * Every image is read and decoded once (several captions of one image share it). Every caption is
 * read and, if there is a tokenizer, tokenized. Samples go through clip_parallel_for; the report
 * does not depend on the number of threads. It is shown as text, JSON or one HTML file, and the
 * samples without faults can be written as a clean list. */
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
    const struct clip_tokenizer *tokenizer; /* NULL: lengths are counted only in characters */
    enum clip_text_cleaning cleaning;
    int64_t context_length;          /* captions with more tokens are counted; 0: 77 */
    struct clip_image_limits limits; /* max_pixels 0: 100000000 */
    int64_t tiny;                    /* an image is tiny if its short side is below this; 0: 32 */
    bool images_only;                /* captions are not read */
    bool quiet;                      /* no progress on stderr */
};

struct clip_check_range { /* all 0 if nothing was measured */
    int64_t min, median, max;
};

enum { CLIP_CHECK_BINS = 12 };
/* bin b counts values in [b * width, (b + 1) * width); the last one also counts all larger
 * values */
struct clip_check_histogram {
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
    /* an image, and an earlier one (or one of the other set) that it is like */
    const char *name, *first;
    int64_t sample, first_sample;
    bool near; /* it looks like the other; false: it has the same bytes */
};
struct clip_check_pairs {
    struct clip_check_pair *items;
    int64_t count, capacity;
};

/* What is wrong with a sample; bits. */
enum clip_check_verdict {
    CLIP_CHECK_BAD = 1,  /* it cannot be read */
    CLIP_CHECK_TINY = 2, /* its image's short side is below `tiny` */
    /* an earlier image with another name has the same bytes */
    CLIP_CHECK_COPY = 4,
    CLIP_CHECK_NEAR = 8,    /* an earlier image looks like this one */
    CLIP_CHECK_REPEAT = 16, /* an earlier sample has the same image and caption */
    CLIP_CHECK_LEAK = 32,   /* the other set has this image, or one that looks like it */
};

struct clip_check_report {
    const char *format; /* the source's: "csv", "class folders", ... */
    int64_t samples, good;
    unsigned char *verdicts;    /* [samples] bits of enum clip_check_verdict */
    struct clip_check_bad *bad; /* [bad_count] in the samples' order */
    int64_t bad_count, bad_capacity;
    int64_t images;           /* how many different names; bad images included */
    int64_t tiny, tiny_below; /* images with a short side below tiny_below */
    /* same bytes under another name: one pair for each image beyond the first */
    struct clip_check_pairs duplicates;
    struct clip_check_pairs near; /* other bytes, but they look like an earlier image */
    int64_t empty_captions; /* captions that are empty or only spaces: these samples are bad, too */
    int64_t captions;       /* how many different texts the readable captions have */
    int64_t repeated_captions; /* samples whose caption equals an earlier one's to the byte */
    int64_t repeated_pairs;    /* samples whose caption equals an earlier sample's to the byte */
    int64_t over_context;      /* captions of more than context_length tokens, both ends counted */
    int64_t context_length;    /* the limit for over_context; 0 without a tokenizer */
    struct clip_check_histogram characters, tokens; /* tokens count both ends */
    /* of good images; kilobytes are bytes / 1024 */
    struct clip_check_histogram short_side, kilobytes;
    struct clip_check_range width, height; /* of good images, pixels */
    /* compared with another set */
    const char *against; /* the other set's name; NULL: there was none */
    int64_t against_samples, against_bad;
    /* images of this set that are in the other set, or look like one there */
    struct clip_check_pairs leaks;
    int64_t leaked_captions; /* samples whose caption the other set has */
    struct clip_arena arena; /* holds names and reasons */
};

/* Checks a data set. It fails only if memory is short: what is wrong with samples is in the report.
 * `against`, with its name, may be NULL; it is another set, of which nothing should be in this one.
 * The report borrows names from both sets: release it before them. Start from {0}. */
clip_status clip_check_run(struct clip_check_report *out, const struct clip_dataset *dataset,
                           const struct clip_dataset *against, const char *against_name,
                           const struct clip_check_options *options, struct clip_error *error);
void clip_check_release(struct clip_check_report *report);

/* The report as one object: samples, good, bad_count, bad [{sample, name, reason}], images, tiny,
 * tiny_below, duplicate_images, duplicates [[name, first]], near_duplicate_images, near_duplicates,
 * empty_captions, captions, repeated_captions, repeated_pairs, caption_characters, caption_tokens,
 * short_side and kilobytes {min, median, max, bin_width, bins}, width and height {min, median,
 * max}, over_context, context_length; with another set also `against` {name, samples, bad_count,
 * leak_count, leaks [{name, other, near}], leaked_captions}. The caller must json_decref it; NULL
 * with *error filled. */
json_t *clip_check_to_json(const struct clip_check_report *report, struct clip_error *error);
/* Prints the report for people. Write errors stay in ferror(stream). */
void clip_check_print(const struct clip_check_report *report, FILE *stream);
/* Writes the same as one HTML file, with small copies of the images that are alike. `name` is what
 * the person calls the data set. */
clip_status clip_check_write_html(const char *path, const struct clip_check_report *report,
                                  const char *name, const struct clip_dataset *dataset,
                                  const struct clip_dataset *against, struct clip_error *error);

struct clip_check_fixed {
    int64_t kept;
    /* how many are left out; each sample counts under its first reason, in this order */
    int64_t bad, tiny, copies, near, repeats, leaks;
};
/* Can a clean list of the set be written to `path`? A suffix other than .csv and .tsv, and a set
 * whose images have no paths (a tar, a packed file), are CLIP_ERR_USAGE with what to do instead.
 * `data` is the set's name. Ask before the pass over all images. */
clip_status clip_check_can_fix(const char *path, const struct clip_dataset *dataset,
                               const char *data, struct clip_error *error);
/* Writes the samples without a verdict as a csv or, by its suffix, a tsv, atomically. Absolute
 * paths stay as they were; others become relative to the new file's folder. */
clip_status clip_check_fix(const char *path, const struct clip_check_report *report,
                           const struct clip_dataset *dataset, bool images_only,
                           struct clip_check_fixed *out, struct clip_error *error);

#endif
