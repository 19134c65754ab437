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
