"""What is proven of trees beside what the attack breaks: breast cancer, standardised, 100 rows, L-inf.

The exact accuracy is that of the search over leaves, checked row by row: where it says broken, the estimator
answers wrongly at the point that it gives. `--veritas` adds the answers of the package dtai-veritas, which
must be importable.
"""

import argparse
import time

import numpy as np
from _common import write_table
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import AdversarialScorer
from sklearn_brm._bridge.tree_ensembles import read_trees
from sklearn_brm.functional.leaves import Region, breaking_point, search

EPS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
MODELS = {
    "one tree": DecisionTreeClassifier(random_state=0),
    "forest of 25, depth 6": RandomForestClassifier(25, max_depth=6, random_state=0),
    "50 boosted trees": GradientBoostingClassifier(n_estimators=50, random_state=0),
    "forest of 100": RandomForestClassifier(100, random_state=0),
    "histogram boosting": HistGradientBoostingClassifier(random_state=0),
}
TIME_LIMIT = 1.0


def rows():
    """Training rows and the first 100 of the others."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X[::2], y[::2], X[1::2][:100], y[1::2][:100]


def timed(function):
    start = time.perf_counter()
    answer = function()
    return answer, time.perf_counter() - start


def check(model, verdicts, X, y, eps):
    """The point of every broken row is one."""
    points, broken = breaking_point(verdicts, X), verdicts.broken
    if broken.any():
        assert (model.predict(points[broken]) != y[broken]).all()
        assert (np.abs(points - X)[broken] <= eps * (1 + 1e-12)).all()


def veritas_stands(model, X, y, eps):
    """Rows of which Veritas finds no wrong answer; None where it does not read the model."""
    import veritas

    try:
        trees = veritas.get_addtree(model, silent=True)
    except Exception:
        return None
    stands = []
    for row, label in zip(X, y):
        ends = zip(
            (row - eps).astype(np.float32), np.nextafter((row + eps).astype(np.float32), np.float32(9e9))
        )
        config = veritas.Config(veritas.HeuristicType.MAX_OUTPUT)
        config.stop_when_num_solutions_exceeds, config.stop_when_optimal = 1, True
        config.ignore_state_when_worse_than = 0.0
        one = trees if label == 0 else trees.negate_leaf_values()
        found = config.get_search(one, [veritas.Interval(float(low), float(high)) for low, high in ends])
        found.step_for(TIME_LIMIT, 100)
        stands.append(found.num_solutions() == 0)
    return np.array(stands)


def line(name, model, trees, X, y, eps, with_veritas):
    region = Region(X - eps, X + eps)
    (verdicts, seconds), (sums, sum_seconds) = (
        timed(lambda limit=limit: search(trees, region, y, time_limit=limit)) for limit in (TIME_LIMIT, 0)
    )
    check(model, verdicts, X, y, eps)
    attacked, attack_seconds = timed(lambda: AdversarialScorer(eps, random_state=0)(model, X, y))
    exact = f"{verdicts.certified.mean():.2f}"
    if not verdicts.complete.all():
        exact += f" to {1 - verdicts.broken.mean():.2f}"
    numbers = [f"{sums.certified.mean():.2f}", exact, f"{attacked:.2f}"]
    times = [f"{value:.3g}" for value in (sum_seconds, seconds, attack_seconds)]
    if with_veritas:
        stands, veritas_seconds = timed(lambda: veritas_stands(model, X, y, eps))
        numbers.append("" if stands is None else f"{stands.mean():.2f}")
        times.append("" if stands is None else f"{veritas_seconds:.3g}")
    return [name, eps, *numbers, *times]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--veritas", action="store_true")
    with_veritas = parser.parse_args().veritas
    X_train, y_train, X, y = rows()
    table = []
    for name, model in MODELS.items():
        model.fit(X_train, y_train)
        trees = read_trees(model)
        table += [line(name, model, trees, X, y, eps, with_veritas) for eps in EPS]
    kinds = ["worst leaves", "exact", "attacked", *(["Veritas"] if with_veritas else [])]
    write_table(
        "tree_certificates",
        "Trees: accuracy that is proven, exact, and under attack",
        ["model", "eps", *kinds, *(f"s {kind}" for kind in kinds)],
        table,
        notes=[
            "Breast cancer, standardised; trained on every second row; the first 100 of the others; L-inf.",
            f"Seconds are for all 100 rows; search and Veritas have {TIME_LIMIT} s per row, and what",
            "Veritas leaves open counts as standing. Every broken row was checked: the estimator answers",
            "wrongly at the point that the search gives.",
        ],
    )


if __name__ == "__main__":
    main()
