#include "core/choice.h"

#include <stdio.h>
#include <string.h>

int clip_choice_find(clip_name_fn *name, const char *word)
{
    for (int value = 0; name(value) != NULL; value++)
        if (strcmp(name(value), word) == 0) return value;
    return -1;
}

const char *clip_choice_list(clip_name_fn *name, const char *between, char *out, size_t n)
{
    size_t used = 0;
    out[0] = '\0';
    for (int value = 0; name(value) != NULL && used < n; value++) {
        int added = snprintf(out + used, n - used, "%s%s", value > 0 ? between : "", name(value));
        used += added > 0 ? (size_t)added : 0;
    }
    return out;
}
