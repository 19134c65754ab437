"""The values that settings may have, whoever says them: a file or an option."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from recoder.cli.config import Config, changed
from recoder.cli.conversion import SettingError
from recoder.data.text_files import check_text_form
from recoder.errors import ConfigError
from recoder.metrics.names import named_metric
from recoder.training.devices import choose_device

__all__ = ["LOG_ENDINGS", "checked", "second_of"]

LOG_ENDINGS = (".csv", ".jsonl")


def checked(config: Config, sections: Collection[str] | None = None) -> Config:
    """Returns the configuration if all its values are in range, the moment of its split as a Unix second.

    Args:
        config: the configuration.
        sections: those that are looked at; None: all.

    Raises:
        SettingError: if one is not.
    """
    sections = _CHECKS if sections is None else sections
    for section in sections:
        for key, check in _CHECKS.get(section, {}).items():
            value = getattr(getattr(config, section), key)
            if value is not None:
                try:
                    check(value)
                except ConfigError as error:
                    raise SettingError((section, key), str(error), value) from None
    if "training" in sections:
        _check_stopping(config)
    moment = config.split.moment if "split" in sections else None
    return config if moment is None else changed(config, {"split": {"moment": second_of(moment)}})


def second_of(moment: int | str | date) -> int:
    """Returns a moment as a Unix second; a day begins with it, and where no zone is given it is that of UTC.

    Raises:
        ConfigError: if a text is no date or date-time.
    """
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", moment))  # which Python 3.10 does not know
        except ValueError:
            raise ConfigError(f"{moment!r} is no date; write it as 2024-05-31, or 2024-05-31T18:30:00") from None
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    # times are whole seconds: before a fraction of one is before the next
    return math.ceil((moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp())


def _check_stopping(config: Config) -> None:
    name, metrics = config.training.early_stopping, config.training.metrics
    if name not in (None, "loss", *metrics):
        raise SettingError(
            ("training", "early_stopping"),
            f"it looks at {name}, but metrics are {', '.join(metrics) or 'none'}; say --metric {name} too",
            name,
        )
    if name is not None and not (config.split.kind == "strong" and config.split.valid):
        raise SettingError(
            ("training", "early_stopping"),
            "early stopping looks at validation users, and there are none; hold some out: --valid 0.1",
            name,
        )


def _at_least(low: int) -> Callable[[float], None]:
    def check(value: float) -> None:
        if not math.isfinite(value) or value < low:
            raise ConfigError(f"{value} is out of range; it must be at least {low}")

    return check


def _between_0_and_1(value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{value} is out of range; it must be above 0 and below 1")


def _users(value: float) -> None:
    if not math.isfinite(value) or value < 0 or (value > 1 and value != int(value)):
        raise ConfigError(f"{value} is out of range; it must be a share of the users below 1, or a number of them")


def _device(value: str) -> None:
    try:
        choose_device(False, value)
    except ConfigError as error:
        reason = str(error).partition(";")[0]
        raise ConfigError(f"{reason}; say --device cpu, or cuda") from None


def _quote(value: str) -> None:
    try:
        check_text_form(quote=value or None)
    except ConfigError:
        raise ConfigError(f"{value!r} cannot quote; it must be one ASCII character, or '' for none") from None


def _metrics(names: Sequence[str]) -> None:
    for name in names:
        named_metric(name)


def _log(value: str) -> None:
    if Path(value).suffix not in LOG_ENDINGS:
        raise ConfigError(f"the log {value} ends in neither {' nor '.join(LOG_ENDINGS)}, which say how it is written")


_CHECKS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "data": {
        "separator": lambda value: check_text_form(separator=value.replace("\\t", "\t") or ","),
        "encoding": lambda value: check_text_form(encoding=value),
        "quote": _quote,
        "min_weight": _at_least(0),
    },
    "split": {
        "seed": _at_least(0),
        "valid": _users,
        "test": _users,
        "fold_in": _between_0_and_1,
        "min_interactions": _at_least(2),
        "fraction": _between_0_and_1,
        "last": _at_least(1),
        "moment": second_of,
    },
    "training": {"seed": _at_least(0), "device": _device, "metrics": _metrics, "patience": _at_least(1)},
    "output": {"log": _log, "checkpoint_every": _at_least(0)},
    "tune": {"trials": _at_least(1), "minutes": _at_least(0), "metric": named_metric},
}
"""By section and key; each raises a ConfigError that says what is wrong."""
