"""The rules of the source tree. The layers are in pyproject.toml, as contracts of import-linter; the rest is here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "snapkit"

MOST_LINES = 400

MOST_FILES = 12
"""In a folder. The command line's own, its commands and the use cases are lists, which may be as long as they are."""
LISTS = {"cli", "cli/commands", "services"}

MOST_POSITIONAL = 5

USES_OF_USE_CASES = {
    "guard": {"backup", "rollback", "prune"},
    "status": {"list"},
    "report": {"list"},
    "rollback": {"restore"},
    "drill": {"branch", "diff"},
}
"""Which use case may be made of which others."""


def test_the_layers_are_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Who imports whom, imports within functions and those for type checkers included."""
    return grimp.build_graph("snapkit", cache_dir=None)


def test_no_module_imports_itself_by_way_of_others(imports: grimp.ImportGraph) -> None:
    everyone = TopologicalSorter({each: imports.find_modules_directly_imported_by(each) for each in imports.modules})
    try:
        everyone.prepare()
    except CycleError as error:
        pytest.fail(f"Each of these imports the one before it: {' <- '.join(error.args[1])}")


def test_a_use_case_is_made_of_mechanisms_and_only_some_of_other_use_cases(imports: grimp.ImportGraph) -> None:
    use_cases = {each for each in imports.find_children("snapkit.services") if not imports.find_children(each)}
    found = {
        (_last(importer), _last(imported))
        for imported in use_cases
        for importer in imports.find_modules_that_directly_import(imported)
        if importer.startswith("snapkit.services.")
    }
    allowed = {(user, used) for user, all_used in USES_OF_USE_CASES.items() for used in all_used}
    assert found - allowed == set()


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def test_a_file_is_short() -> None:
    long = {name for name, path in _files() if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES}
    assert long == set()


def test_a_folder_is_seen_at_a_glance() -> None:
    folders = Counter(path.parent.relative_to(PACKAGE).as_posix() for _, path in _files() if path.stem != "__init__")
    assert {name for name, files in folders.items() if files > MOST_FILES and name not in LISTS} == set()


def test_a_package_does_nothing_by_itself() -> None:
    assert {name for name, path in _files() if path.stem == "__init__" and path.stat().st_size} == {"__init__.py"}


def test_a_file_is_named_as_another_only_if_it_is_of_another_storey() -> None:
    storeys = Counter((name.partition("/")[0], path.stem) for name, path in _files() if path.stem != "__init__")
    assert {name for name, number in storeys.items() if number > 1} == set()


def test_options_go_by_keyword() -> None:
    many = {
        name
        for _, path in _files()
        for name, number in _positional(ast.parse(path.read_text(encoding="utf-8")))
        if number > MOST_POSITIONAL
    }
    assert many == set()


def _positional(node: ast.AST, within: str = "") -> Iterator[tuple[str, int]]:
    """How many parameters each function takes by position, ``self`` and ``cls`` aside."""
    for child in ast.iter_child_nodes(node):
        name = within
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{within}{child.name}"
            names = [each.arg for each in (*child.args.posonlyargs, *child.args.args)]
            yield name, len(names) - (isinstance(node, ast.ClassDef) and names[:1] in (["self"], ["cls"]))
            name += "."
        elif isinstance(child, ast.ClassDef):
            name = f"{within}{child.name}."
        yield from _positional(child, name)


def test_a_unit_test_is_named_after_what_it_tests() -> None:
    names = {path.stem for _, path in _files()} | {path.parent.name for _, path in _files()}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "unit").glob("test_*.py")}
    assert tests - names == {"benchmarks"}


def test_nothing_but_prune_delete_and_clones_under_construction_is_ever_dropped() -> None:
    assert _users_of("DropDatabase(") == {"core/plans/drop.py"}
    assert _users_of("statements_to_drop(") == {
        "core/plans/drop.py",
        "services/entries/drop.py",
        "services/entries/leftovers.py",
    }


def _users_of(text: str) -> set[str]:
    return {name for name, path in _files() if text in path.read_text(encoding="utf-8")}


def _files() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), path
