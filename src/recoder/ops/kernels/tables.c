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

/* SplitMix64's finaliser (Steele, Lea & Flood 2014), as in recoder/_random.py. */
static inline uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* 32 random bits for column d of a row: MurmurHash3's finaliser (Appleby 2011); see recoder/ops/rounding.py. */
static inline uint32_t random_bits(uint32_t low, uint32_t high, uint32_t d)
{
    uint32_t x = low + d;
    x = ((x ^ (x >> 16)) * 0x85ebca6bu) ^ high;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    return x ^ (x >> 16);
}

/* To one of the two neighbours in bfloat16, by 16 random bits; what a product or a sum says is not a number stays so. */
static inline uint16_t to_bf16_by(float x, uint32_t bits)
{
    uint32_t up = (bits_of(x) & 0x7fffffff) + bits;
    up = up < 0x7fffffff ? up : 0x7fffffff;
    return (uint16_t)((up | (bits_of(x) & 0x80000000)) >> 16);
}

/* The same of what is not negative. */
static inline uint16_t square_to_bf16_by(float x, uint32_t bits)
{
    uint32_t up = bits_of(x) + bits;
    return (uint16_t)((up < 0x7fffffff ? up : 0x7fffffff) >> 16);
}

/* The same with moments in bfloat16, rounded at random by bits of the row's key. */
static inline void adam_row_bf16(
    float *restrict table, uint16_t *restrict first, uint16_t *restrict second, const float *restrict gradient,
    int64_t size, struct adam step, uint64_t key, int has_gradient)
{
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    int count = (int)size;
#pragma omp simd
    for (int d = 0; d < count; d++) {
        float slope = (has_gradient ? gradient[d] : 0) + step.weight_decay * table[d];
        float before = from_bf16(first[d]);
        float mean = before + (slope - before) * step.new1;
        float square = from_bf16(second[d]) * step.beta2 + slope * slope * step.new2;
        uint32_t bits = random_bits(low, high, (uint32_t)d);
        first[d] = to_bf16_by(mean, bits & 0xffff);
        second[d] = square_to_bf16_by(square, bits >> 16);
        table[d] -= step.rate * mean / (sqrtf(square) * step.root + step.eps);
    }
}

static inline void fetch_bf16(const uint16_t *row, int64_t size)
{
    for (int64_t d = 0; d < size; d += 32)
        __builtin_prefetch(row + d, 1);
}

/* As adam_rows; ids[r] is the row of the whole table that row r is, NULL: r. */
EVERY_LEVEL void adam_rows_bf16(
    float *table, uint16_t *first, uint16_t *second, const int64_t *rows, const float *gradient, int64_t count,
    int64_t size, struct adam step, uint64_t key, const int64_t *ids)
{
#pragma omp parallel for schedule(static) if (count * size > WORTH_THREADS)
    for (int64_t r = 0; r < count; r++) {
        int64_t at = rows[r] * size;
        if (r + AHEAD < count) {
            int64_t next = rows[r + AHEAD] * size;
            fetch(table + next, size);
            fetch_bf16(first + next, size);
            fetch_bf16(second + next, size);
        }
        uint64_t of_row = mixed(key + (uint64_t)(ids ? ids[rows[r]] : rows[r]));
        adam_row_bf16(table + at, first + at, second + at, gradient + r * size, size, step, of_row, 1);
    }
}

/* As adam_every_row. */
EVERY_LEVEL void adam_every_row_bf16(
    float *table, uint16_t *first, uint16_t *second, const int32_t *places, const float *gradient, int64_t count,
    int64_t size, struct adam step, uint64_t key, const int64_t *ids)
{
#pragma omp parallel for schedule(static) if (count * size > WORTH_THREADS)
    for (int64_t r = 0; r < count; r++) {
        int64_t at = r * size;
        uint64_t of_row = mixed(key + (uint64_t)(ids ? ids[r] : r));
        if (places[r] < 0)
            adam_row_bf16(table + at, first + at, second + at, NULL, size, step, of_row, 0);
        else
            adam_row_bf16(table + at, first + at, second + at, gradient + places[r] * size, size, step, of_row, 1);
    }
}

/* What a step of row-wise Adagrad is told. */
struct adagrad {
    float lr, weight_decay, eps;
};

/* Updates the rows of a table and the accumulator of each, [N], whose gradients these are, [R, D]; none repeats. */
EVERY_LEVEL void adagrad_rows(
    float *restrict table, float *restrict sums, const int64_t *restrict rows, const float *restrict gradient,
    int64_t count, int64_t size, struct adagrad step)
{
#pragma omp parallel for schedule(static) if (count * size > WORTH_THREADS)
    for (int64_t r = 0; r < count; r++) {
        if (r + AHEAD < count)
            fetch(table + rows[r + AHEAD] * size, size);
        float *restrict row = table + rows[r] * size;
        const float *restrict slopes = gradient + r * size;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t d = 0; d < size; d++) {
            float slope = slopes[d] + step.weight_decay * row[d];
            squares += slope * slope;
        }
        float sum = sums[rows[r]] += squares / (float)size;
        float rate = step.lr / (sqrtf(sum) + step.eps);
#pragma omp simd
        for (int64_t d = 0; d < size; d++)
            row[d] -= rate * (slopes[d] + step.weight_decay * row[d]);
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
