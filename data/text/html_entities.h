/* HTML5's named character references (WHATWG HTML, "Named character references"). */
#ifndef CLIP_DATA_TEXT_HTML_ENTITIES_H
#define CLIP_DATA_TEXT_HTML_ENTITIES_H

#include <stdint.h>

struct clip_html_entity {
    char name[32];     /* without & and ; */
    uint8_t bare;      /* may be written without the semicolon, as &amp may */
    int32_t points[2]; /* the one or two characters that it stands for; [1] is 0 if it is one */
};

/* Sorted by name with strcmp. */
extern const struct clip_html_entity clip_html_entities[];
extern const int clip_html_entity_count;

#endif
