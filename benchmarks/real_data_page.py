"""The page of the real-data benchmark, from the results of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.real_data_design import AUTOENCODER
from benchmarks.real_data_runner import DATA_SETS

__all__ = ["in_standard_errors", "render_page"]

Result = Mapping[str, Any]

_INTRODUCTION = """\
# On real data

Autoencoders and factorizations, trained on two public data sets through the public classes: train, evaluate,
save, load into a new model, recommend. After loading, scores and recommendations equal those of the saved model to the
last bit, or the run fails. This page is written by a script; it runs what is missing and keeps each result in a JSON
file, so it can be interrupted:

```text
python -m benchmarks real_data --data DIR
```

The runs cover pairwise what can be combined: any two choices, such as the logistic loss and tied weights, meet in at
least one run, for autoencoders and for matrix factorizations (MF) each by themselves. The aim is to see each of them
learn, not the best number: the runs are short, and one recipe for each model and loss serves both data sets. (Over all
items the logistic loss spends most of such a run pushing all scores down, unless biases start from popularity:
[train well](howto/train.md). [Quality](quality.md) compares models as one would use them.)

The bar is low on goodbooks-10k-v1: that release holds about 100 ratings of every book, so most-popular says next to
nothing there. Gowalla is the harder test.
"""

_HEADINGS = (
    "data set",
    "model",
    "loss",
    "candidates",
    "`sparse`",
    "layers",
    "training, s",
    "NDCG@100",
    "most popular",
    "paired difference",
    "in standard errors",
)


def in_standard_errors(result: Result) -> float:
    """Returns how far above most-popular a run is: its paired difference over the standard error of that."""
    difference, stderr = result["measured"]["difference"]
    return float(difference) / float(stderr) if stderr else 0.0


def render_page(results: Mapping[str, Result]) -> str:
    """Returns the page in Markdown."""
    listed = list(results.values())
    sections = [
        _INTRODUCTION,
        _table(_HEADINGS, [_row(result) for result in listed], num_text_columns=6),
        "Means over users ± their standard errors; the difference is paired over the same users.\n",
        "## Data and judgement\n",
        _table(
            ("data set", "used", "model", "users in training", "items", "interactions in training", "users judged"),
            _distinct(_data_row(result) for result in listed),
            num_text_columns=3,
        ),
        _judgement(listed),
        "## Recipes\n",
        _table(
            ("model", "loss", "layers", "input noise", "learning rate", "users in a step", "steps", "confidence"),
            _distinct(_recipe_row(result) for result in listed),
            num_text_columns=3,
        ),
        "Optimizer adam without weight decay, activation tanh for autoencoders and none for factorizations. Sampled "
        "candidates are the items of the step's users.\n",
        "## Where it ran\n",
        *[_environment(environment) for environment in _distinct(result["environment"] for result in listed)],
        _total(listed),
    ]
    return "\n".join(sections)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, num_text_columns: int) -> str:
    rule = ["---" if column < num_text_columns else "--:" for column in range(len(headings))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows)) + "\n"


def _row(result: Result) -> list[str]:
    run, measured = result["settings"]["run"], result["measured"]
    return [
        run["data_set"],
        run["model"],
        run["loss"],
        run["candidates"],
        "on" if run["is_sparse"] else "off",
        _layers(result),
        f"{measured['seconds']:.0f}",
        "{:.4f} ± {:.4f}".format(*measured["ndcg"]),
        "{:.4f} ± {:.4f}".format(*measured["popular"]),
        "{:+.4f} ± {:.4f}".format(*measured["difference"]),
        f"{in_standard_errors(result):.1f}",
    ]


def _layers(result: Result) -> str:
    sizes = result["settings"]["recipe"]["layers"]
    if result["settings"]["run"]["model"] != AUTOENCODER:
        return f"{sizes[0]} factors"
    return "-".join(map(str, sizes)) + (", tied" if result["settings"]["run"]["is_tied"] else "")


def _data_row(result: Result) -> tuple[str, ...]:
    run, measured = result["settings"]["run"], result["measured"]
    counts = ("num_train_users", "num_items", "num_train_interactions", "num_eval_users")
    return (run["data_set"], DATA_SETS[run["data_set"]][0], run["model"], *(f"{measured[name]:,}" for name in counts))


def _judgement(results: Sequence[Result]) -> str:
    seeds = ", ".join(str(seed) for seed in _distinct(result["settings"]["protocol"]["seed"] for result in results))
    return (
        "Autoencoders are judged on users that were held out of training: 80 % of their interactions are given, the "
        "rest is to be found (`recoder.data.strong_generalization`). A factorization knows only its training users: "
        "20 % of each user's interactions are taken out of the training data and are to be found "
        "(`recoder.data.random_holdout`); the first users of the data set are judged. Seed of splits and training: "
        f"{seeds}.\n"
    )


def _recipe_row(result: Result) -> tuple[str, ...]:
    run, recipe = result["settings"]["run"], result["settings"]["recipe"]
    return (
        run["model"],
        run["loss"],
        _layers(result).removesuffix(", tied"),
        f"{recipe['noise']:g}" if run["model"] == AUTOENCODER else "",
        f"{recipe['lr']:g}",
        str(recipe["batch_size"]),
        str(recipe["num_steps"]),
        "" if recipe["confidence"] is None else f"{recipe['confidence']:g}",
    )


def _environment(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {environment[name]}" for name in ("python", "recsys-recoder", "torch", "numpy", "scipy")
    )
    return (
        f"{environment['processor']}, {environment['num_cores']} cores, torch threads: {environment['num_threads']}; "
        f"{versions}; commit {environment['commit']}.\n"
    )


def _total(results: Sequence[Result]) -> str:
    minutes = sum(result["measured"]["total_seconds"] for result in results) / 60
    return (
        f"All {len(results)} runs took {minutes:.0f} minutes, evaluation included. Other programs shared the machine, "
        "so seconds are a rough guide.\n"
    )


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Returns the values without repeats, in order of first appearance."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
