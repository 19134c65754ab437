/* The functions of losses.c for one type of scores: SCORE, with READ and WRITE from and to float32. */

/* The sum over entries of value times score, biases included, in some columns; keeps these scores. */
static inline double NAME(dot)(
    const SCORE *scores, const float *bias, int64_t columns, int64_t start, int64_t stop, struct entries target)
{
    double sum = 0;
    for (int64_t c = start; c < stop; c++)
        for (int64_t z = target.offsets[c]; z < target.offsets[c + 1]; z++) {
            target.scores[z] = READ(scores[target.rows[z] * columns + c]) + bias[c];
            sum += target.values[z] * target.scores[z];
        }
    return sum;
}

/*
 * Writes the slope less value times scale at each entry of some columns, where the kept scores are now the slopes, not
 * rounded. An entry that repeats lies beside its like, for rows ascend in a column.
 */
static inline void NAME(subtract)(
    SCORE *slopes, int64_t columns, int64_t start, int64_t stop, struct entries target, float scale, float *sums)
{
    for (int64_t c = start; c < stop; c++)
        for (int64_t z = target.offsets[c]; z < target.offsets[c + 1]; z++) {
            float slope = target.scores[z] - target.values[z] * scale;
            slopes[target.rows[z] * columns + c] = WRITE(slope);
            sums[c] -= target.values[z] * scale;
            if (z + 1 < target.offsets[c + 1] && target.rows[z + 1] == target.rows[z])
                target.scores[z + 1] = slope;
        }
}

/*
 * Returns the sum of -y log s(x) - (1 - y) log(1 - s(x)) = log(1 + exp(x)) - x y, s the logistic function.
 *
 * log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); the sum of such logarithms is the logarithm of a product.
 */
EVERY_LEVEL double NAME(logistic)(
    SCORE *restrict scores, const float *restrict bias, int64_t users, int64_t columns, struct entries target,
    float scale, float *restrict sums)
{
    double loss = 0;
#pragma omp parallel reduction(+ : loss) if (users * columns > WORTH_THREADS)
    {
        int64_t first, last;
        own_part(columns, LANES, &first, &last);
        loss -= NAME(dot)(scores, bias, columns, first, last, target);
        for (int64_t start = first; start < last; start += TILE) {
            int64_t stop = start + TILE < last ? start + TILE : last;
            float positive[LANES], product[LANES];
            memset(sums + start, 0, (stop - start) * sizeof *sums);
            for (int64_t user = 0; user < users; user++) {
                SCORE *restrict row = scores + user * columns;
                if (user % TILE_ROWS == 0)
                    for (int lane = 0; lane < LANES; lane++)
                        positive[lane] = 0, product[lane] = 1;
                float room[TILE], *scores_of = NAME(widened)(row + start, stop - start, room);
                int64_t at = start;
                for (; at + LANES <= stop; at += LANES)
                    logistic_lanes(scores_of + at - start, bias + at, sums + at, LANES, scale, positive, product);
                logistic_lanes(scores_of + at - start, bias + at, sums + at, stop - at, scale, positive, product);
                NAME(narrow)(scores_of, stop - start, row + start);
                if (user % TILE_ROWS == TILE_ROWS - 1 || user == users - 1)
                    for (int lane = 0; lane < LANES; lane++)
                        loss += positive[lane] + logf(product[lane]);
            }
        }
        for (int64_t z = target.offsets[first]; z < target.offsets[last]; z++)
            target.scores[z] = scale / (1 + expf(-target.scores[z]));
        NAME(subtract)(scores, columns, first, last, target, scale, sums);
    }
    return loss;
}

/*
 * Returns the sum over entries of value times score; writes the logarithm of each user's sum of exp(x), [B].
 *
 * The scores stay as they are: what they have to be compared with is known when all blocks have been seen.
 */
EVERY_LEVEL double NAME(log_sums)(
    const SCORE *restrict scores, const float *restrict bias, int64_t users, int64_t columns, struct entries target,
    float *restrict log_sums)
{
    double sum = 0;
#pragma omp parallel reduction(+ : sum) if (users * columns > WORTH_THREADS)
    {
        int64_t first, last;
        own_part(columns, LANES, &first, &last);
        sum += NAME(dot)(scores, bias, columns, first, last, target);
        own_part(users, 1, &first, &last);
        for (int64_t user = first; user < last; user++) {
            const SCORE *restrict row = scores + user * columns;
            float largest = -INFINITY, mass = 0;
#pragma omp simd reduction(max : largest)
            for (int64_t c = 0; c < columns; c++) {
                float x = READ(row[c]) + bias[c];
                largest = x > largest ? x : largest;
            }
            if (largest == -INFINITY)
                largest = 0; /* all are minus infinity, or not a number */
#pragma omp simd reduction(+ : mass)
            for (int64_t c = 0; c < columns; c++) {
                float x = READ(row[c]) + bias[c];
                mass += x == -INFINITY ? 0 : exponential(x - largest);
            }
            log_sums[user] = largest + logf(mass);
        }
    }
    return sum;
}

/* Overwrites scores by the slopes of -y log softmax(x): weights[user] * exp(x - log_sums[user]) - scale * y. */
EVERY_LEVEL void NAME(softmax_slopes)(
    SCORE *restrict scores, const float *restrict bias, int64_t users, int64_t columns, struct entries target,
    const float *restrict log_sums, const float *restrict weights, float scale, float *restrict sums)
{
#pragma omp parallel if (users * columns > WORTH_THREADS)
    {
        int64_t first, last;
        own_part(columns, LANES, &first, &last);
        NAME(dot)(scores, bias, columns, first, last, target);
        for (int64_t start = first; start < last; start += TILE) {
            int64_t stop = start + TILE < last ? start + TILE : last;
            memset(sums + start, 0, (stop - start) * sizeof *sums);
            for (int64_t user = 0; user < users; user++) {
                SCORE *restrict row = scores + user * columns;
                float log_sum = log_sums[user], weight = weights[user];
#pragma omp simd
                for (int64_t c = start; c < stop; c++) {
                    float slope = weight * exponential(READ(row[c]) + bias[c] - log_sum);
                    row[c] = WRITE(slope);
                    sums[c] += slope;
                }
            }
        }
        for (int64_t c = first; c < last; c++)
            for (int64_t z = target.offsets[c]; z < target.offsets[c + 1]; z++) {
                int64_t user = target.rows[z];
                target.scores[z] = weights[user] * exponential(target.scores[z] - log_sums[user]);
            }
        NAME(subtract)(scores, columns, first, last, target, scale, sums);
    }
}
