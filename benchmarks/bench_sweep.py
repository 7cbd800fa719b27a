"""Time a sweep over strengths, scored by accuracy and by robustness, beside one of MLPClassifier.

Ten strengths, five folds, on digits and on breast cancer, both in units of a standard deviation, in one
process and in two. Accuracy alone is compared with the same sweep of `MLPClassifier` at its defaults; of each
fold 200 rows are attacked. Run ``python benchmarks/bench_sweep.py [1] [2]`` for the numbers of processes.
"""

import sys
import warnings
from functools import partial

import numpy as np
from _common import median_times, write_table
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_brm import AdversarialScorer, RegularizedClassifier, RegularizedClassifierCV
from sklearn_brm.penalties import Jacobian

N_STRENGTHS, N_ROUNDS = 10, 3
TABLES = {"digits": load_digits, "breast cancer": load_breast_cancer}
ROBUST = AdversarialScorer(eps=0.2, max_samples=200, random_state=0)
BOTH = {"accuracy": "accuracy", "robust": ROBUST}
HEADER = ["table", "processes", "search", "seconds", "times MLPClassifier", "mean fit", "mean score"]
HEADER += ["best accuracy", "best robust"]
OURS = {"alpha": np.logspace(-4, 0, N_STRENGTHS)}


def searches(n_jobs):
    """Return the contestants: a search each, that has not been fitted."""
    options = {"cv": 5, "refit": False, "n_jobs": n_jobs}
    networks = {
        "Jacobian of hidden": RegularizedClassifier(penalty="jacobian", random_state=0),
        "Jacobian of logits": RegularizedClassifier(penalty=Jacobian(of="logits"), random_state=0),
    }
    neighbour = MLPClassifier(random_state=0)
    return {
        "MLPClassifier, accuracy": GridSearchCV(
            neighbour, {"alpha": np.logspace(-5, 0, N_STRENGTHS)}, **options
        ),
        **{
            f"{name}, {kind}": GridSearchCV(network, OURS, scoring=scoring, **options)
            for name, network in networks.items()
            for kind, scoring in (("accuracy", None), ("both", BOTH))
        },
        **{f"{name}, accuracy, CV": in_a_batch(network, n_jobs) for name, network in networks.items()},
        **{f"{name}, both, CV": in_a_batch(network, n_jobs, BOTH) for name, network in networks.items()},
    }


def in_a_batch(network, n_jobs, scoring=None):
    """Return the same search, with the networks of a fold in one batch. It fits the best on all rows, too."""
    options = {"cv": 5, "n_jobs": n_jobs, "scoring": scoring, "refit": True if scoring is None else "robust"}
    return RegularizedClassifierCV(
        penalty=network.penalty, alphas=OURS["alpha"], random_state=network.random_state, **options
    )


def best(search):
    """Return the best mean of accuracy, and of robust accuracy where it was asked for."""
    results = search.cv_results_
    kinds = [kind for kind in ("score", "accuracy", "robust") if f"mean_test_{kind}" in results]
    return [f"{results[f'mean_test_{kind}'].max():.3f}" for kind in kinds]


def sweep(name, load, n_jobs):
    """Return a row of the table for each contestant."""
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    contestants = searches(n_jobs)
    for search in contestants.values():  # the processes start and import
        search.fit(X[:200], y[:200])
    runs = {key: partial(search.fit, X, y) for key, search in contestants.items()}
    times = median_times(runs, n_rounds=N_ROUNDS, warm_up=0)
    reference = times["MLPClassifier, accuracy"]
    rows = []
    for key, value in times.items():
        results = contestants[key].cv_results_
        accuracy, robust = (*best(contestants[key]), "")[:2]
        fit, score = (results[f"mean_{part}_time"].mean() for part in ("fit", "score"))
        cells = [f"{value:.1f}", f"{value / reference:.2f}", f"{fit:.3f}", f"{score:.3f}", accuracy, robust]
        rows.append([name, n_jobs, key, *cells])
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows = []
    for n_jobs in [int(word) for word in sys.argv[1:]] or [1, 2]:
        for name, load in TABLES.items():
            rows += sweep(name, load, n_jobs)
    write_table(
        "sweep",
        "A sweep over 10 strengths and 5 folds",
        HEADER,
        rows,
        notes=[
            "Accuracy alone, or accuracy and the worst case within 0.2 standard deviations on 200 rows of",
            'each fold ("both"). "CV" is RegularizedClassifierCV, all others are GridSearchCV without a last',
            f"fit. Defaults throughout; medians of {N_ROUNDS} rounds, turn by turn. Fit and score: seconds,",
            "of the last round.",
        ],
    )
