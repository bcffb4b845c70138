/* clip_bench's sub-commands, those with a file of their own. */
#ifndef CLIP_TOOLS_BENCH_H
#define CLIP_TOOLS_BENCH_H

int clip_bench_run_embed(int argc, char **argv);
int clip_bench_run_gemm(int argc, char **argv);
int clip_bench_run_loss(int argc, char **argv);
int clip_bench_run_loader(int argc, char **argv);

#endif
