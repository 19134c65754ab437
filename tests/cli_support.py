"""Running commands in tests."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner, Result

from recoder.cli.app import app

SMALL = ("--set", "hidden_layers=[16]", "--set", "num_uniform_negatives=0", "--epochs", "6")


def run(*arguments: Any, code: int = 0) -> Result:
    """Returns the outcome of a command, whose exit code is this."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result
