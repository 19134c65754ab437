/* The functions of top_k.c for one type of scores: SCORE, with READ to float32, and EXCLUDED_SCORE for minus infinity. */

/* Writes the largest of each group of scores, noted; returns how many groups, or -1 if a score is not a number. */
static inline int64_t NAME(group_maxima)(const SCORE *restrict row, int64_t columns, uint64_t *restrict maxima)
{
    int64_t groups = 0;
    int any_nan = 0;
    for (int64_t start = 0; start < columns; start += GROUP) {
        int count = start + GROUP <= columns ? GROUP : columns - start;
        float largest = -INFINITY;
#pragma omp simd reduction(max : largest) reduction(| : any_nan)
        for (int c = 0; c < count; c++) {
            float score = READ(row[start + c]);
            largest = score > largest ? score : largest;
            any_nan |= score != score;
        }
        maxima[groups] = noted(largest, groups);
        groups++;
    }
    return any_nan ? -1 : groups;
}

/*
 * Notes the best `kept` of a row, in any order, and returns how many there are; -1 if a score is not a number.
 *
 * As many groups as there are columns to keep have maxima of at least some limit, and so have that many columns: what is
 * below it need not be noted, and most groups not be looked into.
 */
static inline int64_t NAME(note_best)(
    const SCORE *restrict row, int64_t columns, int64_t kept, uint64_t *restrict notes, int64_t room,
    uint64_t *restrict maxima)
{
    int64_t groups = NAME(group_maxima)(row, columns, maxima), count = 0;
    if (groups < 0)
        return -1;
    float limit = -INFINITY; /* to be reached; minus infinity itself is excluded */
    if (groups > kept) {
        memcpy(maxima + groups, maxima, groups * sizeof *maxima);
        select_smallest(maxima + groups, groups, kept);
        limit = noted_score(maxima[groups + kept - 1]);
    }
    for (int64_t group = 0; group < groups; group++) {
        if (noted_score(maxima[group]) < limit)
            continue;
        int64_t start = group * GROUP, stop = start + GROUP < columns ? start + GROUP : columns;
        for (int64_t c = start; c < stop; c++) {
            float score = READ(row[c]);
            if (score < limit || score == -INFINITY)
                continue;
            notes[count++] = noted(score, c);
            if (count == room) {
                select_smallest(notes, count, kept);
                count = kept;
                limit = noted_score(notes[kept - 1]);
            }
        }
    }
    if (count > kept) {
        select_smallest(notes, count, kept);
        count = kept;
    }
    return count;
}

/*
 * Writes the columns and scores of the best `kept` of each row, [B, K], best first if told so; a row with fewer than
 * these ends in column -1. Before, overwrites by minus infinity what a row has seen: the columns seen[offsets[b]] to
 * seen[offsets[b + 1]] of `num_seen`, if there are any offsets. Returns whether a score is not a number; -1 without
 * memory; -2 where a row has seen what is no column, or no entry of `seen`.
 */
EVERY_LEVEL int64_t NAME(top_k)(
    SCORE *restrict scores, int64_t rows, int64_t columns, const int64_t *restrict offsets,
    const int64_t *restrict seen, int64_t num_seen, int64_t kept, int64_t in_order, int64_t *restrict ids, SCORE *restrict best)
{
    int64_t room = 2 * kept + GROUP, groups = (columns + GROUP - 1) / GROUP, found_nan = 0, without_memory = 0, is_wrong = 0;
#pragma omp parallel reduction(| : found_nan, without_memory, is_wrong) if (rows * columns > WORTH_THREADS)
    {
        uint64_t *notes = malloc((room + 2 * groups) * sizeof *notes);
        without_memory = notes == NULL;
#pragma omp for schedule(dynamic, 4)
        for (int64_t b = 0; b < rows; b++) {
            SCORE *restrict row = scores + b * columns;
            if (notes == NULL)
                continue;
            if (offsets) {
                int64_t wrong_row = offsets[b] < 0 || offsets[b + 1] > num_seen;
                for (int64_t z = offsets[b]; !wrong_row && z < offsets[b + 1]; z++)
                    if ((uint64_t)seen[z] < (uint64_t)columns)
                        row[seen[z]] = EXCLUDED_SCORE;
                    else
                        wrong_row = 1;
                is_wrong |= wrong_row;
            }
            int64_t count = NAME(note_best)(row, columns, kept, notes, room, notes + room);
            found_nan |= count < 0;
            if (in_order && count > 1)
                qsort(notes, count, sizeof *notes, compare);
            for (int64_t k = 0; k < kept; k++) {
                int64_t column = k < count ? (int64_t)(uint32_t)notes[k] : -1;
                ids[b * kept + k] = column;
                best[b * kept + k] = column < 0 ? EXCLUDED_SCORE : row[column];
            }
        }
        free(notes);
    }
    return without_memory ? -1 : is_wrong ? -2 : found_nan;
}
