/* The ideas, their captions, and writing of the set. */
#include "data/demo/emoji.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "data/demo/demo_set.h"

enum {
    TOKENIZER_VOCAB = 4096,
    VAL_VARIANTS = 2,
    /* The mix of captions, in percent; the rest are only keywords. */
    NAME = 45,
    NAME_AND_KEYWORDS = 25,
    SHORT_NAME = 15,
};

static const char *const phrases[] = {
    "{}", "{}", "{}", "a picture of {}", "an emoji: {}", "this is {}", "a drawing of {}"};

/* ---- Ideas ---- */

/* Is it a country flag or has it a skin tone? Code points with a tone include one of 1F3FB to
 * 1F3FF. */
static bool left_out(const char *category, const char *code)
{
    if (strcmp(category, "flags") == 0 || strcmp(category, "modifier") == 0) return true;
    for (const char *p = strstr(code, "1F3F"); p != NULL; p = strstr(p + 1, "1F3F"))
        if (p[4] >= 'B' && p[4] <= 'F') return true;
    return false;
}

static int compare_name(const void *key, const void *file)
{
    return strcmp(key, ((const struct clip_emoji_file *)file)->name);
}

/* The number of the file called `name` in the folder of file `beside` in the package, or -1. */
static int64_t find_beside(const struct clip_emoji_package *package, const char *beside,
                           const char *name)
{
    char path[512];
    int folder = (int)(clip_path_name(beside) - beside);
    if (snprintf(path, sizeof path, "%.*s%s", folder, beside, name) >= (int)sizeof path ||
        package->count == 0)
        return -1;
    const struct clip_emoji_file *file =
        bsearch(path, package->files, (size_t)package->count, sizeof *package->files, compare_name);
    return file != NULL ? file - package->files : -1;
}

/* Noto's file name: where EmojiOne calls an image 0023-20E3.png, Noto calls it
 * emoji_u0023_20e3.png, without the variation selector FE0F. */
static void noto_name(char *out, size_t n, const char *code)
{
    size_t at = (size_t)snprintf(out, n, "emoji_u");
    for (const char *p = code; *p != '\0' && at + 5 < n; p++) {
        if (strncmp(p, "-FE0F", 5) == 0) {
            p += 4;
            continue;
        }
        out[at++] = *p == '-' ? '_' : (char)tolower((unsigned char)*p);
    }
    memcpy(out + at, ".png", 5);
}

/* Is it a list of code points in hexadecimal? Nothing else may become part of a path. */
static bool is_code(const char *code)
{
    size_t n = strspn(code, "0123456789ABCDEF-");
    return n > 0 && n < 64 && code[n] == '\0';
}

/* A copy of a name or keyword without characters that would break a csv row, and with spaces for
 * '_'. */
static char *clean_text(struct clip_arena *arena, const char *text, struct clip_error *error)
{
    char *copy = clip_arena_string(arena, text, strlen(text), error);
    for (char *p = copy; p != NULL && *p != '\0'; p++)
        if (*p == '_' || *p == '"' || (unsigned char)*p < ' ') *p = ' ';
    return copy;
}

static clip_status read_keywords(struct clip_emoji_ideas *out, struct clip_emoji_idea *idea,
                                 json_t *list, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t n = json_array_size(list);
    idea->keywords = clip_arena_alloc(&out->arena, (int64_t)n + 1, sizeof *idea->keywords, error);
    CLIP_TRY(idea->keywords != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    for (size_t i = 0; i < n; i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (word == NULL || word[0] == '\0') continue;
        const char *copy = clean_text(&out->arena, word, error);
        CLIP_TRY(copy != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
        idea->keywords[idea->keyword_count++] = copy;
    }
out:
    return status;
}

static bool has_name(const struct clip_emoji_ideas *ideas, const char *name)
{
    for (int64_t i = 0; i < ideas->count; i++)
        if (strcmp(ideas->ideas[i].name, name) == 0) return true;
    return false;
}

struct artists { /* one image of each artist, beside which the others are found */
    const struct clip_emoji_package *first, *second;
    const char *first_beside, *second_beside;
};

/* Finds the second artist's image by the index's code points or by one of the other spellings. */
static int64_t find_second(const struct artists *artists, const char *code,
                           const json_t *alternates)
{
    char name[80];
    noto_name(name, sizeof name, code);
    int64_t found = find_beside(artists->second, artists->second_beside, name);
    for (size_t i = 0; found < 0 && i < json_array_size(alternates); i++) {
        const char *other = json_string_value(json_array_get(alternates, i));
        if (other == NULL || !is_code(other)) continue;
        noto_name(name, sizeof name, other);
        found = find_beside(artists->second, artists->second_beside, name);
    }
    return found;
}

/* Adds the index's entry `key` if it is wanted and both artists have drawn it. */
static clip_status add_idea(struct clip_emoji_ideas *out, const struct artists *artists,
                            const char *key, json_t *entry, struct clip_error *error)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *code = json_string_value(json_object_get(entry, "unicode"));
    const char *category = json_string_value(json_object_get(entry, "category"));
    clip_status status = CLIP_OK;
    if (name == NULL || code == NULL || category == NULL || !is_code(code)) return CLIP_OK;
    if (left_out(category, code)) return CLIP_OK;
    struct clip_emoji_idea idea = {0};
    char image[80];
    snprintf(image, sizeof image, "%s.png", code);
    idea.first = find_beside(artists->first, artists->first_beside, image);
    idea.second = find_second(artists, code, json_object_get(entry, "unicode_alternates"));
    if (idea.first < 0 || idea.second < 0) return CLIP_OK;
    idea.key = clean_text(&out->arena, key, error);
    CLIP_TRY(idea.key != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    idea.name = clean_text(&out->arena, name, error);
    CLIP_TRY(idea.name != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    idea.code = clean_text(&out->arena, code, error);
    CLIP_TRY(idea.code != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    if (has_name(out, idea.name)) idea.name = idea.key;
    CLIP_TRY(read_keywords(out, &idea, json_object_get(entry, "keywords"), error));
    CLIP_TRY(
        clip_array_grow(&out->ideas, &out->capacity, out->count + 1, sizeof *out->ideas, error));
    out->ideas[out->count++] = idea;
out:
    return status;
}

clip_status clip_emoji_ideas_read(const struct clip_emoji_package *first,
                                  const struct clip_emoji_package *second,
                                  struct clip_emoji_ideas *out, struct clip_error *error)
{
    const struct clip_emoji_file *index = clip_emoji_package_find(first, "/config/index.json");
    const struct clip_emoji_file *a = clip_emoji_package_find(first, "/png/0023-20E3.png");
    const struct clip_emoji_file *b = clip_emoji_package_find(second, "/emoji_u0023_20e3.png");
    clip_status status = CLIP_OK;
    const char *key;
    json_t *root = NULL, *entry;
    *out = (struct clip_emoji_ideas){0};
    if (index == NULL || a == NULL || b == NULL)
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_DATA,
                      "the packages ruby-gemojione and ruby-tanuki-emoji do not hold the files "
                      "expected (%s is missing); use Debian 12's versions, 3.3.0 and 0.6.0",
                      index == NULL ? "config/index.json"
                      : a == NULL   ? "png/0023-20E3.png"
                                    : "emoji_u0023_20e3.png"));
    root = clip_json_parse(index->bytes.data, index->bytes.size, index->name, error);
    CLIP_TRY(root != NULL ? CLIP_OK : error->status);
    struct artists artists = {first, second, a->name, b->name};
    json_object_foreach(root, key, entry) CLIP_TRY(add_idea(out, &artists, key, entry, error));
    if (out->count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s names no image that both packages hold; use Debian 12's versions, "
                           "3.3.0 and 0.6.0",
                           index->name));
out:
    json_decref(root);
    if (status != CLIP_OK) clip_emoji_ideas_release(out);
    return status;
}

void clip_emoji_ideas_release(struct clip_emoji_ideas *ideas)
{
    free(ideas->ideas);
    clip_arena_release(&ideas->arena);
    *ideas = (struct clip_emoji_ideas){0};
}

/* Appends `first` (or nothing if NULL), then one to `most` different keywords, joined by commas. */
static clip_status add_keywords(const struct clip_emoji_idea *idea, const char *first,
                                uint32_t most, struct clip_rng *rng, struct clip_buffer *out,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    uint32_t n = 1 + clip_rng_below(rng, most);
    int64_t start = clip_rng_below(rng, (uint32_t)idea->keyword_count);
    if (n > (uint32_t)idea->keyword_count) n = (uint32_t)idea->keyword_count;
    if (first != NULL) CLIP_TRY(clip_buffer_printf(out, error, "%s", first));
    for (uint32_t i = 0; i < n; i++) {
        const char *word = idea->keywords[(start + i) % idea->keyword_count];
        CLIP_TRY(clip_buffer_printf(out, error, "%s%s", first != NULL || i > 0 ? ", " : "", word));
    }
out:
    return status;
}

clip_status clip_emoji_caption(const struct clip_emoji_idea *idea, struct clip_rng *rng,
                               struct clip_buffer *out, struct clip_error *error)
{
    uint32_t kind = clip_rng_below(rng, 100);
    const char *phrase = phrases[clip_rng_below(rng, sizeof phrases / sizeof *phrases)];
    if (kind >= NAME + SHORT_NAME && idea->keyword_count > 0) {
        if (kind < NAME + SHORT_NAME + NAME_AND_KEYWORDS)
            return add_keywords(idea, idea->name, 3, rng, out, error);
        return add_keywords(idea, NULL, 5, rng, out, error);
    }
    bool short_name = kind >= NAME && kind < NAME + SHORT_NAME;
    const char *hole = strstr(phrase, "{}");
    return clip_buffer_printf(out, error, "%.*s%s", (int)(hole - phrase), phrase,
                              short_name ? idea->key : idea->name);
}

/* ---- Writing ---- */

struct part {
    const struct clip_emoji_options *options;
    const struct clip_emoji_ideas *ideas;
    const struct clip_emoji_image *images; /* [ideas] drawn by the part's artist */
    const char *folder;                    /* "train", "val", "test" */
    int64_t first, variants;               /* numbers of variants; -1: the test's image as it is */
};

static void name_image(const void *context, int64_t number, char out[CLIP_DEMO_NAME])
{
    const struct part *part = context;
    snprintf(out, CLIP_DEMO_NAME, "%s/%s/%02lld.png", part->folder,
             part->ideas->ideas[number / part->variants].code,
             (long long)(number % part->variants));
}

/* Variant 0 is the unchanged image. */
static clip_status draw_image(const void *context, int64_t number, uint8_t *rgb,
                              struct clip_error *error)
{
    const struct part *part = context;
    int64_t idea = number / part->variants, variant = part->first + number % part->variants,
            size = part->options->image_size;
    if (variant == 0) return clip_emoji_image_plain(&part->images[idea], size, rgb, error);
    struct clip_rng rng =
        clip_rng_at(part->options->seed, CLIP_RNG_DRAW, (uint32_t)variant, (uint64_t)idea);
    return clip_emoji_image_vary(&part->images[idea], &rng, size, rgb, error);
}

/* Writes the csv of one part. The training part's captions vary and are kept for the tokenizer; the
 * others' captions are the names. */
static clip_status write_csv(const struct part *part, const char *file, struct clip_names *captions,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer csv = {0}, caption = {0};
    CLIP_TRY(clip_buffer_printf(&csv, error, "filepath\ttitle\n"));
    for (int64_t i = 0; i < part->ideas->count * part->variants; i++) {
        const struct clip_emoji_idea *idea = &part->ideas->ideas[i / part->variants];
        struct clip_rng rng = clip_rng_at(part->options->seed, CLIP_RNG_CAPTION,
                                          (uint32_t)(i % part->variants),
                                          (uint64_t)(i / part->variants));
        char name[CLIP_DEMO_NAME];
        name_image(part, i, name);
        caption.size = 0;
        if (captions != NULL) {
            CLIP_TRY(clip_emoji_caption(idea, &rng, &caption, error));
            CLIP_TRY(clip_names_add(captions, caption.data, error));
        } else {
            CLIP_TRY(clip_buffer_printf(&caption, error, "%s", idea->name));
        }
        CLIP_TRY(clip_buffer_printf(&csv, error, "%s\t%s\n", name, caption.data));
    }
    CLIP_TRY(clip_demo_write_text(part->options->output, file, &csv, error));
out:
    clip_buffer_release(&csv);
    clip_buffer_release(&caption);
    return status;
}

/* Writes classes.txt and templates.txt, and each package's terms. */
static clip_status write_lists(const struct clip_emoji_options *options,
                               const struct clip_emoji_ideas *ideas,
                               const struct clip_emoji_package packages[2],
                               struct clip_error *error)
{
    static const char *const terms[2] = {"gemojione.copyright", "tanuki-emoji.copyright"};
    clip_status status = CLIP_OK;
    struct clip_buffer classes = {0}, templates = {0};
    for (int64_t i = 0; i < ideas->count; i++)
        CLIP_TRY(clip_buffer_printf(&classes, error, "%s\t%s\n", ideas->ideas[i].name,
                                    ideas->ideas[i].code));
    for (size_t i = 2; i < sizeof phrases / sizeof *phrases; i++)
        CLIP_TRY(clip_buffer_printf(&templates, error, "%s\n", phrases[i]));
    CLIP_TRY(clip_demo_write_text(options->output, "classes.txt", &classes, error));
    CLIP_TRY(clip_demo_write_text(options->output, "templates.txt", &templates, error));
    for (int i = 0; i < 2; i++) {
        const struct clip_emoji_file *file = clip_emoji_package_find(&packages[i], "/copyright");
        if (file != NULL)
            CLIP_TRY(clip_demo_write_text(options->output, terms[i], &file->bytes, error));
    }
out:
    clip_buffer_release(&classes);
    clip_buffer_release(&templates);
    return status;
}

/* Makes the folders of the set as they are needed. If the packages cannot be had, no folder is left
 * that did not exist before. */
static clip_status read_packages(const struct clip_emoji_options *options,
                                 struct clip_emoji_package packages[2], struct clip_error *error)
{
    static const char *const names[2] = {"ruby-gemojione", "ruby-tanuki-emoji"};
    clip_status status = CLIP_OK;
    bool had_output = clip_path_exists(options->output);
    char *folder = NULL, *path = NULL;
    if (options->debs == NULL) {
        folder = clip_path_join(options->output, "packages", error);
        CLIP_TRY(folder != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
        CLIP_TRY(clip_folder_create(folder, error));
    }
    for (int i = 0; i < 2; i++) {
        path = clip_emoji_package_get(options->debs != NULL ? options->debs : folder, names[i],
                                      options->debs == NULL, options->quiet, error);
        CLIP_TRY(path != NULL ? CLIP_OK : error->status);
        CLIP_TRY(clip_emoji_package_read(path, &packages[i], error));
        free(path);
        path = NULL;
    }
    CLIP_TRY(clip_folder_create(options->output, error));
out:
    if (status != CLIP_OK && folder != NULL) rmdir(folder); /* only removes it if it is empty */
    if (status != CLIP_OK && !had_output) rmdir(options->output);
    free(folder);
    free(path);
    return status;
}

static clip_status decode_all(const struct clip_emoji_ideas *ideas,
                              const struct clip_emoji_package packages[2],
                              struct clip_emoji_image *images[2], struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int artist = 0; artist < 2; artist++)
        for (int64_t i = 0; i < ideas->count; i++) {
            int64_t number = artist == 0 ? ideas->ideas[i].first : ideas->ideas[i].second;
            const struct clip_emoji_file *file = &packages[artist].files[number];
            CLIP_TRY(clip_emoji_image_decode(&file->bytes, file->name, &images[artist][i], error));
        }
out:
    return status;
}

static clip_status write_parts(const struct part parts[3], struct clip_error *error)
{
    const struct clip_emoji_options *options = parts[0].options;
    struct clip_names captions = {0};
    struct clip_progress progress;
    int64_t total = 0, done = 0;
    clip_status status = CLIP_OK;
    for (int i = 0; i < 3; i++) total += parts[i].ideas->count * parts[i].variants;
    clip_progress_start(&progress, "drawing", "image", 0, total, options->quiet);
    for (int i = 0; i < 3 && status == CLIP_OK; i++) {
        struct clip_demo_images images = {
            options->output, options->image_size, parts[i].ideas->count * parts[i].variants,
            name_image,      draw_image,          &parts[i],
        };
        status = clip_demo_write_images(&images, &progress, &done, error);
    }
    clip_progress_end(&progress);
    CLIP_TRY(status);
    CLIP_TRY(write_csv(&parts[2], "test.csv", NULL, error));
    CLIP_TRY(write_csv(&parts[1], "val.csv", NULL, error));
    CLIP_TRY(write_csv(&parts[0], "train.csv", &captions, error));
    CLIP_TRY(clip_demo_write_tokenizer(options->output, &captions, TOKENIZER_VOCAB, error));
out:
    clip_names_release(&captions);
    return status;
}

clip_status clip_emoji_write(const struct clip_emoji_options *options,
                             struct clip_emoji_counts *counts, struct clip_error *error)
{
    struct clip_emoji_package packages[2] = {{0}};
    struct clip_emoji_ideas ideas = {0};
    struct clip_emoji_image *images[2] = {NULL};
    clip_status status = CLIP_OK;
    CLIP_TRY(
        clip_demo_check_range("--image-size", options->image_size, 16, CLIP_EMOJI_MAX_SIZE, error));
    CLIP_TRY(clip_demo_check_range("--variants", options->variants, 1, 1000, error));
    CLIP_TRY(read_packages(options, packages, error));
    CLIP_TRY(clip_emoji_ideas_read(&packages[0], &packages[1], &ideas, error));
    CLIP_NEW(images[0], ideas.count);
    CLIP_NEW(images[1], ideas.count);
    CLIP_TRY(decode_all(&ideas, packages, images, error));
    CLIP_TRY(write_lists(options, &ideas, packages, error));
    const struct part parts[3] = {
        {options, &ideas, images[0], "train", 0, options->variants},
        {options, &ideas, images[0], "val", options->variants, VAL_VARIANTS},
        {options, &ideas, images[1], "test", 0, 1},
    };
    CLIP_TRY(write_parts(parts, error));
    *counts = (struct clip_emoji_counts){ideas.count, ideas.count * options->variants,
                                         ideas.count * VAL_VARIANTS, ideas.count};
out:
    for (int artist = 0; artist < 2; artist++) {
        for (int64_t i = 0; images[artist] != NULL && i < ideas.count; i++)
            clip_emoji_image_release(&images[artist][i]);
        free(images[artist]);
        clip_emoji_package_release(&packages[artist]);
    }
    clip_emoji_ideas_release(&ideas);
    return status;
}
