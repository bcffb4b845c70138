/* CLIP's byte-level BPE (Sennrich et al. 2016; the byte alphabet of GPT-2; CLIP's
 * simple_tokenizer). */
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "data/text/tokenizer_internal.h"

void clip_alphabet_init(struct clip_alphabet *alphabet)
{
    int count = 0, others = 0;
    for (int round = 0; round < 2; round++) {
        for (int byte = 0; byte < 256; byte++) {
            bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                         byte >= 0xAE;
            if (shown != (round == 0)) continue;
            int point = shown ? byte : 0x100 + others++;
            char *spelling = alphabet->spelling[count];
            if (point < 0x80) {
                spelling[0] = (char)point;
                spelling[1] = '\0';
            } else { /* below U+0800: two bytes */
                spelling[0] = (char)(0xC0 | point >> 6);
                spelling[1] = (char)(0x80 | (point & 0x3F));
                spelling[2] = '\0';
            }
            alphabet->symbol[byte] = count;
            alphabet->byte[count++] = (uint8_t)byte;
        }
    }
}

/* ---- encoding ---- */

/* A piece of text that is being merged: its symbols are a doubly linked list, with -1 at both
 * ends. */
struct node {
    int32_t symbol; /* -1: merged into its left neighbour */
    int32_t prev, next;
};

/* Two neighbours that a merge would join, waiting for their turn. It is void if one of them has
 * changed since. */
struct candidate {
    int32_t merge; /* the lower number goes first */
    int32_t at;    /* the left node; among equal merges the leftmost goes first */
    int32_t left, right;
};

struct encoding { /* the encoding of one text */
    const struct clip_bpe *bpe;
    struct clip_ids *out;
    struct node *nodes;
    struct candidate *heap;
    int32_t *joined; /* nodes that were joined with their right neighbour in this round */
    int64_t node_capacity, heap_capacity, joined_capacity, heap_count;
};

static bool goes_first(const struct candidate *a, const struct candidate *b)
{
    return a->merge != b->merge ? a->merge < b->merge : a->at < b->at;
}

static clip_status push(struct encoding *e, int32_t at, struct clip_error *error)
{
    if (at < 0 || e->nodes[at].next < 0) return CLIP_OK;
    struct candidate new = {
        .at = at, .left = e->nodes[at].symbol, .right = e->nodes[e->nodes[at].next].symbol};
    new.merge = (int32_t)clip_int_map_find(&e->bpe->merges, clip_pair_key(new.left, new.right));
    if (new.merge < 0) return CLIP_OK;
    clip_status status =
        clip_array_grow(&e->heap, &e->heap_capacity, e->heap_count + 1, sizeof *e->heap, error);
    if (status != CLIP_OK) return status;
    int64_t i = e->heap_count++;
    for (; i > 0 && goes_first(&new, &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = new;
    return CLIP_OK;
}

static struct candidate pop(struct encoding *e)
{
    struct candidate top = e->heap[0], last = e->heap[--e->heap_count];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < e->heap_count; i = child) {
        if (child + 1 < e->heap_count && goes_first(&e->heap[child + 1], &e->heap[child])) child++;
        if (!goes_first(&e->heap[child], &last)) break;
        e->heap[i] = e->heap[child];
    }
    e->heap[i] = last;
    return top;
}

/* Joins a candidate's two nodes if they have not changed since. */
static bool join(struct encoding *e, const struct candidate *c)
{
    struct node *left = &e->nodes[c->at];
    if (left->symbol != c->left || left->next < 0) return false;
    struct node *right = &e->nodes[left->next];
    if (right->symbol != c->right) return false;
    left->symbol = e->bpe->made[c->merge];
    right->symbol = -1;
    left->next = right->next;
    if (left->next >= 0) e->nodes[left->next].prev = c->at;
    return true;
}

/* Byte pair encoding as in CLIP's bpe(): applies the lowest merge present everywhere in the piece,
 * from left to right, and starts again until none applies. A heap of neighbours makes the time n
 * log n. */
static clip_status merge_nodes(struct encoding *e, int32_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    e->heap_count = 0;
    for (int32_t i = 0; i + 1 < n; i++) CLIP_TRY(push(e, i, error));
    while (e->heap_count > 0) {
        int32_t merge = e->heap[0].merge;
        int64_t joined = 0;
        while (e->heap_count > 0 && e->heap[0].merge == merge) {
            struct candidate top = pop(e);
            if (join(e, &top)) e->joined[joined++] = top.at;
        }
        for (int64_t k = 0; k < joined; k++) {
            int32_t at = e->joined[k], before = e->nodes[at].prev;
            /* If the left neighbour was joined in this round too, it has already pushed the pair
             * between them. */
            if (k == 0 || before != e->joined[k - 1]) CLIP_TRY(push(e, before, error));
            CLIP_TRY(push(e, at, error));
        }
    }
out:
    return status;
}

static clip_status encode_piece(void *context, enum clip_piece_kind kind, const char *piece,
                                size_t size, struct clip_error *error)
{
    struct encoding *e = context;
    const struct clip_bpe *bpe = e->bpe;
    clip_status status = CLIP_OK;
    if (kind == CLIP_PIECE_START) return clip_ids_add(e->out, bpe->base.start, error);
    if (kind == CLIP_PIECE_END) return clip_ids_add(e->out, bpe->base.end, error);
    if (size >= INT32_MAX) {
        return clip_fail(error, CLIP_ERR_DATA, "a word of %s is too long; cut the text",
                         CLIP_COUNT(size, "byte"));
    }
    int32_t n = (int32_t)size;
    CLIP_TRY(clip_array_grow(&e->nodes, &e->node_capacity, n, sizeof *e->nodes, error));
    CLIP_TRY(clip_array_grow(&e->joined, &e->joined_capacity, n, sizeof *e->joined, error));
    for (int32_t i = 0; i < n; i++) {
        int32_t symbol = bpe->alphabet.symbol[(unsigned char)piece[i]];
        bool last = i + 1 == n;
        e->nodes[i] = (struct node){symbol + (last ? CLIP_BPE_BYTES : 0), i - 1, last ? -1 : i + 1};
    }
    CLIP_TRY(merge_nodes(e, n, error));
    for (int32_t i = 0; i >= 0; i = e->nodes[i].next)
        CLIP_TRY(clip_ids_add(e->out, e->nodes[i].symbol, error));
out:
    return status;
}

static clip_status encode(const struct clip_tokenizer *tokenizer, const char *text, size_t n,
                          enum clip_text_cleaning cleaning, struct clip_ids *out,
                          struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_bpe *bpe = (const struct clip_bpe *)tokenizer;
    struct encoding e = {.bpe = bpe, .out = out};
    CLIP_TRY(clip_ids_add(out, tokenizer->start, error));
    CLIP_TRY(clip_splitter_run(&bpe->splitter, text, n, cleaning, encode_piece, &e, error));
    CLIP_TRY(clip_ids_add(out, tokenizer->end, error));
out:
    free(e.nodes);
    free(e.heap);
    free(e.joined);
    return status;
}

/* ---- the table ---- */

static clip_status spell(const struct clip_tokenizer *tokenizer, int32_t id,
                         struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_bpe *bpe = (const struct clip_bpe *)tokenizer;
    const struct clip_alphabet *alphabet = &bpe->alphabet;
    if (id == tokenizer->start) return clip_buffer_printf(out, error, "<|startoftext|>");
    if (id == tokenizer->end) return clip_buffer_printf(out, error, "<|endoftext|>");
    for (int64_t i = bpe->byte_offset[id]; i < bpe->byte_offset[id + 1]; i++) {
        int32_t symbol = alphabet->symbol[(unsigned char)bpe->bytes.data[i]];
        CLIP_TRY(clip_buffer_printf(out, error, "%s", alphabet->spelling[symbol]));
    }
    if (bpe->ends_word[id]) CLIP_TRY(clip_buffer_printf(out, error, "</w>"));
out:
    return status;
}

static void free_bpe(struct clip_tokenizer *tokenizer)
{
    struct clip_bpe *bpe = (struct clip_bpe *)tokenizer;
    clip_splitter_release(&bpe->splitter);
    clip_int_map_release(&bpe->merges);
    clip_buffer_release(&bpe->bytes);
    free(bpe->made);
    free(bpe->byte_offset);
    free(bpe->ends_word);
    free(bpe);
}

const struct clip_tokenizer_ops clip_bpe_ops = {
    .kind = "BPE", .encode = encode, .spell = spell, .free = free_bpe};
