/*
 * Losses of a block of scores, and their slopes (derivatives) in place of the scores: one pass over the block.
 *
 * scores: [B, I], rows one after the other, without the biases [I]. What the target holds: column c has the entries
 * offsets[c] to offsets[c + 1], each with its row and its value. Slopes are multiplied by `scale`; `sums`
 * receives their sum over the users, [I].
 */
#include "numbers.h"

/* Columns of a tile: their sums stay in the nearest cache. */
#define TILE 256
/* Rows of a tile whose factors in [1, 2] are multiplied, lane by lane, before a logarithm is taken: below 2^128. */
#define TILE_ROWS 7
/* Numbers that the widest registers hold. */
#define LANES 16

/* See above; everything but integers is float32. */
struct entries {
    const int64_t *offsets;
    const int64_t *rows;
    const float *values;
    float *scores; /* of each: to be filled and used here */
};

/* The part of the logistic loss that a few neighbouring scores have, and their slopes in their place. */
static inline void logistic_lanes(
    float *restrict scores, const float *restrict bias, float *restrict sums, int lanes, float scale,
    float *restrict positive, float *restrict product)
{
#pragma omp simd
    for (int lane = 0; lane < lanes; lane++) {
        float x = scores[lane] + bias[lane];
        float small = exponential(x > 0 ? -x : x);
        float rest = 1 / (1 + small);
        float slope = (x > 0 ? rest : small * rest) * scale;
        positive[lane] += x > 0 ? x : 0;
        product[lane] *= 1 + small;
        scores[lane] = slope;
        sums[lane] += slope;
    }
}

/* Scores of a row in float32: where they are, or converted into some room; and back. */
static inline float *widened_f32(float *scores, int64_t count, float *room)
{
    (void)count, (void)room;
    return scores;
}

static inline void narrow_f32(const float *slopes, int64_t count, float *scores)
{
    (void)slopes, (void)count, (void)scores;
}

static inline float *widened_bf16(const uint16_t *restrict scores, int64_t count, float *restrict room)
{
#pragma omp simd
    for (int64_t c = 0; c < count; c++)
        room[c] = from_bf16(scores[c]);
    return room;
}

static inline void narrow_bf16(const float *restrict slopes, int64_t count, uint16_t *restrict scores)
{
#pragma omp simd
    for (int64_t c = 0; c < count; c++)
        scores[c] = to_bf16(slopes[c]);
}

#define SCORE float
#define NAME(name) name##_f32
#define READ(x) (x)
#define WRITE(x) (x)
#include "losses_of.h"
#undef SCORE
#undef NAME
#undef READ
#undef WRITE

#define SCORE uint16_t
#define NAME(name) name##_bf16
#define READ(x) from_bf16(x)
#define WRITE(x) to_bf16(x)
#include "losses_of.h"
