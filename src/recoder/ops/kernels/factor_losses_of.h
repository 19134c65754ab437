/* The pass of factor_losses.c over the items for one type of inputs of products: ELEMENT, PAIR numbers. */

/* What a thread works on. */
struct NAME(room) {
    ELEMENT *across, *along, *rows, *pairs, *slopes;
    float *scores, *sums;
};

/* Computes the scores of a block, biases not included. */
TARGET static void NAME(score)(
    const struct problem *p, struct plan plan, struct block block, struct NAME(room) room)
{
    int64_t depth = (p->size + PAIR - 1) / PAIR, panel = PANEL * in_whole(p->size, LANES);
    NAME(multiply)(
        room.rows, plan.width, 1, room.across + block.first_user / PANEL * panel, PANEL, panel, depth,
        block.items, 0, in_whole(block.users, PANEL), block.scores, block.row, 0);
}

/* Adds the gradients of a block, whose slopes are there. */
TARGET static void NAME(add_gradients)(
    const struct problem *p, struct plan plan, struct block block, struct NAME(room) room)
{
    const ELEMENT *by_item = (ELEMENT *)block.scores, *by_pair = by_item;
    int64_t item_row = block.row, pair_row = block.row * PAIR, size = p->size;
    if (PAIR == 2) {
        round_slopes(block, in_whole(block.users, LANES), (uint32_t *)room.slopes);
        by_item = room.slopes, item_row = block.row / PAIR;
    }
    if (p->of_weight)
        NAME(multiply)(
            by_item, item_row, 1, room.along + block.first_user / PAIR * PANEL, PANEL, plan.all_users / PAIR * PANEL,
            (block.users + PAIR - 1) / PAIR, block.items, 0, size, p->of_weight + block.first_item * size, size,
            block.first_user > 0);
    NAME(multiply)(
        by_pair, 1, pair_row, PAIR == 2 ? room.pairs : room.rows, plan.width, PANEL, (block.items + PAIR - 1) / PAIR,
        block.users, 0, size, room.sums + block.first_user * size, size, 1);
}

/* Does the work of a problem for some of its items; returns their loss. */
TARGET static double NAME(items_pass)(
    const struct problem *p, struct plan plan, struct NAME(room) room, int64_t first_item, int64_t last_item)
{
    double loss = 0;
    for (int64_t i = first_item; i < last_item; i += plan.block_items) {
        struct block block = {room.scores, plan.score_row, i, smaller(plan.block_items, last_item - i), 0, 0};
        if (PAIR == 2)
            gather_bf16_rows(p, plan, block, (uint32_t *)room.rows, (uint32_t *)room.pairs);
        else
            gather_rows(p->table, p->ids, p->size, i, block.items, plan.block_items, plan.width, (float *)room.rows);
        for (int64_t u = 0; u < p->users; u += plan.block_users) {
            block.first_user = u, block.users = smaller(plan.block_users, p->users - u);
            float *kept = p->kept ? p->kept + i * plan.kept_row + u : NULL;
            if (p->work != SOFTMAX || !kept)
                NAME(score)(p, plan, block, room);
            if (p->work == LOG_SUMS) {
                loss += log_sums_block(p, block, room.sums, room.sums + plan.all_users);
                if (kept)
                    keep(block, kept, plan.kept_row);
                continue;
            }
            if (p->work == SOFTMAX)
                softmax_block(p, block, kept ? kept : block.scores, kept ? plan.kept_row : block.row);
            else
                loss += p->work == LOGISTIC ? logistic_block(p, block) : squared_block(p, block);
            if (p->of_factors)
                NAME(add_gradients)(p, plan, block, room);
        }
    }
    return loss;
}

/* Does the work of a problem, and returns what it adds to the loss. */
TARGET double NAME(factor_losses)(const struct problem *p)
{
    struct plan plan = planned(p->users, p->size, p->items, p->threads);
    float *common = (float *)(((uintptr_t)p->scratch + 63) / 64 * 64), *parts = common + plan.across + plan.along;
    double loss = 0;
    if (!p->users) { /* then there is no block that would write these */
        if (p->of_weight)
            memset(p->of_weight, 0, p->items * p->size * sizeof *p->of_weight);
        if (p->of_bias)
            memset(p->of_bias, 0, p->items * sizeof *p->of_bias);
        return 0;
    }
#pragma omp parallel num_threads(p->threads) reduction(+ : loss)
    {
        int64_t threads = omp_get_num_threads(), first, last;
        float *part = parts + omp_get_thread_num() * plan.part;
        struct NAME(room) room = {
            (ELEMENT *)common, (ELEMENT *)(common + plan.across), (ELEMENT *)(part + plan.rows),
            (ELEMENT *)(part + plan.pairs), (ELEMENT *)(part + plan.slopes), part + plan.scores, part + plan.sums};
        if (PAIR == 2)
            pack_bf16(p, plan, (uint32_t *)room.across, (uint32_t *)room.along);
        else
            pack_f32(p, plan, (float *)room.across, (float *)room.along);
        memset(room.scores, 0, plan.block_items * plan.score_row * sizeof *room.scores);
        for (int64_t u = 0; p->work == LOG_SUMS && u < plan.all_users; u++)
            room.sums[u] = -INFINITY, room.sums[plan.all_users + u] = 0;
        if (p->of_factors)
            memset(room.sums, 0, p->users * p->size * sizeof *room.sums);
        own_part(p->items, STRIP, &first, &last);
        if (p->of_bias)
            memset(p->of_bias + first, 0, (last - first) * sizeof *p->of_bias);
#pragma omp barrier
        loss += NAME(items_pass)(p, plan, room, first, last);
#pragma omp barrier
        if (p->work == LOG_SUMS) {
            own_part(p->users, 1, &first, &last);
            add_masses(p, parts + plan.sums, plan.part, threads, plan.all_users, first, last);
        }
        if (p->of_factors) {
            own_part(p->users * p->size, LANES, &first, &last);
            for (int64_t n = first; n < last; n++) {
                float sum = 0;
                for (int64_t t = 0; t < threads; t++)
                    sum += parts[t * plan.part + plan.sums + n];
                p->of_factors[n] += sum;
            }
        }
    }
    return loss;
}
