"""What is released holds what it should, leads nowhere wrong, and works in an environment of its own."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import check_release
import pytest
from minimum_versions import minimum_versions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    pytest.importorskip("build", reason="needs the build package")
    pytest.importorskip("hatchling", reason="needs hatchling")
    return check_release.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def wheel(archives):
    return archives[1]


def test_the_wheel_holds_every_module_and_the_typing_marker_and_leads_nowhere_wrong(wheel):
    assert list(check_release.wrong_in_wheel(wheel)) == []


def test_the_source_archive_holds_what_readme_and_guide_refer_to(archives):
    assert list(check_release.wrong_in_sdist(archives[0])) == []


def test_version_changelog_citation_and_recipe_agree():
    assert list(check_release.wrong_versions()) == []


def test_a_tag_must_be_the_version_and_have_a_day_in_the_changelog():
    assert any("the tag is v9.9" in line for line in check_release.wrong_versions("v9.9"))
    assert any("in place of the day" in line for line in check_release.wrong_versions("v9.9"))
    assert not any("in place of the day" in line for line in check_release.wrong_versions("v9.9rc1"))


def test_links_of_the_readme_lead_to_the_address_or_are_none():
    pytest.importorskip("hatchling", reason="needs hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    hatch_build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hatch_build)
    text = "![curve](docs/a.png)\n\n[guide](docs/b.md#c) and [paper](https://doi.org/x)\n"
    assert hatch_build.for_strangers(text) == "guide and [paper](https://doi.org/x)\n"
    assert hatch_build.for_strangers(text, "https://x.org/p") == (
        "![curve](https://x.org/p/raw/main/docs/a.png)\n\n"
        "[guide](https://x.org/p/blob/main/docs/b.md#c) and [paper](https://doi.org/x)\n"
    )


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


def test_the_metadata_name_the_pythons_that_the_workflow_tests():
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = {line.rpartition(" ")[2] for line in classifiers if ":: Python :: 3." in line}
    (matrix,) = re.findall(r"python: \[(.+)\]", (ROOT / ".github/workflows/tests.yml").read_text())
    assert named == set(re.findall(r"[\d.]+", matrix))


def test_every_requirement_has_one_lower_bound():
    names = [constraint.partition("==")[0] for constraint in minimum_versions()]
    assert {"numpy", "scikit-learn", "torch"} < set(names)
    assert len(names) == len(set(names))
