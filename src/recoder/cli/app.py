"""The command line: what the commands are called. Their options stand in ``commands``, what they do beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from recoder import __version__
from recoder.cli.commands import (
    data_convert,
    data_info,
    data_split,
    demo,
    doctor,
    evaluate,
    explain,
    index,
    recommend,
    report,
    similar,
    train,
    tune,
)
from recoder.cli.groups import PlainErrors

__all__ = ["app"]

_HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="recoder",
    cls=PlainErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)
data = typer.Typer(no_args_is_help=True, context_settings=_HELP)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"recoder {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 done; 1 done, but the result is not what one hoped for; 2 it could not be done, for the "
    "reason that is printed; 130 stopped from the keyboard; 141 "
    "nobody read the results to the end; 143 stopped by SIGTERM."
)
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train, evaluate and use recommendation models."""


app.command(epilog=f"Example: {demo.EXAMPLE}")(demo.demo)
app.add_typer(data, name="data", help="Look at interactions, split and convert them.")
data.command(epilog=f"Example: {data_info.EXAMPLE}")(data_info.info)
data.command(epilog=f"Example: {data_split.EXAMPLE}")(data_split.split)
data.command(epilog=f"Example: {data_convert.EXAMPLE}")(data_convert.convert)
app.command(epilog=f"Example: {train.EXAMPLE}")(train.train)
app.command(epilog=f"Example: {evaluate.EXAMPLE}")(evaluate.evaluate)
app.command(epilog=f"Example: {recommend.EXAMPLE}")(recommend.recommend)
app.command(epilog=f"Example: {similar.EXAMPLE}")(similar.similar)
app.command(epilog=f"Example: {explain.EXAMPLE}")(explain.explain)
app.command(epilog=f"Example: {index.EXAMPLE}")(index.index)
app.command(epilog=f"Example: {tune.EXAMPLE}")(tune.tune)
app.command(epilog=f"Example: {report.EXAMPLE}")(report.report)
app.command(epilog=f"Example: {doctor.EXAMPLE}")(doctor.doctor)
