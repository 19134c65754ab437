"""What is measured, against whom, and what is required of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.speed.data import Sizes
from benchmarks.speed.growth import growth_of
from benchmarks.speed.tasks import MAIN, OLD, floor_of, training
from benchmarks.speed.works import (
    OURS,
    Evaluate,
    Frame,
    Measurement,
    Plot,
    Rank,
    Row,
    Side,
)

__all__ = ["Table", "make_table"]

# the factor that a step may lie above its floor, by precision
OVER_FLOOR = {"fp32": 1.4, "bf16": 2.0}


@dataclass(frozen=True)
class Table:
    """All measurements, the lines that are made of them, and the plots."""

    measurements: tuple[Measurement, ...]
    rows: tuple[Row, ...]
    plots: tuple[Plot, ...]


def make_table(sizes: Sizes) -> Table:
    """Returns everything, in the given sizes."""
    parts = [
        *(
            _steps(sizes, f"sampled-{name}{'-sparse' * sparse}", loss=loss, sparse=sparse, at_least=(3.0, 5.0))
            for name, loss in (("logistic", "logistic"), ("multinomial", "logloss"))
            for sparse in (False, True)
        ),
        _steps(sizes, "full-logistic", loss="logistic", candidates="all", at_least=(3.5, 6.0)),
        _mse(sizes),
        _steps(sizes, "factorization", model="matrix factorization", sparse=True, at_least=(2.0, 3.0)),
        _recommend(sizes),
        _evaluate(sizes),
        _memory(sizes),
        _frame(sizes),
        _recbole(sizes),
        _cuda(sizes),
    ]
    growth = growth_of(sizes)
    return Table(
        measurements=(*(measurement for measurement, _ in parts), *growth.measurements),
        rows=(*(row for _, rows in parts for row in rows), *growth.rows),
        plots=growth.plots,
    )


Part = tuple[Measurement, list[Row]]


def _steps(sizes: Sizes, name: str, *, at_least: tuple[float, float], **settings: object) -> Part:
    """A training step in both precisions, against 0.4.0 and against the products of the output layer."""
    fp32 = training(sizes, **settings)
    bf16 = replace(fp32, precision="bf16")
    sides = {
        "fp32": Side(OURS, fp32),
        "bf16": Side(OURS, bf16),
        "0.4.0": Side(OLD, fp32),
        "floor fp32": Side(OURS, floor_of(fp32)),
        "floor bf16": Side(OURS, floor_of(bf16)),
    }
    loss = {"logloss": "multinomial"}.get(fp32.loss, fp32.loss)
    candidates = {"all": "full catalogue"}.get(fp32.candidates, "negative sampling")
    work = f"{fp32.model} step, {loss}, {candidates}{', `sparse=True`' * fp32.sparse}"
    rows = []
    for precision, factor in zip(("fp32", "bf16"), at_least, strict=True):
        rows.append(Row(f"{work}, {precision}", name, precision, "0.4.0", at_least=factor))
        at_most = OVER_FLOOR[precision] if fp32.model == "autoencoder" else None
        rows.append(
            Row(
                f"{work}, {precision}: over the floor",
                name,
                precision,
                f"floor {precision}",
                at_most=at_most,
                is_quotient=True,
            )
        )
    return Measurement(name, sides), rows


def _mse(sizes: Sizes) -> Part:
    small = training(sizes, loss="mse", candidates="all")
    large = replace(small, batch_size=sizes.large_batch_size)
    sides = {
        "small": Side(OURS, small),
        "large": Side(OURS, large),
        "0.4.0": Side(OLD, small),
        "floor": Side(OURS, floor_of(small, "gram")),
    }
    work = "autoencoder, mse, full catalogue"
    name = "full-mse"
    return Measurement(name, sides), [
        Row(f"{work}, step of {small.batch_size} users", name, "small", "0.4.0", at_least=9.0),
        Row(
            f"{work}, time per user, {large.batch_size:,} users a step (0.4.0: {small.batch_size})",
            name,
            "large",
            "0.4.0",
            unit="us/user",
            per=(large.batch_size, small.batch_size),
            at_least=40.0,
        ),
        Row(f"{work}: over the two products of the Gram loss", name, "small", "floor", is_quotient=True),
    ]


def _recommend(sizes: Sizes) -> Part:
    fp32 = Rank(MAIN, users=sizes.ranked_users, factors=sizes.factors, count=min(100, sizes.candidates))
    sides = {
        "fp32": Side(OURS, fp32),
        "bf16": Side(OURS, replace(fp32, precision="bf16")),
        "implicit": Side("implicit", fp32),
        "irspack": Side("irspack", fp32),
    }
    users = (fp32.users, fp32.users)
    work = f"recommend top {fp32.count} for {fp32.users:,} users in one call"
    return Measurement("recommend", sides), [
        Row(f"{work}, fp32, against implicit", "recommend", "fp32", "implicit", "users/s", users, at_least=1.0),
        Row(f"{work}, bf16, against implicit", "recommend", "bf16", "implicit", "users/s", users, at_least=1.5),
        Row(f"{work}, fp32, against irspack", "recommend", "fp32", "irspack", "users/s", users),
    ]


def _evaluate(sizes: Sizes) -> Part:
    task = Evaluate("eval-input", "eval-target", sizes.eval_users, factors=sizes.factors, batch_size=sizes.batch_size)
    users = (task.users, task.users)
    return Measurement("evaluate", {"ours": Side(OURS, task), "0.4.0": Side(OLD, task)}), [
        Row("evaluate Recall@20, Recall@50, NDCG@100", "evaluate", "ours", "0.4.0", "users/s", users, at_least=3.5)
    ]


def _memory(sizes: Sizes) -> Part:
    # the whole life of a process, so as many steps as make its peak
    task = training(sizes, task="memory", steps=4 * sizes.steps)
    sides = {"ours": Side(OURS, task), "0.4.0": Side(OLD, task)}
    work = "peak memory above that after `import torch`, autoencoder, logistic, negative sampling"
    row = Row(work, "memory", "ours", "0.4.0", "MiB", at_most=0.6, is_quotient=True)
    return Measurement("memory", sides, is_fresh=True), [row]


def _frame(sizes: Sizes) -> Part:
    pandas = Frame("frame", rows=sizes.frame_rows, frame="pandas")
    sides = {
        "pandas": Side(OURS, pandas),
        "polars": Side(OURS, replace(pandas, frame="polars")),
        "0.4.0": Side(OLD, pandas),
    }
    work = f"`dataframe_to_csr_matrix`, {pandas.rows:,} rows of string ids"
    return Measurement("frame", sides), [
        Row(f"{work}, pandas", "frame", "pandas", "0.4.0", "s", at_least=3.0),
        Row(f"{work}, polars against pandas", "frame", "polars", "0.4.0", "s", at_least=10.0),
    ]


def _recbole(sizes: Sizes) -> Part:
    task = training(sizes, data="eval-input", loss="logloss", candidates="all")
    sides = {"ours": Side(OURS, task), "RecBole": Side("recbole", task)}
    work = "autoencoder step, multinomial, full catalogue, fp32, against RecBole's MultiDAE"
    return Measurement("recbole", sides), [Row(work, "recbole", "ours", "RecBole")]


def _cuda(sizes: Sizes) -> Part:
    task = training(sizes, task="epochs", loss="mse", candidates="all", device="cuda", steps=sizes.epochs)
    large = replace(task, batch_size=sizes.large_batch_size)
    sides = {"small": Side(OURS, task), "large": Side(OURS, large)}
    work = f"autoencoder, mse, {task.steps} epochs on a CUDA device"
    return Measurement("cuda", sides, rounds=3), [
        Row(f"{work}, {side.task.batch_size:,} users a step", "cuda", name, None, "s", at_most=10.0)  # type: ignore[union-attr]
        for name, side in sides.items()
    ]
