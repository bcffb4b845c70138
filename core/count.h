/* A number with the name of what is counted: "1 image", "2 images". */
#ifndef CLIP_CORE_COUNT_H
#define CLIP_CORE_COUNT_H

#include <stdint.h>

struct clip_counted {
    char text[96];
};

/* Writes the count and the name, which is given for one of them ("bad sample") and gets the ending
 * of several unless the count is 1: -s, -es behind a hiss (classes), -ies for -y behind a consonant
 * (entries); both names in "image or folder". Returns to->text. */
const char *clip_counted_write(struct clip_counted *to, int64_t count, const char *one);

/* The same, in the text of a call: clip_say("%s read", CLIP_COUNT(n, "image")). What it returns
 * lasts until the block ends. */
#define CLIP_COUNT(count, one)                                                                     \
    clip_counted_write(&(struct clip_counted){{0}}, (int64_t)(count), one)

/* The name alone, without the count: "image", "images". */
const char *clip_counted_name(struct clip_counted *to, int64_t count, const char *one);

/* The word for one where the count is 1, else that for several: "was" and "were". */
const char *clip_counted_word(int64_t count, const char *one, const char *several);

#endif
