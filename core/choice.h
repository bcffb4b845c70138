/* A choice: each value of an enum has a word, which people type and files hold.
 *
 * The words of an enum are in one function, in the room that owns the enum:
 *     const char *clip_resize_mode_name(int mode);    "shortest", "longest", ...
 * It returns NULL for a number that is no value of the enum. The configuration, the programs'
 * options and the descriptions in JSON read and list the words through that function. */
#ifndef CLIP_CORE_CHOICE_H
#define CLIP_CORE_CHOICE_H

#include <stddef.h>

typedef const char *clip_name_fn(int value); /* the values count from 0 */

/* What such a function returns: names[value], or NULL if `names` has no such entry. */
#define CLIP_NAME_OF(names, value)                                                                 \
    ((value) >= 0 && (size_t)(value) < sizeof(names) / sizeof *(names) ? (names)[value] : NULL)

/* The value that `word` stands for; -1 if it stands for none. */
int clip_choice_find(clip_name_fn *name, const char *word);
/* Writes all words with `between` between them, as in "shortest|longest|squash", to `out`, which
 * has room for n bytes. Returns `out`. */
const char *clip_choice_list(clip_name_fn *name, const char *between, char *out, size_t n);

/* Levenshtein distance, by which the nearest name is found to a wrong one; 99 where b has more than
 * 62 bytes. */
int clip_name_distance(const char *a, const char *b);

#endif
