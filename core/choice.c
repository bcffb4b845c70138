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

int clip_name_distance(const char *a, const char *b)
{
    int row[64], m = (int)strlen(b);
    if (m > 62) return 99;
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int up = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
            int best = up < row[j - 1] ? up + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
            diagonal = up;
        }
    }
    return row[m];
}
