#include "search/index_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"

clip_status clip_index_place(struct clip_buffer *out, const char *base, const char *name,
                             struct clip_error *error)
{
    const char *parts[] = {name[0] == '/' || base == NULL ? "" : base, name};
    out->size = 0;
    clip_status status = clip_buffer_reserve(out, strlen(parts[0]) + strlen(parts[1]) + 2, error);
    if (status != CLIP_OK) return status;
    for (int k = 0; k < 2; k++) {
        for (const char *p = parts[k]; *p != '\0';) {
            size_t n = strcspn(p, "/");
            if (n == 2 && p[0] == '.' && p[1] == '.') {
                while (out->size > 0 && out->data[--out->size] != '/') continue;
            } else if (n > 0 && !(n == 1 && p[0] == '.')) {
                out->data[out->size++] = '/';
                memcpy(out->data + out->size, p, n);
                out->size += n;
            }
            p += n + (p[n] == '/');
        }
    }
    if (out->size == 0) out->data[out->size++] = '/';
    out->data[out->size] = '\0';
    return CLIP_OK;
}

bool clip_index_lies_in(const char *place, const char *folder)
{
    size_t n = strlen(folder);
    if (n == 1) return true; /* "/" */
    return strncmp(place, folder, n) == 0 && (place[n] == '/' || place[n] == '\0');
}

/* What of the place stands behind the folder, which it lies in. */
static const char *behind(const char *place, const char *folder)
{
    const char *rest = place + (folder[1] == '\0' ? 0 : strlen(folder));
    return *rest == '/' ? rest + 1 : rest;
}

/* Is it there: a file, or below something that is one (a tar)? */
static bool is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 || errno == ENOTDIR;
}

clip_status clip_index_path(struct clip_buffer *out, const struct clip_index *index, int64_t number,
                            const char *here, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *name = clip_index_name(index, number), *found = name;
    struct clip_buffer place = {0};
    if (!index->texts && name[0] != '/' && strcmp(index->base, here) != 0) {
        CLIP_TRY(clip_index_place(&place, index->base, name, error));
        if (is_there(place.data))
            found = clip_index_lies_in(place.data, here) ? behind(place.data, here) : place.data;
    }
    out->size = 0;
    CLIP_TRY(clip_buffer_append(out, found, strlen(found), error));
out:
    clip_buffer_release(&place);
    return status;
}

/* ---- images that were listed ---- */

/* *out = the place as it is called from the base: "sub/a.jpg", "../other/a.jpg". */
static clip_status call_from(struct clip_buffer *out, const char *base, const char *place,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *folder = clip_string_copy(base, error);
    out->size = 0;
    if (folder == NULL) return CLIP_ERR_MEMORY;
    while (!clip_index_lies_in(place, folder)) { /* "/" holds everything */
        char *slash = strrchr(folder, '/');
        slash[slash == folder] = '\0';
        CLIP_TRY(clip_buffer_append(out, "../", 3, error));
    }
    const char *rest = behind(place, folder);
    CLIP_TRY(clip_buffer_append(out, rest, strlen(rest), error));
out:
    free(folder);
    return status;
}

/* What images are listed with: the base, and room for a place and a name. */
struct listing {
    struct clip_index_listing *l;
    struct clip_buffer base, place, name;
};

/* Adds image i, which is called `given` from the folder `from`. */
static clip_status add_image(struct listing *listing, int64_t i, const char *given,
                             const char *from, struct clip_error *error)
{
    clip_status status;
    struct clip_index_listing *l = listing->l;
    struct clip_buffer *place = &listing->place, *name = &listing->name;
    const char *base = listing->base.data;
    struct clip_string_entry *entry;
    CLIP_TRY(clip_index_place(place, from, given, error));
    bool outside = strcmp(from, base) != 0 && !clip_index_lies_in(place->data, base);
    name->size = 0;
    if (given[0] == '/' || outside)
        CLIP_TRY(clip_buffer_append(name, place->data, place->size, error));
    else
        CLIP_TRY(call_from(name, base, place->data, error));
    l->places[i] = clip_arena_string(&l->arena, place->data, place->size, error);
    l->names[i] = clip_arena_string(&l->arena, name->data, name->size, error);
    if (l->places[i] == NULL || l->names[i] == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(
        clip_string_map_add(&l->places_of, l->places[i], strlen(l->places[i]), i, &entry, error));
    l->count++;
out:
    return status;
}

clip_status clip_index_listing_make(struct clip_index_listing *l, const struct clip_index *index,
                                    const struct clip_images *images, const char *path,
                                    struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct listing listing = {.l = l};
    char *here = getcwd(NULL, 0);
    bool moved = here != NULL && strcmp(here, index->base) != 0 &&
                 !clip_path_is_folder(index->base);
    *l = (struct clip_index_listing){.places_of.borrows = true};
    l->places = clip_arena_alloc(&l->arena, images->count, sizeof *l->places, error);
    l->names = clip_arena_alloc(&l->arena, images->count, sizeof *l->names, error);
    if (l->places == NULL || l->names == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(clip_index_place(&listing.base, NULL, index->base, error));
    for (int64_t i = 0; i < images->count; i++) {
        const char *given = clip_images_name(images, i);
        if (moved && given[0] != '/')
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s counts relative paths from %s, where it was begun and which is "
                               "not there any more; give absolute paths, or make the index anew",
                               path, index->base));
        bool from_here = here != NULL && clip_images_is_path(images, i);
        CLIP_TRY(add_image(&listing, i, given, from_here ? here : listing.base.data, error));
    }
out:
    free(here);
    clip_buffer_release(&listing.place);
    clip_buffer_release(&listing.name);
    clip_buffer_release(&listing.base);
    return status;
}

void clip_index_listing_release(struct clip_index_listing *l)
{
    clip_string_map_release(&l->places_of);
    clip_arena_release(&l->arena);
    *l = (struct clip_index_listing){0};
}
