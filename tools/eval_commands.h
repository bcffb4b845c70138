/* Sub-commands of clip_eval that stand in files of their own, and what several share. */
#ifndef CLIP_TOOLS_EVAL_COMMANDS_H
#define CLIP_TOOLS_EVAL_COMMANDS_H

#include "core/status.h"
#include "embed/embedder.h"
#include "tools/cli.h"

/* Embeds images that were named one by one: rows [images->count,E]. One of several that cannot be
 * read is named on stderr with its reason, counted in *bad and taken out of the list, whose order
 * stays; where it is the only one, its reason is the failure. */
clip_status clip_eval_images(const struct clip_embedder *embedder, struct clip_cli_list *images,
                             float *rows, int64_t *bad, struct clip_error *error);
/* What is said at the end of a command that has left images out; CLIP_OK for none. */
clip_status clip_eval_skipped(int64_t bad, struct clip_error *error);

int clip_eval_classify(int argc, char **argv);
int clip_eval_zeroshot(int argc, char **argv);
int clip_eval_interpolate(int argc, char **argv);

#endif
