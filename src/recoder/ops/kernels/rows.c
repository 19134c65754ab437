/* The entries of sparse rows in other orders, and numbers for what they name. Z entries in `rows` rows. */
#include "numbers.h"

/*
 * Puts the entries in the order of their columns, those of a column in the order of their rows.
 *
 * Row r has the entries offsets[r] to offsets[r + 1]. Writes where each column begins, [columns + 1]; the row of each
 * entry, its value and which entry it is, in the new order, [Z]; and the rows in the old order, [Z]. Returns 0, or -1
 * where the offsets do not ascend from 0 to Z, or a column is not in [0, columns).
 */
int64_t order_by_column(
    const int64_t *restrict offsets, const int64_t *restrict cols, const float *restrict values, int64_t rows,
    int64_t count, int64_t columns, int64_t *restrict column_offsets, int64_t *restrict ordered_rows, float *restrict ordered_values,
    int64_t *restrict entries, int64_t *restrict row_ids)
{
    int64_t is_wrong = offsets[0] != 0 || offsets[rows] != count;
    for (int64_t r = 0; r < rows; r++)
        is_wrong |= offsets[r] > offsets[r + 1];
    for (int64_t z = 0; z < count; z++)
        is_wrong |= (uint64_t)cols[z] >= (uint64_t)columns;
    if (is_wrong)
        return -1;
    memset(column_offsets, 0, (columns + 1) * sizeof *column_offsets);
    for (int64_t z = 0; z < count; z++)
        column_offsets[cols[z] + 1]++;
    for (int64_t c = 0; c < columns; c++)
        column_offsets[c + 1] += column_offsets[c];
    /* each column's offset moves on to the next one's, and is then put back */
    for (int64_t r = 0; r < rows; r++)
        for (int64_t z = offsets[r]; z < offsets[r + 1]; z++) {
            int64_t place = column_offsets[cols[z]]++;
            ordered_rows[place] = r;
            ordered_values[place] = values[z];
            entries[place] = z;
            row_ids[z] = r;
        }
    memmove(column_offsets + 1, column_offsets, columns * sizeof *column_offsets);
    column_offsets[0] = 0;
    return 0;
}

/*
 * Replaces each id, in [0, limit), by its number among the different ones, and writes these in ascending order.
 *
 * `numbers` has room for `limit` numbers. Returns how many different ids there are.
 */
int64_t number_ids(int64_t *restrict ids, int64_t count, int64_t limit, int32_t *restrict numbers, int64_t *restrict different)
{
    int64_t found = 0;
    memset(numbers, 0, limit * sizeof *numbers);
    for (int64_t z = 0; z < count; z++)
        numbers[ids[z]] = 1;
    for (int64_t id = 0; id < limit; id++)
        if (numbers[id]) {
            different[found] = id;
            numbers[id] = (int32_t)found++;
        }
    for (int64_t z = 0; z < count; z++)
        ids[z] = numbers[ids[z]];
    return found;
}
