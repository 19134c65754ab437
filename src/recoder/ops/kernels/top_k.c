/*
 * The best columns of each row, exactly; ties go to the lower column.
 *
 * What may belong to the best is noted; when the notes are full, the best of them are kept. A note is a whole number, so
 * ordered that smaller is better: the score in its upper half, the column below.
 */
#include "numbers.h"

#include <stdlib.h>

/* Neighbouring scores of which the largest is found first. */
#define GROUP 32

static inline uint64_t noted(float score, int64_t column)
{
    uint32_t bits = bits_of(score + 0.0f); /* the sum makes one zero of both */
    uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)~ascending << 32 | (uint32_t)column;
}

static inline float noted_score(uint64_t note)
{
    uint32_t ascending = ~(uint32_t)(note >> 32);
    return of_bits(ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending);
}

/* Puts the smallest `kept` notes first, in any order (Hoare 1961, Algorithm 65: Find). No two are equal. */
static void select_smallest(uint64_t *notes, int64_t count, int64_t kept)
{
    int64_t low = 0, high = count - 1, place = kept - 1;
    while (low < high) {
        uint64_t pivot = notes[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (notes[i] < pivot)
                i++;
            while (notes[j] > pivot)
                j--;
            if (i <= j) {
                uint64_t swapped = notes[i];
                notes[i++] = notes[j];
                notes[j--] = swapped;
            }
        }
        if (place <= j)
            high = j;
        else if (place >= i)
            low = i;
        else
            return;
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

#define SCORE float
#define NAME(name) name##_f32
#define READ(x) (x)
#define EXCLUDED_SCORE (-INFINITY)
#include "top_k_of.h"
#undef SCORE
#undef NAME
#undef READ
#undef EXCLUDED_SCORE

#define SCORE uint16_t
#define NAME(name) name##_bf16
#define READ(x) from_bf16(x)
#define EXCLUDED_SCORE 0xff80
#include "top_k_of.h"
