/* Rows of tables [N, D]. */
#include "numbers.h"

/* What a step of Adam is told; see AdamStep. */
struct adam {
    float rate, root, new1, beta2, new2, eps, weight_decay;
};

/* No gradient: zeros. */
static inline void adam_row(
    float *restrict table, float *restrict first, float *restrict second, const float *restrict gradient,
    int64_t size, struct adam step)
{
#pragma omp simd
    for (int64_t d = 0; d < size; d++) {
        float slope = (gradient ? gradient[d] : 0) + step.weight_decay * table[d];
        float mean = first[d] + (slope - first[d]) * step.new1;
        float square = second[d] * step.beta2 + slope * slope * step.new2;
        first[d] = mean;
        second[d] = square;
        table[d] -= step.rate * mean / (sqrtf(square) * step.root + step.eps);
    }
}

/* Rows that are read from memory meanwhile. */
#define AHEAD 2

static inline void fetch(const float *row, int64_t size)
{
    for (int64_t d = 0; d < size; d += 16)
        __builtin_prefetch(row + d, 1);
}

/* Updates the rows of a table and of its moments whose gradients these are, [R, D]; none repeats. */
EVERY_LEVEL void adam_rows(
    float *table, float *first, float *second, const int64_t *rows, const float *gradient, int64_t count, int64_t size,
    struct adam step)
{
#pragma omp parallel for schedule(static) if (count * size > WORTH_THREADS)
    for (int64_t r = 0; r < count; r++) {
        int64_t at = rows[r] * size;
        if (r + AHEAD < count) {
            int64_t next = rows[r + AHEAD] * size;
            fetch(table + next, size);
            fetch(first + next, size);
            fetch(second + next, size);
        }
        adam_row(table + at, first + at, second + at, gradient + r * size, size, step);
    }
}

/* Updates all rows; places[r] is where the gradient of row r is, or below 0 where it is zero. */
EVERY_LEVEL void adam_every_row(
    float *table, float *first, float *second, const int32_t *places, const float *gradient, int64_t count, int64_t size,
    struct adam step)
{
#pragma omp parallel for schedule(static) if (count * size > WORTH_THREADS)
    for (int64_t r = 0; r < count; r++) {
        int64_t at = r * size;
        if (places[r] < 0)
            adam_row(table + at, first + at, second + at, NULL, size, step);
        else
            adam_row(table + at, first + at, second + at, gradient + places[r] * size, size, step);
    }
}

/* Writes rows of a table, rounded: [R, D]. */
EVERY_LEVEL void gather_bf16(
    const float *restrict table, const int64_t *restrict rows, int64_t count, int64_t size, uint16_t *restrict gathered)
{
#pragma omp parallel for schedule(static) if (count * size > WORTH_THREADS)
    for (int64_t r = 0; r < count; r++) {
        const float *restrict from = table + rows[r] * size;
        uint16_t *restrict to = gathered + r * size;
#pragma omp simd
        for (int64_t d = 0; d < size; d++)
            to[d] = to_bf16(from[d]);
    }
}

/* What the library was compiled from. */
const char *sources(void) { return RECODER_SOURCES; }
