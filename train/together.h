/* What processes that train together must have in common. */
#ifndef CLIP_TRAIN_TOGETHER_H
#define CLIP_TRAIN_TOGETHER_H

#include <jansson.h>

#include "train/setup.h"

/* Before anything is computed: all use one kernel table, the least of those that their processors
 * have, because another one rounds differently. The first process says so. Collective. */
clip_status clip_together_kernels(const struct clip_comm *comm, struct clip_error *error);
/* They have read the same configuration and the same data (clip_data_mark). Collective. */
clip_status clip_together_check(const struct clip_setup *setup, const json_t *data,
                                struct clip_error *error);

/* Between these, a process that is not the first writes nothing to stderr: what all of them have to
 * say is said once. mute returns what unmute takes. */
int clip_together_mute(const struct clip_comm *comm);
void clip_together_unmute(int muted);

#endif
