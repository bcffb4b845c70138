/* What the check_*.c files share: what is kept of each sample, and how two images are compared. */
#ifndef CLIP_DATA_SETS_CHECK_INTERNAL_H
#define CLIP_DATA_SETS_CHECK_INTERNAL_H

#include "data/sets/check.h"

/* How an image looks, in 80 bytes. Two images are near if at most CLIP_LOOK_BITS of the 256
 * comparisons differ, and no mean colour by more than CLIP_LOOK_COLOUR of 255: the same image
 * scaled, encoded again, or cropped by one or two percent. Mirrored and turned images are not
 * near. */
struct clip_look {
    uint64_t bits[4];   /* is each of 16 x 16 places clearly darker than its right neighbour? (a
                         * difference hash of the image scaled to 17 x 16) */
    uint8_t colour[48]; /* the means of 4 x 4 fields, RGB */
};
enum { CLIP_LOOK_BITS = 24, CLIP_LOOK_COLOUR = 30 };

clip_status clip_look_of(const struct clip_image *image, struct clip_look *out,
                         struct clip_error *error);
bool clip_look_near(const struct clip_look *a, const struct clip_look *b);
/* first[i] = the smallest j < i that is near to i, or -1. If more than a thousand images agree in
 * one part of the comparisons (for example, all of one plain colour), each is compared only with a
 * thousand of its neighbours. first [n]. */
clip_status clip_looks_match(const struct clip_look *looks, int64_t n, int64_t *first,
                             struct clip_error *error);
/* found[i] = the smallest number of a look in `others` that is near to looks[i], or -1. found
 * [n]. */
clip_status clip_looks_find(const struct clip_look *looks, int64_t n,
                            const struct clip_look *others, int64_t m, int64_t *found,
                            struct clip_error *error);

struct clip_check_fact {    /* what is kept of a sample; 0 if it was not measured */
    uint64_t content, text; /* hashes of the image's bytes and of the caption's */
    int64_t reader; /* the sample that reads this one's image; -1: this one's caption is bad */
    int64_t bytes;  /* bytes of the image's file */
    int32_t width, height;
    int32_t characters, tokens;
    bool bad, empty;
    struct clip_look look;
};

/* Fills in the report's counts, lists and verdicts. */
clip_status clip_check_count(struct clip_check_report *report, const struct clip_check_fact *facts,
                             const struct clip_dataset *dataset,
                             const struct clip_check_options *options, struct clip_error *error);
/* Finds what the set shares with `other`, whose facts these are. */
clip_status clip_check_leaks(struct clip_check_report *report, const struct clip_check_fact *facts,
                             const struct clip_dataset *dataset, const struct clip_dataset *other,
                             const struct clip_check_fact *others, struct clip_error *error);

/* The report's texts for people, which text and HTML share. */
void clip_check_bin(const struct clip_check_histogram *histogram, int bin, int64_t *low,
                    int64_t *high);

#endif
