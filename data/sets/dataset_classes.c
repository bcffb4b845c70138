/* Class names and caption templates: small text files with one entry per line. */
#include <string.h>

#include "data/sets/dataset_internal.h"

enum { LINES_BYTES = 1 << 24 };

struct lines {
    const char *path;
    const char *at, *end;
    int64_t number; /* number of the last line that was read, from 1 */
};

/* The next line that is not blank, without its end; false after the last one. */
static bool next_line(struct lines *lines, const char **line, size_t *n)
{
    while (lines->at < lines->end) {
        const char *end = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
        if (end == NULL) end = lines->end;
        *line = lines->at;
        *n = (size_t)(end - lines->at);
        if (*n > 0 && (*line)[*n - 1] == '\r') --*n;
        lines->at = end < lines->end ? end + 1 : end;
        lines->number++;
        if (!clip_dataset_is_blank(*line, *n)) return true;
    }
    return false;
}

/* Reads the file, and counts its lines for the arrays that will hold them. */
static clip_status open_lines(struct lines *lines, struct clip_buffer *text, int64_t *most,
                              const char *path, struct clip_error *error)
{
    clip_status status = clip_file_read(path, LINES_BYTES, text, error);
    if (status != CLIP_OK) return status;
    *lines = (struct lines){.path = path, .at = text->data, .end = text->data + text->size};
    if (text->size >= 3 && memcmp(text->data, "\xef\xbb\xbf", 3) == 0) lines->at += 3;
    *most = 1;
    for (const char *p = lines->at; p < lines->end; p++) *most += *p == '\n';
    return CLIP_OK;
}

static clip_status check_line(const struct lines *lines, const char *line, size_t n,
                              struct clip_error *error)
{
    char name[512];
    struct clip_buffer borrowed = {.data = (char *)line, .size = n};
    snprintf(name, sizeof name, "%s:%lld", lines->path, (long long)lines->number);
    clip_status status = clip_dataset_caption_check(&borrowed, name, error);
    if (status == CLIP_OK) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: the line is not UTF-8 text; save the file as UTF-8", name);
}

/* ---- Class lists ---- */
static clip_status add_class(struct clip_class_list *list, const struct lines *lines,
                             const char *line, size_t n, struct clip_string_map *names,
                             struct clip_string_map *folders, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *tab = memchr(line, '\t', n);
    size_t size = tab != NULL ? (size_t)(tab - line) : n;
    const char *folder = tab != NULL ? tab + 1 : line;
    size_t folder_size = tab != NULL ? n - size - 1 : n;
    int64_t name_number, folder_number;
    while (folder_size > 0 && folder[folder_size - 1] == ' ') folder_size--;
    while (size > 0 && line[size - 1] == ' ') size--;
    if (size == 0 || folder_size == 0 || memchr(folder, '\t', folder_size) != NULL)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s:%lld: expected a class's name, then after a tab its folder's name "
                         "where that differs",
                         lines->path, (long long)lines->number);
    CLIP_TRY(clip_string_map_number(names, line, size, &name_number, error));
    CLIP_TRY(clip_string_map_number(folders, folder, folder_size, &folder_number, error));
    if (name_number != list->count || folder_number != list->count)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s:%lld: the %s \"%.*s\" stands in an earlier line too; remove one",
                         lines->path, (long long)lines->number,
                         name_number != list->count ? "name" : "folder",
                         (int)(name_number != list->count ? size : folder_size),
                         name_number != list->count ? line : folder);
    list->names[list->count] = clip_arena_string(&list->arena, line, size, error);
    list->folders[list->count] = clip_arena_string(&list->arena, folder, folder_size, error);
    if (list->names[list->count] == NULL || list->folders[list->count] == NULL)
        return CLIP_ERR_MEMORY;
    list->count++;
out:
    return status;
}

clip_status clip_class_list_read(const char *path, struct clip_class_list *out,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    struct clip_string_map names = {0}, folders = {0};
    struct lines lines;
    const char *line;
    size_t n;
    int64_t most;
    *out = (struct clip_class_list){0};
    CLIP_TRY(open_lines(&lines, &text, &most, path, error));
    out->names = clip_arena_alloc(&out->arena, most, sizeof *out->names, error);
    out->folders = clip_arena_alloc(&out->arena, most, sizeof *out->folders, error);
    if (out->names == NULL || out->folders == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    while (next_line(&lines, &line, &n)) {
        CLIP_TRY(check_line(&lines, line, n, error));
        CLIP_TRY(add_class(out, &lines, line, n, &names, &folders, error));
    }
    if (out->count == 0)
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_DATA,
                      "%s holds no class; expected one line per class: its name, then after a tab "
                      "its folder's name where that differs",
                      path));
out:
    clip_buffer_release(&text);
    clip_string_map_release(&names);
    clip_string_map_release(&folders);
    if (status != CLIP_OK) clip_class_list_release(out);
    return status;
}

void clip_class_list_release(struct clip_class_list *list)
{
    clip_arena_release(&list->arena);
    *list = (struct clip_class_list){0};
}

/* ---- Templates ---- */
const char *clip_template_hole(const char *line, size_t *n)
{
    for (const char *p = strchr(line, '{'); p != NULL; p = strchr(p + 1, '{')) {
        *n = p[1] == '}' ? 2 : p[1] == 'c' && p[2] == '}' ? 3 : 0;
        if (*n > 0) return p;
    }
    return NULL;
}

clip_status clip_templates_read(const char *path, struct clip_templates *out,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    struct lines lines;
    const char *line;
    size_t n, hole;
    int64_t most;
    *out = (struct clip_templates){0};
    CLIP_TRY(open_lines(&lines, &text, &most, path, error));
    out->lines = clip_arena_alloc(&out->arena, most, sizeof *out->lines, error);
    if (out->lines == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    while (next_line(&lines, &line, &n)) {
        CLIP_TRY(check_line(&lines, line, n, error));
        char *copy = clip_arena_string(&out->arena, line, n, error);
        if (copy == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        if (clip_template_hole(copy, &hole) == NULL)
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                               "%s:%lld: the template has no {} where the class's name goes, as in "
                               "a photo of a {}",
                               path, (long long)lines.number));
        out->lines[out->count++] = copy;
    }
    if (out->count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s holds no template; expected one per line, as in a photo of a {}",
                           path));
out:
    clip_buffer_release(&text);
    if (status != CLIP_OK) clip_templates_release(out);
    return status;
}

void clip_templates_release(struct clip_templates *templates)
{
    clip_arena_release(&templates->arena);
    *templates = (struct clip_templates){0};
}

clip_status clip_template_fill(const char *line, const char *name, struct clip_buffer *out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t n;
    for (const char *hole; (hole = clip_template_hole(line, &n)) != NULL; line = hole + n) {
        CLIP_TRY(clip_buffer_append(out, line, (size_t)(hole - line), error));
        CLIP_TRY(clip_buffer_append(out, name, strlen(name), error));
    }
    CLIP_TRY(clip_buffer_append(out, line, strlen(line), error));
out:
    return status;
}

/* ---- Copies ---- */
clip_status clip_class_list_copy(struct clip_class_list *to, const struct clip_class_list *from,
                                 struct clip_error *error)
{
    to->names = clip_arena_alloc(&to->arena, from->count, sizeof *to->names, error);
    to->folders = clip_arena_alloc(&to->arena, from->count, sizeof *to->folders, error);
    if (to->names == NULL || to->folders == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < from->count; i++) {
        const char *name = from->names[i], *own = from->folders[i];
        to->names[i] = clip_arena_string(&to->arena, name, strlen(name), error);
        to->folders[i] = clip_arena_string(&to->arena, own, strlen(own), error);
        if (to->names[i] == NULL || to->folders[i] == NULL) return CLIP_ERR_MEMORY;
        to->count++;
    }
    return CLIP_OK;
}

clip_status clip_templates_copy(struct clip_templates *to, const struct clip_templates *from,
                                struct clip_error *error)
{
    to->lines = clip_arena_alloc(&to->arena, from->count, sizeof *to->lines, error);
    if (to->lines == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < from->count; i++) {
        to->lines[i] = clip_arena_string(&to->arena, from->lines[i], strlen(from->lines[i]), error);
        if (to->lines[i] == NULL) return CLIP_ERR_MEMORY;
        to->count++;
    }
    return CLIP_OK;
}
