"""Measure what training with bounds buys: what is proven beside what is right; save two tables.

Run ``python benchmarks/bench_certified_training.py [mnist] [cancer]``; without arguments it runs both parts.
On MNIST, interrupted and called again, it goes on from what is done.
"""

import sys
import time
import warnings

import numpy as np
import torch
from _common import kept, load_mnist, write_table
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from sklearn_brm import RegularizedClassifier, ThreatModel, certify
from sklearn_brm.functional.worst_case import box_around, worst_scores
from sklearn_brm.penalties import (
    L1,
    L2,
    Adversarial,
    InputGradient,
    Interval,
    Jacobian,
    LinearRelaxation,
    Spectral,
)

EVERYWHERE = (-np.inf, np.inf)


def proven_by_intervals(model, X, y, eps, bounds=EVERYWHERE):
    """Return for each row whether interval arithmetic, the last layer elided, proves it."""
    if not isinstance(model, RegularizedClassifier):
        return np.zeros(len(X), dtype=bool)
    layers = [
        [torch.as_tensor(a, dtype=torch.float64) for a in part] for part in (model.coefs_, model.intercepts_)
    ]
    y = torch.as_tensor(np.searchsorted(model.classes_, y))
    box = box_around(torch.as_tensor(X, dtype=torch.float64), eps, *bounds)
    worst = worst_scores(*box, y, *layers, float(model.power)).scatter(1, y[:, None], -torch.inf)
    return (worst.amax(dim=1) < 0).numpy()


def proven_and_open(model, X, y, eps, bounds=EVERYWHERE, time_limit=0.0):
    """Return for each row whether anything proves it, and whether nothing broke it."""
    proven = proven_by_intervals(model, X, y, eps, bounds)
    threat = ThreatModel(bounds=None if bounds is EVERYWHERE else bounds)
    rest = np.flatnonzero(~proven)
    found = certify(model, X[rest], y[rest], eps=eps, threat=threat, time_limit=time_limit, random_state=0)
    standing = proven.copy()
    proven[rest], standing[rest] = found.certified, found.certified | ~found.complete
    return proven, standing


MNIST_EPS, N_SEARCHED, N_TOGETHER = 0.1, 1000, 100


def mnist_models():
    """Return classifiers of one hidden layer of 512 by a short name.

    Chosen on the last 10,000 training rows of networks that had learned from the others.
    """
    shared = {
        "standardize": False,
        "batch_size": 200,
        "max_iter": 40,
        "tol": None,
        "random_state": 0,
        "schedule": "cosine",
    }
    options = {"bounds": (0, 1), "ramp": 0.5, "alpha": 10}
    penalties = {
        "mixed": LinearRelaxation(0.12, share=0.6, **options),
        "relaxation": LinearRelaxation(0.11, **options),
    }
    return {
        name: RegularizedClassifier((512,), penalty=penalty, learning_rate=4e-3, **shared)
        for name, penalty in penalties.items()
    }


def mnist():
    """Train one hidden layer on all of MNIST, and prove what stands of the test rows."""
    write_mnist([mnist_row(name, model) for name, model in mnist_models().items()])


def mnist_row(name, model):
    """Return a line of the table."""

    def trained():
        X, y = load_mnist("train")
        start = time.perf_counter()
        # Products in bfloat16 where the processor is faster with them; all proofs are in double precision.
        torch.set_float32_matmul_precision("medium")
        model.fit(X.astype(np.float32), y)
        torch.set_float32_matmul_precision("highest")
        return model, time.perf_counter() - start

    model, seconds = kept(f"certified_training/{name}", trained)
    X, y = load_mnist("test")
    X = X.astype(np.float32)
    proven = [proven_by_intervals(model, X, y, MNIST_EPS, (0, 1)).mean()]
    proven.append(
        kept(f"certified_training/{name}_bounds", lambda: proven_and_open(model, X, y, MNIST_EPS, (0, 1)))[
            0
        ].mean()
    )
    found = [mnist_searched(name, model, X, y, start) for start in range(0, N_SEARCHED, N_TOGETHER)]
    shares = [model.score(X, y), *proven, *np.mean(found, axis=(0, 2))]
    return [repr(model.penalty), model.max_iter, f"{seconds:.0f}", *(f"{share:.4f}" for share in shares)]


def mnist_searched(name, model, X, y, start):
    """Return which of some rows are proven and which are not broken, after a search."""
    rows = slice(start, start + N_TOGETHER)
    return kept(
        f"certified_training/{name}_{start}",
        lambda: proven_and_open(model, X[rows], y[rows], MNIST_EPS, (0, 1), time_limit=1.0),
    )


def write_mnist(rows):
    """Save the table."""
    write_table(
        "certified_training_mnist",
        f"Proven accuracy on MNIST, 784-512-10, maximum norm {MNIST_EPS}, pixels in [0, 1]",
        ["training", "epochs", "seconds", "clean", "by intervals", "by bounds", "by search", "not broken"],
        rows,
        notes=[
            "All 60,000 rows train, in float32. All 10,000 test rows: clean accuracy, what interval bounds",
            f"prove, and what these or linear bounds prove. The first {N_SEARCHED} of them: what these or a",
            "search of at most 1 second per row, on average, prove, and what no attack and no search broke.",
            "Seconds on a machine that did other work beside.",
        ],
    )


CANCER_EPS = 0.3


def cancer_models():
    """Return lists of classifiers by name: the best of each list counts."""
    strengths = (0.01, 0.1, 1.0)
    penalties = {
        "no penalty": [None],
        "L1": [L1(alpha) for alpha in (1e-4, 1e-3, 1e-2)],
        "L2": [L2(alpha) for alpha in (1e-3, 1e-2, 1e-1)],
        "Jacobian of the logits": [Jacobian("logits", alpha=alpha) for alpha in strengths],
        "Spectral": [Spectral()],
        "InputGradient": [InputGradient(norm, alpha=alpha) for norm in (1, 2) for alpha in strengths],
        "Adversarial": [Adversarial(eps, alpha=alpha) for eps in (0.3, 0.4) for alpha in (1.0, 10.0)],
        "Interval": [Interval(eps) for eps in (0.3, 0.35, 0.4)],
    }
    models = {
        "LogisticRegression": [LogisticRegression(C=C) for C in (1e-3, 1e-2, 0.1, 1.0)],
        "LinearSVC": [LinearSVC(C=C) for C in (1e-4, 1e-3, 1e-2, 1.0)],
        "SVC": [SVC(C=C, gamma=gamma) for C in (1.0, 10.0) for gamma in (1e-3, 1e-2, "scale")],
        "MLPClassifier": [
            MLPClassifier(alpha=alpha, max_iter=500, random_state=0) for alpha in (1e-4, 1.0, 10.0)
        ],
    }
    for sizes, words in {(): "linear", (100,): "100 units"}.items():
        for name, choices in penalties.items():
            if sizes or name != "Spectral":
                models[f"{name}, {words}"] = [
                    RegularizedClassifier(sizes, penalty=p, max_iter=100, tol=None, random_state=0)
                    for p in choices
                ]
    return models


def cancer():
    """Compare the best that is proven of each kind of model, over five folds of breast cancer."""
    X, y = load_breast_cancer(return_X_y=True)
    folds = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        scaler = StandardScaler().fit(X[train])
        folds.append((scaler.transform(X[train]), y[train], scaler.transform(X[test]), y[test]))
    rows = []
    for name, models in cancer_models().items():
        best = max(models, key=lambda model: cancer_shares(model, folds)[1])
        shares = cancer_shares(best, folds, time_limit=0.2)
        rows.append([name, described(best), *(f"{share:.3f}" for share in shares)])
        print(rows[-1], flush=True)
    rows.sort(key=lambda row: row[3], reverse=True)
    write_table(
        "certified_training_cancer",
        f"Proven accuracy on breast cancer, standardised, maximum norm {CANCER_EPS}",
        ["model", "best setting", "clean", "proven", "not broken"],
        rows,
        notes=[
            "Means over 5 folds. Of the settings of each model the one counts of which bounds prove most.",
            "Proven: by interval bounds, by linear bounds, or by a search of at most 0.2 seconds per row.",
            "Not broken: what no attack broke, so that no proof could give more.",
        ],
    )


def cancer_shares(model, folds, time_limit=0.0):
    """Return clean and proven accuracy, and the share that is not broken, over all folds."""
    shares = []
    for X, y, X_test, y_test in folds:
        model.fit(X, y)
        found = proven_and_open(model, X_test, y_test, CANCER_EPS, time_limit=time_limit)
        shares.append([model.score(X_test, y_test), *(part.mean() for part in found)])
    return np.mean(shares, axis=0)


def described(model):
    """Return what was chosen."""
    return repr(model.penalty) if isinstance(model, RegularizedClassifier) else repr(model)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for part in sys.argv[1:] or ("mnist", "cancer"):
        {"mnist": mnist, "cancer": cancer}[part]()
