/* Heap memory with checked sizes, a growable byte buffer, and an arena for what lives and dies
 * together. */
#ifndef CLIP_CORE_MEMORY_H
#define CLIP_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* *out = a * b; false when it does not fit. For products of sizes that come from a file. */
bool clip_mul_i64(int64_t a, int64_t b, int64_t *out);
bool clip_mul_size(size_t a, size_t b, size_t *out);
static inline int64_t clip_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

/* A zeroed array of `count` elements of `size` bytes, aligned to 64 bytes; release with free().
 * NULL with *error filled when count < 0, the product overflows or memory is short. count 0 gives a
 * valid pointer. */
void *clip_array_new(int64_t count, size_t size, struct clip_error *error);
/* The same, beginning on a page of 4096 bytes. */
void *clip_pages_new(int64_t count, size_t size, struct clip_error *error);

/* Asks the system to back these bytes with pages of 2 MiB where it can (Linux's transparent huge
 * pages): walking a large matrix by columns then misses no page table. A wish; it cannot fail. */
void clip_memory_large_pages(void *data, size_t bytes);
/* Gives what was freed back to the system. Without, a process keeps what it freed below anything
 * that lives on: call it where a large thing made of many allocations has gone for good. */
void clip_memory_trim(void);

/* A copy of a string or of the first n bytes (NUL added); NULL with *error filled. free() it. */
char *clip_string_copy(const char *text, struct clip_error *error);
char *clip_string_copy_n(const char *bytes, size_t n, struct clip_error *error);

/* Grows the heap array that *array_pointer points to (`size` bytes an element, *capacity elements;
 * NULL and 0 to start from) to hold at least `need` elements: doubling, the new part zeroed. Pass
 * the address of the array's pointer. After a failure the array is as it was. */
clip_status clip_array_grow(void *array_pointer, int64_t *capacity, int64_t need, size_t size,
                            struct clip_error *error);

/* A growable byte string; after any append data is NUL-terminated beyond size. Start from {0}. */
struct clip_buffer {
    char *data;
    size_t size, capacity;
};
clip_status clip_buffer_append(struct clip_buffer *buffer, const void *bytes, size_t n,
                               struct clip_error *error);
clip_status clip_buffer_printf(struct clip_buffer *buffer, struct clip_error *error,
                               const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Room for n more bytes beyond size (and a NUL): write them yourself, then raise size. */
clip_status clip_buffer_reserve(struct clip_buffer *buffer, size_t n, struct clip_error *error);
void clip_buffer_release(struct clip_buffer *buffer); /* frees; the buffer is {0} again */

/* An arena: allocations are freed all at once. Blocks of 64 KiB or the request, whichever is
 * larger; 16-byte aligned, strings not at all. Start from {0}. */
struct clip_arena {
    struct clip_arena_block *first;
};
void *clip_arena_alloc(struct clip_arena *arena, int64_t count, size_t size,
                       struct clip_error *error); /* zeroed */
char *clip_arena_string(struct clip_arena *arena, const char *bytes, size_t n,
                        struct clip_error *error); /* a copy, NUL added */
/* All that `from` holds belongs to `arena` now; `from` is {0}. */
void clip_arena_join(struct clip_arena *arena, struct clip_arena *from);
void clip_arena_release(struct clip_arena *arena);

/* Bytes of memory this process has now (the most so far where the system does not say), and the
 * most it had so far. */
int64_t clip_memory_rss(void);
int64_t clip_memory_peak_rss(void);

#endif
