"""Robust accuracy and time per row on three ordinary tables, against a random search of the same threat.

The tables and models are those of `examples/robust_table.py`. Each line runs ours and the random search,
which asks about as many points per row as our black box may, on the same rows, in one process and turn by
turn.
CAPGD followed by MOEVA (TabularBench) is not run: it needs Python 3.8 and its own networks, this package
Python 3.11; the published figures stand below the table.
"""

import argparse
import sys
import warnings

import numpy as np
from _common import HERE, median_times, write_table
from sklearn.model_selection import train_test_split

from sklearn_brm import ThreatModel, adversarial_examples
from sklearn_brm._robustness._table import Table
from sklearn_brm._robustness._threat import resolve_threat

sys.path.insert(0, str(HERE.parent / "examples"))
from robust_table import problems, some_of_each_class

# Columns ID and ADV+CTR, in percent, of the networks trained as usual without added data, from
# serval-uni-lu/tabularbench, website/tables/lcld_new.md at commit abfcc1d.
PUBLISHED_LCLD = {
    "STG": (66.40, 53.60),
    "TabTransformer": (69.50, 7.88),
    "VIME": (67.00, 2.38),
    "TabNet": (67.40, 0.42),
    "RLN": (68.30, 0.02),
}

NOTES = (
    "Rows of each class in equal numbers, at most one category changed. The lower the robust accuracy, the",
    "stronger the attack.",
    "",
    "CAPGD followed by MOEVA (CAA, Simonetto et al. 2024, arXiv 2406.00775) was not run: it needs Python 3.8",
    "and its own networks. Its abstract says that it is up to five times faster than MOEVA. The leaderboard",
    "of TabularBench (arXiv 2408.07579) has for LCLD, in percent, from ID to ADV+CTR, the accuracy under CAA",
    "with constraints; tables, models, norms and radii are others, so that this is no comparison:",
    "",
)


def random_search(model, X, y, threat, eps, n_queries):
    """Return which rows are right when clean and under `n_queries` random points of the threat."""
    random, table = np.random.default_rng(0), Table("random_search", X)
    resolved = resolve_threat("random_search", threat, table)
    left = np.flatnonzero(model.predict(X) == y)
    for _ in range(n_queries):
        base = changed(random, resolved.choices, table.matrix[left])
        step = eps * resolved.unit * random.uniform(-1, 1, base.shape)
        step[:, resolved.fixed] = 0
        whole = resolved.rules.integer
        step[:, whole] = np.trunc(step[:, whole])
        rows, good = resolved.settle(base + step, base, eps, left)
        if good.any():
            wrong = model.predict(table.restore(rows[good], left[good])) != y[left[good]]
            left = np.delete(left, np.flatnonzero(good)[wrong])
        if len(left) == 0:
            break
    return left


def changed(random, choices, rows):
    """Return copies of rows, half of which have one category changed, where one may."""
    rows = rows.copy()
    if len(choices):
        legal = choices.legal(rows) * random.random((len(rows), len(choices)))
        move, one = legal.argmax(axis=1), random.random(len(rows)) < 0.5
        chosen = np.flatnonzero(one & (legal.max(axis=1) > 0))
        rows[chosen, choices.feature[move[chosen]]] = choices.target[move[chosen]]
    return rows


def lines_of(problem, n_rows, n_queries, n_rounds):
    """Yield a line of the table per model and radius."""
    X_train, X, y_train, y = train_test_split(problem.X, problem.y, stratify=problem.y, random_state=0)
    X, y = some_of_each_class(X, y, n_rows)
    threat = ThreatModel.from_data(X_train, **problem.rules)
    for name, model in problem.models.items():
        model.fit(X_train, y_train)
        for eps in problem.eps:
            left = {}

            def ours(model=model, eps=eps, left=left):
                found = adversarial_examples(
                    model, X, y, eps=eps, threat=threat, max_queries=n_queries, random_state=0
                )
                left["ours"] = found.robust_accuracy

            def theirs(model=model, eps=eps, left=left):
                left["random"] = len(random_search(model, X, y, threat, eps, n_queries)) / len(X)

            seconds = median_times({"ours": ours, "random": theirs}, n_rounds=n_rounds, warm_up=0)
            pace = [f"{1e3 * seconds[who] / len(X):.1f}" for who in ("ours", "random")]
            robust = [f"{share:.3f}" for share in (model.score(X, y), left["ours"], left["random"])]
            yield [problem.title.partition(":")[0], name, eps, len(X), *robust, *pace]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60, help="rows attacked of each table")
    parser.add_argument("--queries", type=int, default=500, help="points asked about per row and base")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for problem in problems():
        for line in lines_of(problem, options.rows, options.queries, options.rounds):
            rows.append(line)
            print(*line, flush=True)
    header = ["table", "model", "eps", "rows", "clean", "robust ours", "robust random"]
    header += ["ms/row ours", "ms/row random"]
    notes = [
        f"{options.queries} points per row for the random search, and around each changed row for our black",
        f"box; median time of {options.rounds}.",
        *NOTES,
        *(f"- {name}: {clean:.2f} to {robust:.2f}" for name, (clean, robust) in PUBLISHED_LCLD.items()),
    ]
    title = "Attacks on three ordinary tables against a random search"
    write_table("tables", title, header, rows, notes=notes)


if __name__ == "__main__":
    main()
