/* A choice: one of a few words, as people type them and as files hold them, for each value of an
 * enum.
 *
 * An enum's words stand in one function, in the room that owns the enum:
 *     const char *clip_resize_mode_name(int mode);    "shortest", "longest", ...
 * It gives NULL for a number that is no value of the enum. The configuration, the programs' options
 * and the descriptions in JSON read and list the words through that function. */
#ifndef CLIP_CORE_CHOICE_H
#define CLIP_CORE_CHOICE_H

#include <stddef.h>

typedef const char *clip_name_fn(int value); /* its values count from 0 */

/* What such a function returns: names[value], or NULL where `names` has no such entry. */
#define CLIP_NAME_OF(names, value)                                                                 \
    ((value) >= 0 && (size_t)(value) < sizeof(names) / sizeof *(names) ? (names)[value] : NULL)

/* The value that `word` stands for; -1 where it stands for none. */
int clip_choice_find(clip_name_fn *name, const char *word);
/* All words, as in "shortest|longest|squash" with "|" as `between`; written to `out`, which has
 * room for n bytes, and returned. */
const char *clip_choice_list(clip_name_fn *name, const char *between, char *out, size_t n);

#endif
