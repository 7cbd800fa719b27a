"""Time `AdversarialScorer`, of this checkout and of another one beside it; save a table of both.

Fitted models that both know are scored on the same rows, turn by turn, in a new process for each checkout and
round. Without ``--before`` there are times of this checkout alone.

    git worktree add ../before f8ab15b^
    python benchmarks/bench_scorer.py --before ../before
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median

from _common import HERE, write_table
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_brm import AdversarialScorer, RegularizedClassifier
from sklearn_brm.penalties import Jacobian

N_ROUNDS = 3
HEADER = ["table", "model", "seconds", "robust accuracy"]


def tables():
    """Return name -> rows, labels, radius and number of rows to attack."""
    made = make_classification(4000, 20, n_informative=10, n_redundant=5, random_state=0)
    return {
        "digits": (*load_digits(return_X_y=True), 0.2, 200),
        "breast cancer": (*load_breast_cancer(return_X_y=True), 0.2, 200),
        "2,000 x 20": (*made, 0.1, 2000),
    }


def models(table):
    """Return name -> what is fitted and scored."""
    boosting = HistGradientBoostingClassifier(random_state=0)
    if table == "2,000 x 20":
        return {"HistGradientBoosting": boosting}
    settings = {
        "max_iter": 50,
        "tol": None,
        "learning_rate": 0.003,
        "schedule": "constant",
        "random_state": 0,
    }
    return {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "MLPClassifier": MLPClassifier(random_state=0),
        "RegularizedClassifier": RegularizedClassifier(**settings),
        "RegularizedClassifier, logits' Jacobian": RegularizedClassifier(
            penalty=Jacobian(of="logits", alpha=1e-2), **settings
        ),
        "RandomForest": RandomForestClassifier(random_state=0),
        "HistGradientBoosting": boosting,
    }


def measure():
    """Return [table, model, seconds, robust accuracy] for each pair, of the package that is imported."""
    found = []
    for table, (X, y, eps, n_rows) in tables().items():
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
        for name, model in models(table).items():
            model.fit(X, y)
            scorer = AdversarialScorer(eps=eps, max_samples=n_rows, random_state=0)
            scorer(model, X_test[:20], y_test[:20])
            start = time.perf_counter()
            value = scorer(model, X_test, y_test)
            found.append([table, name, time.perf_counter() - start, float(value)])
    return found


def measured_in(checkout):
    """Return what `measure` finds in a process that imports the package from this folder."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, str(Path(__file__).resolve()), "--measure"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=3600)
    return json.loads(done.stdout.splitlines()[-1])


def compare(before):
    """Measure turn by turn, and write the table."""
    here = HERE.parent
    checkouts = [here] if before is None else [before.resolve(), here]
    rounds = [[measured_in(checkout) for checkout in checkouts] for _ in range(N_ROUNDS)]
    rows = []
    for i, (table, name, _, value) in enumerate(rounds[0][-1]):
        seconds = [median(one[j][i][2] for one in rounds) for j in range(len(checkouts))]
        row = [table, name, f"{seconds[-1]:.2f}", f"{value:.3f}"]
        if before is not None:
            row += [f"{seconds[0]:.2f}", f"{seconds[-1] / seconds[0]:.2f}", f"{rounds[0][0][i][3]:.3f}"]
        rows.append(row)
    write_table(
        "scorer",
        "The seconds of a robust score",
        HEADER + ([] if before is None else ["seconds before", "times before", "robust accuracy before"]),
        rows,
        notes=[
            "Half of the rows are learned; of the others 200 are attacked by the worst case, within 0.2",
            "standard deviations, or all 2,000 within 0.1. One thread.",
            f"Medians of {N_ROUNDS} rounds, turn by turn, each in a process of its own.",
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.measure:
        print(json.dumps(measure()))
    else:
        compare(options.before)
