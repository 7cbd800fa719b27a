"""Accuracy of the defaults on tables, against MLPClassifier behind a scaler; save two tables.

Defaults are chosen on the tables of ``CHOOSING`` in `_tables.py` and judged on those of ``JUDGING``, which
were named before any default was changed. Three folds, repeated with other folds and seeds, more often where
a table is small; all models see the same folds, so that differences are between pairs. Run
``python benchmarks/bench_defaults.py``: about a quarter of an hour on one core. No data are needed.
"""

import argparse
import time
import warnings
from collections import defaultdict
from functools import partial

import numpy as np
from _common import kept, write_table
from _tables import CHOOSING, JUDGING
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import RegularizedClassifier, WTAEncoder

N_FOLDS = 3
# What is asked for: how far below a neighbour may be.
CLASSIFIER_BAR, ENCODER_BAR = 0.01, 0.02


def models(seed):
    """Return each model with its defaults, by a short name."""
    ours = RegularizedClassifier(random_state=seed)
    return {
        "mlp": make_pipeline(StandardScaler(), MLPClassifier(random_state=seed)),
        "ours": ours,
        "ours, scaled": make_pipeline(StandardScaler(), ours),
        "encoder": make_pipeline(StandardScaler(), WTAEncoder(random_state=seed), ours),
        "encoder, unscaled": make_pipeline(WTAEncoder(random_state=seed), ours),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
    }


# For a look only, so that once is enough.
ONCE = ("encoder, unscaled", "logistic", "boosting")


def n_repeats(n_rows):
    """Return how often the folds are drawn: more often the fewer rows there are to be right or wrong on."""
    return 8 if n_rows <= 200 else 4 if n_rows <= 1000 else 2 if n_rows <= 10_000 else 1


def measure(X, y, seed):
    """Return for each model the accuracy in each fold, the seconds and the number of warnings."""
    folds = list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(X, y))
    found = {}
    for label, model in models(seed).items():
        if label in ONCE and seed > 0:
            continue
        found[label] = {"accuracy": [], "seconds": [], "warnings": 0}
        for train, test in folds:
            start = time.perf_counter()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model.fit(X[train], y[train])
            found[label]["seconds"].append(time.perf_counter() - start)
            found[label]["accuracy"].append(model.score(X[test], y[test]))
            found[label]["warnings"] += any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return found


def measured(tables):
    """Return for each table and model the accuracies and seconds of all folds, and the share of warnings."""
    results = {}
    for name, load in tables.items():
        X, y = load()
        found = defaultdict(lambda: {"accuracy": [], "seconds": [], "warnings": 0})
        for seed in range(n_repeats(len(X))):
            key = f"defaults {name} {seed}".replace(" ", "_")
            for label, one in kept(key, partial(measure, X, y, seed)).items():
                found[label]["accuracy"] += one["accuracy"]
                found[label]["seconds"] += one["seconds"]
                found[label]["warnings"] += one["warnings"]
        results[name] = {"shape": X.shape, **found}
        print(name, *(f"{label} {np.mean(one['accuracy']):.3f}" for label, one in found.items()), flush=True)
    return results


def difference(table, ours, theirs):
    """Return by how much `ours` is above `theirs`, and the standard error over the pairs of folds."""
    pairs = np.subtract(table[ours]["accuracy"], table[theirs]["accuracy"])
    return pairs.mean(), pairs.std(ddof=1) / np.sqrt(len(pairs))


def lines_of(results):
    """Yield a line of the table for each table."""
    for name, table in results.items():
        shape = " x ".join(map(str, table["shape"]))
        labels = ("mlp", "ours", "ours, scaled", "encoder", *ONCE)
        accuracies = [f"{np.mean(table[label]['accuracy']):.3f}" for label in labels]
        pairs = [("ours", "mlp"), ("ours, scaled", "mlp"), ("encoder", "ours, scaled")]
        gains = ["{:+.3f} ({:.3f})".format(*difference(table, *pair)) for pair in pairs]
        timed = ("mlp", "ours", "encoder")
        seconds = [f"{np.mean(table[label]['seconds']):.2f}" for label in timed]
        warned = [f"{table[k]['warnings']}/{len(table[k]['accuracy'])}" for k in timed]
        yield [name, shape, *accuracies, *gains, *seconds, *warned]


HEADER = [
    *(
        "table",
        "shape",
        "mlp",
        "ours",
        "ours, scaled",
        "encoder",
        "encoder, unscaled",
        "logistic",
        "boosting",
    ),
    *("ours - mlp", "ours, scaled - mlp", "encoder - ours, scaled"),
    *("s mlp", "s ours", "s encoder", "warned mlp", "warned ours", "warned encoder"),
]


def verdicts(results):
    """Return a line for each bar: what is asked, and what is reached."""
    lines = []
    for ours in ("ours", "ours, scaled"):
        gains = {name: difference(table, ours, "mlp") for name, table in results.items()}
        lines.append(verdict(f"`{ours}` against `mlp`", gains, CLASSIFIER_BAR))
        mean = np.mean([gain for gain, _ in gains.values()])
        lines.append(f"- `{ours}` against `mlp` on average: asked above 0, reached {mean:+.4f}.")
    gains = {name: difference(table, "encoder", "ours, scaled") for name, table in results.items()}
    lines.append(verdict("`encoder` against `ours, scaled`", gains, ENCODER_BAR))
    wins = [name for name, (gain, error) in gains.items() if gain > max(0.01, 2 * error)]
    lines.append(
        f"- `encoder` wins, by more than 0.01 and two standard errors, on: {', '.join(wins) or '-'}."
    )
    return lines


def verdict(title, gains, bar):
    worst = min(gains, key=lambda name: gains[name][0])
    below = [f"{name} {gain:+.3f} ({error:.3f})" for name, (gain, error) in gains.items() if gain < -bar]
    gain, error = gains[worst]
    return (
        f"- {title}: asked nowhere below -{bar}, reached {gain:+.3f} ({error:.3f}) at worst, on {worst}; "
        f"below the bar: {'; '.join(below) or 'none'}."
    )


NOTES = [
    "Mean accuracy of three folds, repeated 8 times up to 200 rows, 4 times up to 1000, twice up to 10,000,",
    "and once beyond; `encoder, unscaled`, `logistic` and `boosting` once. Differences are between pairs of",
    "folds, with their standard error in brackets. `mlp` is MLPClassifier behind a StandardScaler, `ours`",
    "RegularizedClassifier on the columns as they are, `ours, scaled` the same behind a StandardScaler,",
    "`encoder` has WTAEncoder between the two, `logistic` is LogisticRegression behind a scaler, `boosting`",
    "HistGradientBoostingClassifier. Seconds are those of one fit; `warned` counts the fits that ended with",
    "a ConvergenceWarning.",
    "",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["choosing", "judging"], help="one of the two groups of tables")
    parser.add_argument("--suffix", default="", help="what to add to the names of the files")
    options = parser.parse_args()
    for group, tables in {"choosing": CHOOSING, "judging": JUDGING}.items():
        if options.only in (None, group):
            results = measured(tables)
            purpose = {"choosing": "to choose by", "judging": "to judge by"}[group]
            title = f"The defaults on {len(tables)} tables {purpose}"
            notes = [*NOTES, *verdicts(results)]
            write_table(
                f"defaults_{group}{options.suffix}", title, HEADER, list(lines_of(results)), notes=notes
            )


if __name__ == "__main__":
    main()
