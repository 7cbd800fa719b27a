"""Honest mistakes get an error or a warning that names them, never a wrong number without a word."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import (
    AdversarialScorer,
    RobustnessWarning,
    ThreatModel,
    adversarial_examples,
    critical_perturbations,
    robustness_curve,
)

cancer = load_breast_cancer(as_frame=True)
X, y = cancer.data[:200], cancer.target[:200]
QUICK = {"n_steps": 10, "max_queries": 40, "random_state": 0}


@pytest.fixture(scope="module")
def model():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


def score(model, rows=X, labels=y, **threat):
    threat = ThreatModel(**{"scale": "std", "reference_X": X, **threat})
    return AdversarialScorer(eps=0.2, threat=threat, **QUICK)(model, rows, labels)


def test_columns_of_the_reference_are_found_by_name_in_any_order(model):
    expected = score(model)
    assert 0 < expected < model.score(X, y)
    assert score(model, reference_X=X[X.columns[::-1]]) == expected
    assert score(model, bounds="data", reference_X=X[X.columns[::-1]]) == score(model, bounds="data")


def test_units_and_bounds_are_found_by_name_in_any_order(model):
    unit, expected = X.std(ddof=0), score(model)
    for scale in (unit, unit[::-1], dict(unit[::-1]), unit.to_numpy()):
        assert score(model, scale=scale, reference_X=None) == expected
    bounds = X.min(), X.max()
    assert score(model, bounds=tuple(end[::-1] for end in bounds)) == score(model, bounds=bounds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frame: frame.rename(columns={"mean area": "area"}),
            r"unknown: \['area'\]; missing: \['mean area'\] instead",
        ),
        (lambda frame: frame.iloc[:, 1:], r"missing: \['mean radius'\]"),
        (lambda frame: frame.assign(extra=1.0), r"unknown: \['extra'\] instead"),
    ],
)
def test_other_columns_are_refused_by_their_names(model, change, message):
    with pytest.raises(ValueError, match=rf"'reference_X' parameter of ThreatModel .* {message}"):
        score(model, reference_X=change(X))
    with pytest.raises(ValueError, match=rf"'scale' parameter of ThreatModel .* {message}"):
        score(model, scale=change(X).std(), reference_X=None)


def test_units_by_name_need_names(model):
    with pytest.raises(ValueError, match=r"'scale' parameter .* since X has no column names"):
        score(model, X.to_numpy(), scale=X.std(), reference_X=None)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (y.astype(str), "Mix of label input types"),
        (y + 1, r"labels that the estimator never saw, in \d+ of 200 rows: \[2\]. Its classes are \[0, 1\]"),
        (y.map({0: 5, 1: 7}), r"in 200 of 200 rows: \[5, 7\]"),
    ],
)
def test_labels_of_another_kind_are_refused(model, labels, message):
    with pytest.raises(ValueError, match=message):
        score(model, labels=labels)


class Answers(ClassifierMixin, BaseEstimator):
    """Answers the second class where one of two features is above a half."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[((X[:, 0] > 0.5) | (X[:, 1] > 0.5)).astype(int)]


def test_no_attack_is_lost_for_its_name():
    rows, labels = np.zeros((40, 2)), np.zeros(40, dtype=int)
    model = Answers().fit(rows, [0, 1])

    def attack(estimator, rows, labels):
        return rows + [1.0, 0.0] * (np.arange(len(rows)) < 10)[:, None]

    first = attack

    def attack(estimator, rows, labels):
        return rows + [0.0, 1.0] * (np.arange(len(rows)) >= len(rows) - 10)[:, None]

    found = adversarial_examples(model, rows, labels, attack=[first, attack], eps=1.0)
    assert (found.outcome == "broken").sum() == 20
    assert set(found.attack) == {"", "attack", "attack (2)"}
    alone = [adversarial_examples(model, rows, labels, attack=one, eps=1.0) for one in (first, attack)]
    assert [one.robust_accuracy for one in alone] == [0.75, 0.75]
    assert found.robust_accuracy == 0.5


def test_a_function_may_be_named_as_one_of_ours(model):
    def pgd(estimator, rows, labels):
        return rows

    found = adversarial_examples(
        model,
        X,
        y,
        attack=[pgd, "pgd"],
        eps=0.2,
        threat=ThreatModel(scale="std", reference_X=X),
        random_state=0,
    )
    assert set(found.attack) == {"", "pgd (2)"}


def test_the_same_attack_twice_runs_once(model):
    found = adversarial_examples(
        model,
        X,
        y,
        attack=["pgd", "pgd"],
        eps=0.2,
        threat=ThreatModel(scale="std", reference_X=X),
        random_state=0,
    )
    assert set(found.attack) == {"", "pgd"}


@pytest.mark.parametrize("estimator", [KMeans(3, n_init=1), IsolationForest(n_estimators=5)])
def test_what_is_no_classifier_is_refused(estimator):
    rows, labels = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"'estimator' parameter .* fitted classifier with a predict method"):
        AdversarialScorer()(estimator.fit(rows), rows, labels)


def test_parameters_that_a_method_ignores_are_refused(model):
    with pytest.raises(
        ValueError, match=r"'eps' parameter of critical_perturbations must be None unless method='grid'"
    ):
        critical_perturbations(model, X, y, eps="nonsense")
    with pytest.raises(ValueError, match=r"'max_eps' parameter .* must be None unless method='bisect'"):
        critical_perturbations(model, X, y, max_eps=1.0, method="grid")


def test_one_eps_for_columns_of_every_scale_is_warned_about_with_what_to_write(model):
    message = r"columns differ in spread by a factor of .* Give threat=ThreatModel.from_data"
    with pytest.warns(RobustnessWarning, match=message):
        AdversarialScorer(**QUICK)(model, X, y)
    with pytest.warns(
        RobustnessWarning, match=r"Every row is broken at the smallest radius of the curve, eps=100"
    ):
        robustness_curve(model, X, y, eps=[100, 200], **QUICK)
    # Who says that the units are meant is not told again.
    AdversarialScorer(threat=ThreatModel(scale=np.ones(30)), **QUICK)(model, X, y)


def test_answers_that_do_not_look_at_the_rows_are_named():
    rows, labels = load_iris(return_X_y=True)
    constant = LogisticRegression(max_iter=1000).fit(rows, labels)
    constant.coef_[:], constant.intercept_[:] = 0, [5, 0, 0]
    with pytest.warns(RobustnessWarning, match=r"answers 0 for each of the 150 rows: it is robust because"):
        AdversarialScorer(eps=0.1, **QUICK)(constant, rows, labels)
    heavy = LogisticRegression(max_iter=1000).fit(rows, labels)
    heavy.intercept_ += [4, 0, 0]
    with pytest.warns(RobustnessWarning, match=r"All \d+ rows that stand are of class 0"):
        AdversarialScorer(eps=1.2, **QUICK)(heavy, rows, labels)


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_numpy_integers_count_as_integers(model, integer):
    options = {name: integer(20) for name in ("n_steps", "max_queries", "batch_size", "max_samples")}
    robust = AdversarialScorer(
        eps=np.float32(0.2),
        threat=ThreatModel(scale="std", reference_X=X),
        n_restarts=integer(1),
        random_state=0,
        **options,
    )
    for attack in ("worst_case", "fgsm", "pgd", "minimum_norm", "random"):
        assert 0 <= robust.set_params(attack=attack)(model, X, y) <= 1


@pytest.mark.parametrize(("word", "number"), [("inf", np.inf), ("linf", np.inf), ("l2", 2), ("L1", 1)])
def test_norms_have_their_usual_words(model, word, number):
    assert score(model, norm=word) == score(model, norm=number)


@pytest.mark.parametrize("norm", [np.True_, True, 3, "l3", None, [2]])
def test_other_norms_are_refused(model, norm):
    with pytest.raises(ValueError, match=r"'norm' parameter of ThreatModel must be inf, 2 or 1"):
        score(model, norm=norm)


@pytest.mark.parametrize("one_hot", [[5, 6, 7], "abc", [[]], [[5]], [[5, 6], [6, 7]]])
def test_groups_that_are_none_are_refused(one_hot):
    rows = np.hstack([np.random.default_rng(0).normal(size=(30, 5)), np.eye(3)[np.arange(30) % 3]])
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    with pytest.raises(ValueError, match=r"'one_hot' parameter of ThreatModel must be a list of groups"):
        adversarial_examples(model, rows, rows[:, 0] > 0, threat=ThreatModel(one_hot=one_hot), **QUICK)


@pytest.mark.parametrize("one_hot", [np.array([[5, 6, 7]]), (np.array([5, 6, 7]),), [range(5, 8)]])
def test_groups_may_be_arrays(one_hot):
    rows = np.hstack([np.random.default_rng(0).normal(size=(30, 5)), np.eye(3)[np.arange(30) % 3]])
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    rules = ThreatModel(one_hot=one_hot, mutable=np.arange(8) > 4)
    found = adversarial_examples(model, rows, rows[:, 0] > 0, eps=1.0, threat=rules, **QUICK)
    np.testing.assert_array_equal(found.X[:, 5:].sum(axis=1), 1)


def test_where_nothing_may_be_moved_nothing_is_broken(model):
    for mutable in ([], np.zeros(30, dtype=bool)):
        found = adversarial_examples(
            model,
            X,
            y,
            eps=1.0,
            threat=ThreatModel(scale="std", reference_X=X, mutable=mutable),
            **QUICK,
        )
        assert found.robust_accuracy == found.clean_accuracy


def test_distances_that_overflow_are_refused():
    rows = np.random.default_rng(0).normal(size=(50, 3)) * 1e160
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows / 1e160, rows[:, 0] > 0)
    with pytest.raises(ValueError, match=r"Input X is too large: the distance across the data is not finite"):
        robustness_curve(model, rows, rows[:, 0] > 0, threat=ThreatModel(norm=2), **QUICK)


def test_weighted_medians_are_those_of_repeated_rows(model):
    weight = np.random.default_rng(0).integers(0, 4, size=200)
    repeated = np.repeat(np.arange(200), weight)
    options = {"metric": "median_critical_perturbation", "threat": ThreatModel(scale="std", reference_X=X)}
    robust = AdversarialScorer(attack="pgd", n_steps=10, random_state=0, **options)
    plain = robust(model, X.iloc[repeated], y.iloc[repeated])
    assert robust(model, X, y, sample_weight=weight) == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_weighted_median_equals_numpys_of_repeated_values(n):
    from sklearn_brm._robustness._scorer import _median

    random = np.random.default_rng(n)
    for _ in range(50):
        values, weight = random.normal(size=n).round(1), random.integers(0, 3, size=n)
        weight[0] = 1
        expected = np.median(np.repeat(values, weight))
        assert _median(values, weight.astype(float)) == pytest.approx(expected)
        assert _median(values, weight * 0.1) == pytest.approx(expected)
    assert _median(np.array([1.0, np.inf]), np.array([1.0, 1.0])) == np.inf
    assert np.isnan(_median(np.array([1.0]), np.array([0.0])))
