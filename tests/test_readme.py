"""What the README and the documentation promise is true."""

import importlib.util
import re
from pathlib import Path

import pytest

import sklearn_brm
from sklearn_brm import penalties

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md")),
]


def python_blocks(page):
    """Return the blocks marked python; those marked py are fragments that need data of the reader's own."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), flags=re.S | re.M)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)])
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(python_blocks(page)), page, "exec"), {"__name__": "__main__"})


def test_the_quick_start_is_about_twenty_lines():
    (block,) = python_blocks("README.md")
    assert len(block.strip().splitlines()) <= 25


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (ROOT / page).parent.joinpath(target).exists()]
    assert not missing


@pytest.mark.parametrize("name", [*sklearn_brm.__all__, *penalties.__all__])
def test_every_public_name_has_its_anchor_in_the_reference(name):
    assert f'<a id="{name}"></a>' in (ROOT / "docs" / "api.md").read_text()


def test_the_reference_is_what_the_docstrings_say():
    spec = importlib.util.spec_from_file_location("build_api", ROOT / "docs" / "build_api.py")
    build_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_api)
    written = (ROOT / "docs" / "api.md").read_text()
    assert written == build_api.reference(), "docs/api.md is stale: run python docs/build_api.py"
