/* What the program runs on, in a few words, for reports. */
#ifndef CLIP_CORE_MACHINE_H
#define CLIP_CORE_MACHINE_H

#include <stddef.h>

/* Writes the processor's name as the system calls it, "AMD EPYC 9R14"; its architecture where it
 * has no name. Returns `out`. */
const char *clip_machine_cpu(char *out, size_t capacity);

#endif
