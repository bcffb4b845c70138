/* The drawn demo set: images of one or two coloured shapes, their captions, and two zero-shot
 * tests.
 *
 * With it a person without any data sees contrastive training work in minutes, and one question can
 * be asked cleanly: does the model know "purple star" if it has seen purple things and stars, but
 * never a purple star? Of the 8 x 6 = 48 pairs of colour and shape, 12 are kept out of every
 * training image and caption (clip_shapes_is_unseen).
 *
 * An image is a pure function of (seed, split, number), so the set's bytes depend neither on
 * threads nor on order. */
#ifndef CLIP_DATA_DEMO_SHAPES_H
#define CLIP_DATA_DEMO_SHAPES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/status.h"
#include "data/image/image.h"

enum {
    CLIP_SHAPES_COLOURS = 8,
    CLIP_SHAPES_FORMS = 6,
    CLIP_SHAPES_BACKGROUNDS = 5,
    CLIP_SHAPES_TWO_OBJECTS = 15, /* percent of the training images, by default */
};

/* Part of an image's key. */
enum clip_shapes_split {
    CLIP_SHAPES_TRAIN,
    CLIP_SHAPES_VAL,
    CLIP_SHAPES_SEEN,
    CLIP_SHAPES_UNSEEN,
};

struct clip_shapes_object {
    int colour, form; /* indices into the two tables of names */
    bool large;
    float x, y;   /* the centre, in parts of the image's side, y downwards */
    float radius; /* in parts of the side, too; every form lies within 1.16 radius of its centre */
    float angle, aspect; /* turned by angle (radians), stretched by aspect along its own x axis */
    float rgb[3];        /* 0 to 1 */
    float shade;         /* brightness varies from -shade to +shade across the object */
    float outline;       /* the width of a darker rim, in radii; 0 for none */
};

struct clip_shapes_scene {
    int count; /* 1 or 2 */
    struct clip_shapes_object object[2];
    bool vertical;       /* of two objects, object 0 is above object 1; else it is to its left */
    int background;      /* plain, gradient, stripes, noise, checks */
    float rgb[2][3];     /* its two colours */
    float angle, period; /* for gradient, stripes and checks; period in parts of the side */
    struct clip_rng noise;
};

const char *clip_shapes_colour_name(int colour);
const char *clip_shapes_form_name(int form);
/* Is this pair of colour and form never seen in training? Each form lacks two colours, and each
 * colour one or two forms. */
bool clip_shapes_is_unseen(int colour, int form);

/* Makes a training or validation scene of seen pairs, with two objects in two_objects of 100
 * scenes, else with one. */
void clip_shapes_scene_make(struct clip_shapes_scene *scene, uint64_t seed,
                            enum clip_shapes_split split, int64_t number, int64_t two_objects);
struct clip_shapes_look { /* of a scene of one object */
    int colour, form;
    bool large;
    int background;
};
/* Makes a scene of one object for a zero-shot test, which has this look; the rest is drawn as in
 * training. */
void clip_shapes_scene_single(struct clip_shapes_scene *scene, uint64_t seed,
                              enum clip_shapes_split split, int64_t number,
                              const struct clip_shapes_look *look);

/* Draws the scene: rgb [size,size,3]. Edges are smoothed by the signed distance to them. */
void clip_shapes_draw(const struct clip_shapes_scene *scene, int64_t size, uint8_t *rgb);

/* Appends one true sentence about the scene. `kind` in [0, 100) says which kind of caption it is
 * (both, only the colour, ...), and rng chooses the wording: two captions of one image should have
 * different kinds. */
clip_status clip_shapes_caption(const struct clip_shapes_scene *scene, int kind,
                                struct clip_rng *rng, struct clip_buffer *out,
                                struct clip_error *error);

/* The templates for zero-shot names, NULL-terminated. */
extern const char *const clip_shapes_templates[];

struct clip_shapes_options {
    const char *output;
    int64_t count;       /* training images */
    int64_t image_size;  /* side in pixels, 16 to 1024 */
    int64_t two_objects; /* percent of training and validation images, 0 to 100 */
    uint64_t seed;
    bool quiet;
};

struct clip_shapes_counts {
    int64_t train_images, train_pairs, val_pairs, zeroshot_seen, zeroshot_unseen;
};

/* Writes the whole set into options->output: images/, train.csv, val.csv, zeroshot_seen/,
 * zeroshot_unseen/, classes_48.txt, classes_12.txt, templates.txt, tokenizer.txt (trained on the
 * captions). The csv files come last: if they exist, the images are complete. Existing files of
 * these names are replaced. */
clip_status clip_shapes_write(const struct clip_shapes_options *options,
                              struct clip_shapes_counts *counts, struct clip_error *error);

#endif
