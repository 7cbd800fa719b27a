"""Attack classifiers of three ordinary tables, and look at what changed.

Numbers with missing values, numbers beside words and booleans, and counts of which 1 row in 200 is what one
looks for: each is attacked in front of the whole pipeline, as the estimator takes it. Prints what
`ThreatModel.from_data` infers, the accuracy that is left at several radii and numbers of changed categories,
and the columns that changed.
Needs pandas.

    python examples/robust_table.py --quick
"""

import argparse
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tables
from sklearn.base import ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tqdm.auto import tqdm

from sklearn_brm import RobustnessWarning, ThreatModel, adversarial_examples

# Of a table with many columns those that changed most often are listed.
N_COLUMNS = 8


@dataclass
class Problem:
    """A table, its models, and what an attacker may do beside what is inferred."""

    title: str
    X: pd.DataFrame
    y: np.ndarray
    models: dict[str, ClassifierMixin]
    eps: tuple[float, ...]
    rules: dict


def problems():
    """Return the three tables with a model or two for each."""
    boosted = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    yield Problem(
        "measurements: numbers with missing values",
        *tables.measurements(),
        {"boosted trees": boosted},
        eps=(0.5, 1.0),
        rules={},
    )
    # Nobody gets younger, and a default in the past does not go away.
    known = {"increasing": ["age"], "fixed": ["defaulted_before"]}
    # A grade becomes the one above or below it.
    known["transitions"] = {"grade": tables.GRADES}
    yield Problem(
        "credit: numbers, words, booleans",
        *tables.credit(),
        {
            "logistic regression": behind_encoders(LogisticRegression(max_iter=1000)),
            "random forest": behind_encoders(RandomForestClassifier(30, random_state=0)),
        },
        eps=(0.1, 0.3),
        rules=known,
    )
    counts = ["failed_before", "hosts", "files"]
    logarithms = make_pipeline(FunctionTransformer(np.log1p), StandardScaler())
    balanced = make_pipeline(
        make_column_transformer((logarithms, counts), remainder="passthrough"),
        LogisticRegression(class_weight="balanced"),
    )
    # Counts move by whole steps only: below 1.22 standard deviations failed_before does not move at all.
    yield Problem(
        "logins: counts, 1 intrusion in 200 rows",
        *tables.logins(),
        {"logistic regression": balanced},
        eps=(0.6, 1.3),
        rules={},
    )


def behind_encoders(classifier):
    """Return a pipeline that takes the table of credits as it is."""
    words = ["city", "grade", "owner", "defaulted_before"]
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), words), (numbers, ["income", "age", "debt_share"])
    )
    return make_pipeline(encode, classifier)


def some_of_each_class(X, y, n_rows):
    """Return test rows of every class in equal numbers: of a rare class a random sample would have none."""
    rng = np.random.default_rng(0)
    n_each = n_rows // len(np.unique(y))
    chosen = [rng.permutation(np.flatnonzero(y == label))[:n_each] for label in np.unique(y)]
    rows = np.sort(np.concatenate(chosen))
    return X.iloc[rows], y[rows]


def attack(model, X, y, threat, eps, effort):
    """Return the adversarial rows, and what the package says against the numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RobustnessWarning)
        found = adversarial_examples(model, X, y, eps=eps, threat=threat, random_state=0, **effort)
    return found, [str(warning.message) for warning in caught]


def what_changed(found):
    """Return a line per column: in what share of the broken rows it changed, and how far a number moved."""
    moves = np.abs(found.moves[found.outcome == "broken"])
    if len(moves) == 0:
        return ["  none"]
    share, lines = (moves > 0).mean(axis=0), []
    for j in np.argsort(-share, kind="stable")[: min(np.count_nonzero(share), N_COLUMNS)]:
        # A changed category or boolean is no number of standard deviations.
        sizes = moves[np.isfinite(moves[:, j]) & (moves[:, j] > 0), j]
        far = f"by {np.median(sizes):.2f} standard deviations in the median" if len(sizes) else ""
        lines.append(f"  {found.names[j]:<24} {share[j]:>5.0%}  {far}".rstrip())
    return lines


def line_of(found, n_changes, eps):
    """Return a line of the table of accuracies: all rows with their interval, and each class."""
    low, high = found.interval()
    by_class = " ".join(f"{figures['robust_accuracy']:.2f}" for figures in found.by_class().values())
    return f"{eps:>6} {n_changes:>8} {found.robust_accuracy:>7.2f} {low:>5.2f} {high:>5.2f}   {by_class}"


def report(problem, *, n_rows, effort):
    """Print all about one table."""
    X_train, X_test, y_train, y_test = train_test_split(
        problem.X, problem.y, stratify=problem.y, random_state=0
    )
    threat = ThreatModel.from_data(X_train, **problem.rules)
    print(f"\n{problem.title}\n\n{threat.describe()}")
    X, y = some_of_each_class(X_test, y_test, n_rows)
    # Without categories to change, one number of changes says it all.
    changes = (1, 2) if threat.categorical else (0,)
    for name, model in problem.models.items():
        model.fit(X_train, y_train)
        lines, said = [], []
        cases = [(n_changes, eps) for n_changes in changes for eps in problem.eps]
        for n_changes, eps in tqdm(cases, desc=name, leave=False):
            found, doubts = attack(model, X, y, threat.set_params(max_changes=n_changes), eps, effort)
            lines.append(line_of(found, n_changes, eps))
            said += doubts
        labels = ", ".join(np.unique(y))
        print(f"\n{name}: accuracy {model.score(X_test, y_test):.3f} on all test rows,")
        print(f"{found.clean_accuracy:.2f} on the {len(y)} attacked, as many of each class ({labels})")
        print(f"{'eps':>6} {'changes':>8} {'robust':>7} {'from':>5} {'to':>5}   by class")
        print("\n".join(lines))
        print(f"changed in the {(found.outcome == 'broken').sum()} rows broken last:")
        print("\n".join(what_changed(found)))
        for doubt in dict.fromkeys(said):
            print(f"warning: {doubt}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100, help="how many test rows to attack of each table")
    parser.add_argument("--quick", action="store_true", help="20 rows and little effort, within a minute")
    options = parser.parse_args(arguments)
    effort = {"n_steps": 10, "max_queries": 30} if options.quick else {}
    for problem in problems():
        report(problem, n_rows=20 if options.quick else options.rows, effort=effort)


if __name__ == "__main__":
    main()
