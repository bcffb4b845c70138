/* Scenes by number, and writing of the set. */
#include "data/demo/shapes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/demo/demo_set.h"

#define PI 3.14159265358979f

/* What the set consists of. */
enum {
    /* rows of train.csv per image, with captions of different kinds if possible */
    CAPTIONS_PER_IMAGE = 4,
    OUTLINED = 30,          /* percent of the objects */
    VAL_IMAGES = 1000,      /* one caption each */
    SEEN_PER_CLASS = 60,    /* zero-shot images: 36 classes x 60 */
    UNSEEN_PER_CLASS = 180, /* 12 classes x 180 */
    TOKENIZER_VOCAB = 1024, /* at most; long before that every word of the captions is one token */
    IMAGES_PER_FOLDER = 1000,
    PAIRS = CLIP_SHAPES_COLOURS * CLIP_SHAPES_FORMS,
};
/* Radii in parts of the image's side. Two objects share the space, so large is smaller there. */
static const double small_radius[2] = {0.200, 0.240}, large_radius[2] = {0.310, 0.375};
static const double pair_small[2] = {0.120, 0.150}, pair_large[2] = {0.180, 0.210};
static const float stray[2] = {0.06f, 0.94f}; /* how far from the middle a single object may be */
static const double max_turn = 0.30;          /* radians either way */

/* Ranges of hue (degrees), saturation and value, so wide that no shade tells the form. */
static const struct {
    float hue[2], saturation[2], value[2];
} shades[CLIP_SHAPES_COLOURS] = {
    {{350, 364}, {0.75f, 1}, {0.70f, 1}},     /* red */
    {{48, 59}, {0.70f, 1}, {0.85f, 1}},       /* yellow */
    {{105, 142}, {0.60f, 1}, {0.45f, 0.85f}}, /* green */
    {{176, 190}, {0.65f, 1}, {0.80f, 1}},     /* cyan */
    {{216, 238}, {0.70f, 1}, {0.60f, 1}},     /* blue */
    {{274, 295}, {0.55f, 1}, {0.50f, 0.85f}}, /* purple */
    {{0, 360}, {0, 0.04f}, {0.93f, 1}},       /* white */
    {{0, 360}, {0, 0.30f}, {0, 0.10f}},       /* black */
};

static float between(struct clip_rng *rng, const float range[2])
{
    return (float)clip_rng_range(rng, range[0], range[1]);
}

/* Converts hue in degrees, saturation and value to red, green and blue, all 0 to 1 (Smith 1978). */
static void hsv_to_rgb(float rgb[3], float hue, float saturation, float value)
{
    for (int c = 0; c < 3; c++) {
        float k = fmodf(hue / 60 + (float)(5 - 2 * c) + 6, 6);
        rgb[c] = value * (1 - saturation * fmaxf(0, fminf(1, fminf(k, 4 - k))));
    }
}

static void make_background(struct clip_shapes_scene *s, struct clip_rng *rng, int kind)
{
    s->background = kind;
    float hue = (float)clip_rng_range(rng, 0, 360), value = (float)clip_rng_range(rng, 0.40, 0.66);
    for (int i = 0; i < 2; i++) /* two similar shades */
        hsv_to_rgb(s->rgb[i], hue + (float)clip_rng_range(rng, 0, 40),
                   (float)clip_rng_range(rng, 0, 0.28),
                   value + (float)(i == 0 ? -1 : 1) * (float)clip_rng_range(rng, 0.02, 0.07));
    s->angle = (float)clip_rng_range(rng, 0, 2 * PI);
    s->period = (float)clip_rng_range(rng, 0.12, 0.40);
    s->noise = *rng; /* drawing continues to draw from it */
}

static void make_object(struct clip_shapes_object *o, struct clip_rng *rng, int colour, int form,
                        bool large, const double radius[2])
{
    o->colour = colour;
    o->form = form;
    o->large = large;
    o->radius = (float)clip_rng_range(rng, radius[0], radius[1]);
    o->angle = (float)clip_rng_range(rng, -max_turn, max_turn);
    o->aspect = (float)clip_rng_range(rng, 0.92, 1.0);
    hsv_to_rgb(o->rgb, between(rng, shades[colour].hue), between(rng, shades[colour].saturation),
               between(rng, shades[colour].value));
    o->shade = (float)clip_rng_range(rng, -0.10, 0.10);
    o->outline = clip_rng_below(rng, 100) < OUTLINED ? (float)clip_rng_range(rng, 0.08, 0.16) : 0;
}

/* A position along one axis, from low to high, at which the whole object is inside the image. */
static float place(struct clip_rng *rng, float low, float high, float radius)
{
    float reach = 1.16f * radius;
    return (float)clip_rng_range(rng, low + reach, high - reach);
}

static int seen_pair(struct clip_rng *rng)
{
    for (;;) {
        int pair = (int)clip_rng_below(rng, PAIRS);
        if (!clip_shapes_is_unseen(pair / CLIP_SHAPES_FORMS, pair % CLIP_SHAPES_FORMS)) return pair;
    }
}

static void make_two(struct clip_shapes_scene *s, struct clip_rng *rng)
{
    int pair[2] = {seen_pair(rng), seen_pair(rng)};
    while (pair[1] == pair[0]) pair[1] = seen_pair(rng);
    s->count = 2;
    s->vertical = clip_rng_below(rng, 2) == 1;
    for (int i = 0; i < 2; i++) {
        bool large = clip_rng_below(rng, 2) == 1;
        make_object(&s->object[i], rng, pair[i] / CLIP_SHAPES_FORMS, pair[i] % CLIP_SHAPES_FORMS,
                    large, large ? pair_large : pair_small);
    }
    /* The border between the two halves moves with the space that they need. Along the other axis
     * the objects may differ by less. */
    float a = 1.16f * s->object[0].radius, b = 1.16f * s->object[1].radius;
    float border = (float)clip_rng_range(rng, 2 * a, 1 - 2 * b);
    float first = place(rng, 0, border, s->object[0].radius);
    float second = place(rng, border, 1, s->object[1].radius);
    float middle = (float)clip_rng_range(rng, 0.3, 0.7), lean = 0.35f * (second - first);
    for (int i = 0; i < 2; i++) {
        struct clip_shapes_object *o = &s->object[i];
        float reach = 1.16f * o->radius;
        float along = i == 0 ? first : second;
        float across = middle + (float)clip_rng_range(rng, -lean, lean);
        across = fmaxf(reach, fminf(1 - reach, across));
        o->x = s->vertical ? across : along;
        o->y = s->vertical ? along : across;
    }
}

static void make_one(struct clip_shapes_scene *s, struct clip_rng *rng, int colour, int form,
                     bool large)
{
    struct clip_shapes_object *o = &s->object[0];
    s->count = 1;
    make_object(o, rng, colour, form, large, large ? large_radius : small_radius);
    o->x = place(rng, stray[0], stray[1], o->radius);
    o->y = place(rng, stray[0], stray[1], o->radius);
}

void clip_shapes_scene_make(struct clip_shapes_scene *scene, uint64_t seed,
                            enum clip_shapes_split split, int64_t number, int64_t two_objects)
{
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_DRAW, (uint32_t)split, (uint64_t)number);
    memset(scene, 0, sizeof *scene);
    if ((int64_t)clip_rng_below(&rng, 100) < two_objects) {
        make_two(scene, &rng);
    } else {
        int pair = seen_pair(&rng);
        bool large = clip_rng_below(&rng, 2) == 1;
        make_one(scene, &rng, pair / CLIP_SHAPES_FORMS, pair % CLIP_SHAPES_FORMS, large);
    }
    make_background(scene, &rng, (int)clip_rng_below(&rng, CLIP_SHAPES_BACKGROUNDS));
}

void clip_shapes_scene_single(struct clip_shapes_scene *scene, uint64_t seed,
                              enum clip_shapes_split split, int64_t number,
                              const struct clip_shapes_look *look)
{
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_DRAW, (uint32_t)split, (uint64_t)number);
    memset(scene, 0, sizeof *scene);
    make_one(scene, &rng, look->colour, look->form, look->large);
    make_background(scene, &rng, look->background);
}

/* ---- Writing ---- */

struct part { /* one part of the set */
    const struct clip_shapes_options *options;
    enum clip_shapes_split split;
    int64_t count;
    int pairs[PAIRS], classes; /* the classes of zero-shot splits; 0 for the others */
    int64_t per_class;         /* images per class */
};

static void scene_of(const struct part *part, int64_t number, struct clip_shapes_scene *scene)
{
    uint64_t seed = part->options->seed;
    if (part->classes == 0) {
        clip_shapes_scene_make(scene, seed, part->split, number, part->options->two_objects);
        return;
    }
    int pair = part->pairs[number / part->per_class];
    int64_t i = number % part->per_class; /* takes both sizes and all backgrounds in turn */
    const struct clip_shapes_look look = {.colour = pair / CLIP_SHAPES_FORMS,
                                          .form = pair % CLIP_SHAPES_FORMS,
                                          .large = i % 2 == 1,
                                          .background = (int)(i / 2 % CLIP_SHAPES_BACKGROUNDS)};
    clip_shapes_scene_single(scene, seed, part->split, number, &look);
}

/* "red circle" or, as a folder's name, "red_circle". */
static void pair_name(char out[32], int pair, char between_words)
{
    snprintf(out, 32, "%s%c%s", clip_shapes_colour_name(pair / CLIP_SHAPES_FORMS), between_words,
             clip_shapes_form_name(pair % CLIP_SHAPES_FORMS));
}

static void name_image(const void *context, int64_t number, char out[CLIP_DEMO_NAME])
{
    const struct part *part = context;
    static const char *const folders[] = {"images/train", "images/val", "zeroshot_seen",
                                          "zeroshot_unseen"};
    char class[32];
    if (part->classes == 0) {
        snprintf(out, CLIP_DEMO_NAME, "%s_%03lld/%06lld.png", folders[part->split],
                 (long long)(number / IMAGES_PER_FOLDER), (long long)number);
        return;
    }
    pair_name(class, part->pairs[number / part->per_class], '_');
    snprintf(out, CLIP_DEMO_NAME, "%s/%s/%04lld.png", folders[part->split], class,
             (long long)(number % part->per_class));
}

static clip_status draw_image(const void *context, int64_t number, uint8_t *rgb,
                              struct clip_error *error)
{
    const struct part *part = context;
    struct clip_shapes_scene scene;
    (void)error; /* drawing cannot fail */
    scene_of(part, number, &scene);
    clip_shapes_draw(&scene, part->options->image_size, rgb);
    return CLIP_OK;
}

/* Appends the csv rows of one split (with a tab between columns, open_clip's default; none of these
 * captions needs quotes) and the captions, for the tokenizer. The captions of one image are of
 * kinds that are spread evenly over the mix. */
static clip_status add_rows(const struct part *part, int captions, struct clip_buffer *csv,
                            struct clip_names *texts, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer caption = {0};
    CLIP_TRY(clip_buffer_printf(csv, error, "filepath\ttitle\n"));
    for (int64_t number = 0; number < part->count; number++) {
        struct clip_shapes_scene scene;
        char name[CLIP_DEMO_NAME];
        struct clip_rng rng = clip_rng_at(part->options->seed, CLIP_RNG_CAPTION,
                                          (uint32_t)part->split, (uint64_t)number);
        int first = (int)clip_rng_below(&rng, 100);
        scene_of(part, number, &scene);
        name_image(part, number, name);
        for (int i = 0; i < captions; i++) {
            int kind = (first + i * 100 / captions) % 100;
            caption.size = 0;
            CLIP_TRY(clip_shapes_caption(&scene, kind, &rng, &caption, error));
            CLIP_TRY(clip_buffer_printf(csv, error, "%s\t%s\n", name, caption.data));
            CLIP_TRY(clip_names_add(texts, caption.data, error));
        }
    }
out:
    clip_buffer_release(&caption);
    return status;
}

/* Writes classes_48.txt, classes_12.txt and templates.txt. */
static clip_status write_lists(const char *output, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer all = {0}, unseen = {0}, templates = {0};
    for (int pair = 0; pair < PAIRS; pair++) {
        char name[32], folder[32];
        pair_name(name, pair, ' ');
        pair_name(folder, pair, '_');
        CLIP_TRY(clip_buffer_printf(&all, error, "%s\t%s\n", name, folder));
        if (clip_shapes_is_unseen(pair / CLIP_SHAPES_FORMS, pair % CLIP_SHAPES_FORMS))
            CLIP_TRY(clip_buffer_printf(&unseen, error, "%s\t%s\n", name, folder));
    }
    for (int i = 0; clip_shapes_templates[i] != NULL; i++)
        CLIP_TRY(clip_buffer_printf(&templates, error, "%s\n", clip_shapes_templates[i]));
    CLIP_TRY(clip_demo_write_text(output, "classes_48.txt", &all, error));
    CLIP_TRY(clip_demo_write_text(output, "classes_12.txt", &unseen, error));
    CLIP_TRY(clip_demo_write_text(output, "templates.txt", &templates, error));
out:
    clip_buffer_release(&all);
    clip_buffer_release(&unseen);
    clip_buffer_release(&templates);
    return status;
}

static void make_part(struct part *part, const struct clip_shapes_options *options,
                      enum clip_shapes_split split)
{
    bool unseen = split == CLIP_SHAPES_UNSEEN;
    *part = (struct part){.options = options, .split = split};
    part->count = split == CLIP_SHAPES_TRAIN ? options->count : VAL_IMAGES;
    if (split != CLIP_SHAPES_SEEN && !unseen) return;
    for (int pair = 0; pair < PAIRS; pair++)
        if (clip_shapes_is_unseen(pair / CLIP_SHAPES_FORMS, pair % CLIP_SHAPES_FORMS) == unseen)
            part->pairs[part->classes++] = pair;
    part->per_class = unseen ? UNSEEN_PER_CLASS : SEEN_PER_CLASS;
    part->count = part->classes * part->per_class;
}

/* Writes everything that depends on captions, and the csv files at the very end. */
static clip_status write_texts(const struct part *parts, struct clip_error *error)
{
    const char *output = parts[0].options->output;
    struct clip_buffer train = {0}, val = {0};
    struct clip_names captions = {0}, ignored = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(add_rows(&parts[CLIP_SHAPES_TRAIN], CAPTIONS_PER_IMAGE, &train, &captions, error));
    CLIP_TRY(add_rows(&parts[CLIP_SHAPES_VAL], 1, &val, &ignored, error));
    CLIP_TRY(clip_demo_write_tokenizer(output, &captions, TOKENIZER_VOCAB, error));
    CLIP_TRY(write_lists(output, error));
    CLIP_TRY(clip_demo_write_text(output, "val.csv", &val, error));
    CLIP_TRY(clip_demo_write_text(output, "train.csv", &train, error));
out:
    clip_names_release(&captions);
    clip_names_release(&ignored);
    clip_buffer_release(&train);
    clip_buffer_release(&val);
    return status;
}

clip_status clip_shapes_write(const struct clip_shapes_options *options,
                              struct clip_shapes_counts *counts, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_progress progress;
    struct part parts[4];
    int64_t total = 0, done = 0;
    CLIP_TRY(clip_demo_check_range("--count", options->count, 1, 10000000, error));
    CLIP_TRY(clip_demo_check_range("--image-size", options->image_size, 16, 1024, error));
    CLIP_TRY(clip_demo_check_range("--two-objects", options->two_objects, 0, 100, error));
    CLIP_TRY(clip_folder_create(options->output, error));
    for (int i = 0; i < 4; i++) {
        make_part(&parts[i], options, (enum clip_shapes_split)i);
        total += parts[i].count;
    }
    clip_progress_start(&progress, "drawing", "image", 0, total, options->quiet);
    for (int i = 0; i < 4 && status == CLIP_OK; i++) {
        struct clip_demo_images images = {
            options->output, options->image_size, parts[i].count, name_image, draw_image, &parts[i],
        };
        status = clip_demo_write_images(&images, &progress, &done, error);
    }
    clip_progress_end(&progress);
    CLIP_TRY(status);
    CLIP_TRY(write_texts(parts, error));
    *counts = (struct clip_shapes_counts){parts[0].count, parts[0].count * CAPTIONS_PER_IMAGE,
                                          parts[1].count, parts[2].count, parts[3].count};
out:
    return status;
}
