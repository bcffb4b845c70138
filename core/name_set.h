/* Strings to numbers: open addressing over strings that somebody else keeps. */
#ifndef CLIP_CORE_NAME_SET_H
#define CLIP_CORE_NAME_SET_H

#include <stdint.h>

#include "core/status.h"

struct clip_name_set {  /* start from {0} */
    const char **names; /* [slots], NULL where a slot is empty */
    int64_t *numbers;
    int64_t count, slots;
};
void clip_name_set_release(struct clip_name_set *set);
/* Borrows `name`. Where it is there already nothing changes, and *found is its number; else *found
 * is `number`, its number from now on. */
clip_status clip_name_set_add(struct clip_name_set *set, const char *name, int64_t number,
                              int64_t *found, struct clip_error *error);
int64_t clip_name_set_find(const struct clip_name_set *set, const char *name); /* -1: not there */

#endif
