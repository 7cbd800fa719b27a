"""Sweep a regularisation strength and look at accuracy, robustness and spectrum together.

On images (digits) and on a table (breast cancer), both shipped with scikit-learn, a scaler, a winner-take-all
encoder and a regularised classifier are searched over the regularisation strength; a network under the same
sweep without the encoder, a plain `MLPClassifier` and a `LogisticRegression` are scored by the same scorer on
the same folds. Prints a table per problem and writes one picture.

    python examples/robustness_sweep.py --output demo
"""

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from tqdm.auto import tqdm

from sklearn_brm import (
    AdversarialScorer,
    PowerLawSpectrum,
    RegularizedClassifier,
    ThreatModel,
    TradeOffDisplay,
    WTAEncoder,
)
from sklearn_brm.penalties import Jacobian

ALPHAS = {
    "WTAEncoder + L2": (1e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "logit Jacobian": (1e-4, 1e-3, 1e-2, 3e-2, 1e-1),
}


@dataclass
class Problem:
    """Data, the scaler that suits them, and what an attacker may do."""

    title: str
    X: np.ndarray
    y: np.ndarray
    scaler: BaseEstimator
    threat: str
    scorer: AdversarialScorer


def digits():
    """Images: every pixel may move by 1 of 16 grey levels."""
    X, y = load_digits(return_X_y=True)
    scorer = AdversarialScorer(eps=1.0, threat=ThreatModel(bounds=(0, 16)), max_samples=100, random_state=0)
    return Problem("digits", X, y, MinMaxScaler(), "every pixel by 1 of 16 grey levels", scorer)


def breast_cancer():
    """A table: every column may move by a fifth of its standard deviation."""
    X, y = load_breast_cancer(return_X_y=True)
    scorer = AdversarialScorer(
        eps=0.2, threat=ThreatModel(scale="std", reference_X=X), max_samples=100, random_state=0
    )
    return Problem("breast cancer", X, y, StandardScaler(), "every column by 0.2 standard deviations", scorer)


def candidates(scaler, n_alphas):
    """Return name -> (pipeline, grid)."""
    settings = {"learning_rate": 0.01, "max_iter": 400, "random_state": 0}
    head = RegularizedClassifier((), penalty="l2", **settings)
    network = RegularizedClassifier((100,), penalty=Jacobian(of="logits"), **settings)
    steps = {
        # The paper's norm and power, on the table too.
        "WTAEncoder + L2": [
            ("encode", WTAEncoder(100, norm=3, power=4.5, random_state=0)),
            ("classify", head),
        ],
        "logit Jacobian": [("classify", network)],
        "MLPClassifier": [("classify", MLPClassifier(max_iter=1000, random_state=0))],
        "LogisticRegression": [("classify", LogisticRegression(max_iter=1000))],
    }
    return {
        name: (
            Pipeline([("scale", scaler), *rest]),
            {"classify__alpha": ALPHAS[name][:n_alphas]} if name in ALPHAS else {},
        )
        for name, rest in steps.items()
    }


def representation(pipeline, X):
    """Return what the last linear layer of a fitted pipeline sees, shape (n_samples, n_units)."""
    features, classifier = pipeline[:-1].transform(X), pipeline[-1]
    if isinstance(classifier, MLPClassifier):
        return np.maximum(features @ classifier.coefs_[0] + classifier.intercepts_[0], 0)
    if getattr(classifier, "hidden_layer_sizes", ()):
        return classifier.hidden(features)
    return features


def spectrum_exponent(pipeline, X, y):
    """Score a fitted pipeline by the power-law exponent of its representation."""
    with warnings.catch_warnings():
        # A fold has few rows for its number of units; the exponent is an orientation here, not a result.
        warnings.simplefilter("ignore", UserWarning)
        return PowerLawSpectrum().fit(representation(pipeline, X)).exponent_


def sweep(problem, *, n_alphas, n_folds, n_jobs):
    """Search every candidate on the same folds; return name -> fitted GridSearchCV."""
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    scoring = {"accuracy": "accuracy", "robust": problem.scorer, "exponent": spectrum_exponent}
    searches = {}
    bar = tqdm(candidates(problem.scaler, n_alphas).items(), leave=False)
    for name, (pipeline, grid) in bar:
        bar.set_description(f"{problem.title}: {name}")
        search = GridSearchCV(pipeline, grid, scoring=scoring, refit=False, cv=folds, n_jobs=n_jobs)
        searches[name] = search.fit(problem.X, problem.y)
    return searches


def table(problem, searches):
    """Return the lines of the table of one problem."""
    lines = [
        f"{problem.title}: the attacker may move {problem.threat}",
        f"{'candidate':<20} {'alpha':>8} {'accuracy':>9} {'robust':>9} {'exponent':>9}",
    ]
    for name, search in searches.items():
        results = search.cv_results_
        for i, parameters in enumerate(results["params"]):
            alpha = f"{parameters['classify__alpha']:.0e}" if parameters else "-"
            means = [results[f"mean_test_{metric}"][i] for metric in ("accuracy", "robust", "exponent")]
            lines.append(f"{name:<20} {alpha:>8} " + " ".join(f"{mean:>9.3f}" for mean in means))
    return lines


def draw(results, folder):
    """Draw accuracy against robust accuracy, one axes per problem; return the path of the picture."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(ncols=len(results), figsize=(5.5 * len(results), 5), layout="constrained")
    for ax, (problem, searches) in zip(axes, results):
        for name, marker in {"MLPClassifier": "*", "LogisticRegression": "D"}.items():
            scores = searches[name].cv_results_
            point = scores["mean_test_accuracy"], scores["mean_test_robust"]
            ax.scatter(*point, marker=marker, s=90, color="black", label=name)
        for name in ALPHAS:
            TradeOffDisplay.from_cv_results(searches[name], name=name, ax=ax)
        ax.get_legend().remove()
        ax.set_title(problem.title, fontsize="medium")
    # Both axes show the same candidates: one legend below them will do.
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "robustness_sweep.png"
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path.resolve()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder of the picture")
    parser.add_argument("--alphas", type=int, default=5, help="how many strengths to try of each kind")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)

    results = []
    for problem in (digits(), breast_cancer()):
        searches = sweep(problem, n_alphas=options.alphas, n_folds=options.folds, n_jobs=options.jobs)
        print("\n".join(["", *table(problem, searches)]), flush=True)
        results.append((problem, searches))
    print(f"\nPicture: {draw(results, options.output)}")


if __name__ == "__main__":
    main()
