/* The table of the configuration's keys: one row per key. Private to train/config*.c, the page that
 * compares runs, and the tests. */
#ifndef CLIP_TRAIN_CONFIG_TABLE_H
#define CLIP_TRAIN_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/choice.h"

enum clip_key_type { KEY_INT, KEY_REAL, KEY_BOOL, KEY_TEXT, KEY_CHOICE, KEY_SHARE, KEY_TRIPLE };

/* A key without flags decides the result of a run: a resumed run must have the same. */
enum clip_key_flag {
    KEY_MAY_CHANGE = 1,  /* at --resume: what is trained does not depend on it */
    KEY_ABOVE_LEAST = 2, /* of KEY_REAL: `least` itself is out of range */
    KEY_PLUMBING = 5,    /* KEY_MAY_CHANGE, and nothing that is measured depends on it either */
};

struct clip_key {
    const char *section, *key;
    enum clip_key_type type;
    size_t offset;        /* of the field in struct clip_config */
    const char *standard; /* the default, as one would write it */
    double least, most;   /* KEY_INT, KEY_REAL: the range */
    clip_name_fn *names;  /* KEY_CHOICE: the words, whose numbers the field holds */
    const char *help;
    unsigned flags; /* of enum clip_key_flag */
};

extern const struct clip_key clip_config_keys[];
extern const int clip_config_key_count;

/* Do two texts, each fine for the key, mean the same? "1e-3" and "0.001" do. */
bool clip_key_same(const struct clip_key *key, const char *a, const char *b);

#endif
