/* Any bytes as the list of an index: what is taken has segments that add up, and every range of
 * removed rows lies within its segment. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "search/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clip_index index;
    struct clip_error error = {0};
    if (clip_index_list_parse(&index, (const char *)data, size, "fuzz", &error) != CLIP_OK) {
        if (error.message[0] == '\0' || index.segment_count != 0) abort();
        return 0;
    }
    int64_t rows = 0, live = 0;
    for (int64_t i = 0; i < index.segment_count; i++) {
        const struct clip_index_segment *s = &index.segments[i];
        if (s->first != rows || s->count < 1) abort();
        for (int64_t k = 0; k < s->count; k++) live += !s->removed[k];
        rows += s->count;
    }
    if (rows != index.count || live != index.live) abort();
    clip_index_release(&index);
    return 0;
}
