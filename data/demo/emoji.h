/* The emoji demo set: two artists' images of the same eleven hundred ideas, with names and
 * keywords.
 *
 * The images come from Debian's packages ruby-gemojione (EmojiOne 3 and its index of names and
 * keywords) and ruby-tanuki-emoji (Noto Emoji). Training uses only the first artist; the test asks
 * whether what was learnt holds for the other one. Flags and skin tones are left out.
 *
 * One drawing per idea is little to learn from, so each is written in many variants: turned,
 * scaled, bent, recoloured, on white and on other backgrounds. A variant is a pure function of
 * (seed, idea, variant). */
#ifndef CLIP_DATA_DEMO_EMOJI_H
#define CLIP_DATA_DEMO_EMOJI_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/status.h"
#include "data/image/image.h"

/* ---- Packages ---- */

struct clip_emoji_file { /* a file from a package */
    char *name;          /* its path in the package, "./usr/share/..." */
    struct clip_buffer bytes;
};

struct clip_emoji_package {
    struct clip_emoji_file *files; /* [count] sorted by name */
    int64_t count, capacity;
};

/* Reads the .deb at `path` into memory: the images, index.json and copyright files of its data
 * archive. Nothing is installed, and no file of the package is written to disk. Damaged, foreign or
 * absurdly large packages are refused with a sentence. */
clip_status clip_emoji_package_read(const char *path, struct clip_emoji_package *out,
                                    struct clip_error *error);
/* The same from memory; `name` is for messages. */
clip_status clip_emoji_package_parse(const void *bytes, size_t n, const char *name,
                                     struct clip_emoji_package *out, struct clip_error *error);
void clip_emoji_package_release(struct clip_emoji_package *package);
/* The file whose path ends with `suffix`, or NULL. */
const struct clip_emoji_file *clip_emoji_package_find(const struct clip_emoji_package *package,
                                                      const char *suffix);
/* Finds the package file NAME_*.deb in `folder`. If there is none and `fetch` is set, `apt-get
 * download NAME` is first run in that folder. The caller must free() the path; NULL with *error
 * filled. */
char *clip_emoji_package_get(const char *folder, const char *name, bool fetch, bool quiet,
                             struct clip_error *error);

/* ---- Images ---- */

enum { CLIP_EMOJI_MAX_SIZE = 512 }; /* the largest side that is drawn */

struct clip_emoji_image { /* 8-bit RGBA, not premultiplied */
    int64_t width, height;
    uint8_t *rgba;
};
/* Decodes a PNG with its transparency, which clip_image_decode drops. `name` is for messages. Sides
 * may be up to 1024. */
clip_status clip_emoji_image_decode(const struct clip_buffer *png, const char *name,
                                    struct clip_emoji_image *out, struct clip_error *error);
void clip_emoji_image_release(struct clip_emoji_image *image);
/* Puts the image on white and scales it to size x size as Pillow would (bicubic): rgb
 * [size,size,3]. */
clip_status clip_emoji_image_plain(const struct clip_emoji_image *image, int64_t size, uint8_t *rgb,
                                   struct clip_error *error);
/* Draws a variant: turned, scaled, stretched, shifted and bent, with changed colours, on white or
 * another colour. */
clip_status clip_emoji_image_vary(const struct clip_emoji_image *image, struct clip_rng *rng,
                                  int64_t size, uint8_t *rgb, struct clip_error *error);

/* ---- The set ---- */

struct clip_emoji_idea {
    const char *name; /* "dog face"; each idea has another one */
    const char *key;  /* the short name, with spaces for '_': "dog" */
    const char *code; /* "1F436": code points in upper-case hexadecimal, joined by '-' */
    const char **keywords;
    int64_t keyword_count;
    int64_t first, second; /* the two artists' images, as numbers of files in their packages */
};

struct clip_emoji_ideas {
    struct clip_emoji_idea *ideas;
    int64_t count, capacity;
    struct clip_arena arena;
};
/* Lists the ideas that both packages have an image of, in the index's order. */
clip_status clip_emoji_ideas_read(const struct clip_emoji_package *first,
                                  const struct clip_emoji_package *second,
                                  struct clip_emoji_ideas *out, struct clip_error *error);
void clip_emoji_ideas_release(struct clip_emoji_ideas *ideas);
/* Appends one caption: the name, the name with keywords, the short name, or only keywords. */
clip_status clip_emoji_caption(const struct clip_emoji_idea *idea, struct clip_rng *rng,
                               struct clip_buffer *out, struct clip_error *error);

struct clip_emoji_options {
    const char *output;
    const char
        *debs; /* a folder with the two .deb files, or NULL: fetch them into output/packages */
    int64_t image_size; /* side in pixels, 16 to CLIP_EMOJI_MAX_SIZE */
    int64_t variants;   /* training images per idea, 1 to 1000 */
    uint64_t seed;
    bool quiet;
};

struct clip_emoji_counts {
    int64_t ideas, train_pairs, val_pairs, test_pairs;
};

/* Writes into options->output: train/CODE/NN.png and train.csv (first artist), val.csv (two more
 * variants of each), test/CODE/0.png and test.csv (second artist, the idea's name as caption),
 * classes.txt and templates.txt for naming test/ among all ideas, tokenizer.txt, and the two
 * packages' copyright files. The csv files come last. */
clip_status clip_emoji_write(const struct clip_emoji_options *options,
                             struct clip_emoji_counts *counts, struct clip_error *error);

#endif
