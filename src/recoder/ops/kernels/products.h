/*
 * Matrix products of small blocks, by AVX-512 at nearly its full rate; where it is missing PyTorch multiplies.
 *
 * One side is read as numbers, each of which meets a whole panel of the other side: PANEL columns, packed next to each
 * other (Goto & van de Geijn 2008, ACM TOMS 34, 12). A product in bfloat16 reads its numbers in pairs, which are
 * neighbours along the sum.
 */
#ifndef RECODER_PRODUCTS_H
#define RECODER_PRODUCTS_H

#include "numbers.h"

#if defined(__x86_64__) && !defined(RECODER_ONE_LEVEL)
#define HAS_PRODUCTS

#include <immintrin.h>

#define WIDE __attribute__((target("arch=x86-64-v4")))
#define WIDE_BF16 __attribute__((target("arch=x86-64-v4,avx512bf16")))
#define INLINED static inline __attribute__((always_inline))

/* Numbers in a register; columns of a panel; rows that are computed at once: 28 of the 32 registers hold sums. */
#define LANES 16
#define PANEL 32
#define STRIP 14

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t in_whole(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

/* A width of rows, in float32, that does not let the columns of a block fall into the same few sets of the cache. */
static inline int64_t spread_out(int64_t width) { return in_whole(width, LANES) | LANES; }

static inline int64_t row_of(const int64_t *ids, int64_t item) { return ids ? ids[item] : item; }

/* Copies the rows of some items of a table, [.., size], to `rows` of `width`; zeros fill these up, and `height` rows. */
static inline void gather_rows(
    const float *table, const int64_t *ids, int64_t size, int64_t first_item, int64_t items, int64_t height,
    int64_t width, float *rows)
{
    for (int64_t i = 0; i < height; i++, rows += width) {
        int64_t count = i < items ? size : 0;
        if (count)
            memcpy(rows, table + row_of(ids, first_item + i) * size, size * sizeof *rows);
        memset(rows + count, 0, (width - count) * sizeof *rows);
    }
}

#define NAME(name) name##_f32
#define ELEMENT float
#define TARGET WIDE
#define VECTOR __m512
#define FETCHED(from) _mm512_loadu_ps(from)
#define REPEATED(x) _mm512_set1_ps(x)
#define ADDED(sum, a, b) _mm512_fmadd_ps(a, b, sum)
#define HALF_VECTOR __m256
#define HALF_FETCHED(from) _mm256_loadu_ps(from)
#define HALF_REPEATED(x) _mm256_set1_ps(x)
#define HALF_ADDED(sum, a, b) _mm256_fmadd_ps(a, b, sum)
#include "products_of.h"
#undef NAME
#undef ELEMENT
#undef TARGET
#undef VECTOR
#undef FETCHED
#undef REPEATED
#undef ADDED
#undef HALF_VECTOR
#undef HALF_FETCHED
#undef HALF_REPEATED
#undef HALF_ADDED

#define NAME(name) name##_bf16
#define ELEMENT uint32_t
#define TARGET WIDE_BF16
#define VECTOR __m512bh
#define FETCHED(from) (__m512bh)_mm512_loadu_si512(from)
#define REPEATED(x) (__m512bh)_mm512_set1_epi32(x)
#define ADDED(sum, a, b) _mm512_dpbf16_ps(sum, a, b)
#define HALF_VECTOR __m256bh
#define HALF_FETCHED(from) (__m256bh)_mm256_loadu_si256((const void *)(from))
#define HALF_REPEATED(x) (__m256bh)_mm256_set1_epi32(x)
#define HALF_ADDED(sum, a, b) _mm256_dpbf16_ps(sum, a, b)
#include "products_of.h"
#undef NAME
#undef ELEMENT
#undef TARGET
#undef VECTOR
#undef FETCHED
#undef REPEATED
#undef ADDED
#undef HALF_VECTOR
#undef HALF_FETCHED
#undef HALF_REPEATED
#undef HALF_ADDED

#endif
#endif
