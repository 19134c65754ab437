/* Parts of the squared error over all items that are not matrix products. B users, i items of a block, D factors. */
#include "products.h"

static inline float dot(const float *restrict a, const float *restrict b, int64_t size)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < size; d++)
        sum += a[d] * b[d];
    return sum;
}

static inline void add(float *restrict to, float weight, const float *restrict row, int64_t size)
{
#pragma omp simd
    for (int64_t d = 0; d < size; d++)
        to[d] += weight * row[d];
}

/* Lets the processor read a row from memory meanwhile. */
static inline void fetch(const float *row, int64_t size)
{
    for (int64_t d = 0; d < size; d += 16)
        __builtin_prefetch(row + d);
}

/* Entries that are computed in the meantime. */
#define AHEAD 4

/*
 * Returns what the stored entries of the target add to the squared error of a target of zeros, each weighted by
 * 1 + confidence * value.
 *
 * User b has the entries offsets[b] to offsets[b + 1], of the items that `items` names by their rows of the table.
 * Writes each entry's slope times `scale`, and the sums of these times the items' factors: [B, D].
 */
EVERY_LEVEL double squared_entries(
    const float *restrict factors, const float *restrict table, const float *restrict bias,
    const int64_t *restrict offsets, const int64_t *restrict items, const float *restrict values, int64_t users,
    int64_t size, float confidence, float scale, float *restrict slopes, float *restrict of_factors)
{
    double total = 0;
    int64_t entries = offsets[users];
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : total) if ((users + entries) * size > WORTH_THREADS)
    for (int64_t b = 0; b < users; b++) {
        float *restrict sum = of_factors + b * size;
        memset(sum, 0, size * sizeof *sum);
        for (int64_t z = offsets[b]; z < offsets[b + 1]; z++) {
            const float *restrict row = table + items[z] * size;
            if (z + AHEAD < entries)
                fetch(table + items[z + AHEAD] * size, size);
            float x = dot(factors + b * size, row, size) + (bias ? bias[items[z]] : 0);
            float weight = 1 + confidence * values[z], missed = values[z] - x;
            total += weight * missed * missed - x * x;
            slopes[z] = -2 * scale * (weight * missed + x);
            add(sum, slopes[z], row, size);
        }
    }
    return total;
}

/*
 * Adds to the gradients of a block of items, [i, D], what comes from biases and from stored entries: for each item
 * twice `scale` times its bias times the users' sum [D], and each entry's slope times its user's factors. Writes the
 * gradients of the biases, [i].
 */
EVERY_LEVEL void finish_gram(
    const float *restrict weight, const float *restrict bias, int64_t items, const float *restrict factors,
    const float *restrict users_sum, int64_t users, int64_t size, const int64_t *restrict offsets,
    const int64_t *restrict rows, const float *restrict slopes, float scale, float *restrict of_weight,
    float *restrict of_bias)
{
#pragma omp parallel for schedule(static) if (items * size > WORTH_THREADS)
    for (int64_t i = 0; i < items; i++) {
        float *restrict to = of_weight + i * size;
        float slope = 2 * scale * (dot(weight + i * size, users_sum, size) + users * bias[i]);
        add(to, 2 * scale * bias[i], users_sum, size);
        for (int64_t z = offsets[i]; z < offsets[i + 1]; z++) {
            add(to, slopes[z], factors + rows[z] * size, size);
            slope += slopes[z];
        }
        of_bias[i] = slope;
    }
}

#ifdef HAS_PRODUCTS

/* What the squared error over all items makes of the items, without scores: see recoder.ops.gram. */
struct gram {
    const float *table;     /* [.., size]: the items' factors */
    const float *bias;      /* of the rows of the table, or NULL */
    const int64_t *ids;     /* [items]: rows of the table, or NULL: the first ones */
    const float *factors;   /* [users, size] */
    const float *users_sum; /* [size]: their sum */
    const float *products;  /* [size, size]: what the items' factors are multiplied by for their gradients */
    /* the target by item: item i has the entries offsets[i] to offsets[i + 1] */
    const int64_t *offsets, *rows;
    const float *slopes;
    float *items_products, *biased;  /* added to: [size, size], the products of the items' factors; [size] */
    float *of_weight, *of_bias;      /* written: [items, size], [items]; NULL: no gradient is wanted */
    void *scratch;
    int64_t users, size, items, threads;
    float scale;
};

#define BLOCK_ITEMS (7 * STRIP)

/* Numbers of 4 bytes that the scratch memory has to hold. */
int64_t gram_pass_scratch(int64_t size, int64_t threads)
{
    int64_t width = spread_out(size), sums = (size + 1) * width, rows = BLOCK_ITEMS * width + STRIP;
    return size * in_whole(size, PANEL) + threads * (sums + in_whole(rows, LANES)) + LANES;
}

/* Adds what biases and stored entries add to the gradients of an item. */
WIDE static void finish_item(const struct gram *g, int64_t item, const float *restrict row)
{
    float *restrict to = g->of_weight + item * g->size, bias = g->bias ? g->bias[row_of(g->ids, item)] : 0;
    float slope = 2 * g->scale * (dot(row, g->users_sum, g->size) + g->users * bias);
    add(to, 2 * g->scale * bias, g->users_sum, g->size);
    for (int64_t z = g->offsets[item]; z < g->offsets[item + 1]; z++) {
        add(to, g->slopes[z], g->factors + g->rows[z] * g->size, g->size);
        slope += g->slopes[z];
    }
    g->of_bias[item] = slope;
}

/* Does that for some of the items. Of the products of their factors the half at and above the diagonal is computed. */
WIDE static void gram_items(
    const struct gram *g, const float *packed, float *restrict sums, float *restrict rows, int64_t first, int64_t last)
{
    int64_t size = g->size, width = spread_out(size);
    for (int64_t i = first; i < last; i += BLOCK_ITEMS) {
        int64_t items = smaller(BLOCK_ITEMS, last - i);
        gather_rows(g->table, g->ids, size, i, items, in_whole(items, STRIP), width, rows);
        for (int64_t d = 0; d < size; d += STRIP)
            multiply_f32(
                rows + d, 1, width, rows, width, PANEL, items, smaller(STRIP, size - d), d / PANEL * PANEL, size,
                sums + d * width, width, 1);
        for (int64_t k = 0; g->bias && k < items; k++)
            add(sums + size * width, g->bias[row_of(g->ids, i + k)], rows + k * width, size);
        if (!g->of_weight)
            continue;
        multiply_f32(
            rows, width, 1, packed, PANEL, size * PANEL, size, items, 0, size, g->of_weight + i * size, size, 0);
        for (int64_t k = 0; k < items; k++)
            finish_item(g, i + k, rows + k * width);
    }
}

WIDE void gram_pass(const struct gram *g)
{
    int64_t size = g->size, width = spread_out(size), part = gram_pass_scratch(size, 1) - gram_pass_scratch(size, 0);
    float *packed = (float *)(((uintptr_t)g->scratch + 63) / 64 * 64), *parts = packed + size * in_whole(size, PANEL);
#pragma omp parallel num_threads(g->threads)
    {
        int64_t threads = omp_get_num_threads(), first, last;
        float *sums = parts + omp_get_thread_num() * part, *rows = sums + (size + 1) * width;
        own_part(in_whole(size, PANEL), PANEL, &first, &last);
        for (int64_t n = first; g->of_weight && n < last; n += PANEL)
            for (int64_t d = 0; d < size; d++)
                for (int64_t c = 0; c < PANEL; c++)
                    packed[n * size + d * PANEL + c] = n + c < size ? g->products[d * size + n + c] : 0;
        memset(sums, 0, (size + 1) * width * sizeof *sums);
        memset(rows, 0, (BLOCK_ITEMS * width + STRIP) * sizeof *rows);
#pragma omp barrier
        own_part(g->items, STRIP, &first, &last);
        gram_items(g, packed, sums, rows, first, last);
#pragma omp barrier
        own_part(size, 1, &first, &last);
        for (int64_t t = 0; t < threads; t++) {
            const float *of_thread = parts + t * part;
            for (int64_t d = first; d < last; d++) {
                for (int64_t e = 0; e < size; e++)
                    g->items_products[d * size + e] += of_thread[d < e ? d * width + e : e * width + d];
                g->biased[d] += of_thread[size * width + d];
            }
        }
    }
}

#endif

/*
 * Adds to each row of `products` [B, D] the sum over its entries of weight times (its row of `directions` times the
 * entry's row of the table) times that row: the product of a direction with the entries' part of the least squares.
 */
EVERY_LEVEL void add_entry_products(
    const float *restrict directions, const float *restrict table, const int64_t *restrict offsets,
    const int64_t *restrict items, const float *restrict weights, int64_t users, int64_t size, float *restrict products)
{
    int64_t entries = offsets[users];
#pragma omp parallel for schedule(dynamic, 16) if ((users + entries - offsets[0]) * size > WORTH_THREADS)
    for (int64_t b = 0; b < users; b++)
        for (int64_t z = offsets[b]; z < offsets[b + 1]; z++) {
            const float *restrict row = table + items[z] * size;
            if (z + AHEAD < entries)
                fetch(table + items[z + AHEAD] * size, size);
            add(products + b * size, weights[z] * dot(directions + b * size, row, size), row, size);
        }
}

/* Of the squared residual at the start: what is left is five digits smaller. */
#define ENOUGH 1e-10f

/*
 * Goes some preconditioned conjugate gradient steps with each row of `found` [B, D] towards the solution of its system
 * (spectrum + penalty + sum over its entries of weight w w') x = sum of target w - base, w an entry's row of the table.
 *
 * What a row needs stays in the cache from its first step to its last. `scratch` has 3 D numbers for each thread.
 */
EVERY_LEVEL void least_squares_rows(
    const float *restrict table, const float *restrict spectrum, const float *restrict base,
    const int64_t *restrict offsets, const int64_t *restrict items, const float *restrict targets,
    const float *restrict weights, const float *restrict penalties, int64_t users, int64_t size, int64_t steps,
    int threads, float *restrict scratch, float *restrict found)
{
    int64_t entries = offsets[users];
    threads = (users + entries - offsets[0]) * size > WORTH_THREADS ? threads : 1;
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
    for (int64_t b = 0; b < users; b++) {
        float *restrict x = found + b * size, *restrict residual = scratch + 3 * size * omp_get_thread_num();
        float *restrict direction = residual + size, *restrict product = direction + size;
        float penalty = penalties[b], rest = 0;
#pragma omp simd
        for (int64_t d = 0; d < size; d++)
            residual[d] = -(spectrum[d] + penalty) * x[d] - (base ? base[d] : 0);
        for (int64_t z = offsets[b]; z < offsets[b + 1]; z++) {
            const float *restrict row = table + items[z] * size;
            if (z + AHEAD < entries)
                fetch(table + items[z + AHEAD] * size, size);
            add(residual, targets[z] - weights[z] * dot(x, row, size), row, size);
        }
#pragma omp simd reduction(+ : rest)
        for (int64_t d = 0; d < size; d++) {
            direction[d] = residual[d] / (spectrum[d] + penalty);
            rest += residual[d] * direction[d];
        }
        float enough = ENOUGH * rest;
        /* a row that is there already has nothing to divide by */
        for (int64_t step = 0; step < steps && rest > enough; step++) {
#pragma omp simd
            for (int64_t d = 0; d < size; d++)
                product[d] = (spectrum[d] + penalty) * direction[d];
            for (int64_t z = offsets[b]; z < offsets[b + 1]; z++) {
                const float *restrict row = table + items[z] * size;
                add(product, weights[z] * dot(direction, row, size), row, size);
            }
            float curve = dot(direction, product, size), before = rest;
            if (!(curve > 0))
                break;
            float length = rest / curve;
            rest = 0;
#pragma omp simd reduction(+ : rest)
            for (int64_t d = 0; d < size; d++) {
                x[d] += length * direction[d];
                residual[d] -= length * product[d];
                rest += residual[d] * residual[d] / (spectrum[d] + penalty);
            }
            float share = rest / before;
#pragma omp simd
            for (int64_t d = 0; d < size; d++)
                direction[d] = residual[d] / (spectrum[d] + penalty) + share * direction[d];
        }
    }
}
