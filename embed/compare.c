/* Comparing embedded rows: similarity, probabilities of labels. */
#include <math.h>

#include "embed/embedder.h"

void clip_rows_normalise(float *rows, int64_t n, int64_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        float *row = rows + i * dim;
        double sum = 0;
        for (int64_t d = 0; d < dim; d++) sum += (double)row[d] * (double)row[d];
        double length = fmax(sqrt(sum), 1e-12);
        for (int64_t d = 0; d < dim; d++) row[d] = (float)((double)row[d] / length);
    }
}

void clip_similarity(double *out, const float *a, int64_t n, const float *b, int64_t m, int64_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < m; j++) {
            double sum = 0;
            for (int64_t d = 0; d < dim; d++)
                sum += (double)a[i * dim + d] * (double)b[j * dim + d];
            out[i * m + j] = sum;
        }
    }
}

void clip_embedder_probabilities(const struct clip_embedder *embedder, double *cosines, int64_t n,
                                 int64_t m)
{
    double scale = clip_embedder_logit_scale(embedder);
    for (int64_t i = 0; i < n; i++) {
        double *row = cosines + i * m, largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < m; j++) largest = fmax(largest, row[j]);
        for (int64_t j = 0; j < m; j++) sum += row[j] = exp(scale * (row[j] - largest));
        for (int64_t j = 0; j < m; j++) row[j] /= sum;
    }
}
