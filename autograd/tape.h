/* The tape: it records ops as they run, and walks them back for gradients (reverse-mode automatic
 * differentiation).
 *
 * Building an op runs its forward at once and records a node. clip_tape_backward walks the nodes in
 * reverse. Each op's backward *adds* to the gradients of its inputs and skips those that need none.
 * A node's output and its gradient are given back to the workspace as soon as its own backward has
 * run. Values that are cheap to compute (normalised rows, activations) are given back when their
 * scope ends, and computed again when backward comes to the op that reads them.
 *
 * In a step nothing allocates but the workspace, which hands out pieces of memory that was mapped
 * once. A tape has three uses:
 *
 *   training   clip_tape_clear, ops, clip_tape_backward
 *   inference  tape.record = false: nothing is kept for backward, and clip_scope_leave frees a
 *              block's values at once
 *   planning   tape.plan = true: only shapes and memory are worked out, nothing is computed or
 *              touched; clip_tape_peak tells the bytes
 *
 * When memory runs out, all later ops do nothing, and clip_tape_status says so at the end of the
 * step. */
#ifndef CLIP_AUTOGRAD_TAPE_H
#define CLIP_AUTOGRAD_TAPE_H

#include <assert.h>

#include "autograd/tensor.h"
#include "core/status.h"

#define CLIP_MAX_INPUTS 8
#define CLIP_READS_INPUT(i) (1u << (i))
#define CLIP_READS_OUTPUT (1u << CLIP_MAX_INPUTS)

struct clip_node {
    const struct clip_op *op;
    struct clip_tape *tape;
    struct clip_tensor *in[CLIP_MAX_INPUTS]; /* NULL: an optional input that is not there */
    struct clip_tensor *out;
    void *args;    /* the op's own struct, copied when it was recorded */
    void *saved;   /* op->saved bytes, written by forward, read by backward */
    void *scratch; /* op->scratch bytes, which exist only during one forward or backward call */
    struct clip_node *previous;
};

struct clip_op {
    const char *name;
    void (*forward)(struct clip_node *node);  /* writes node->out->data */
    void (*backward)(struct clip_node *node); /* reads out->grad; adds to in[i]->grad where
                                                 in[i] is there and needs a gradient */
    bool overwrites; /* backward asks clip_grad_adds about each gradient before it writes it;
                        else the tape zeroes empty gradients first */
    int passes;      /* 1 + the number i of an input whose gradient is out's as it is (a residual),
                        or 0. If that input has no gradient yet, in[i]->grad stays NULL, and
                        after backward the input gets the memory of out's gradient */
    unsigned reads;  /* what backward reads: CLIP_READS_INPUT(i) | CLIP_READS_OUTPUT */
    /* For an op that is cheap compared with a matrix product: writes the same bits to out->data
     * again, from the inputs in `reads` and from `saved`. The tape then does not keep its value for
     * the backward of other ops, but has it computed again when the first of them reads it. NULL:
     * the value is kept. */
    void (*again)(struct clip_node *node);
    size_t (*saved)(const struct clip_node *node);                  /* bytes; NULL: none */
    size_t (*scratch)(const struct clip_node *node, bool backward); /* bytes; NULL: none */
};

/* What a tape's products multiply, as a person chooses it: the tape's dtype. */
enum clip_precision { CLIP_PRECISION_FP32, CLIP_PRECISION_BF16 };
const char *clip_precision_name(int precision); /* "fp32", "bf16"; core/choice.h */
enum clip_dtype clip_precision_dtype(enum clip_precision precision);

/* Where a tape's time went, op by op. Only measurements use it. */
struct clip_profile {
    struct clip_profile_row {
        const char *name;
        int64_t calls;
        double forward, backward; /* seconds */
    } rows[32];
    int count;
};

struct clip_tape {
    bool record; /* keep what backward needs (default true) */
    bool plan;   /* see above */
    /* CLIP_F32 (the default), or CLIP_BF16: products round their operands to bfloat16 and sum in
     * float32, and values between the products of a block are stored as bfloat16. Parameters, the
     * residual stream, features, statistics and all gradients are float32 in both cases. */
    enum clip_dtype dtype;
    struct clip_workspace *workspace;
    struct clip_node *last;
    struct clip_scope *scope;
    struct clip_profile *profile; /* NULL: not measured */
    /* how processes share the losses of the tape (autograd/ops.h); NULL: they do not */
    const struct clip_loss_share *share;
    clip_status status;
};

/* What an op's caller holds to. A tape on which memory has run out hands out one tensor in place of
 * all, whose shape and type are those of the last op: nothing computes with it any more, and its
 * shape is nobody's mistake. */
#define CLIP_OP_ASSERT(tape, condition) assert((tape)->status != CLIP_OK || (condition))

clip_status clip_tape_create(struct clip_tape **out, struct clip_error *error);
void clip_tape_free(struct clip_tape *tape);
/* Maps `bytes` of workspace in advance, so that no step has to ask for more. The system provides
 * the pages when they are first touched. */
clip_status clip_tape_reserve(struct clip_tape *tape, size_t bytes, struct clip_error *error);
/* Forgets every node and makes the whole workspace free again. Tensors that the tape made are
 * gone. */
void clip_tape_clear(struct clip_tape *tape);
/* The most bytes of workspace that were in use at once so far, and how often it asked the system
 * for memory. */
size_t clip_tape_peak(const struct clip_tape *tape);
int64_t clip_tape_grown(const struct clip_tape *tape);
clip_status clip_tape_status(const struct clip_tape *tape, struct clip_error *error);

/* What an op is called with, and what it has to make. */
struct clip_op_call {
    enum clip_dtype dtype; /* of out; CLIP_F32 where it is left out */
    int ndim;              /* and the shape of out; 0: a scalar */
    const int64_t *shape;
    struct clip_tensor *inputs[CLIP_MAX_INPUTS]; /* NULL: not there */
    const void *args;                            /* copied for forward and backward, or NULL */
    size_t args_size;
};
/* For ops: makes out, runs the op's forward, and records it. */
struct clip_tensor *clip_tape_record(struct clip_tape *tape, const struct clip_op *op,
                                     const struct clip_op_call *call);
/* For an op's backward: must it add to this gradient (true), or is the gradient still empty, so
 * that it must write all of it (false, which is said only once)? */
bool clip_grad_adds(struct clip_tensor *tensor);
/* A tensor in the workspace that no op makes: an input that the caller fills. It lives until
 * clip_tape_clear or the end of its scope. */
struct clip_tensor *clip_tape_input(struct clip_tape *tape, enum clip_dtype dtype, int ndim,
                                    const int64_t *shape);

/* A scope gives memory back early. Of the values made between enter and leave, only `keep` may be
 * used afterwards. Leave gives back every other one that no recorded backward reads or that can be
 * computed again; when tape.record is false, that is all of them. Scopes nest. */
struct clip_scope {
    struct clip_node *start;
    struct clip_scope *outer;
};
void clip_scope_enter(struct clip_tape *tape, struct clip_scope *scope);
struct clip_tensor *clip_scope_leave(struct clip_tape *tape, struct clip_scope *scope,
                                     struct clip_tensor *keep);

/* Says that `x` will not be used again. Gives its memory back now, unless a recorded backward reads
 * it and it cannot be computed again. */
void clip_tape_release(struct clip_tape *tape, struct clip_tensor *x);

/* Builds y = build(t, x, args) without keeping what its backward will read. Backward builds it a
 * second time, with the same bits, walks it back, and forgets it (Chen et al. 2016, sublinear
 * memory). x is the only value of the tape that build may read and whose gradient is wanted;
 * parameters and inputs come through args, which are copied. build must return the last tensor that
 * it makes. */
typedef struct clip_tensor *(*clip_segment_fn)(struct clip_tape *tape, struct clip_tensor *x,
                                               const void *args);
struct clip_tensor *clip_tape_segment(struct clip_tape *tape, clip_segment_fn build,
                                      struct clip_tensor *x, const void *args, size_t args_size);

/* Adds d loss / d leaf to the `grad` of each leaf that needs one. loss is a scalar. */
void clip_tape_backward(struct clip_tape *tape, struct clip_tensor *loss);
/* The same from any tensor and its upstream gradient dy (same shape), which is copied. */
void clip_tape_backward_from(struct clip_tape *tape, struct clip_tensor *y, const float *dy);
/* The same from several tensors at once: each gets its upstream gradient by a clip_tape_seed, and
 * then one walk goes back over the whole tape. None of them may be made from another. */
void clip_tape_seed(struct clip_tape *tape, struct clip_tensor *y, const float *dy);
void clip_tape_backward_seeded(struct clip_tape *tape);

#endif
