/* Sub-commands of clip_eval that stand in files of their own. */
#ifndef CLIP_TOOLS_EVAL_COMMANDS_H
#define CLIP_TOOLS_EVAL_COMMANDS_H

int clip_eval_classify(int argc, char **argv);
int clip_eval_zeroshot(int argc, char **argv);
int clip_eval_interpolate(int argc, char **argv);

#endif
