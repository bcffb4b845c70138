/* Images in a folder or an uncompressed tar.
 *
 * As class folders: an image's class is the name of the folder that it is in, and its caption is a
 * template filled with the class's name. As plain images (images_only): images at any depth.
 * Samples are ordered by their path below the folder (by bytes), so a folder and a tar of it give
 * the same order. */
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/progress.h"
#include "data/image/image.h"
#include "data/sets/dataset_internal.h"

struct item {
    /* its path below the folder or in the tar; after `finish`, the path by which it can be
     * opened */
    const char *name;
    int64_t entry; /* in tar.entries */
    int64_t label;
};

struct folder {
    struct clip_dataset base;
    char *path;          /* path of the folder or the tar */
    struct clip_tar tar; /* its path is NULL for a folder */
    struct item *items;  /* [base.count] */
    int64_t capacity;
    struct clip_class_list classes;
    struct clip_templates templates; /* count 0: captions are empty */
    struct clip_arena arena;
};

static const struct folder *folder_of(const struct clip_dataset *dataset)
{
    return (const struct folder *)dataset;
}

/* ---- The four functions ---- */
static clip_status folder_caption(const struct clip_dataset *dataset, int64_t index,
                                  struct clip_rng *rng, struct clip_buffer *out,
                                  struct clip_error *error)
{
    const struct folder *folder = folder_of(dataset);
    clip_status status = clip_dataset_set(out, "", 0, error);
    if (status != CLIP_OK || folder->templates.count == 0) return status;
    uint32_t choice = 0;
    if (rng != NULL) choice = clip_rng_below(rng, (uint32_t)folder->templates.count);
    return clip_template_fill(folder->templates.lines[choice],
                              folder->classes.names[folder->items[index].label], out, error);
}

static clip_status folder_read(const struct clip_dataset *dataset, int64_t index,
                               struct clip_rng *rng, struct clip_sample *out,
                               struct clip_error *error)
{
    const struct folder *folder = folder_of(dataset);
    const struct item *item = &folder->items[index];
    if (folder->tar.path != NULL)
        snprintf(out->name, sizeof out->name, "%s (%s)", folder->path, item->name);
    else
        snprintf(out->name, sizeof out->name, "%s", item->name);
    clip_status status = folder_caption(dataset, index, rng, &out->caption, error);
    if (status != CLIP_OK) return status;
    if (folder->tar.path != NULL)
        return clip_tar_read(&folder->tar, &folder->tar.entries[item->entry], CLIP_IMAGE_BYTES,
                             &out->image, error);
    return clip_dataset_read_file(item->name, &out->image, error);
}

static const char *folder_image_name(const struct clip_dataset *dataset, int64_t index)
{
    return folder_of(dataset)->items[index].name;
}

static void folder_free(struct clip_dataset *dataset)
{
    struct folder *folder = (struct folder *)dataset;
    clip_tar_close(&folder->tar);
    clip_class_list_release(&folder->classes);
    clip_templates_release(&folder->templates);
    clip_arena_release(&folder->arena);
    free(folder->path);
    free(folder->items);
    free(folder->base.group);
    clip_names_release(&folder->base.unread);
    free(folder);
}

static const struct clip_dataset_ops class_ops = {
    .name = "class folders",
    .read = folder_read,
    .caption = folder_caption,
    .image_name = folder_image_name,
    .free = folder_free,
};

static const struct clip_dataset_ops image_ops = {
    .name = "images",
    .read = folder_read,
    .caption = folder_caption,
    .image_name = folder_image_name,
    .free = folder_free,
};

int64_t clip_dataset_label(const struct clip_dataset *dataset, int64_t index)
{
    return dataset->group[index];
}

/* ---- Finding images ---- */
static clip_status add_item(struct folder *folder, const char *name, int64_t entry,
                            struct clip_error *error)
{
    clip_status status = clip_array_grow(&folder->items, &folder->capacity, folder->base.count + 1,
                                         sizeof *folder->items, error);
    if (status != CLIP_OK) return status;
    folder->items[folder->base.count++] = (struct item){.name = name, .entry = entry};
    return CLIP_OK;
}

/* A name that ends like an image is taken for one. */
static clip_status take_file(void *context, const char *name, bool *taken, struct clip_error *error)
{
    struct folder *folder = context;
    *taken = clip_dataset_is_image(name);
    if (!*taken) { /* captions beside images are looked for once these are known */
        *taken = folder->base.ops == &class_ops && clip_dataset_is_caption(name);
        return CLIP_OK;
    }
    char *kept = clip_arena_string(&folder->arena, name, strlen(name), error);
    if (kept == NULL) return CLIP_ERR_MEMORY;
    return add_item(folder, kept, -1, error);
}

/* Files and folders whose names begin with a dot are skipped. */
static bool is_hidden(const char *name)
{
    for (; name != NULL; name = strchr(name, '/') != NULL ? strchr(name, '/') + 1 : NULL)
        if (name[0] == '.' && strncmp(name, "../", 3) != 0) return true;
    return false;
}

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->entry > y->entry) - (x->entry < y->entry);
}

/* Collects all images of the folder, or of *tar (which it then takes over), in order. */
static clip_status collect(struct folder *folder, const char *path, struct clip_tar *tar,
                           const volatile sig_atomic_t *stop, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_folder_walk how = {
        .found = take_file, .context = folder, .stop = stop, .unread = &folder->base.unread};
    if (tar != NULL) {
        folder->tar = *tar;
        *tar = (struct clip_tar){0};
        path = folder->tar.path;
    }
    folder->path = clip_string_copy(path, error);
    if (folder->path == NULL) return CLIP_ERR_MEMORY;
    if (tar == NULL) CLIP_TRY(clip_folder_walk(path, &how, error));
    for (int64_t i = 0; i < folder->tar.count; i++) {
        const char *name = folder->tar.entries[i].name;
        if (clip_dataset_is_image(name) && !is_hidden(name))
            CLIP_TRY(add_item(folder, name, i, error));
    }
    if (folder->base.count > 1)
        qsort(folder->items, (size_t)folder->base.count, sizeof *folder->items, compare_items);
    if (folder->base.count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s holds no image; expected files that end in one of %s", path,
                           clip_image_suffixes()));
out:
    return status;
}

/* ---- Classes ---- */
/* The name of the folder that the image is in, of *n bytes; *n is 0 for an image in none. */
static const char *class_of(const char *name, size_t *n)
{
    const char *end = strrchr(name, '/');
    const char *start = end != NULL ? end : name;
    while (start > name && start[-1] != '/') start--;
    *n = end != NULL ? (size_t)(end - start) : 0;
    return start;
}

/* Leaves out images that are in no class folder, with a warning. */
static clip_status leave_out_loose(struct folder *folder, struct clip_error *error)
{
    int64_t kept = 0, all = folder->base.count;
    for (int64_t i = 0; i < all; i++) {
        size_t n;
        class_of(folder->items[i].name, &n);
        if (n > 0) folder->items[kept++] = folder->items[i];
    }
    folder->base.count = kept;
    if (kept == 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s holds images but no class folders; expected CLASS/image (captions "
                         "for single images go into a .csv)",
                         folder->path);
    if (kept < all)
        clip_warn("%s: left out: %s in no class folder", folder->path,
                  CLIP_COUNT(all - kept, "image"));
    return CLIP_OK;
}

/* Makes the class list of a set without one: its folders by name, with '_' shown as space. */
static clip_status list_folders(struct folder *folder, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map found = {0};
    struct clip_class_list *list = &folder->classes;
    int64_t number;
    for (int64_t i = 0; i < folder->base.count; i++) {
        size_t n;
        const char *name = class_of(folder->items[i].name, &n);
        CLIP_TRY(clip_string_map_number(&found, name, n, &number, error));
    }
    list->names = clip_arena_alloc(&list->arena, found.count, sizeof *list->names, error);
    list->folders = clip_arena_alloc(&list->arena, found.count, sizeof *list->folders, error);
    if (list->names == NULL || list->folders == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (int64_t i = 0; i < found.count; i++) {
        const char *name = found.entries[i].key;
        list->folders[i] = clip_arena_string(&list->arena, name, strlen(name), error);
        list->names[i] = clip_arena_string(&list->arena, name, strlen(name), error);
        if (list->names[i] == NULL || list->folders[i] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        for (char *p = list->names[i]; *p != '\0'; p++)
            if (*p == '_') *p = ' ';
        list->count++;
    }
out:
    clip_string_map_release(&found);
    return status;
}

static clip_status intern_folders(struct clip_string_map *folders,
                                  const struct clip_class_list *list, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t number;
    for (int64_t i = 0; i < list->count && status == CLIP_OK; i++)
        status = clip_string_map_number(folders, list->folders[i], strlen(list->folders[i]),
                                        &number, error);
    return status;
}

/* Finds an image's label: its folder's number in the list, else that of the folder's name with '_'
 * read as space. `path` is the set's, `source` is the list's name. */
static clip_status find_label(const struct clip_string_map *folders, const char *image,
                              const char *path, const char *source, int64_t *label,
                              struct clip_error *error)
{
    char spaced[512];
    size_t n;
    const char *name = class_of(image, &n);
    *label = clip_string_map_find(folders, name, n);
    if (*label < 0 && n < sizeof spaced) {
        for (size_t k = 0; k < n; k++) spaced[k] = name[k] == '_' ? ' ' : name[k];
        *label = clip_string_map_find(folders, spaced, n);
    }
    if (*label >= 0) return CLIP_OK;
    if (n == 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the image \"%s\" lies in no class folder; expected CLASS/image", path,
                         image);
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s: the folder \"%.*s\" is no class of %s; add a line for it (name, tab, "
                     "folder) or take the folder away",
                     path, (int)n, name, source);
}

static clip_status label_items(struct folder *folder, const char *source, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map folders = {0};
    CLIP_TRY(intern_folders(&folders, &folder->classes, error));
    for (int64_t i = 0; i < folder->base.count; i++)
        CLIP_TRY(find_label(&folders, folder->items[i].name, folder->path, source,
                            &folder->items[i].label, error));
out:
    clip_string_map_release(&folders);
    return status;
}

/* ---- Opening ---- */
/* Makes the groups, and turns names into paths that can be opened. */
static clip_status finish(struct folder *folder, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    bool by_class = folder->base.ops == &class_ops;
    folder->base.paths = folder->tar.path == NULL;
    folder->base.classes = by_class ? &folder->classes : NULL;
    folder->base.templates = &folder->templates;
    CLIP_NEW(folder->base.group, folder->base.count);
    for (int64_t i = 0; i < folder->base.count; i++) {
        struct item *item = &folder->items[i];
        folder->base.group[i] = by_class ? item->label : i;
        if (folder->tar.path != NULL || strcmp(folder->path, ".") == 0) continue;
        char *path = clip_path_join(folder->path, item->name, error);
        if (path == NULL) CLIP_TRY(error->status);
        item->name = clip_arena_string(&folder->arena, path, strlen(path), error);
        free(path);
        if (item->name == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
out:
    return status;
}

static clip_status prepare_classes(struct folder *folder, const char *source,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    CLIP_TRY(leave_out_loose(folder, error));
    if (folder->classes.count == 0) CLIP_TRY(list_folders(folder, error));
    CLIP_TRY(label_items(folder, source, error));
    for (int64_t i = 0; i < folder->classes.count; i++) {
        const char *name = folder->classes.names[i];
        struct clip_buffer caption = {.data = (char *)name, .size = strlen(name)};
        CLIP_TRY(clip_dataset_caption_check(&caption, source, error));
    }
out:
    return status;
}

/* Where captions stand beside the images, these are no class folders. */
static clip_status open_beside(struct clip_dataset **out, const struct folder *folder,
                               const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_names names = {0};
    for (int64_t i = 0; i < folder->base.count; i++)
        CLIP_TRY(clip_names_add(&names, folder->items[i].name, error));
    status = clip_dataset_beside_open(out, folder->path, &names, options, error);
out:
    clip_names_release(&names);
    return status;
}

static clip_status open_either(struct clip_dataset **out, const char *path, struct clip_tar *tar,
                               const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct folder *folder = NULL;
    const char *classes = options->classes, *templates = options->class_templates;
    bool has_classes = classes != NULL && classes[0] != '\0';
    char braces[] = "{}", *line = braces;
    const struct clip_templates name_alone = {.lines = &line, .count = 1};
    *out = NULL;
    CLIP_NEW(folder, 1);
    folder->base.ops = options->images_only ? &image_ops : &class_ops;
    CLIP_TRY(collect(folder, path, tar, options->stop, error));
    if (!options->images_only && folder->tar.path == NULL) {
        CLIP_TRY(open_beside(out, folder, options, error));
        if (*out != NULL) {
            (*out)->unread = folder->base.unread;
            folder->base.unread = (struct clip_names){0};
            goto out;
        }
    }
    if (!options->images_only) {
        if (has_classes) CLIP_TRY(clip_class_list_read(classes, &folder->classes, error));
        CLIP_TRY(prepare_classes(folder, has_classes ? classes : folder->path, error));
        bool has_templates = templates != NULL && templates[0] != '\0';
        if (!has_templates && !options->names_are_captions)
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s holds class folders, whose captions are templates filled with "
                               "the class's name; name a template file: class_templates in "
                               "[data], --class-templates on a command line",
                               folder->path));
        if (has_templates)
            CLIP_TRY(clip_templates_read(templates, &folder->templates, error));
        else
            CLIP_TRY(clip_templates_copy(&folder->templates, &name_alone, error));
    }
    CLIP_TRY(finish(folder, error));
    *out = &folder->base;
    folder = NULL;
out:
    if (folder != NULL) folder_free(&folder->base);
    return status;
}

clip_status clip_dataset_folder_open(struct clip_dataset **out, const char *path,
                                     const struct clip_dataset_options *options,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = NULL;
    if (!options->images_only) status = clip_dataset_imagefolder_open(out, path, options, error);
    if (status != CLIP_OK || *out != NULL) return status;
    return open_either(out, path, NULL, options, error);
}

clip_status clip_dataset_folder_tar(struct clip_dataset **out, struct clip_tar *tar,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error)
{
    return open_either(out, NULL, tar, options, error);
}

/* Opens a packed set of class folders, whose images' names still have their folders. */
static clip_status open_packed_classes(struct clip_dataset **out, const char *path,
                                       const struct clip_class_list *classes,
                                       struct clip_error *error)
{
    clip_status status;
    const struct clip_dataset_options options = {.images_only = true};
    struct clip_dataset *packed = NULL;
    struct clip_string_map folders = {0};
    CLIP_TRY(clip_dataset_packed_open(&packed, path, &options, error));
    CLIP_TRY(intern_folders(&folders, classes, error));
    for (int64_t i = 0; i < packed->count; i++)
        CLIP_TRY(find_label(&folders, packed->ops->image_name(packed, i), path, "the class list",
                            &packed->group[i], error));
    *out = packed;
    packed = NULL;
out:
    clip_string_map_release(&folders);
    clip_dataset_free(packed);
    return status;
}

clip_status clip_dataset_open_classes(struct clip_dataset **out, const char *images,
                                      const struct clip_class_list *classes,
                                      const struct clip_templates *templates,
                                      struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (clip_path_has_suffix(images, ".h5") && !clip_path_is_folder(images))
        return open_packed_classes(out, images, classes, error);
    struct folder *folder = NULL;
    struct clip_tar *tars = NULL;
    int64_t tar_count = 0;
    bool is_folder = clip_path_is_folder(images) && !clip_shards_are(images);
    *out = NULL;
    if (!is_folder) {
        CLIP_TRY(clip_shards_open(&tars, &tar_count, images, error));
        CLIP_TRY(clip_dataset_labels_open(out, tars, tar_count, classes, templates, error));
        if (*out != NULL) goto out;
        if (tar_count > 1)
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s: the shards hold no labels (KEY.cls beside KEY.jpg)", images));
    }
    CLIP_NEW(folder, 1);
    folder->base.ops = &class_ops;
    CLIP_TRY(collect(folder, images, is_folder ? NULL : &tars[0], NULL, error));
    CLIP_TRY(clip_class_list_copy(&folder->classes, classes, error));
    if (templates != NULL) CLIP_TRY(clip_templates_copy(&folder->templates, templates, error));
    CLIP_TRY(prepare_classes(folder, "the class list", error));
    CLIP_TRY(finish(folder, error));
    *out = &folder->base;
    folder = NULL;
out:
    clip_shards_close(tars, tar_count);
    if (folder != NULL) folder_free(&folder->base);
    return status;
}
