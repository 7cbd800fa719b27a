"""What README and guide promise is true: code runs and prints what they say, and links lead somewhere."""

import re
from pathlib import Path

import pytest
from code_blocks import BLOCK, NUMBER, run_page, same

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
# Written by the build of the site.
PAGES = [page for page in PAGES if not page.startswith(("docs/benchmarks/", "docs/gallery/", "docs/_build/"))]


# Neighbours use what others of them call deprecated.
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search((ROOT / page).read_text())])
def test_the_python_of_a_page_runs_from_top_to_bottom_and_prints_what_the_page_says(
    page, tmp_path, monkeypatch
):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    for block, printed in run_page(ROOT / page):
        line = block.string[: block.start()].count("\n") + 1
        assert same(block["output"] or "", printed), f"{page}:{line} prints\n{printed}"
    plt.close("all")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_python_is_one_that_runs(page):
    """Other words for Python would hide a block from the test above."""
    text = (ROOT / page).read_text()
    kinds = set(re.findall(r"^```([\w{}-]*)", text, flags=re.M))
    assert not kinds & {"py", "pycon", "{code-block}", "{code}", "Python"}
    assert text.count("\n```output\n") == sum(block["output"] is not None for block in BLOCK.finditer(text))


def test_the_quick_start_is_about_twenty_lines():
    (block,) = BLOCK.finditer((ROOT / "README.md").read_text())
    assert len(block["code"].strip().splitlines()) <= 25


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (ROOT / page).parent.joinpath(target).exists()]
    assert not missing


@pytest.mark.parametrize(
    ("written", "printed", "is_same"),
    [
        ("accuracy 0.912\n", "accuracy 0.913\n", True),
        ("accuracy 0.912\n", "accuracy 0.914\n", False),
        ("7 of 12 rows\n", "8 of 12 rows\n", False),
        ("x 1.0e-3\n", "x 1.1e-3\n", True),
        ("a b\n", "a  b\n", True),
        ("a ... z\n", "a b c z\n", True),
        ("", "anything\n", False),
        ("anything\n", "", False),
        ("0.5 0.6\n", "0.5\n", False),
    ],
)
def test_outputs_are_compared_to_the_last_digit_they_have(written, printed, is_same):
    assert same(written, printed) is is_same


def test_names_with_digits_are_no_numbers():
    assert NUMBER.findall("l2 float64 0.5 -3 1e-05 (2)") == ["0.5", "-3", "1e-05", "2"]
