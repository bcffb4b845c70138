/* The slices of a batch, whose gradients are summed in an order that no process' part in it
 * changes.
 *
 * A batch is cut into [train] world_size slices of equal size, in the order of its samples. Each
 * slice's gradient is computed by itself, and slices are summed as a binary tree over their
 * numbers: 0 and 1, 2 and 3, then these sums, and so on; what has no neighbour of its size at the
 * end is added from the right. A process has a run of slices. It sums what of the tree lies in
 * them, sends the sums to the owners of the parts of the gradient (optim/optim.h), and these sum
 * the rest of the tree. So one process makes the same bits as many.
 *
 * wire = bf16 rounds every sum but the last to bfloat16, whether it is sent or not. */
#ifndef CLIP_TRAIN_SLICES_H
#define CLIP_TRAIN_SLICES_H

#include "core/comm.h"
#include "optim/optim.h"

enum clip_wire { CLIP_WIRE_F32, CLIP_WIRE_BF16 };
const char *clip_wire_name(int wire); /* "f32", "bf16"; core/choice.h */

struct clip_slice_sum { /* of slices [first, first + count) */
    int64_t first, count;
    float *data;
};

enum { CLIP_SLICE_SUMS = 128 }; /* no process has more at once: two of each power of two */

struct clip_slices {
    struct clip_comm *comm; /* borrowed; NULL: one process */
    int64_t world;          /* slices of a batch */
    int64_t first, count;   /* those of this process */
    int64_t floats;         /* of a gradient */
    enum clip_wire wire;
    float *
        *buffers; /* [buffer_count, floats]; the first is the caller's and has the sum at the end */
    bool *taken;
    int64_t buffer_count;
    struct clip_slice_sum sums[CLIP_SLICE_SUMS];
    int sum_count;
    int most_sums;                /* of any process, when all its slices are there */
    float *received;              /* [processes, most_sums, chunk] */
    uint16_t *sent, *arrived;     /* the same as bfloat16; NULL: the wire is f32 */
    int64_t chunk;                /* floats exchanged at a time */
    struct clip_comm_part *parts; /* [2, processes] */
    int64_t *bounds;              /* [processes + 1] */
};

/* Process r of n has slices [r world / n, (r + 1) world / n). n must divide world. `grad`
 * [floats]: borrowed. */
clip_status clip_slices_create(struct clip_slices **out, struct clip_comm *comm, int64_t world,
                               enum clip_wire wire, float *grad, int64_t floats,
                               struct clip_error *error);
void clip_slices_free(struct clip_slices *slices); /* NULL is fine */

/* Of a step: forgets all sums; the buffer for the gradient of the process' next slice, with
 * anything in it; and then its part in the sum. */
void clip_slices_begin(struct clip_slices *slices);
float *clip_slices_buffer(struct clip_slices *slices);
void clip_slices_add(struct clip_slices *slices, float *buffer);
/* After all of the process' slices: `grad` has the sum of all in the floats of the process' own
 * part, and nothing of use in the others. Collective. */
void clip_slices_reduce(struct clip_slices *slices, const struct clip_optim_parts *parts);
/* Gives the floats of each process' part to all, and each process' sums of pieces. Collective. */
void clip_slices_gather(struct clip_slices *slices, const struct clip_optim_parts *parts,
                        float *data);
void clip_slices_gather_sums(struct clip_slices *slices, const struct clip_optim_parts *parts,
                             double *sums);

#endif
