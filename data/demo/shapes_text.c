/* Captions: which things of a scene they name, and in which words.
 *
 * Pairs that were never seen work because the text tower cannot succeed by learning "red circle" as
 * one thing: many captions name only the colour or only the form, and those that name both put them
 * in both orders and apart. */
#include <string.h>

#include "data/demo/shapes.h"

/* The mix of captions in percent: one row for images of one object, one for images of two. WHOLE
 * names colour and form. */
enum {
    ONE_WHOLE = 76,
    ONE_COLOUR = 6,
    ONE_FORM = 14, /* the rest name only size, place and background */
    TWO_WHOLE = 55,
    TWO_COLOURS = 15,
    TWO_FORMS = 15, /* the rest name one of the two objects */
};

static const char *const colours[CLIP_SHAPES_COLOURS] = {
    "red", "yellow", "green", "cyan", "blue", "purple", "white", "black",
};
static const char *const forms[CLIP_SHAPES_FORMS] = {"circle", "square", "triangle",
                                                     "star",   "cross",  "ring"};

/* In these phrasings a capital stands for the first object, a small letter for the second:
 *   O o  colour and form, half of the time with the size     C c  colour     F f  form     S s size
 *   P    its place in the image      R  where the first is, seen from the second
 *   B    the background */
static const char *const one_whole[] = {
    "a O",
    "a O",
    "a picture of a O",
    "a picture showing a O",
    "there is a O",
    "there is a O P",
    "a O P",
    "a O on B",
    "a C F",
    "a S C F",
    "one O P on B",
    "this is a O",
    "the F is C",
    "a F that is C",
    "a F painted C",
    "a F P, and it is C",
    "a S F in C",
    "C, a F",
    "the thing P is a C F",
    "a F of the colour C",
    "a S F whose colour is C",
    "C is the colour of the F",
    NULL,
};
static const char *const one_colour[] = {
    "something C",
    "a C thing",
    "a C object P",
    "a S C shape",
    "the colour is C",
    "something C P",
    "C",
    "a C shape on B",
    "this is C",
    "a picture of something C",
    NULL,
};
static const char *const one_form[] = {
    "a F",         "a S F",
    "a F P",       "the shape is a F",
    "a F on B",    "a picture of a F",
    "this is a F", "there is a S F P",
    "F",           "a S F on B",
    NULL,
};
static const char *const one_rest[] = {
    "something S P",        "a S thing on B",   "a S shape P",
    "B with something S P", "one thing P on B", NULL,
};
static const char *const two_whole[] = {
    "a O R a o",
    "a O R a o",
    "there is a O R a o",
    "a picture of a O R a o",
    "a O and a o",
    "a o and a O",
    "the O is R the o",
    "a C F R a c f",
    "a S C F R a s c f",
    "two things, a O R a o",
    "a F that is C R a f that is c",
    NULL,
};
static const char *const two_colours[] = {
    "something C R something c",   "a C thing R a c thing",
    "a C shape and a c shape",     "C R c",
    "something C and something c", NULL,
};
static const char *const two_forms[] = {
    "a F R a f",     "a F and a f",           "there is a F R a f",
    "a S F R a s f", "two shapes, a F R a f", NULL,
};
static const char *const two_rest[] = {
    "a O P",
    "there is a O P",
    "a O beside something else",
    "something C P",
    "a F P",
    "something C R something else",
    "a f beside something else",
    NULL,
};

static const char *const small_words[] = {"small", "small", "little", "tiny"};
static const char *const large_words[] = {"large", "large", "big", "huge"};
static const char *const left_words[] = {"left of", "to the left of"};
static const char *const right_words[] = {"right of", "to the right of"};
static const char *const above_words[] = {"above", "over"};
static const char *const below_words[] = {"below", "under"};
static const char *const backgrounds[CLIP_SHAPES_BACKGROUNDS][2] = {
    {"a plain background", "a background of one colour"},
    {"a gradient", "a background that changes smoothly"},
    {"a striped background", "stripes"},
    {"a noisy background", "noise"},
    {"a checked background", "checks"},
};
static const char *const places[3][3] = {
    {"in the top left", "at the top", "in the top right"},
    {"on the left", "in the middle", "on the right"},
    {"in the bottom left", "at the bottom", "in the bottom right"},
};

const char *const clip_shapes_templates[] = {
    "a {}", "a picture of a {}", "there is a {}", "this is a {}", NULL,
};

const char *clip_shapes_colour_name(int colour) { return colours[colour]; }

const char *clip_shapes_form_name(int form) { return forms[form]; }

bool clip_shapes_is_unseen(int colour, int form)
{
    return colour == form || colour == (form + 4) % CLIP_SHAPES_COLOURS;
}

#define PICK(list) (list)[clip_rng_below(rng, (uint32_t)(sizeof(list) / sizeof *(list)))]

static const char *place(const struct clip_shapes_scene *scene, const struct clip_shapes_object *o)
{
    int column = o->x < 0.42f   ? 0
                 : o->x > 0.58f ? 2
                                : 1,
        row = o->y < 0.42f   ? 0
              : o->y > 0.58f ? 2
                             : 1;
    if (scene->count == 2 && scene->vertical)
        column = 1; /* of two objects, where it is relative to the other */
    if (scene->count == 2 && !scene->vertical) row = 1;
    return places[row][column];
}

static const char *relation(const struct clip_shapes_scene *scene, bool swapped,
                            struct clip_rng *rng)
{
    if (scene->vertical) return swapped ? PICK(below_words) : PICK(above_words);
    return swapped ? PICK(right_words) : PICK(left_words);
}

static clip_status add(struct clip_buffer *out, const char *text, struct clip_error *error)
{
    return clip_buffer_append(out, text, strlen(text), error);
}

/* Appends what one letter of a phrasing stands for. `first` may be object 1 (swapped): then the
 * relation is the opposite one. */
static clip_status expand(char letter, const struct clip_shapes_scene *scene, int first,
                          struct clip_rng *rng, struct clip_buffer *out, struct clip_error *error)
{
    bool second = letter >= 'a';
    const struct clip_shapes_object *o =
        &scene->object[second ? (first + 1) % scene->count : first];
    clip_status status = CLIP_OK;
    switch (second ? letter - 'a' + 'A' : letter) {
    case 'O':
        if (clip_rng_below(rng, 2) == 0) {
            CLIP_TRY(expand(second ? 's' : 'S', scene, first, rng, out, error));
            CLIP_TRY(add(out, " ", error));
        }
        CLIP_TRY(add(out, colours[o->colour], error));
        CLIP_TRY(add(out, " ", error));
        CLIP_TRY(add(out, forms[o->form], error));
        break;
    case 'C': return add(out, colours[o->colour], error);
    case 'F': return add(out, forms[o->form], error);
    case 'S': return add(out, o->large ? PICK(large_words) : PICK(small_words), error);
    case 'P': return add(out, place(scene, o), error);
    case 'R': return add(out, relation(scene, first == 1, rng), error);
    default: return add(out, PICK(backgrounds[scene->background]), error);
    }
out:
    return status;
}

/* Is this a letter by itself? No word of the phrasings is a single letter except "a". */
static bool is_slot(const char *phrase, const char *at)
{
    bool starts = at == phrase || at[-1] == ' ',
         ends = at[1] == '\0' || at[1] == ' ' || at[1] == ',';
    return starts && ends && strchr("OCFSPRBocfs", *at) != NULL;
}

clip_status clip_shapes_caption(const struct clip_shapes_scene *scene, int kind,
                                struct clip_rng *rng, struct clip_buffer *out,
                                struct clip_error *error)
{
    const char *const *table;
    if (scene->count == 1)
        table = kind < ONE_WHOLE                           ? one_whole
                : kind < ONE_WHOLE + ONE_COLOUR            ? one_colour
                : kind < ONE_WHOLE + ONE_COLOUR + ONE_FORM ? one_form
                                                           : one_rest;
    else
        table = kind < TWO_WHOLE                             ? two_whole
                : kind < TWO_WHOLE + TWO_COLOURS             ? two_colours
                : kind < TWO_WHOLE + TWO_COLOURS + TWO_FORMS ? two_forms
                                                             : two_rest;
    uint32_t n = 0;
    while (table[n] != NULL) n++;
    const char *phrase = table[clip_rng_below(rng, n)];
    int first = (int)clip_rng_below(rng, (uint32_t)scene->count);
    clip_status status = CLIP_OK;
    for (const char *p = phrase; *p != '\0' && status == CLIP_OK; p++)
        status = is_slot(phrase, p) ? expand(*p, scene, first, rng, out, error)
                                    : clip_buffer_append(out, p, 1, error);
    return status;
}
