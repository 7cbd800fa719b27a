"""Imports point down only, and nothing private of scikit-learn is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sklearn_brm"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# First part of a module's path -> (floor, room). A module imports from lower floors and from its own room.
PLACES = {
    "_device": (-1, "device"),
    "functional": (0, "functional"),
    "_base": (0, "base"),
    "_memory": (0, "base"),
    "_checkpoints": (0, "base"),
    "_sharing": (0, "sharing"),
    "datasets": (1, "datasets"),
    "_encoder": (1, "learning"),
    "_classifier": (1, "regularising"),
    "penalties": (1, "regularising"),
    "attacks": (4, "attacks"),
    "_spectrum": (1, "measuring"),
    "_bridge": (2, "bridge"),
    "_robustness": (3, "robustness"),
    "_displays": (4, "displays"),
    "__init__": (5, "top"),
}


def place(module):
    return PLACES[module.split("/")[0].removesuffix(".py")]


def imported_modules(module):
    """Yield (dotted name, imported names, enclosing function or None) of every import in a module."""
    tree = ast.parse((PACKAGE / module).read_text())
    package = ["sklearn_brm", *module.split("/")[:-1]]

    def visit(node, function):
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef) else function
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                inside = "TYPE_CHECKING"  # not imported when the module is
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, [], function
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                name = ".".join([*base, *([child.module] if child.module else [])])
                yield name, [alias.name for alias in child.names], function
            yield from visit(child, inside)

    yield from visit(tree, None)


def our_targets(module):
    """Yield the first path part below the package of everything of ours that a module imports."""
    for name, names, _ in imported_modules(module):
        if name == "sklearn_brm":
            yield from (target if target in PLACES else "__init__" for target in names)
        elif name.startswith("sklearn_brm."):
            yield name.split(".")[1]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_or_stay_in_their_room(module):
    floor, room = place(module)
    wrong = [
        target for target in our_targets(module) if PLACES[target][1] != room and PLACES[target][0] >= floor
    ]
    assert not wrong, f"{module} imports {wrong}, which do not lie below it"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_rooms_that_may_import_third_parties(module):
    for name, _, function in imported_modules(module):
        top = name.split(".")[0]
        if place(module)[1] in {"device", "functional"}:
            assert top not in {"sklearn", "skorch"}, f"{module} imports {name}"
        if top == "skorch":
            assert place(module)[1] == "regularising", f"{module} imports {name}"
        if top == "matplotlib":
            assert function is not None, f"{module} imports matplotlib when it is imported"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_private_of_scikit_learn_is_imported(module):
    for name, names, _ in imported_modules(module):
        if name.split(".")[0] == "sklearn":
            private = [part for part in [*name.split("."), *names] if part.startswith("_")]
            assert not private, f"{module} imports the private {private} from {name}"


def test_the_guard_sees_an_upward_import(tmp_path, monkeypatch):
    (tmp_path / "functional").mkdir()
    (tmp_path / "functional" / "bad.py").write_text(
        "def f():\n    from .._robustness import AdversarialScorer\n"
    )
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    with pytest.raises(AssertionError, match=r"functional/bad.py imports \['_robustness'\]"):
        test_imports_point_down_or_stay_in_their_room("functional/bad.py")


def test_importing_the_package_does_not_import_heavy_or_optional_packages():
    code = (
        "import sys, sklearn_brm\n"
        "heavy = {'matplotlib', 'PIL', 'dask', 'ray', 'foolbox', 'art'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
