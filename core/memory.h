/* Heap memory with checked sizes, a growable byte buffer, and an arena for things that are freed
 * together. */
#ifndef CLIP_CORE_MEMORY_H
#define CLIP_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* *out = a * b; false if it overflows. For products of sizes that come from a file. */
bool clip_mul_i64(int64_t a, int64_t b, int64_t *out);
bool clip_mul_size(size_t a, size_t b, size_t *out);
static inline int64_t clip_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Returns a zeroed array of `count` elements of `size` bytes each, aligned to 64 bytes; release it
 * with free(). NULL with *error filled if count < 0, the product overflows or memory is short. For
 * count 0 the pointer is valid, too. */
void *clip_array_new(int64_t count, size_t size, struct clip_error *error);
/* The same, aligned to a page of 4096 bytes. */
void *clip_pages_new(int64_t count, size_t size, struct clip_error *error);

/* Asks the system to use pages of 2 MiB for these bytes if it can (Linux's transparent huge pages),
 * so that walking a large matrix by columns causes fewer misses in the page table. It is only a
 * hint and cannot fail. */
void clip_memory_large_pages(void *data, size_t bytes);
/* Gives freed memory back to the system. Otherwise a process keeps the freed memory that lies below
 * something still in use. Call it when a large thing made of many allocations has been freed for
 * good. */
void clip_memory_trim(void);

/* Returns a copy of a string, or of its first n bytes, with a NUL added; NULL with *error filled.
 * The caller must free() it. */
char *clip_string_copy(const char *text, struct clip_error *error);
char *clip_string_copy_n(const char *bytes, size_t n, struct clip_error *error);

/* Grows the heap array that *array_pointer points to, so that it holds at least `need` elements of
 * `size` bytes; *capacity is how many it holds (start from NULL and 0). The capacity doubles, and
 * the new part is zeroed. Pass the address of the array's pointer. After a failure the array is as
 * it was. */
clip_status clip_array_grow(void *array_pointer, int64_t *capacity, int64_t need, size_t size,
                            struct clip_error *error);

/* A growable string of bytes. After every append, data has a NUL behind its `size` bytes. Start
 * from {0}. */
struct clip_buffer {
    char *data;
    size_t size, capacity;
};
clip_status clip_buffer_append(struct clip_buffer *buffer, const void *bytes, size_t n,
                               struct clip_error *error);
clip_status clip_buffer_printf(struct clip_buffer *buffer, struct clip_error *error,
                               const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Makes room for n more bytes behind size (and a NUL). The caller writes them and then raises
 * size. */
clip_status clip_buffer_reserve(struct clip_buffer *buffer, size_t n, struct clip_error *error);
void clip_buffer_release(struct clip_buffer *buffer); /* frees the data; the buffer is {0} then */

/* An arena: its allocations are all freed at once. It takes blocks of 64 KiB, or of the request if
 * that is larger. Allocations are aligned to 16 bytes, strings are not aligned. Start from {0}. */
struct clip_arena {
    struct clip_arena_block *first;
};
void *clip_arena_alloc(struct clip_arena *arena, int64_t count, size_t size,
                       struct clip_error *error); /* the memory is zeroed */
char *clip_arena_string(struct clip_arena *arena, const char *bytes, size_t n,
                        struct clip_error *error); /* a copy with a NUL added */
/* Moves everything that `from` holds to `arena`; `from` is {0} then. */
void clip_arena_join(struct clip_arena *arena, struct clip_arena *from);
void clip_arena_release(struct clip_arena *arena);

/* The bytes of memory that this process has now (or the most that it had so far, if the system does
 * not tell), and the most that it had so far. */
int64_t clip_memory_rss(void);
int64_t clip_memory_peak_rss(void);

#endif
