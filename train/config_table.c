#include "train/config_table.h"

#include "train/config.h"

#define ROW(kind, s, k, usual)                                                                     \
    .section = #s, .key = #k, .type = kind, .offset = offsetof(struct clip_config, s.k),           \
    .standard = usual
#define SECTION(s)
#define END(s)
#define INT(s, k, usual, from, to, ...)                                                            \
    {ROW(KEY_INT, s, k, usual), .least = from, .most = to, .help = __VA_ARGS__},
#define REAL(s, k, usual, from, to, ...)                                                           \
    {ROW(KEY_REAL, s, k, usual), .least = from, .most = to, .help = __VA_ARGS__},
#define BOOL(s, k, usual, ...) {ROW(KEY_BOOL, s, k, usual), .help = __VA_ARGS__},
#define TEXT(s, k, usual, ...) {ROW(KEY_TEXT, s, k, usual), .help = __VA_ARGS__},
#define SHARE(s, k, usual, ...) {ROW(KEY_SHARE, s, k, usual), .help = __VA_ARGS__},
#define TRIPLE(s, k, usual, ...) {ROW(KEY_TRIPLE, s, k, usual), .help = __VA_ARGS__},
#define CHOICE(kind, s, k, usual, words, ...)                                                      \
    {ROW(KEY_CHOICE, s, k, usual), .names = words, .help = __VA_ARGS__},

const struct clip_key clip_config_keys[] = {
#include "train/config_keys.h"
};
const int clip_config_key_count = (int)(sizeof clip_config_keys / sizeof clip_config_keys[0]);
