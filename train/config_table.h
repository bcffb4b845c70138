/* One row a configuration key. Private to train/config*.c. */
#ifndef CLIP_TRAIN_CONFIG_TABLE_H
#define CLIP_TRAIN_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum clip_key_type { KEY_INT, KEY_REAL, KEY_BOOL, KEY_TEXT, KEY_CHOICE, KEY_SHARE, KEY_TRIPLE };

struct clip_key {
    const char *section, *key;
    enum clip_key_type type;
    size_t offset;        /* of the field in struct clip_config */
    const char *standard; /* the default, as one would write it */
    double least, most;   /* KEY_INT, KEY_REAL: range; with `open` least itself is not allowed */
    bool open;
    const char *choices; /* KEY_CHOICE: "a|b|c" */
    bool decides;        /* the result of a run depends on it: a resumed run must have the same */
    const char *help;
};

extern const struct clip_key clip_config_keys[];
extern const int clip_config_key_count;

#endif
