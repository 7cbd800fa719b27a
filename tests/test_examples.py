"""The examples run as their users would run them, at their smallest size."""

import os
import subprocess
import sys
from pathlib import Path

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
