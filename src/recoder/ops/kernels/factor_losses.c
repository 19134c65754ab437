/*
 * Losses of scores that are products of factors, and their gradients, in one pass over the items: a few dozen items at
 * a time, their scores for some hundred users stay in the nearer caches from the product that makes them to those that
 * use their slopes up. See recoder.ops.fused for what is computed.
 *
 * Scores lie by item: those of an item for all users are neighbours, as the entries of the target are.
 */
#include "products.h"

#ifndef HAS_PRODUCTS

int64_t factor_losses_served(void) { return 0; }

#else

#include <cpuid.h>

/* As recoder.ops.kernels.factor_losses names them. */
enum work { LOGISTIC, SQUARED, LOG_SUMS, SOFTMAX };

struct problem {
    const float *factors; /* [users, size] */
    const float *table;   /* [.., size]: the items' factors */
    const float *bias;    /* of the rows of the table, or NULL */
    const int64_t *ids;   /* [items]: rows of the table, or NULL: the first ones */
    /* the target by item: item i has the entries offsets[i] to offsets[i + 1]; their users ascend */
    const int64_t *offsets, *rows;
    const float *values;
    /* of LOG_SUMS: written, [users]; of SOFTMAX: read, with the users' weights */
    float *log_sums;
    const float *weights;
    float *of_entries;                      /* of SQUARED: for each entry, to be filled and used here */
    float *kept;                            /* [items, kept_row]: scores of LOG_SUMS for SOFTMAX, or NULL; aligned */
    float *of_factors, *of_weight, *of_bias; /* [users, size], [items, size], [items]; NULL: not wanted */
    void *scratch;
    int64_t users, size, items, work, threads;
    float scale, confidence;
};

/* Items of a block, and users: so many scores are computed before their loss is. */
#define BLOCK_ITEMS (7 * STRIP)
#define BLOCK_USERS 512
/* Of the rows of a block, in numbers: half the second cache of a Zen 4. */
#define BLOCK_NUMBERS (1 << 17)
/* Numbers in [1, 2] that are multiplied, lane by lane, before a logarithm is taken: below 2^128. */
#define MOST_FACTORS 127

/* How a problem is cut up, and what lies where in the scratch memory of which threads have a part each. */
struct plan {
    int64_t block_items, block_users, width, score_row, kept_row, all_users;
    int64_t across, along;                           /* in 4 bytes, common to all threads: the packed users */
    int64_t rows, pairs, scores, slopes, sums, part; /* of a thread: where they begin, and what it has */
};

static struct plan planned(int64_t users, int64_t size, int64_t items, int64_t threads)
{
    struct plan p;
    int64_t chunks = (users + BLOCK_USERS - 1) / BLOCK_USERS;
    p.width = spread_out(size);
    p.block_users = chunks ? in_whole((users + chunks - 1) / chunks, PANEL) : PANEL;
    p.all_users = in_whole(users, PANEL);
    p.block_items = smaller(BLOCK_ITEMS, in_whole((items + threads - 1) / threads, STRIP));
    while (p.block_items > STRIP && p.block_items * p.width > BLOCK_NUMBERS)
        p.block_items -= STRIP;
    if (p.block_items < STRIP)
        p.block_items = STRIP;
    p.score_row = spread_out(p.block_users);
    p.kept_row = p.all_users;
    p.across = p.all_users * in_whole(size, LANES);
    p.along = p.all_users * in_whole(size, PANEL);
    p.rows = 0;
    p.pairs = p.rows + p.block_items * p.width;
    p.scores = p.pairs + p.block_items / 2 * p.width;
    p.slopes = p.scores + p.block_items * p.score_row;
    p.sums = p.slopes + p.block_items / 2 * p.score_row;
    /* of the factors, or of the multinomial: largest scores and masses */
    p.part = p.sums + (size > 2 ? size : 2) * p.all_users;
    return p;
}

/* Numbers of 4 bytes that the scratch memory has to hold; and those of a row of kept scores. */
int64_t factor_losses_scratch(int64_t users, int64_t size, int64_t items, int64_t threads)
{
    struct plan p = planned(users, size, items, threads);
    return p.across + p.along + threads * p.part + 2 * LANES;
}

int64_t factor_losses_kept_row(int64_t users) { return in_whole(users, PANEL); }

/* Whether the processor multiplies in float32 (1), and in bfloat16 (2) as fast as it can: not if it has AMX. */
int64_t factor_losses_served(void)
{
    unsigned a, b, c, d;
    int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    int tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1);
    return wide + (wide && !tiles && __builtin_cpu_supports("avx512bf16") ? 2 : 0);
}

/* Scores of some users for a block of items. */
struct block {
    float *scores; /* [items, row] */
    int64_t row, first_item, items, first_user, users;
};

/* The same as `exponential`, for registers. */
INLINED WIDE __m512 exponentials(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-87.0f), x); /* in this order it keeps what is not a number */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

static inline __mmask16 lanes_of(int64_t count) { return count < LANES ? (1 << count) - 1 : 0xffff; }

static inline float bias_of(const struct problem *p, int64_t item)
{
    return p->bias ? p->bias[row_of(p->ids, item)] : 0;
}

/* The entries of an item among the users of a block. */
static inline void entries_of(const struct problem *p, struct block block, int64_t item, int64_t *from, int64_t *to)
{
    *from = p->offsets[item], *to = p->offsets[item + 1];
    if (block.users == p->users)
        return;
    while (*from < *to && p->rows[*from] < block.first_user)
        ++*from;
    while (*to > *from && p->rows[*to - 1] >= block.first_user + block.users)
        --*to;
}

/* Adds to a user's scores of an item, an entry at a time, what the entries add to their slopes. */
static inline float subtract(
    const struct problem *p, float *restrict slopes, int64_t first_user, int64_t from, int64_t to)
{
    float sum = 0;
    for (int64_t z = from; z < to; z++) {
        slopes[p->rows[z] - first_user] -= p->values[z] * p->scale;
        sum += p->values[z] * p->scale;
    }
    return sum;
}

/* The sum over the entries of an item of value times score. */
static inline double matched(
    const struct problem *p, const float *restrict scores, float bias, int64_t first_user, int64_t from, int64_t to)
{
    double sum = 0;
    for (int64_t z = from; z < to; z++)
        sum += p->values[z] * (scores[p->rows[z] - first_user] + bias);
    return sum;
}

WIDE static double sum_of_logs(__m512 product)
{
    float factors[LANES];
    double sum = 0;
    _mm512_storeu_ps(factors, product);
    for (int lane = 0; lane < LANES; lane++)
        sum += logf(factors[lane]);
    return sum;
}

/*
 * Returns the sum of -y log s(x) - (1 - y) log(1 - s(x)) = log(1 + exp(x)) - x y, s the logistic function, and puts
 * slopes in place of the scores.
 *
 * log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); the sum of such logarithms is the logarithm of a product.
 */
WIDE static double logistic_block(const struct problem *p, struct block block)
{
    double loss = 0;
    __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1), scale = _mm512_set1_ps(p->scale);
    __m512 product = one;
    int64_t num_factors = 0;
    for (int64_t i = 0; i < block.items; i++) {
        float *restrict row = block.scores + i * block.row, bias = bias_of(p, block.first_item + i);
        __m512 positive = zero, sum = zero, biases = _mm512_set1_ps(bias);
        int64_t from, to;
        entries_of(p, block, block.first_item + i, &from, &to);
        loss -= matched(p, row, bias, block.first_user, from, to);
        for (int64_t u = 0; u < block.users; u += LANES) {
            __mmask16 lanes = lanes_of(block.users - u);
            __m512 x = _mm512_add_ps(_mm512_loadu_ps(row + u), biases);
            __m512 small = exponentials(_mm512_or_ps(x, _mm512_set1_ps(-0.0f))); /* of -|x| */
            __m512 factor = _mm512_add_ps(one, small), share = _mm512_div_ps(one, factor);
            __mmask16 below = _mm512_cmp_ps_mask(x, zero, _CMP_LE_OQ);
            __m512 slope = _mm512_mul_ps(_mm512_mask_mul_ps(share, below, share, small), scale);
            positive = _mm512_mask_add_ps(positive, lanes, positive, _mm512_max_ps(zero, x));
            product = _mm512_mask_mul_ps(product, lanes, product, factor);
            sum = _mm512_mask_add_ps(sum, lanes, sum, slope);
            _mm512_mask_storeu_ps(row + u, lanes, slope);
            if (++num_factors == MOST_FACTORS) {
                loss += sum_of_logs(product);
                product = one, num_factors = 0;
            }
        }
        loss += _mm512_reduce_add_ps(positive);
        float slopes = _mm512_reduce_add_ps(sum) - subtract(p, row, block.first_user, from, to);
        if (p->of_bias)
            p->of_bias[block.first_item + i] += slopes;
    }
    return loss + sum_of_logs(product);
}

/* Returns the sum of (1 + confidence y) (y - x)^2, and puts slopes in place of the scores. */
WIDE static double squared_block(const struct problem *p, struct block block)
{
    double loss = 0;
    __m512 twice = _mm512_set1_ps(2 * p->scale);
    for (int64_t i = 0; i < block.items; i++) {
        float *restrict row = block.scores + i * block.row, bias = bias_of(p, block.first_item + i);
        __m512 squares = _mm512_setzero_ps(), sum = squares, biases = _mm512_set1_ps(bias);
        int64_t from, to;
        entries_of(p, block, block.first_item + i, &from, &to);
        for (int64_t z = from; z < to; z++) {
            float x = row[p->rows[z] - block.first_user] + bias;
            float weight = 1 + p->confidence * p->values[z], missed = p->values[z] - x;
            loss += weight * missed * missed - x * x;
            p->of_entries[z] = -2 * p->scale * (weight * missed + x);
        }
        for (int64_t u = 0; u < block.users; u += LANES) {
            __mmask16 lanes = lanes_of(block.users - u);
            __m512 x = _mm512_add_ps(_mm512_loadu_ps(row + u), biases), slope = _mm512_mul_ps(x, twice);
            squares = _mm512_mask3_fmadd_ps(x, x, squares, lanes);
            sum = _mm512_mask_add_ps(sum, lanes, sum, slope);
            _mm512_mask_storeu_ps(row + u, lanes, slope);
        }
        loss += _mm512_reduce_add_ps(squares);
        float slopes = _mm512_reduce_add_ps(sum);
        for (int64_t z = from; z < to; z++) {
            row[p->rows[z] - block.first_user] += p->of_entries[z];
            slopes += p->of_entries[z];
        }
        if (p->of_bias)
            p->of_bias[block.first_item + i] += slopes;
    }
    return loss;
}

/*
 * Returns the sum of -y x, and adds the items to each user's largest score and to the mass, the sum of exp(x - largest).
 */
WIDE static double log_sums_block(const struct problem *p, struct block block, float *largest, float *masses)
{
    double loss = 0;
    float biases[BLOCK_ITEMS];
    for (int64_t i = 0; i < block.items; i++) {
        int64_t from, to;
        biases[i] = bias_of(p, block.first_item + i);
        entries_of(p, block, block.first_item + i, &from, &to);
        loss -= matched(p, block.scores + i * block.row, biases[i], block.first_user, from, to);
    }
    __m512 none = _mm512_set1_ps(-INFINITY);
    for (int64_t u = 0; u < block.users; u += LANES) {
        const float *scores = block.scores + u;
        float *largest_here = largest + block.first_user + u, *mass_here = masses + block.first_user + u;
        __m512 before = _mm512_loadu_ps(largest_here), now = before;
        for (int64_t i = 0; i < block.items; i++)
            now = _mm512_max_ps(_mm512_add_ps(_mm512_loadu_ps(scores + i * block.row), _mm512_set1_ps(biases[i])), now);
        /* where all are minus infinity there is nothing to compare with */
        __m512 base = _mm512_mask_mov_ps(now, _mm512_cmp_ps_mask(now, none, _CMP_EQ_OQ), _mm512_setzero_ps());
        /* of these items by themselves: beside a large sum so far each would be rounded */
        __m512 mass = _mm512_setzero_ps();
        for (int64_t i = 0; i < block.items; i++) {
            __m512 x = _mm512_add_ps(_mm512_loadu_ps(scores + i * block.row), _mm512_set1_ps(biases[i]));
            __mmask16 some = _mm512_cmp_ps_mask(x, none, _CMP_NEQ_UQ);
            mass = _mm512_mask_add_ps(mass, some, mass, exponentials(_mm512_sub_ps(x, base)));
        }
        __m512 kept = exponentials(_mm512_sub_ps(before, base));
        _mm512_storeu_ps(largest_here, now);
        _mm512_storeu_ps(mass_here, _mm512_fmadd_ps(_mm512_loadu_ps(mass_here), kept, mass));
    }
    return loss;
}

/* Writes the scores of a block to memory, past the caches: they are read when all blocks have been seen. */
WIDE static void keep(struct block block, float *kept, int64_t kept_row)
{
    for (int64_t i = 0; i < block.items; i++)
        for (int64_t u = 0; u < block.users; u += LANES)
            _mm512_stream_ps(kept + i * kept_row + u, _mm512_loadu_ps(block.scores + i * block.row + u));
}

/* Puts the slopes of -y log softmax(x), weight * exp(x - log_sum) - scale * y, in place of scores that lie in `scores`. */
WIDE static void softmax_block(const struct problem *p, struct block block, const float *scores, int64_t scores_row)
{
    const float *log_sums = p->log_sums + block.first_user, *weights = p->weights + block.first_user;
    for (int64_t i = 0; i < block.items; i++) {
        const float *from_row = scores + i * scores_row;
        float *row = block.scores + i * block.row;
        __m512 sum = _mm512_setzero_ps(), biases = _mm512_set1_ps(bias_of(p, block.first_item + i));
        int64_t from, to;
        entries_of(p, block, block.first_item + i, &from, &to);
        for (int64_t u = 0; u < block.users; u += LANES) {
            __mmask16 lanes = lanes_of(block.users - u);
            __m512 x = _mm512_add_ps(_mm512_loadu_ps(from_row + u), biases);
            /* zero for users that there are not: a large bias alone would be infinite as a share */
            __m512 share = exponentials(_mm512_maskz_sub_ps(lanes, x, _mm512_maskz_loadu_ps(lanes, log_sums + u)));
            __m512 slope = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, weights + u), share);
            sum = _mm512_add_ps(sum, slope);
            _mm512_storeu_ps(row + u, slope);
        }
        float slopes = _mm512_reduce_add_ps(sum) - subtract(p, row, block.first_user, from, to);
        if (p->of_bias)
            p->of_bias[block.first_item + i] += slopes;
    }
}

/* Puts the masses that threads found for their items together: writes the logarithms of the users' sums of exp(x). */
static void add_masses(
    const struct problem *p, const float *sums, int64_t part, int64_t threads, int64_t all_users, int64_t first,
    int64_t last)
{
    for (int64_t u = first; u < last; u++) {
        float most = -INFINITY, mass = 0;
        for (int64_t t = 0; t < threads; t++)
            most = sums[t * part + u] > most ? sums[t * part + u] : most;
        float base = most == -INFINITY ? 0 : most;
        for (int64_t t = 0; t < threads; t++)
            mass += sums[t * part + all_users + u] * exponential(sums[t * part + u] - base);
        p->log_sums[u] = base + logf(mass);
    }
}

INLINED WIDE_BF16 __m512i widened(__m256bh x) { return _mm512_cvtepu16_epi32((__m256i)x); }

/* Two rows of numbers as one of pairs, whose first halves are of the first row. */
INLINED WIDE_BF16 __m512i paired(__m256bh first, __m256bh second)
{
    return _mm512_or_si512(widened(first), _mm512_slli_epi32(widened(second), 16));
}

INLINED WIDE_BF16 __m256bh rounded(const float *from, int64_t count)
{
    return _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(count < 0 ? 0 : lanes_of(count), from));
}

/* The same rounded: pairs of neighbouring factors in `rows`, and of the factors of two items in `pairs`. */
WIDE_BF16 static void gather_bf16_rows(
    const struct problem *p, struct plan plan, struct block block, uint32_t *rows, uint32_t *pairs)
{
    for (int64_t i = 0; i < plan.block_items; i += 2) {
        int64_t item = block.first_item + i;
        int64_t first_size = i < block.items ? p->size : 0, second_size = i + 1 < block.items ? p->size : 0;
        const float *first = first_size ? p->table + row_of(p->ids, item) * p->size : NULL;
        const float *second = second_size ? p->table + row_of(p->ids, item + 1) * p->size : NULL;
        uint16_t *first_row = (uint16_t *)(rows + i * plan.width), *second_row = (uint16_t *)(rows + (i + 1) * plan.width);
        for (int64_t d = 0; d < plan.width; d += LANES) {
            __m256bh a = rounded(first + d, first_size - d), b = rounded(second + d, second_size - d);
            _mm256_storeu_si256((__m256i *)(first_row + d), (__m256i)a);
            _mm256_storeu_si256((__m256i *)(second_row + d), (__m256i)b);
            _mm512_storeu_si512(pairs + i / 2 * plan.width + d, paired(a, b));
        }
    }
}

/*
 * Packs the users' factors for both sides of products: `across`, for each PANEL of users a row of these for each factor;
 * `along`, for each PANEL of factors a row of these for each user. A thread's part of them.
 */
WIDE static void pack_f32(const struct problem *p, struct plan plan, float *across, float *along)
{
    int64_t first, last;
    own_part(plan.all_users, PANEL, &first, &last);
    for (int64_t u = first; u < last; u++) {
        const float *from = p->factors + u * p->size;
        float *to = across + u / PANEL * PANEL * in_whole(p->size, LANES) + u % PANEL;
        for (int64_t d = 0; d < p->size; d++)
            to[d * PANEL] = u < p->users ? from[d] : 0;
        for (int64_t d = 0; d < p->size; d += PANEL) {
            int64_t count = u < p->users ? smaller(PANEL, p->size - d) : 0;
            float *panel = along + d * plan.all_users + u * PANEL;
            memcpy(panel, from + d, count * sizeof *panel);
            memset(panel + count, 0, (PANEL - count) * sizeof *panel);
        }
    }
}

/* The same in pairs: of factors, and of users. */
WIDE_BF16 static void pack_bf16(const struct problem *p, struct plan plan, uint32_t *across, uint32_t *along)
{
    int64_t first, last;
    own_part(plan.all_users, PANEL, &first, &last);
    for (int64_t u = first; u < last; u += 2) {
        int64_t sizes[] = {u < p->users ? p->size : 0, u + 1 < p->users ? p->size : 0};
        const float *from[] = {p->factors + u * p->size, p->factors + (u + 1) * p->size};
        for (int half = 0; half < 2; half++) {
            uint32_t *to = across + u / PANEL * PANEL * in_whole(p->size, LANES) + u % PANEL + half;
            for (int64_t d = 0; d < p->size; d += LANES) {
                uint32_t numbers[LANES / 2];
                _mm256_storeu_si256((__m256i *)numbers, (__m256i)rounded(from[half] + d, sizes[half] - d));
                for (int64_t k = 0; k < LANES / 2; k++)
                    to[(d / 2 + k) * PANEL] = numbers[k];
            }
        }
        for (int64_t d = 0; d < p->size; d += LANES) {
            uint32_t *panel = along + d / PANEL * PANEL * (plan.all_users / 2) + u / 2 * PANEL + d % PANEL;
            __m256bh a = rounded(from[0] + d, sizes[0] - d), b = rounded(from[1] + d, sizes[1] - d);
            _mm512_storeu_si512(panel, paired(a, b));
            if (d + LANES >= p->size && d % PANEL == 0)
                _mm512_storeu_si512(panel + LANES, _mm512_setzero_si512());
        }
    }
}

/*
 * Slopes rounded: pairs of the slopes of neighbouring users in `slopes`, half a row for each item; pairs of those of two
 * items in place of the first one's.
 */
WIDE_BF16 static void round_slopes(struct block block, int64_t block_users, uint32_t *slopes)
{
    for (int64_t i = 0; i < block.items; i += 2) {
        float *first = block.scores + i * block.row, *second = first + block.row;
        uint16_t *first_row = (uint16_t *)slopes + i * block.row, *second_row = first_row + block.row;
        for (int64_t u = 0; u < block_users; u += LANES) {
            __m256bh a = _mm512_cvtneps_pbh(_mm512_loadu_ps(first + u)), b = _mm512_cvtneps_pbh(_mm512_loadu_ps(second + u));
            _mm256_storeu_si256((__m256i *)(first_row + u), (__m256i)a);
            _mm256_storeu_si256((__m256i *)(second_row + u), (__m256i)b);
            _mm512_storeu_si512(first + u, paired(a, b));
        }
    }
}

#define NAME(name) name##_f32
#define TARGET WIDE
#define ELEMENT float
#define PAIR 1
#include "factor_losses_of.h"
#undef NAME
#undef TARGET
#undef ELEMENT
#undef PAIR

#define NAME(name) name##_bf16
#define TARGET WIDE_BF16
#define ELEMENT uint32_t
#define PAIR 2
#include "factor_losses_of.h"

#endif
