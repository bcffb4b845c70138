/* Measuring search: how long an exact query takes, beside reading the same rows once. */
#ifndef CLIP_BENCH_BENCH_SEARCH_H
#define CLIP_BENCH_BENCH_SEARCH_H

#include "core/status.h"
#include "search/index.h"

struct clip_bench_search_options {
    int64_t rows, dim, queries, top;
    enum clip_index_precision precision;
    bool exact; /* of bf16 and int8: f32 rows are kept, and the candidates ordered by them */
};

struct clip_bench_search_result {
    double query_seconds, read_seconds; /* medians, measured in turns */
    double ratio;                       /* the median of the turns' ratios */
    double bytes;                       /* that a query reads */
    double bytes_per_second;            /* of reading alone */
    double recall; /* @top: the share of the best by f32 rows that is found; 1 for f32 */
};

/* An index in memory of random unit rows that lie around some thousand centres, as embeddings do;
 * queries lie there too. CLIP_ERR_MEMORY where the rows do not fit. */
clip_status clip_bench_search(const struct clip_bench_search_options *options,
                              struct clip_bench_search_result *result, struct clip_error *error);

#endif
