from __future__ import annotations

import io
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import recoder
from recoder.cli import output
from recoder.cli.app import app
from recoder.cli.groups import PlainErrors
from recoder.errors import ConfigError

ROOT = typer.main.get_command(app)


def commands(group=ROOT, names=()):
    """Yields the names and the command of each command, however deep."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


ALL = [pytest.param(names, command, id=" ".join(names)) for names, command in commands()]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_version_is_the_packages():
    assert invoke("--version").output.strip() == f"recoder {recoder.__version__}"


def test_help_lists_the_commands_and_the_exit_codes():
    shown = invoke("--help").output
    assert "Exit codes: 0 done; 1" in shown
    for name in ROOT.commands:
        assert name in shown


@pytest.mark.parametrize(("names", "command"), ALL)
def test_help_of_each_command_ends_with_an_example_that_it_understands(names, command):
    shown = invoke(*names, "--help").output
    example = command.epilog.removeprefix("Example: ")
    assert shown.strip().splitlines()[-1].split()[-1] == example.split()[-1]
    program, *arguments = shlex.split(example)
    assert program == "recoder"
    assert tuple(arguments[: len(names)]) == names
    command.make_context(" ".join(names), arguments[len(names) :])  # raises where an option is unknown


@pytest.mark.parametrize(("names", "command"), ALL)
def test_every_option_of_each_command_says_what_it_is_for(names, command):
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, parameter.name


def test_the_reference_has_every_command_and_no_other():
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf8")
    headings = {line for line in reference.splitlines() if line.startswith("## ")}
    assert headings == {f"## recoder {' '.join(names)}" for names, _ in commands()}


@pytest.mark.parametrize("missing", ["typer", "rich", "tomlkit"])
def test_without_the_extra_a_plain_hint_is_printed(missing):
    code = f"import sys; sys.modules['{missing}'] = None; from recoder.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f'the command line needs {missing}: pip install "recsys-recoder[cli]"'


def test_module_and_command_are_the_same():
    for command in ([sys.executable, "-m", "recoder"], [Path(sys.executable).with_name("recoder")]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"recoder {recoder.__version__}"


def test_help_does_not_wait_for_torch():
    code = "import sys; from recoder.cli.app import app; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def failing(error):
    """Returns the outcome of a command below a group that raises this."""
    failing_app = typer.Typer(cls=PlainErrors)
    inner = typer.Typer()
    failing_app.add_typer(inner, name="inner")

    @inner.command()
    def fail() -> None:
        raise error

    @inner.command()
    def warn() -> None:
        logging.getLogger("recoder.data").warning("3 rows\nrepeat")

    return CliRunner().invoke(failing_app, ["inner", "fail" if error else "warn"])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("k is 0;\n  pass 1"), 2, "recoder: k is 0; pass 1\n"),
        (FileNotFoundError("there is no file a"), 2, "recoder: there is no file a\n"),
        (PermissionError(13, "Permission denied", "b"), 2, "recoder: b: Permission denied\n"),
        (KeyboardInterrupt(), 130, "recoder: interrupted\n"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line_with_its_exit_code(error, code, said):
    result = failing(error)
    assert (result.exit_code, result.stderr, result.stdout) == (code, said, "")


def test_a_fault_of_ours_is_not_hidden():
    result = failing(ZeroDivisionError("ours"))
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_reader_who_has_seen_enough_is_no_error():
    result = failing(BrokenPipeError(32, "Broken pipe"))
    assert (result.exit_code, result.stderr) == (141, "")


def test_what_nobody_reads_to_the_end_is_no_negative_result():
    command = [sys.executable, "-m", "recoder", "train", "--print-config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()
        process.wait(timeout=60)
    assert (process.returncode, said) == (141, b"")


class Gone(io.StringIO):
    asked = 0

    def write(self, text):
        self.asked += 1
        raise BrokenPipeError(32, "Broken pipe")


def test_where_nobody_listens_a_command_goes_on(monkeypatch):
    gone = Gone()
    monkeypatch.setattr("sys.stderr", gone)
    output.tell("this is lost")
    assert gone.asked == 1


def test_results_for_people_say_that_their_reader_is_gone(monkeypatch):
    monkeypatch.setattr("sys.stdout", Gone())
    with pytest.raises(BrokenPipeError):
        output.console().print("x")


def test_warnings_of_the_library_are_said_on_stderr_and_only_meanwhile():
    assert failing(None).stderr == "recoder: 3 rows repeat\n"
    assert logging.getLogger("recoder").handlers == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
def test_stdout_that_is_full_is_called_by_its_name():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "recoder", "train", "--print-config"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("recoder: cannot write to standard output: No space left on device")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def cafes(tmp_path_factory):
    """A model that knows titles with a letter that ASCII lacks."""
    folder = tmp_path_factory.mktemp("cafes")
    path, out = folder / "films.csv", folder / "a.model"
    path.write_text("user,film,title\n" + "".join(f"{n},{n % 3},Café\n" for n in range(9)), encoding="utf8")
    trained = invoke("train", path, "--model", "popularity", "--out", out)
    assert trained.exit_code == 0, trained.output
    return out


@pytest.mark.parametrize(("options", "said"), [(["--json"], '"Caf\\u00e9"'), ([], "Caf?")], ids=["json", "table"])
def test_a_stdout_that_lacks_letters_is_written_nevertheless(cafes, options, said):
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    asked = [sys.executable, "-m", "recoder", "recommend", str(cafes), "--history", "1", *options]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
