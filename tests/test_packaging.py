"""The wheel holds every module and the typing marker, and works in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from minimum_versions import minimum_versions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build", reason="needs the build package")
    pytest.importorskip("hatchling", reason="needs hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_the_typing_marker(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sklearn_brm").rglob("*.py")}
    assert expected | {"sklearn_brm/py.typed"} <= packed
    assert not [name for name in packed if name.startswith(("tests/", "benchmarks/"))]


def test_the_wheel_imports_in_an_environment_of_its_own(wheel, tmp_path):
    # The dependencies are lent from this environment by path, so that the checkout, which an editable
    # install adds by a .pth file, is not: such files count only in an environment's own site-packages.
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    run = subprocess.run([*install, "-q", str(wheel)], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    code = (
        "import importlib, pkgutil, sklearn_brm\n"
        "for module in pkgutil.walk_packages(sklearn_brm.__path__, 'sklearn_brm.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(sklearn_brm.__file__)"
    )
    lent = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    run = subprocess.run(
        [str(python), "-c", code], cwd=tmp_path, env=lent, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path / "env"))


def test_every_requirement_has_one_lower_bound():
    names = [constraint.partition("==")[0] for constraint in minimum_versions()]
    assert {"numpy", "scikit-learn", "torch"} < set(names)
    assert len(names) == len(set(names))
