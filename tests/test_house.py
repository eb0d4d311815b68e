"""The house keeps its own rules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import upliftlab

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "upliftlab"
MODULES = sorted(SOURCE.rglob("*.py"))


def test_public_names_are_sorted_and_importable():
    """What __all__ promises is there."""
    assert upliftlab.__all__ == sorted(upliftlab.__all__)
    assert all(getattr(upliftlab, name) is not None for name in upliftlab.__all__)


def test_every_module_stands_in_the_architecture_table():
    """The table of ARCHITECTURE.md and the tree are the same."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z_/]+(?:\.py|/))` \|", text, flags=re.MULTILINE))
    tree = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in SOURCE.iterdir()
        if path.name not in {"__pycache__", "py.typed", "__init__.py"}
    }

    assert named == tree


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_module_is_too_long_and_no_function_either(path):
    """Hard limits: 600 lines a file, 75 a function without its docstring."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)

    assert text.count("\n") <= 600
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            assert length <= 75, f"{node.name} has {length} lines"
            assert node.returns is not None, f"{node.name} has no return annotation"


def test_nobody_catches_everything():
    """A blanket catch hides a wrong number."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                assert caught not in {"Exception", "BaseException", "everything"}, path


def test_help_answers_without_heavy_imports():
    """`upliftlab --help` pays for no engine, no frame, no statistics."""
    code = (
        "import sys, upliftlab.cli\n"
        "heavy = {'pandas', 'numpy', 'ibis', 'duckdb', 'scipy', 'matplotlib', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_definitions_are_read_without_engines():
    """Validating a plan pays for no engine and no statistics."""
    code = (
        "import sys, upliftlab.experiment\n"
        "heavy = {'pandas', 'ibis', 'duckdb', 'scipy', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_the_demo_is_the_first_experiment():
    """The shipped demo and the runnable folder are one definition."""
    shipped = (SOURCE / "definitions" / "demo.yaml").read_text(encoding="utf-8")
    folder = ROOT / "experiments" / "smart_coupon_new_customers" / "experiment.yaml"

    assert folder.read_text(encoding="utf-8") == shipped


def test_every_ignore_of_the_linter_has_a_reason():
    """In pyproject.toml each ignored rule is explained on its line."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("[tool.ruff.lint]")[1].split("]\n[tool")[0].split("ignore = [")[1]
    rows = [line for line in block.splitlines() if line.strip().startswith('"')]

    assert rows
    assert all("#" in line for line in rows)


def test_configuration_is_read():
    """A file that nobody parses is decoration."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert data["project"]["name"] == "upliftlab"
    assert data["tool"]["pytest"]["ini_options"]["filterwarnings"][0] == "error"
