from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

import recoder
from recoder.cli.app import app


def test_version_is_the_packages():
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"recoder {recoder.__version__}"


def test_help_lists_the_commands_and_each_shows_an_example():
    assert "demo" in CliRunner().invoke(app, ["--help"]).output
    assert "Example: recoder demo" in CliRunner().invoke(app, ["demo", "--help"]).output


def test_without_the_extra_a_plain_hint_is_printed():
    code = "import sys; sys.modules['typer'] = None; from recoder.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == 'the command line needs typer: pip install "recsys-recoder[cli]"'


def test_module_and_command_are_the_same():
    done = subprocess.run([sys.executable, "-m", "recoder", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"recoder {recoder.__version__}"
