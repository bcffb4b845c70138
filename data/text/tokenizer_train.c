/* Learns merges (Sennrich et al. 2016, algorithm 1), incrementally.
 *
 * All different words are stored one after another as nodes of doubly linked lists. Every pair of
 * neighbours has a record of how often it occurs (a word counts as often as it was seen) and at
 * which nodes. A heap gives the next pair to merge. Merging visits only that pair's nodes and
 * corrects the counts of the neighbours. The work is about the number of nodes, however long the
 * words are: Chinese captions, whose words are whole clauses, cost no more than others. */
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "data/text/tokenizer_internal.h"

struct word_node {
    int32_t symbol; /* -1: merged into its left neighbour */
    int32_t prev, next;
    int32_t word;
};

struct pair {
    int32_t left, right;
    int64_t count;
    int32_t *at; /* the nodes where it ever began, ascending */
    int64_t at_count, at_capacity;
};

struct choice { /* a pair in the heap, with the count that it had when it was put there */
    int64_t count;
    int32_t left, right;
    int32_t pair;
};

struct training {
    struct clip_alphabet alphabet;
    struct clip_string_map words; /* word -> how often it was seen */
    struct clip_string_map texts; /* spelling -> symbol */
    const char **spelling;        /* [symbol], owned by `texts` */
    struct word_node *nodes;
    int64_t *seen; /* [word] */
    struct pair *pairs;
    struct clip_int_map numbers; /* a pair -> its place in `pairs` */
    struct choice *heap;
    int64_t pair_count, pair_capacity, heap_count, heap_capacity;
    int32_t symbol_count;
};

static clip_status count_word(void *context, enum clip_piece_kind kind, const char *piece, size_t n,
                              struct clip_error *error)
{
    struct training *t = context;
    if (kind != CLIP_PIECE_WORD) return CLIP_OK;
    struct clip_string_entry *entry;
    clip_status status = clip_string_map_add(&t->words, piece, n, 0, &entry, error);
    if (status == CLIP_OK) entry->value++;
    return status;
}

static clip_status count_words(struct training *t, const char *const *texts, const size_t *sizes,
                               int64_t count, enum clip_text_cleaning cleaning,
                               struct clip_error *error)
{
    struct clip_splitter splitter = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_splitter_init(&splitter, error));
    for (int64_t i = 0; i < count; i++) {
        status = clip_splitter_run(&splitter, texts[i], sizes[i], cleaning, count_word, t, error);
        if (status != CLIP_OK) {
            clip_error_prefix(error, "caption %lld", (long long)i + 1);
            goto out;
        }
    }
out:
    clip_splitter_release(&splitter);
    return status;
}

/* The record of a pair, which is made if it is new; NULL with *error filled. The next new record
 * may move it. */
static struct pair *pair_of(struct training *t, int32_t left, int32_t right,
                            struct clip_error *error)
{
    int64_t number = clip_int_map_find(&t->numbers, clip_pair_key(left, right));
    if (number >= 0) return &t->pairs[number];
    if (t->pair_count >= INT32_MAX - 1) {
        clip_fail(error, CLIP_ERR_DATA, "the captions hold too many pairs; train on fewer");
        return NULL;
    }
    if (clip_array_grow(&t->pairs, &t->pair_capacity, t->pair_count + 1, sizeof *t->pairs, error) !=
            CLIP_OK ||
        clip_int_map_put(&t->numbers, clip_pair_key(left, right), t->pair_count, error) != CLIP_OK)
        return NULL;
    t->pairs[t->pair_count] = (struct pair){.left = left, .right = right};
    return &t->pairs[t->pair_count++];
}

/* Notes that the pair that begins at a node now occurs there. */
static clip_status note(struct training *t, int32_t at, struct clip_error *error)
{
    const struct word_node *node = &t->nodes[at];
    struct pair *pair = pair_of(t, node->symbol, t->nodes[node->next].symbol, error);
    if (pair == NULL) return error->status;
    clip_status status =
        clip_array_grow(&pair->at, &pair->at_capacity, pair->at_count + 1, sizeof *pair->at, error);
    if (status != CLIP_OK) return status;
    pair->at[pair->at_count++] = at;
    pair->count += t->seen[node->word];
    return CLIP_OK;
}

/* Notes that the pair that begins at a node no longer occurs there; its list keeps the node. */
static void forget(struct training *t, int32_t at)
{
    const struct word_node *node = &t->nodes[at];
    uint64_t key = clip_pair_key(node->symbol, t->nodes[node->next].symbol);
    t->pairs[clip_int_map_find(&t->numbers, key)].count -= t->seen[node->word];
}

static bool goes_first(const struct choice *a, const struct choice *b)
{
    if (a->count != b->count) return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static clip_status push(struct training *t, int32_t number, struct clip_error *error)
{
    const struct pair *pair = &t->pairs[number];
    struct choice new = {pair->count, pair->left, pair->right, number};
    clip_status status =
        clip_array_grow(&t->heap, &t->heap_capacity, t->heap_count + 1, sizeof *t->heap, error);
    if (status != CLIP_OK) return status;
    int64_t i = t->heap_count++;
    for (; i > 0 && goes_first(&new, &t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = new;
    return CLIP_OK;
}

static struct choice pop(struct training *t)
{
    struct choice top = t->heap[0], last = t->heap[--t->heap_count];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < t->heap_count; i = child) {
        if (child + 1 < t->heap_count && goes_first(&t->heap[child + 1], &t->heap[child])) child++;
        if (!goes_first(&t->heap[child], &last)) break;
        t->heap[i] = t->heap[child];
    }
    t->heap[i] = last;
    return top;
}

/* Sorts words by their bytes, so that the order of the captions does not matter. */
static int compare_words(const void *left, const void *right)
{
    const struct clip_string_entry *a = left, *b = right;
    int order = memcmp(a->key, b->key, a->n < b->n ? a->n : b->n);
    return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

static clip_status lay_out_words(struct training *t, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_entry *words = NULL;
    int64_t count = t->words.count, total = 0;
    CLIP_NEW(words, count);
    for (int64_t i = 0; i < count; i++) {
        words[i] = t->words.entries[i];
        total += (int64_t)words[i].n;
    }
    if (total >= INT32_MAX) {
        CLIP_TRY(clip_fail(
            error, CLIP_ERR_DATA,
            "the captions hold %s of different words; train on fewer, a tenth serves as well",
            CLIP_COUNT(total, "byte")));
    }
    qsort(words, (size_t)count, sizeof *words, compare_words);
    CLIP_NEW(t->nodes, total);
    CLIP_NEW(t->seen, count);
    int32_t at = 0;
    for (int64_t w = 0; w < count; w++) {
        t->seen[w] = words[w].value;
        for (size_t i = 0; i < words[w].n; i++, at++) {
            bool last = i + 1 == words[w].n;
            int32_t symbol = t->alphabet.symbol[(unsigned char)words[w].key[i]];
            t->nodes[at] = (struct word_node){symbol + (last ? CLIP_BPE_BYTES : 0),
                                              i == 0 ? -1 : at - 1, last ? -1 : at + 1, (int32_t)w};
        }
    }
    for (int32_t i = 0; i < at; i++)
        if (t->nodes[i].next >= 0) CLIP_TRY(note(t, i, error));
    for (int64_t i = 0; i < t->pair_count; i++) CLIP_TRY(push(t, (int32_t)i, error));
out:
    free(words);
    return status;
}

/* Gives the next symbol this spelling; *taken becomes true if another symbol has it already. */
static clip_status add_symbol(struct training *t, const char *spelling, size_t n, bool *taken,
                              struct clip_error *error)
{
    struct clip_string_entry *entry;
    clip_status status =
        clip_string_map_add(&t->texts, spelling, n, t->symbol_count, &entry, error);
    if (status != CLIP_OK) return status;
    *taken = entry->value != t->symbol_count;
    if (!*taken) t->spelling[t->symbol_count++] = entry->key;
    return CLIP_OK;
}

static clip_status add_base(struct training *t, int64_t vocab_size, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    CLIP_NEW(t->spelling, vocab_size);
    for (int symbol = 0; symbol < CLIP_BPE_BASE; symbol++) {
        char spelling[8];
        bool taken = false;
        strcpy(spelling, t->alphabet.spelling[symbol % CLIP_BPE_BYTES]);
        if (symbol >= CLIP_BPE_BYTES) strcat(spelling, "</w>");
        CLIP_TRY(add_symbol(t, spelling, strlen(spelling), &taken, error));
    }
out:
    return status;
}

/* Joins every occurrence of a pair into the newest symbol. */
static clip_status merge(struct training *t, int32_t number, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t first_new = t->pair_count;
    int32_t left = t->pairs[number].left, right = t->pairs[number].right;
    int32_t *at = t->pairs[number].at; /* kept here, because new pairs move the records */
    int64_t count = t->pairs[number].at_count;
    t->pairs[number].at = NULL;
    t->pairs[number].at_count = t->pairs[number].at_capacity = 0;
    for (int64_t k = 0; k < count; k++) {
        struct word_node *node = &t->nodes[at[k]];
        if (node->symbol != left || node->next < 0 || t->nodes[node->next].symbol != right)
            continue;
        struct word_node *second = &t->nodes[node->next];
        if (node->prev >= 0) forget(t, node->prev);
        if (second->next >= 0) forget(t, node->next);
        node->symbol = t->symbol_count - 1;
        node->next = second->next;
        second->symbol = -1;
        if (node->next >= 0) t->nodes[node->next].prev = at[k];
        if (node->prev >= 0) CLIP_TRY(note(t, node->prev, error));
        if (node->next >= 0) CLIP_TRY(note(t, at[k], error));
    }
    t->pairs[number].count = 0;
    for (int64_t i = first_new; i < t->pair_count; i++) CLIP_TRY(push(t, (int32_t)i, error));
out:
    free(at);
    return status;
}

/* Merges until `wanted` lines are written to `lines`, or no pair occurs twice. */
static clip_status learn(struct training *t, int64_t wanted, struct clip_buffer *lines,
                         int64_t *learned, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer joined = {0};
    for (*learned = 0; *learned < wanted && t->heap_count > 0;) {
        struct choice best = pop(t);
        int64_t count = t->pairs[best.pair].count;
        if (count < 2) continue;
        if (count != best.count) { /* it has become less frequent since */
            CLIP_TRY(push(t, best.pair, error));
            continue;
        }
        bool taken = false;
        const char *left = t->spelling[best.left], *right = t->spelling[best.right];
        joined.size = 0;
        CLIP_TRY(clip_buffer_printf(&joined, error, "%s%s", left, right));
        CLIP_TRY(add_symbol(t, joined.data, joined.size, &taken, error));
        if (taken) continue;
        CLIP_TRY(clip_buffer_printf(lines, error, "\n%s %s", left, right));
        CLIP_TRY(merge(t, best.pair, error));
        ++*learned;
    }
out:
    clip_buffer_release(&joined);
    return status;
}

static void training_release(struct training *t)
{
    for (int64_t i = 0; i < t->pair_count; i++) free(t->pairs[i].at);
    free(t->pairs);
    free(t->heap);
    free(t->nodes);
    free(t->seen);
    free(t->spelling);
    clip_string_map_release(&t->words);
    clip_string_map_release(&t->texts);
    clip_int_map_release(&t->numbers);
}

clip_status clip_tokenizer_train(const char *const *texts, const size_t *sizes, int64_t count,
                                 int64_t vocab_size, enum clip_text_cleaning cleaning,
                                 struct clip_buffer *out, struct clip_error *error)
{
    struct training t = {0};
    struct clip_buffer lines = {0};
    clip_status status = CLIP_OK;
    int64_t learned = 0;
    if (vocab_size < CLIP_BPE_BASE + CLIP_BPE_ENDS ||
        vocab_size > CLIP_BPE_BASE + CLIP_BPE_MERGES_MAX + CLIP_BPE_ENDS) {
        return clip_fail(error, CLIP_ERR_USAGE,
                         "a vocabulary of %lld is out of range; expected %d (bytes alone) to %d "
                         "(as many as open_clip reads), as in 8706 for 8192 merges",
                         (long long)vocab_size, CLIP_BPE_BASE + CLIP_BPE_ENDS,
                         CLIP_BPE_BASE + CLIP_BPE_MERGES_MAX + CLIP_BPE_ENDS);
    }
    clip_alphabet_init(&t.alphabet);
    CLIP_TRY(add_base(&t, vocab_size, error));
    CLIP_TRY(count_words(&t, texts, sizes, count, cleaning, error));
    if (t.words.count == 0) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "the captions hold no word to learn from; give a "
                           "file with one caption per line"));
    }
    CLIP_TRY(lay_out_words(&t, error));
    CLIP_TRY(learn(&t, vocab_size - CLIP_BPE_BASE - CLIP_BPE_ENDS, &lines, &learned, error));
    CLIP_TRY(
        clip_buffer_printf(out, error, "#version: 0.2 - clip.c, %lld merges", (long long)learned));
    CLIP_TRY(clip_buffer_append(out, lines.data, lines.size, error));
out:
    training_release(&t);
    clip_buffer_release(&lines);
    return status;
}
