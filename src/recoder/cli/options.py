"""Options that several commands have; one that is left out is as the configuration file or its defaults say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from recoder.cli.config import Config, changed
from recoder.errors import ConfigError

__all__ = [
    "ConfigFile",
    "Encoding",
    "File",
    "Item",
    "Json",
    "MinWeight",
    "Model",
    "Names",
    "Quote",
    "Separator",
    "TextIds",
    "Time",
    "Title",
    "User",
    "Weight",
    "assigned",
    "check_unused",
    "completed_settings",
    "data_changes",
    "held_out",
    "settings",
]

_COLUMNS = "The columns"
_TEXT = "Text files"

File = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Parquet or text, a row for each interaction; or a public data set's name."),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file, as recoder train wrote it.")]
User = Annotated[str | None, typer.Option("--user", help="Column of user ids.", rich_help_panel=_COLUMNS)]
Item = Annotated[str | None, typer.Option("--item", help="Column of item ids.", rich_help_panel=_COLUMNS)]
Weight = Annotated[
    str | None, typer.Option("--weight", help="Column of weights; '' for none.", rich_help_panel=_COLUMNS)
]
Time = Annotated[str | None, typer.Option("--time", help="Column of times; '' for none.", rich_help_panel=_COLUMNS)]
Title = Annotated[
    str | None, typer.Option("--title", help="Column of item titles; '' for none.", rich_help_panel=_COLUMNS)
]
TextIds = Annotated[
    bool | None,
    typer.Option(
        "--text-ids/--no-text-ids",
        show_default=False,
        help="Ids are text, even if they look like numbers.",
        rich_help_panel=_COLUMNS,
    ),
]
Separator = Annotated[
    str | None, typer.Option("--separator", help="Between fields, such as '::' or '\\t'.", rich_help_panel=_TEXT)
]
Names = Annotated[
    str | None,
    typer.Option("--names", help="Columns' names, if the first line has none: a,b,c.", rich_help_panel=_TEXT),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", show_default="utf8", help="Of the text.", rich_help_panel=_TEXT)
]
Quote = Annotated[
    str | None,
    typer.Option("--quote", show_default='"', help="Quotes fields; '' for none.", rich_help_panel=_TEXT),
]
MinWeight = Annotated[float | None, typer.Option("--min-weight", min=0, help="Leave out interactions that weigh less.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="TOML", help="Settings; options override it.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def data_changes(*, names: str | None = None, **options: Any) -> dict[str, Any]:
    """Returns what options say of the section ``[data]``; names are separated by commas."""
    listed = None if names is None else tuple(name.strip() for name in names.split(","))
    return {"names": listed, **options}


def check_unused(columns: Mapping[str, Any], otherwise: str) -> None:
    """Checks that nothing is said of files where none is read.

    Args:
        columns: what options say of them, by name.
        otherwise: what to do, for an error.

    Raises:
        ConfigError: if it is.
    """
    given = [f"--{name.replace('_', '-')}" for name, value in columns.items() if value is not None]
    if given:
        raise ConfigError(f"{' and '.join(given)} would say how a file is read, and there is none; {otherwise}")


def held_out(config: Config, valid: float | None, test: float | None) -> Config:
    """Returns the configuration with so many users held out; those of whom only the others are spoken stay.

    Raises:
        ConfigError: if it holds out something else than whole users.
    """
    if valid is None and test is None:
        return config
    if config.split.kind == "strong":
        return changed(config, {"split": {"valid": valid, "test": test}})
    if config.split.kind == "none":
        return changed(config, {"split": {"kind": "strong", "valid": valid or 0.0, "test": test or 0.0}})
    raise ConfigError(f"--valid and --test hold out whole users, and the configuration splits by {config.split.kind!r}")


def settings(config_file: Path | None, **changes: Any) -> Config:
    """Returns the settings in a file, or where there is none their defaults, with those that options change.

    Args:
        config_file: a TOML file.
        changes: by section, as ``changed`` takes them; of other sections only the form is checked.

    Raises:
        ConfigError, FileFormatError, FileNotFoundError: as ``read_toml``.
    """
    return completed_settings(config_file, lambda config: changed(config, changes), sections=changes)


def completed_settings(
    config_file: Path | None, complete: Callable[[Config], Config], *, sections: Collection[str] | None = None
) -> Config:
    """Returns the settings in a file, or where there is none their defaults, changed and checked further.

    Args:
        config_file: a TOML file.
        complete: changes them.
        sections: those whose values are checked; None: all.

    Raises:
        ConfigError, FileFormatError, FileNotFoundError: as ``read_toml``.
    """
    from recoder.cli.limits import checked

    if config_file is None:
        return checked(complete(Config()), sections)
    from recoder.cli.toml_files import read_toml

    return read_toml(config_file, Config, lambda config: checked(complete(config), sections))


def assigned(assignments: Sequence[str], **more: Any) -> dict[str, Any]:
    """Returns the settings that ``key=value`` texts give, those of a section (``loss_params.confidence``) in a dict.

    Args:
        assignments: the texts; a value is written as in TOML.
        more: settings that have an option of their own; None: not given.

    Raises:
        ConfigError: if one is no such text.
    """
    from recoder.cli.toml_files import parse_value

    given: dict[str, Any] = {name: value for name, value in more.items() if value is not None}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set takes KEY=VALUE, such as lr=0.003, not {assignment!r}")
        *sections, last = key.strip().split(".")
        place = given
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {assignment}: {section} was set to {place!r}, so it holds no settings")
        place[last] = parse_value(value.strip())
    return given
