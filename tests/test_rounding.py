"""A broken row stays broken however it is asked, and lies in its ball in the precision it is returned in."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import (
    RegularizedClassifier,
    ThreatModel,
    WTAEncoder,
    adversarial_examples,
    critical_perturbations,
)
from sklearn_brm._robustness._attacked import AttackedEstimator
from sklearn_brm._robustness._table import Table

NORMS = [np.inf, 2, 1]


def scaled(*steps):
    return make_pipeline(StandardScaler(), *steps)


MODELS = {
    "linear": scaled(LogisticRegression()),
    "linear, unscaled": LinearDiscriminantAnalysis(),
    "answers of a line": scaled(Perceptron(random_state=0)),
    "network": scaled(MLPClassifier((40,), max_iter=400, random_state=0)),
    "our network": scaled(RegularizedClassifier((40,), tol=None, max_iter=30, random_state=0)),
    "winner-take-all": scaled(
        WTAEncoder(40, random_state=0),
        RegularizedClassifier((), tol=None, max_iter=30, random_state=0),
    ),
    "kernel": scaled(SVC()),
    "bayes": GaussianNB(),
    "neighbours": scaled(KNeighborsClassifier()),
    "tree": DecisionTreeClassifier(max_depth=8, random_state=0),
    "tree, scaled": make_pipeline(StandardScaler(), MinMaxScaler(), DecisionTreeClassifier(random_state=0)),
    "forest": RandomForestClassifier(10, max_depth=8, random_state=0),
    "histograms": HistGradientBoostingClassifier(max_iter=5, random_state=0),
}
N_ROWS = 2000
# What takes seconds for thousands of rows gets fewer.
FEWER = {
    "kernel": 150,
    "neighbours": 150,
    "histograms": 200,
    "forest": 100,
    "tree": 500,
    "tree, scaled": 500,
    "winner-take-all": 800,
}


@pytest.fixture(scope="module")
def table():
    """Columns of many scales, some ten times as far from zero as they are wide, so that sums cancel."""
    X, y = make_classification(
        N_ROWS, 20, n_informative=8, n_redundant=4, n_classes=3, class_sep=1.5, random_state=0
    )
    return (X + np.linspace(-20, 20, 20)) * np.geomspace(0.01, 100, 20), y


@pytest.fixture(scope="module")
def fitted(table):
    models = {}

    def fit(name):
        if name not in models:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                models[name] = MODELS[name].fit(*table)
        return models[name]

    return fit


def answered_rightly(model, X, y):
    """Rows that some way of asking answers rightly."""
    right = np.zeros(len(X), dtype=bool)
    for dtype in (np.float32, np.float64):
        rows = X.astype(dtype)
        right |= model.predict(rows) == y
        right |= model.predict(rows[::-1])[::-1] == y
        for size in (7, 64):
            batches = [model.predict(rows[i : i + size]) for i in range(0, len(rows), size)]
            right |= np.concatenate(batches) == y
        alone = np.array([model.predict(row[None])[0] for row in rows[:100]])
        right[:100] |= alone == y[:100]
    return right


@pytest.mark.filterwarnings("ignore:The black box broke:sklearn_brm.RobustnessWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MODELS)
def test_rows_next_to_the_boundary_are_wrong_however_they_are_asked(name, dtype, table, fitted):
    model, X, y = fitted(name), table[0].astype(dtype), table[1]
    X, y = X[: FEWER.get(name)], y[: FEWER.get(name)]
    norm = NORMS[(len(name) + (dtype == np.float32)) % 3]
    found = critical_perturbations(
        model,
        X,
        y,
        threat=ThreatModel(norm=norm, scale="std", reference_X=X),
        n_steps=10,
        max_queries=40,
        random_state=0,
    )
    broken = found.outcome == "broken"
    assert broken.mean() > 0.5
    assert found.X.dtype == dtype
    assert not answered_rightly(model, found.X[broken], y[broken]).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", ["worst_case", "minimum_norm", "random"])
@pytest.mark.parametrize("eps", [0.02, 0.3])
def test_float32_rows_are_inside_the_ball_and_the_bounds_to_the_last_bit(norm, attack, eps, table, fitted):
    X, y = table[0].astype(np.float32), table[1]
    unit = X.std(axis=0, dtype=float)
    low, high = np.quantile(X.astype(float), [0, 1], axis=0)
    found = adversarial_examples(
        fitted("linear, unscaled"),
        X,
        y,
        attack=attack,
        eps=eps,
        threat=ThreatModel(norm=norm, scale=unit, bounds=(low, high)),
        n_steps=10,
        max_queries=40,
        random_state=0,
    )
    assert (found.outcome == "broken").any() or attack == "random"
    moved = found.X.astype(float) - X
    assert (np.linalg.norm(moved / unit, ord=norm, axis=1) <= eps * (1 + 1e-12)).all()
    assert ((low <= found.X) & (high >= found.X)).all()
    np.testing.assert_array_equal(found.distance, np.linalg.norm(moved / unit, ord=norm, axis=1))


def test_a_row_within_rounding_of_the_boundary_is_not_broken(table):
    X, y = table[0][:300], table[1][:300] > 0
    model = LinearDiscriminantAnalysis().fit(X, y)
    judge = AttackedEstimator("f", model, Table("f", X), y, free=np.arange(20), values={}, batch_size=100)
    normal = model.coef_[0] / np.linalg.norm(model.coef_[0])
    on_boundary = X - (model.decision_function(X) / np.linalg.norm(model.coef_[0]))[:, None] * normal
    rows = np.arange(300)
    assert judge.wrong(on_boundary, rows).any()
    assert not judge.broken(on_boundary, rows).any()
    beyond = on_boundary + np.where(y, -1, 1)[:, None] * 0.01 * normal
    assert judge.broken(beyond, rows).all()


@pytest.mark.parametrize(
    ("column", "holds"),
    [(np.linspace(0, 1, 50), True), (1.7e9 + np.arange(50.0), False), (np.geomspace(1, 1e160, 50), False)],
)
def test_rows_that_float32_cannot_hold_are_not_asked_about_in_it(column, holds):
    rows = np.column_stack([np.arange(50.0), column])
    assert Table("f", rows).other_precision == (np.float32 if holds else None)
    assert Table("f", rows[:, :1].astype(np.float32)).other_precision == np.float64


def test_a_column_of_times_in_seconds_hides_no_broken_row():
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 3))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    plain = adversarial_examples(model.fit(X, y), X, y, eps=0.3, random_state=0)
    times = X + [0, 0, 1.7e9]
    shifted = adversarial_examples(model.fit(times, y), times, y, eps=0.3, random_state=0)
    assert abs(shifted.robust_accuracy - plain.robust_accuracy) < 0.01


def test_a_frame_is_broken_however_it_is_asked(table, fitted):
    X, y = pd.DataFrame(table[0], columns=[f"c{i}" for i in range(20)]), table[1]
    model = scaled(LogisticRegression()).fit(X, y)
    found = critical_perturbations(
        model,
        X,
        y,
        threat=ThreatModel(scale="std", reference_X=X),
        n_steps=10,
        max_queries=40,
        random_state=0,
    )
    broken = found.outcome == "broken"
    rows, labels = found.X[broken], y[broken]
    assert not (model.predict(rows) == labels).any()
    assert not (model.predict(rows.astype(np.float32)) == labels).any()


def test_rows_that_stand_at_their_bounds_are_not_lost_to_rounding(table):
    X, y = table
    bounds = X[:500].min(axis=0) * 0.7, X[:500].max(axis=0) * 0.7
    X = X.clip(*bounds)
    model = scaled(LogisticRegression()).fit(X, y == 1)
    threat = ThreatModel(scale=X.std(axis=0), bounds=bounds)
    for eps in (0.3, 1.0, 3.0):
        found = adversarial_examples(model, X, y == 1, eps=eps, threat=threat, attack="apgd", random_state=0)
        against = np.where(y == 1, -1, 1)[:, None] * np.sign(model[-1].coef_)
        worst = (X + eps * threat.scale * against).clip(*bounds)
        assert found.robust_accuracy == pytest.approx(np.mean(model.predict(worst) == (y == 1)), abs=1e-3)
