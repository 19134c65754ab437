/* Scores of some users for some items: products of their factors, plus the items' biases. */
#include "products.h"

/* Items that are packed at a time, for all users. */
#define BLOCK_ITEMS (3 * PANEL)

#ifdef HAS_PRODUCTS

/* Numbers of 4 bytes that the scratch memory has to hold. */
int64_t scores_scratch(int64_t size, int64_t threads)
{
    return STRIP * size + threads * in_whole(BLOCK_ITEMS * size, LANES) + 2 * LANES;
}

/* Writes the scores: [users, items] in rows of `row`. `bias` may be NULL. */
WIDE void scores(
    const float *factors, const float *table, const float *bias, int64_t users, int64_t size, int64_t items,
    int64_t threads, float *scratch, float *out, int64_t row)
{
    /* the users that are no whole strip, where a whole one can be read */
    int64_t whole = users / STRIP * STRIP, part = in_whole(BLOCK_ITEMS * size, LANES);
    float *packs = (float *)(((uintptr_t)scratch + 63) / 64 * 64), *others = packs + threads * part;
    memset(others, 0, STRIP * size * sizeof *others);
    memcpy(others, factors + whole * size, (users - whole) * size * sizeof *others);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < items; first += BLOCK_ITEMS) {
        float *pack = packs + omp_get_thread_num() * part;
        int64_t width = smaller(BLOCK_ITEMS, items - first);
        memset(pack, 0, part * sizeof *pack);
        for (int64_t i = 0; i < width; i++)
            for (int64_t d = 0; d < size; d++)
                pack[i / PANEL * PANEL * size + d * PANEL + i % PANEL] = table[(first + i) * size + d];
        for (int64_t user = 0; user < users; user += STRIP) {
            int64_t count = smaller(STRIP, users - user);
            float *to = out + user * row + first;
            multiply_f32(
                user < whole ? factors + user * size : others, size, 1, pack, PANEL, PANEL * size, size, count, 0, width,
                to, row, 0);
            for (int64_t u = 0; bias && u < count; u++)
#pragma omp simd
                for (int64_t i = 0; i < width; i++)
                    to[u * row + i] += bias[first + i];
        }
    }
}

#endif
