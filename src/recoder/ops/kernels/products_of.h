/* The functions of products.h for one type of inputs: ELEMENT, a number or a pair of them. Sums are float32. */

/*
 * STRIP rows of c, in `vectors` registers each: sums over k of a[m * a_row + k * a_step] times row k of a panel, to which
 * c is added where `add` says so. Of the last register, `last` says which numbers count.
 */
INLINED TARGET void NAME(tile)(
    const int vectors, const ELEMENT *a, int64_t a_row, int64_t a_step, const ELEMENT *b, int64_t b_step, int64_t depth,
    float *c, int64_t c_row, int add, __mmask16 last)
{
    __m512 sums[STRIP][2];
#pragma GCC unroll 16
    for (int m = 0; m < STRIP; m++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sums[m][v] = add ? _mm512_maskz_loadu_ps(v == vectors - 1 ? last : 0xffff, c + m * c_row + LANES * v)
                             : _mm512_setzero_ps();
    for (int64_t k = 0; k < depth; k++, a += a_step, b += b_step) {
        VECTOR row[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            row[v] = FETCHED(b + LANES * v);
#pragma GCC unroll 16
        for (int m = 0; m < STRIP; m++) {
            VECTOR number = REPEATED(a[m * a_row]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sums[m][v] = ADDED(sums[m][v], number, row[v]);
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < STRIP; m++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            _mm512_mask_storeu_ps(c + m * c_row + LANES * v, v == vectors - 1 ? last : 0xffff, sums[m][v]);
}

TARGET __attribute__((noinline)) static void NAME(narrow_tile)(
    const ELEMENT *a, int64_t a_row, int64_t a_step, const ELEMENT *b, int64_t b_step, int64_t depth, float *c,
    int64_t c_row, int add, __mmask16 last)
{
    NAME(tile)(1, a, a_row, a_step, b, b_step, depth, c, c_row, add, last);
}

TARGET __attribute__((noinline)) static void NAME(wide_tile)(
    const ELEMENT *a, int64_t a_row, int64_t a_step, const ELEMENT *b, int64_t b_step, int64_t depth, float *c,
    int64_t c_row, int add, __mmask16 last)
{
    NAME(tile)(2, a, a_row, a_step, b, b_step, depth, c, c_row, add, last);
}

/* The same for half a register: where a processor adds up two halves at a time, they cost half as much. */
TARGET __attribute__((noinline)) static void NAME(half_tile)(
    const ELEMENT *a, int64_t a_row, int64_t a_step, const ELEMENT *b, int64_t b_step, int64_t depth, float *c,
    int64_t c_row, int add, __mmask16 last)
{
    __m256 sums[STRIP];
#pragma GCC unroll 16
    for (int m = 0; m < STRIP; m++)
        sums[m] = add ? _mm256_maskz_loadu_ps(last, c + m * c_row) : _mm256_setzero_ps();
    for (int64_t k = 0; k < depth; k++, a += a_step, b += b_step) {
        HALF_VECTOR row = HALF_FETCHED(b);
#pragma GCC unroll 16
        for (int m = 0; m < STRIP; m++)
            sums[m] = HALF_ADDED(sums[m], HALF_REPEATED(a[m * a_row]), row);
    }
#pragma GCC unroll 16
    for (int m = 0; m < STRIP; m++)
        _mm256_mask_storeu_ps(c + m * c_row, last, sums[m]);
}

/* As `tile`, for up to PANEL columns. */
TARGET static void NAME(panel)(
    const ELEMENT *a, int64_t a_row, int64_t a_step, const ELEMENT *b, int64_t b_step, int64_t depth, int64_t columns,
    float *c, int64_t c_row, int add)
{
    const int half = LANES / 2;
    if (columns > LANES + half) {
        __mmask16 last = 0xffff >> (PANEL - columns);
        NAME(wide_tile)(a, a_row, a_step, b, b_step, depth, c, c_row, add, last);
        return;
    }
    if (columns > half) {
        __mmask16 last = columns < LANES ? 0xffff >> (LANES - columns) : 0xffff;
        NAME(narrow_tile)(a, a_row, a_step, b, b_step, depth, c, c_row, add, last);
        columns -= LANES, b += LANES, c += LANES;
    }
    if (columns > 0)
        NAME(half_tile)(a, a_row, a_step, b, b_step, depth, c, c_row, add, 0xff >> (half - columns));
}

/*
 * c[m, n] = or += the sum over k < depth of a[m * a_row + k * a_step] b[panel of n, k, n in the panel], m < rows and
 * first <= n < columns, where `first` is a multiple of PANEL. Whole strips of `a` are read: they must exist.
 */
TARGET __attribute__((unused)) static void NAME(multiply)(
    const ELEMENT *a, int64_t a_row, int64_t a_step, const ELEMENT *b, int64_t b_step, int64_t b_panel, int64_t depth,
    int64_t rows, int64_t first, int64_t columns, float *c, int64_t c_row, int add)
{
    float room[STRIP * PANEL];
    for (int64_t m = 0; m < rows; m += STRIP, a += STRIP * a_row)
        for (int64_t n = first; n < columns; n += PANEL) {
            int64_t width = smaller(PANEL, columns - n), height = smaller(STRIP, rows - m), to_row = c_row;
            float *to = c + m * c_row + n;
            if (height < STRIP) { /* there is no room for a strip in c */
                to = room, to_row = PANEL;
                for (int64_t row = 0; add && row < height; row++)
                    memcpy(room + row * PANEL, c + (m + row) * c_row + n, width * sizeof *c);
            }
            NAME(panel)(a, a_row, a_step, b + n / PANEL * b_panel, b_step, depth, width, to, to_row, add);
            for (int64_t row = 0; to == room && row < height; row++)
                memcpy(c + (m + row) * c_row + n, room + row * PANEL, width * sizeof *c);
        }
}
