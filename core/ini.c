#include "core/ini.h"

#include <ini.h>
#include <stdbool.h>
#include <string.h>

#include "core/file.h"

enum { FILE_LIMIT = 1 << 20, SECTION_LIMIT = 49 };

/* What inih's two callbacks share: the bytes that are still to be read, and the current line. */
struct reading {
    const char *bytes, *end;
    const char *name;
    int line; /* the number of the line that was handed out last */
    clip_ini_handler handler;
    void *context;
    clip_status status;
    int failed_line;
    struct clip_error *error;
};

static void fail_line(struct reading *reading, const char *what)
{
    reading->failed_line = reading->line;
    reading->status =
        clip_fail(reading->error, CLIP_ERR_FORMAT, "%s:%d: %s", reading->name, reading->line, what);
}

/* White space as inih defines it. */
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* inih silently cuts a long section name and ignores what follows its ']'. */
static void check_section(struct reading *reading, const char *text, size_t n)
{
    const char *close = memchr(text, ']', n);
    if (close == NULL) return; /* inih reports that itself */
    if (close - text - 1 > SECTION_LIMIT) {
        fail_line(reading, "the section's name is longer than 49 bytes; shorten it");
        return;
    }
    const char *tail = close + 1;
    while (tail < text + n && is_space(*tail)) tail++;
    if (tail < text + n && *tail != ';' && *tail != '#')
        fail_line(reading, "something stands behind the section's ']'; give it its own line");
}

/* Hands inih the next line, as fgets would. Leading white space is dropped, because inih would take
 * an indented line for more of the value above. */
static char *next_line(char *out, int capacity, void *stream)
{
    struct reading *reading = stream;
    if (reading->status != CLIP_OK || reading->bytes == reading->end) return NULL;
    const char *start = reading->bytes;
    const char *newline = memchr(start, '\n', (size_t)(reading->end - start));
    const char *stop = newline != NULL ? newline : reading->end;
    reading->bytes = newline != NULL ? newline + 1 : stop;
    reading->line++;
    if (reading->line == 1 && stop - start >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0)
        start += 3; /* skips the byte order mark that some editors write */
    while (start < stop && is_space(*start)) start++;
    size_t n = (size_t)(stop - start);
    if (memchr(start, '\0', n) != NULL)
        fail_line(reading, "there is a NUL byte; this is not a text file");
    else if (n + 2 > (size_t)capacity)
        fail_line(reading, "the line is longer than 198 bytes; shorten it (relative paths, a "
                           "comment on a line of its own), or use --set on the command line");
    else if (n > 0 && *start == '[')
        check_section(reading, start, n);
    if (reading->status != CLIP_OK) return NULL;
    memcpy(out, start, n);
    out[n] = '\n';
    out[n + 1] = '\0';
    return out;
}

static int take_pair(void *user, const char *section, const char *key, const char *value)
{
    struct reading *reading = user;
    if (reading->status != CLIP_OK) return 0;
    if (*key == '\0') {
        fail_line(reading, "there is no key before the '='; write key = value");
        return 0;
    }
    reading->status =
        reading->handler(reading->context, section, key, value, reading->line, reading->error);
    if (reading->status != CLIP_OK) reading->failed_line = reading->line;
    return reading->status == CLIP_OK;
}

clip_status clip_ini_parse(const char *bytes, size_t n, const char *name, clip_ini_handler handler,
                           void *context, struct clip_error *error)
{
    struct reading reading = {
        .bytes = bytes,
        .end = bytes + n,
        .name = name,
        .handler = handler,
        .context = context,
        .error = error,
    };
    int bad_line = ini_parse_stream(next_line, &reading, take_pair, &reading);
    if (bad_line < 0)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for reading %s", name);
    /* inih goes on after a line that it does not understand, and reports the first such line at the
     * end. */
    if (bad_line > 0 && (reading.status == CLIP_OK || bad_line < reading.failed_line)) {
        reading.line = bad_line;
        fail_line(&reading, "this line is neither [section], nor key = value, nor a comment");
    }
    return reading.status;
}

clip_status clip_ini_read(const char *path, clip_ini_handler handler, void *context,
                          struct clip_error *error)
{
    struct clip_buffer bytes;
    clip_status status = clip_file_read(path, FILE_LIMIT, &bytes, error);
    if (status != CLIP_OK) return status;
    status = clip_ini_parse(bytes.data, bytes.size, path, handler, context, error);
    clip_buffer_release(&bytes);
    return status;
}
