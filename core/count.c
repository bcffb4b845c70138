#include "core/count.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool ends_so(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}

/* Writes the name of several that `one`, of n bytes, names one of. */
static void write_several(char *out, size_t capacity, const char *one, size_t n)
{
    const char *end = "s";
    if (n > 1 && one[n - 1] == 'y' && strchr("aeiou", one[n - 2]) == NULL) {
        n--;
        end = "ies";
    } else if (ends_so(one, n, "s") || ends_so(one, n, "x") || ends_so(one, n, "ch") ||
               ends_so(one, n, "sh")) {
        end = "es";
    }
    snprintf(out, capacity, "%.*s%s", (int)n, one, end);
}

const char *clip_counted_name(struct clip_counted *to, int64_t count, const char *one)
{
    const char *other = strstr(one, " or ");
    const size_t capacity = sizeof to->text / 2; /* of each of two names */
    if (count == 1) {
        snprintf(to->text, sizeof to->text, "%s", one);
    } else if (other == NULL) {
        write_several(to->text, sizeof to->text, one, strlen(one));
    } else {
        write_several(to->text, capacity - 4, one, (size_t)(other - one));
        size_t used = strlen(to->text);
        memcpy(to->text + used, " or ", 4);
        write_several(to->text + used + 4, capacity, other + 4, strlen(other + 4));
    }
    return to->text;
}

const char *clip_counted_write(struct clip_counted *to, int64_t count, const char *one)
{
    struct clip_counted name;
    clip_counted_name(&name, count, one);
    snprintf(to->text, sizeof to->text, "%lld %.64s", (long long)count, name.text);
    return to->text;
}

const char *clip_counted_word(int64_t count, const char *one, const char *several)
{
    return count == 1 ? one : several;
}
