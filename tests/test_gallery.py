"""Every example of the gallery runs without a warning and draws, within what the site may take for it."""

import re
import runpy
import time
from pathlib import Path

import pytest

import sklearn_brm

GALLERY = Path(__file__).resolve().parents[1] / "examples" / "gallery"
EXAMPLES = sorted(GALLERY.glob("plot_*.py"))
TEXT = "\n".join(path.read_text() for path in EXAMPLES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_draws_within_its_minute(path, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.close("all")
    # Processor time, which other programs do not stretch as they stretch a minute.
    start = time.process_time()
    runpy.run_path(str(path), run_name="__main__")
    assert plt.get_fignums()
    plt.close("all")
    assert time.process_time() - start < 60
    assert not list(tmp_path.iterdir()), "what an example writes, it removes"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in sklearn_brm.__all__
        if name.endswith("Display") or hasattr(getattr(sklearn_brm, name), "get_params")
    ],
)
def test_every_estimator_and_display_has_an_example(name):
    assert re.search(rf"\b{name}\b", TEXT)


def test_there_are_examples_enough():
    assert len(EXAMPLES) >= 12
