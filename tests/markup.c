#include "tests/markup.h"

#include <ctype.h>
#include <string.h>

#include "tests/support.h"

enum { DEPTH = 64, NAME = 24 };

static bool is_void(const char *tag)
{
    static const char *const names[] = {"meta", "br", "img", "link", "hr", "col", "input"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(tag, names[i]) == 0) return true;
    return false;
}

/* The end of the tag that begins at `at`: its '>', outside quotes. */
static const char *tag_end(const char *name, const char *at)
{
    char quote = '\0';
    for (const char *p = at; *p != '\0'; p++) {
        if (quote != '\0') {
            if (*p == quote)
                quote = '\0';
            else if (*p == '<')
                test_fail("%s: '<' inside an attribute: %.40s", name, at);
        } else if (*p == '"' || *p == '\'')
            quote = *p;
        else if (*p == '=' && p[1] != '"' && p[1] != '\'')
            test_fail("%s: an attribute without quotes: %.40s", name, at);
        else if (*p == '>')
            return p;
    }
    test_fail("%s: a tag without an end: %.40s", name, at);
}

static void check_entity(const char *name, const char *at)
{
    const char *p = at + 1;
    if (*p == '#') p++;
    while (isalnum((unsigned char)*p)) p++;
    if (*p != ';' || p == at + 1) test_fail("%s: a bare '&': %.40s", name, at);
}

void markup_check(const char *name, const char *text)
{
    char open[DEPTH][NAME], tag[NAME];
    int depth = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '&') check_entity(name, at);
        if (*at == '>') test_fail("%s: a bare '>': %.40s", name, at);
        if (*at != '<') continue;
        bool closes = at[1] == '/';
        const char *word = at + 1 + closes, *end = tag_end(name, at);
        size_t n = strcspn(word, " \t\n/>");
        if (n == 0 || n >= NAME) test_fail("%s: no tag: %.40s", name, at);
        memcpy(tag, word, n);
        tag[n] = '\0';
        if (closes) {
            if (depth == 0 || strcmp(open[depth - 1], tag) != 0)
                test_fail("%s: </%s> closes <%s>", name, tag, depth > 0 ? open[depth - 1] : "");
            depth--;
        } else if (end[-1] != '/' && tag[0] != '!' && !is_void(tag)) {
            if (depth == DEPTH) test_fail("%s: nested too deep", name);
            memcpy(open[depth++], tag, n + 1);
        }
        at = end;
        if (!closes && strcmp(tag, "style") == 0) {
            at = strstr(at, "</style>");
            if (at == NULL) test_fail("%s: <style> without an end", name);
            depth--;
            at += strlen("</style>") - 1;
        }
    }
    if (depth != 0) test_fail("%s: <%s> has no end", name, open[depth - 1]);
}
