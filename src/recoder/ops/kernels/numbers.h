/* What the kernels compute with. Sizes: B users, I items, D factors, Z stored entries. */
#ifndef RECODER_NUMBERS_H
#define RECODER_NUMBERS_H

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

/* Compiled once for each level of x86-64; the loader picks what the processor has. */
#if defined(__x86_64__) && !defined(RECODER_ONE_LEVEL)
#define EVERY_LEVEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EVERY_LEVEL
#endif

/* Of numbers; below, one thread is as quick as many. */
#define WORTH_THREADS 16384

static inline float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float from_bf16(uint16_t x) { return of_bits((uint32_t)x << 16); }

/* To the nearest, ties to even; what is not a number stays so. */
static inline uint16_t to_bf16(float x)
{
    uint32_t bits = bits_of(x);
    return x != x ? 0x7fc0 : (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/*
 * exp(x) to one or two units in the last place; x at most 88, and exp(-87) for all below that.
 *
 * x = n log(2) + r with n whole, exp(r) by the first terms of its series; adding 1.5 * 2^23 rounds to whole numbers.
 */
static inline float exponential(float x)
{
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* log(2) in two parts: the first product is exact */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return p * of_bits((bits_of(shifted) + 127u) << 23);
}

/* The part of 0 to count that this thread is to do, in steps of a unit. */
static inline void own_part(int64_t count, int64_t unit, int64_t *start, int64_t *stop)
{
    int64_t units = (count + unit - 1) / unit, threads = omp_get_num_threads(), number = omp_get_thread_num();
    *start = units * number / threads * unit;
    *stop = units * (number + 1) / threads * unit;
    if (*stop > count)
        *stop = count;
}

#endif
