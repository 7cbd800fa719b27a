"""The examples run as their users would run them, at their smallest size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name, *arguments, folder):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr
    return run


def test_the_sweep_prints_a_table_shows_progress_and_draws_a_picture(tmp_path):
    run = run_example(
        "robustness_sweep.py", "--output", "pictures", "--alphas", 1, "--folds", 2, folder=tmp_path
    )
    lines = run.stdout.splitlines()
    rows = [line for line in lines if line.startswith(("WTAEncoder", "logit", "MLP", "Logistic"))]
    assert len(rows) == 8
    scores = [[float(number) for number in row.split()[-3:]] for row in rows]
    assert all(0.5 < accuracy <= 1 and 0 <= robust <= accuracy for accuracy, robust, _ in scores)
    assert "it]" in run.stderr
    path = Path(lines[-1].removeprefix("Picture: "))
    assert path == tmp_path / "pictures" / "robustness_sweep.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_paper_is_reproduced_resumed_and_reported(tmp_path):
    pytest.importorskip("skops")
    settings = {"--epochs": 2, "--encoder-epochs": 2, "--units": 30, "--attacked": 20, "--worst-case": 5}
    arguments = [part for pair in settings.items() for part in pair]
    arguments += ["--output", "report", "--search-epochs", 0, "--only", "paper"]
    first = run_example("reproduce_paper.py", *arguments, folder=tmp_path)
    assert "Models" in first.stderr
    report = tmp_path / "report"
    models = sorted(report.glob("work/*.skops"))
    assert {path.name.split("-")[0] for path in models} == {"KH", "BP", "L2", "JReg", "SpecReg", "initial"}
    found = json.loads((report / "results.json").read_text())["models"]
    assert all(0.1 < found[name]["accuracy"] <= 1 for name in ("KH", "BP", "L2", "JReg", "SpecReg"))
    for name in ("figure1", "figure2", "figure3", "figure4", "figureA1", "figureA2"):
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (report / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    page = (report / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page
    times = {path: path.stat().st_mtime_ns for path in report.glob("work/*")}
    models[0].unlink()
    run_example("reproduce_paper.py", *arguments, "--quiet", folder=tmp_path)
    trained = {path for path, time in times.items() if path.exists() and path.stat().st_mtime_ns != time}
    assert trained <= {models[0], *report.glob(f"work/*{models[0].stem.split('-')[0]}-seconds*")}
    again = json.loads((report / "results.json").read_text())["models"]
    assert {name: row["pgd"] for name, row in again.items() if "pgd" in row} == {
        name: row["pgd"] for name, row in found.items() if "pgd" in row
    }


def test_the_reproduction_refuses_what_it_cannot_use(tmp_path):
    pytest.importorskip("skops")
    command = [
        sys.executable,
        str(EXAMPLES / "reproduce_paper.py"),
        "--preset",
        "laptop",
        "--data",
        "nowhere",
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    assert "nowhere" in run.stderr
    assert "Traceback" not in run.stderr


def test_one_mechanism_is_searched_by_itself(tmp_path):
    pytest.importorskip("skops")
    arguments = ["--search-epochs", 1, "--units", 20, "--attacked", 10, "--worst-case", 3, "--only", "search"]
    run_example("reproduce_paper.py", *arguments, "--mechanisms", "adversarial", folder=tmp_path)
    (path,) = tmp_path.glob("report/work/search-*.npz")
    with np.load(path) as found:
        assert len(found["parameters"]) == 3
        assert ((found["test_accuracy"] > 0.05) & (found["test_worst"] <= found["test_pgd"] * 1.01)).all()


def test_candidates_are_chosen_by_the_validation_split_alone(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from paper import beyond

    found = {
        "mechanism": np.array(["logits", "logits", "adversarial", "adversarial"]),
        "accuracy": np.array([0.53, 0.515, 0.49, 0.50]),
        "pgd": np.array([0.08, 0.118, 0.20, 0.21]),
        "test_accuracy": np.array([0.9, 0.1, 0.9, 0.1]),
        "test_pgd": np.array([0.9, 0.1, 0.9, 0.1]),
    }
    assert {name: best["pgd"] for name, best in beyond.chosen(found).items()} == {
        "logits": 0.118,
        "adversarial": 0.21,
    }
    assert {name: best["pgd"] for name, best in beyond.reached(found).items()} == {"a": 0.118, "b": 0.21}
