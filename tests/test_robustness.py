"""adversarial_examples, critical_perturbations and robustness_curve against closed forms and themselves."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, scale
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    RobustnessWarning,
    ThreatModel,
    adversarial_examples,
    critical_perturbations,
    from_art,
    from_foolbox,
    robustness_curve,
)
from sklearn_brm._bridge import to_torch
from sklearn_brm._bridge.tree_splits import split_draw, split_points
from sklearn_brm._robustness import _attacked, _results
from sklearn_brm._robustness._evaluation import Evaluation
from sklearn_brm.functional.attacks import Ball

X, y = load_breast_cancer(return_X_y=True)
X, y = scale(X)[:150], y[:150]
DUAL = {np.inf: 1, 2: 2, 1: np.inf}
WHITE_BOX = ["fgsm", "pgd", "apgd", "apgd_margin", "apgd_targeted", "minimum_norm"]


@pytest.fixture(scope="module")
def linear():
    return LogisticRegression().fit(X, y)


@pytest.fixture(scope="module")
def forest():
    return RandomForestClassifier(20, random_state=0).fit(X, y)


def exact_radii(model, norm):
    right = model.predict(X) == y
    distance = np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_[0], ord=DUAL[norm])
    return np.where(right, distance, 0)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
@pytest.mark.parametrize("attack", ["worst_case", *WHITE_BOX])
def test_a_linear_model_breaks_exactly_at_the_rows_nearer_than_eps(linear, norm, attack):
    radii = exact_radii(linear, norm)
    eps = float(np.median(radii))
    found = adversarial_examples(
        linear, X, y, attack=attack, eps=eps, threat=ThreatModel(norm=norm), random_state=0
    )
    clear = np.abs(radii / eps - 1) > (0.02 if norm != 1 else 0.3)
    np.testing.assert_array_equal((found.outcome == "standing")[clear], (radii > eps)[clear])


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
@pytest.mark.parametrize("attack", ["worst_case", *WHITE_BOX, "black_box", "random"])
def test_returned_rows_lie_in_ball_and_bounds_and_are_wrong(linear, norm, attack):
    eps, bounds = 0.4, (X.min(axis=0), X.max(axis=0))
    found = adversarial_examples(
        linear,
        X,
        y,
        attack=attack,
        eps=eps,
        threat=ThreatModel(norm=norm, bounds=bounds),
        random_state=0,
        n_steps=10,
    )
    broken = found.outcome == "broken"
    assert (np.linalg.norm(found.X - X, ord=norm, axis=1) <= eps * (1 + 1e-6)).all()
    assert ((bounds[0] <= found.X) & (bounds[1] >= found.X)).all()
    assert (linear.predict(found.X) != y)[broken].all()
    np.testing.assert_array_equal(found.X[~broken], X[~broken])
    np.testing.assert_allclose(found.distance, np.linalg.norm(found.X - X, ord=norm, axis=1))
    np.testing.assert_allclose(found.l2_norm, np.linalg.norm(found.X - X, axis=1))
    assert set(found.outcome) <= {"broken", "standing", "wrong_when_clean"}
    np.testing.assert_array_equal(found.outcome == "wrong_when_clean", linear.predict(X) != y)
    assert ((found.attack != "") == broken).all()


def least_score(row, toward, eps, norm, unit, ends):
    """Score of a linear model at the worst point of ball and box, by filling features up or bisection."""
    slope = np.abs(toward * unit)
    room = np.abs(np.where(toward > 0, ends[1] - row, ends[0] - row)) / unit
    if norm == np.inf:
        return slope @ np.minimum(room, eps)
    if norm == 2:
        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            too_long = np.linalg.norm(np.minimum(middle * slope, room)) > eps
            low, high = (low, middle) if too_long else (middle, high)
        return slope @ np.minimum(low * slope, room)
    gain, left = 0.0, eps
    for j in np.argsort(-slope):
        gain, left = gain + slope[j] * min(left, room[j]), left - min(left, room[j])
    return gain


@pytest.mark.parametrize(("norm", "eps"), [(np.inf, 0.15), (2, 0.8), (1, 1.5)])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_worst_case_of_a_linear_model_is_found_by_gradients_alone(
    linear, norm, eps, scaled, bounded, dtype
):
    rows = X.astype(dtype).astype(float)
    ends = (rows.min(axis=0), rows.max(axis=0)) if bounded else (np.full(30, -np.inf), np.full(30, np.inf))
    unit = np.linspace(0.3, 1.2, 30) if scaled else np.ones(30)
    threat = ThreatModel(norm, scale=unit, bounds=ends if bounded else None)
    found = adversarial_examples(linear, X.astype(dtype), y, eps=eps, threat=threat, random_state=0)
    score = linear.decision_function(rows) * np.where(y == 1, 1, -1)
    toward = np.where(y == 1, -1, 1)[:, None] * linear.coef_[0]
    lost = np.array([least_score(row, w, eps, norm, unit, ends) for row, w in zip(rows, toward)])
    clear = np.abs(score - lost) > (1e-4 if dtype == np.float32 else 1e-9)
    assert 20 < (score > lost).sum() < 140
    np.testing.assert_array_equal((found.outcome == "standing")[clear], (score > lost)[clear])
    assert "black_box" not in found.attack


@pytest.mark.parametrize(("norm", "eps"), [(np.inf, 1.0), (2, 4.0), (1, 14.0)])
@pytest.mark.parametrize("ask", [adversarial_examples, critical_perturbations])
def test_on_linear_models_of_several_classes_the_black_box_finds_nothing_more(norm, eps, ask):
    rows, labels = load_digits(return_X_y=True)
    model = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(rows, labels)
    size = {"eps": eps} if ask is adversarial_examples else {}
    found = ask(
        model, rows[:60], labels[:60], threat=ThreatModel(norm=norm, bounds=(0, 16)), random_state=0, **size
    )
    assert (found.outcome == "broken").sum() > 5
    assert "black_box" not in found.attack


def test_eps_counts_in_units_of_scale(linear):
    spread = np.linspace(0.5, 2.0, 30)
    rescaled = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(X * spread, y)
    reference = X * spread
    found = adversarial_examples(
        rescaled,
        reference,
        y,
        eps=0.05,
        threat=ThreatModel(scale="range", reference_X=reference),
        attack="pgd",
    )
    moved = np.abs(found.X - reference) / np.ptp(reference, axis=0)
    assert 0.04 < moved.max() <= 0.05 * (1 + 1e-6)
    same = adversarial_examples(rescaled[-1], rescaled[0].transform(reference), y, eps=0.05, attack="pgd")
    np.testing.assert_array_equal(found.outcome, same.outcome)


def test_features_without_scale_are_held_fixed(linear):
    units = np.ones(30)
    units[:10] = 0
    found = adversarial_examples(linear, X, y, eps=1.0, threat=ThreatModel(scale=units), random_state=0)
    assert (found.outcome == "broken").any()
    np.testing.assert_array_equal(found.X[:, :10], X[:, :10])


@pytest.mark.parametrize("norm", [np.inf, 2])
def test_critical_radii_of_a_linear_model_are_the_closed_form(linear, norm):
    found = critical_perturbations(
        linear, X, y, threat=ThreatModel(norm=norm), random_state=0, max_queries=20
    )
    exact = exact_radii(linear, norm)
    right = exact > 0
    assert (found.radius[right] >= exact[right] * (1 - 1e-9)).all()
    assert (found.radius[right] <= exact[right] * 1.011).all()
    assert (found.radius[~right] == 0).all()
    np.testing.assert_allclose(found.radius, np.linalg.norm(found.X - X, ord=norm, axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.l2_norm, np.linalg.norm(found.X - X, axis=1))


def test_bisection_agrees_with_the_grid_of_the_paper(linear):
    # Twenty steps of 0.01 reach no further than 0.2.
    grid = np.geomspace(1e-3, 0.2, 200)
    options = {"attack": "pgd", "random_state": 0}
    quick = critical_perturbations(linear, X, y, **options)
    slow = critical_perturbations(linear, X, y, method="grid", eps=grid, **options)
    near = (quick.radius > 0) & (quick.radius < 0.19)
    assert near.sum() > 10
    ratio = slow.radius[near] / quick.radius[near]
    assert ((ratio > 0.99) & (ratio < 1.03)).all()
    assert np.isin(slow.radius[near], grid).all()


def test_the_grid_takes_the_first_radius_that_breaks_with_the_steps_of_the_paper(linear):
    grid = np.array([0.004, 0.02, 0.3])
    found = critical_perturbations(linear, X[:40], y[:40], method="grid", eps=grid, attack="pgd")
    weight, sign = linear.coef_[0], np.where(y[:40] == 1, -1, 1)[:, None]
    right = linear.predict(X[:40]) == y[:40]
    expected = np.where(right, np.inf, 0)
    for eps in grid[::-1]:
        step = 0.01 if eps >= 0.1 else 0.1 * eps
        reach = min(20 * step, eps)
        broken = linear.predict(X[:40] + reach * sign * np.sign(weight)) != y[:40]
        expected[right & broken] = eps
    np.testing.assert_array_equal(found.radius, expected)
    finite = right & np.isfinite(expected)
    assert finite.any()


def test_gaussian_noise_follows_no_ball_and_counts_its_standard_deviation(linear):
    found = critical_perturbations(
        linear, X, y, attack="gaussian", method="grid", eps=np.geomspace(0.01, 8, 40), random_state=0
    )
    broken = found.outcome == "broken"
    assert broken.mean() > 0.5
    ratio = found.l2_norm[broken] / found.radius[broken]
    assert np.median(ratio) == pytest.approx(np.sqrt(30), rel=0.1)


@pytest.mark.parametrize("method", ["bisect", "grid"])
def test_curves_start_at_clean_accuracy_never_rise_and_agree_with_single_attacks(linear, method):
    eps = [1e-6, 0.02, 0.1, 0.2, 0.5]
    curve = robustness_curve(linear, X, y, eps=eps, method=method, random_state=0, max_queries=20)
    assert curve.accuracy[0] == curve.clean_accuracy == linear.score(X, y)
    assert (np.diff(curve.accuracy) <= 0).all()
    exact = exact_radii(linear, np.inf)
    np.testing.assert_allclose(curve.accuracy, [np.mean(exact > radius) for radius in eps])
    np.testing.assert_allclose(curve.relative_accuracy, curve.accuracy / curve.clean_accuracy)
    assert np.isin(curve.radius, [0, *eps, np.inf]).all()


def test_curves_take_weights(linear):
    weight = (np.arange(len(y)) < 75).astype(float)
    curve = robustness_curve(
        linear, X, y, eps=[0.1, 0.2], sample_weight=weight, random_state=0, max_queries=20
    )
    half = robustness_curve(linear, X[:75], y[:75], eps=[0.1, 0.2], random_state=0, max_queries=20)
    np.testing.assert_allclose(curve.accuracy, half.accuracy)
    assert curve.clean_accuracy == half.clean_accuracy


def test_results_do_not_depend_on_the_rows_attacked_beside_them(forest):
    options = {"eps": 0.3, "attack": "random", "n_restarts": 5, "random_state": 3}
    everything = adversarial_examples(forest, X, y, **options)
    first = adversarial_examples(forest, X[:30], y[:30], **options)
    np.testing.assert_array_equal(everything.X[:30], first.X)


def test_every_estimator_with_predict_is_attacked(forest):
    boosting = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    for model in (forest, boosting, KNeighborsClassifier(), SVC()):
        model.fit(X, y)
        found = adversarial_examples(model, X, y, eps=1.0, random_state=0, max_queries=200)
        assert found.robust_accuracy < 0.6 * found.clean_accuracy
        assert np.mean(model.predict(found.X) == y) == pytest.approx(found.robust_accuracy)


class Oracle(ClassifierMixin, BaseEstimator):
    """Gives answers and nothing else; no ndarray of scores anywhere."""

    def __init__(self, inner):
        self.inner = inner

    def fit(self, X, y):
        self.inner_ = self.inner.fit(X, y)
        self.n_calls_ = 0
        return self

    def predict(self, X):
        self.n_calls_ += 1
        return self.inner_.predict(X)


@pytest.mark.parametrize("norm", [np.inf, 2])
def test_answers_alone_are_enough(norm):
    oracle = Oracle(LogisticRegression()).fit(X, y)
    exact = exact_radii(oracle.inner_, norm)
    found = critical_perturbations(
        oracle, X, y, threat=ThreatModel(norm=norm), random_state=0, max_queries=1000
    )
    right = exact > 0
    assert np.isfinite(found.radius).all()
    assert np.median(found.radius[right] / exact[right]) < 1.5


def test_the_black_box_asks_once_per_iteration_and_keeps_to_its_budget():
    oracle = Oracle(KNeighborsClassifier()).fit(X, y)
    calls_before = oracle.n_calls_
    found = adversarial_examples(oracle, X[:100], y[:100], eps=0.01, random_state=0, max_queries=100)
    assert 0 < found.n_queries.max() <= 100
    assert oracle.n_calls_ - calls_before <= 2 + 100 // 4 + 3
    assert (found.n_queries[found.outcome == "wrong_when_clean"] == 0).all()


def test_predict_calls_are_never_larger_than_the_batch(linear):
    class Counting(Oracle):
        def predict(self, X):
            largest.append(len(X))
            return super().predict(X)

    largest = []
    oracle = Counting(LogisticRegression()).fit(X, y)
    adversarial_examples(oracle, X, y, eps=0.1, random_state=0, max_queries=50, batch_size=64)
    assert max(largest) <= 64


def test_a_column_of_words_stays_where_no_change_is_allowed_and_the_frame_comes_back():
    frame = pd.DataFrame(X[:, :4], columns=list("abcd"))
    frame["city"] = np.where(y == 1, "Oslo", "Bergen")
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["city"]), remainder=StandardScaler()),
        LogisticRegression(C=0.01),
    ).fit(frame, y)
    threat = ThreatModel(max_changes=0)
    for attack in ("worst_case", "pgd"):
        found = adversarial_examples(model, frame, y, eps=3.0, threat=threat, attack=attack, random_state=0)
        assert found.X.dtypes.equals(frame.dtypes)
        assert (found.X["city"] == frame["city"]).all()
        assert (found.outcome == "broken").any()
        assert (found.n_changes == 0).all()


def test_foreign_attacks_are_projected_and_tested_again(linear):
    def shout(estimator, rows, labels):
        rows += 100 * np.where(labels == 1, -1, 1)[:, None] * np.sign(estimator.coef_)
        return rows

    eps = float(np.median(exact_radii(linear, np.inf)))
    found = adversarial_examples(linear, X, y, attack=shout, eps=eps)
    np.testing.assert_array_equal(found.outcome == "standing", exact_radii(linear, np.inf) > eps)
    assert np.abs(found.X - X).max() <= eps * (1 + 1e-6)
    assert set(found.attack) == {"", "shout"}


def test_a_list_of_attacks_is_the_worst_case_over_them(linear):
    both = adversarial_examples(linear, X, y, attack=["random", "fgsm"], eps=0.2, random_state=0)
    one = adversarial_examples(linear, X, y, attack="fgsm", eps=0.2, random_state=0)
    assert both.robust_accuracy <= one.robust_accuracy
    assert set(both.attack) <= {"", "random", "fgsm"}


def test_zero_gradients_are_warned_about_with_their_number(linear):
    model = LogisticRegression().fit(X, y)
    model.coef_[:] = 0
    with pytest.warns(RobustnessWarning, match=r"gradient is exactly zero at \d+ of \d+ rows"):
        adversarial_examples(model, X, y, attack="pgd", eps=0.1, random_state=0)


def test_standing_rows_at_an_eps_as_large_as_the_data_are_warned_about(linear):
    class Stubborn(Oracle):
        def predict(self, X):
            return np.full(len(X), 1)

    model = Stubborn(LogisticRegression()).fit(X, y)
    with pytest.warns(RobustnessWarning, match=r"\d+ of \d+ rows still stand at eps=100, as far as"):
        adversarial_examples(model, X, y, eps=100.0, random_state=0, max_queries=20)


def test_float32_rows_come_back_as_float32_within_eps():
    rows, labels = load_digits(return_X_y=True)
    rows, labels = (rows[:200] / 16).astype(np.float32), labels[:200]
    model = LogisticRegression().fit(rows, labels)
    found = adversarial_examples(
        model, rows, labels, eps=0.1, threat=ThreatModel(bounds=(0, 1)), random_state=0
    )
    assert found.X.dtype == np.float32
    assert np.abs(found.X.astype(float) - rows).max() <= 0.1 * (1 + 1e-6) + 1e-7
    assert found.X.min() >= 0
    assert found.X.max() <= 1


@pytest.mark.parametrize("eps", [[], [0.2, 0.1], [0.1, 0.1], [-1, 1], [np.nan], [[0.1]]])
def test_grids_that_do_not_rise_are_refused(linear, eps):
    with pytest.raises(ValueError, match="'eps' parameter of robustness_curve must be a rising sequence"):
        robustness_curve(linear, X, y, eps=eps)


def test_unknown_methods_are_refused(linear):
    with pytest.raises(
        ValueError, match="'method' parameter of critical_perturbations must be 'bisect' or 'grid'"
    ):
        critical_perturbations(linear, X, y, method="newton")


def test_attacks_of_foolbox_are_projected_and_tested_again(linear):
    foolbox = pytest.importorskip("foolbox")
    attack = from_foolbox(foolbox.attacks.LinfFastGradientAttack(), eps=0.3, bounds=(-15, 15))
    found = adversarial_examples(linear, X, y, attack=attack, eps=0.2, threat=ThreatModel(bounds=(-15, 15)))
    np.testing.assert_array_equal(found.outcome == "standing", exact_radii(linear, np.inf) > 0.2)
    assert set(found.attack) == {"", "foolbox_LinfFastGradientAttack"}


@pytest.mark.filterwarnings("ignore")
def test_attacks_of_the_adversarial_robustness_toolbox_work_with_gradients_and_without(linear, forest):
    evasion = pytest.importorskip("art.attacks.evasion")
    fgsm = from_art(lambda model: evasion.FastGradientMethod(model, eps=0.3))
    found = adversarial_examples(linear, X, y, attack=fgsm, eps=0.2)
    np.testing.assert_array_equal(found.outcome == "standing", exact_radii(linear, np.inf) > 0.2)
    few = {"max_iter": 2, "max_eval": 50, "init_eval": 10, "verbose": False}
    jump = from_art(lambda model: evasion.HopSkipJump(model, norm=np.inf, **few), bounds=(-15.0, 15.0))
    found = adversarial_examples(forest, X[:20], y[:20], attack=jump, eps=1.5)
    assert (found.outcome == "broken").any()
    assert np.abs(found.X - X[:20]).max() <= 1.5 * (1 + 1e-6)


def test_a_conversion_that_computes_something_else_is_warned_about_and_not_used(linear):
    class Shifted(LogisticRegression):
        def _as_torch(self, *, device, dtype):
            weight = torch.as_tensor(self.coef_[0], dtype=dtype, device=device)
            return lambda x: torch.stack([-(x @ weight), x @ weight], dim=1) * 3

    model = Shifted().fit(X, y)
    with pytest.warns(RobustnessWarning, match=r"disagrees with its own scores on \d+ of 150 rows"):
        found = adversarial_examples(model, X, y, eps=0.3, random_state=0, max_queries=50)
    assert set(found.attack) <= {"", "black_box"}


def test_the_black_box_beating_the_gradients_is_warned_about():
    class Masked(LogisticRegression):
        """Its steps are right within rounding, but its gradient points nowhere useful."""

        def _as_torch(self, *, device, dtype):
            weight = torch.as_tensor(self.coef_[0], dtype=dtype, device=device)
            offset = torch.as_tensor(self.intercept_[0], dtype=dtype, device=device)

            def scores(x):
                value = x @ weight + offset
                value = value.detach() - x.sum(dim=1) + x.sum(dim=1).detach()
                return torch.stack([-value / 2, value / 2], dim=1)

            return scores

    model = Masked().fit(X, y)
    with pytest.warns(RobustnessWarning, match=r"black box broke \d+ of \d+ rows that every gradient attack"):
        adversarial_examples(model, X, y, eps=0.3, random_state=0)


def test_a_feature_whose_gradient_is_zero_just_at_its_bound_is_moved(flat_at_zero):
    rows, labels = np.zeros((40, 2)), np.arange(40) * 0
    model = flat_at_zero(slope=0.01).fit(rows, [0, 1])
    for attack in ("apgd_margin", "apgd_targeted"):
        found = adversarial_examples(
            model, rows, labels, eps=0.6, threat=ThreatModel(bounds=(0, 1)), attack=attack, random_state=0
        )
        assert found.robust_accuracy == 0


def test_accuracy_that_rises_with_eps_is_warned_about_before_the_running_minimum():
    def weaker_and_weaker(estimator, rows, labels):
        calls.append(len(rows))
        step = 0.5 if len(calls) == 1 else 0.0
        return rows + step * np.where(labels == 1, -1, 1)[:, None] * np.sign(estimator.coef_)

    calls = []
    model = LogisticRegression().fit(X, y)
    with pytest.warns(RobustnessWarning, match=r"accuracy rises with eps by up to \d+ of \d+ rows"):
        curve = robustness_curve(model, X, y, eps=[0.5, 1.0], method="grid", attack=weaker_and_weaker)
    assert curve.accuracy[1] == curve.accuracy[0]


class Shell(ClassifierMixin, BaseEstimator):
    """Wrong only at a distance between 0.3 and 0.5: one long step jumps over it."""

    classes_ = np.array([0, 1])

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return (np.abs(np.abs(X[:, 0]) - 0.4) < 0.1).astype(int)

    def _as_torch(self, *, device, dtype):
        return lambda x: torch.stack([0 * x[:, 0], 0.1 - ((x[:, 0] - 1e-3).abs() - 0.4).abs()], dim=1)


@pytest.mark.parametrize("eps", [[0.45, 0.6], [0.35, 0.4, 0.45, 0.7, 1.0]])
@pytest.mark.parametrize("method", ["bisect", "grid"])
def test_both_methods_notice_that_a_longer_step_misses(eps, method):
    rows, labels = np.zeros((60, 1)), np.zeros(60, dtype=int)
    with pytest.warns(RobustnessWarning, match=r"rises with eps by up to \d+ of \d+ rows"):
        robustness_curve(Shell().fit(rows, labels), rows, labels, eps=eps, method=method, attack="fgsm")


def test_a_scorer_that_measures_radii_notices_rows_that_stood_at_eps_but_break_below():
    rows, labels = np.zeros((60, 1)), np.zeros(60, dtype=int)
    reference = np.array([[-0.21], [0.21]])
    scorer = AdversarialScorer(
        attack="fgsm", eps=0.8, metric="all", threat=ThreatModel(bounds=(-1, 1), reference_X=reference)
    )
    with pytest.warns(RobustnessWarning, match="rises with eps by up to 60 of 60 rows"):
        scorer(Shell().fit(rows, labels), rows, labels)


TREES = {
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": RandomForestClassifier(5, max_depth=4, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "histograms": HistGradientBoostingClassifier(max_iter=5, random_state=0),
    "bagging": BaggingClassifier(
        DecisionTreeClassifier(max_depth=3), n_estimators=4, max_features=0.5, random_state=0
    ),
    "scaled": make_pipeline(
        StandardScaler(), MinMaxScaler(), DecisionTreeClassifier(max_depth=4, random_state=0)
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_answers_change_only_across_the_split_points_that_were_read(name):
    model = TREES[name].fit(X, y)
    points = split_points(model).points
    scores = model.predict_proba(X)
    for j in range(X.shape[1]):
        # Moved to anywhere between the same two splits, a row keeps its score.
        edges = np.concatenate([[-50.0], points[j], [50.0]])
        cell = np.searchsorted(edges, X[:, j])
        moved = X.copy()
        moved[:, j] = edges[cell - 1] * 0.3 + edges[cell] * 0.7
        np.testing.assert_allclose(model.predict_proba(moved), scores)
    assert sum(map(len, points)) > 3


@pytest.mark.parametrize("name", TREES)
def test_black_box_values_lie_just_past_a_split_inside_the_ball(name):
    model = TREES[name].fit(X, y)
    splits = split_points(model)
    points, draw = splits.points, split_draw(splits, np.arange(X.shape[1]), X.shape[1])
    ball = Ball(torch.from_numpy(X), torch.full((len(X),), 0.8, dtype=torch.float64))
    values = draw(ball, torch.rand(X.shape, generator=torch.Generator().manual_seed(0)).double())
    assert ((values - ball.centre).abs() <= 0.8).all()
    for j in range(X.shape[1]):
        moved = values[:, j] != ball.centre[:, j]
        if len(points[j]) == 0:
            assert not moved.any()
            continue
        gap = np.abs(values[moved, j].numpy()[:, None] - points[j]).min(axis=1, initial=np.inf)
        assert (gap < 1e-5).all()


def test_estimators_that_are_not_trees_have_no_split_points(linear):
    assert split_points(linear) is None
    assert split_points(make_pipeline(PCA(), DecisionTreeClassifier()).fit(X, y)) is None
    assert split_draw(None, np.arange(30), 30) is None


def test_twenty_radii_take_a_handful_of_attacks(monkeypatch, linear):
    run, n_runs = Evaluation.run, []
    monkeypatch.setattr(Evaluation, "run", lambda *args, **kwargs: n_runs.append(1) or run(*args, **kwargs))
    robustness_curve(linear, X, y, eps=np.geomspace(0.01, 1, 20), random_state=0, max_queries=20)
    assert len(n_runs) <= 8


@pytest.mark.filterwarnings("ignore:.* rows still stand at eps=4:sklearn_brm.RobustnessWarning")
def test_radii_are_found_where_larger_steps_jump_over_what_is_close_by():
    # Class 1 is two islands: one step of FGSM lands behind them if eps is too large.
    X = np.linspace(-3, 3, 121)[:, None]
    model = SVC(gamma=20, C=100).fit(X, (np.abs(np.abs(X[:, 0]) - 1) < 0.25).astype(int))
    rows, labels = np.linspace(-0.4, 0.4, 17)[:, None], np.zeros(17, dtype=int)
    grid = np.array([0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 2, 4])
    found = critical_perturbations(model, rows, labels, attack="fgsm", max_eps=4, random_state=0)
    curves = [
        robustness_curve(model, rows, labels, attack="fgsm", eps=grid, method=method, random_state=0)
        for method in ("grid", "bisect")
    ]
    seen = curves[0].radius
    assert np.isfinite(seen).sum() == 13
    assert (found.radius <= seen).all()
    np.testing.assert_array_equal(curves[1].radius, seen)
    # The near shore of the islands in the direction of the step.
    shore = X.min() + 1e-4 * np.flatnonzero(np.diff(model.predict(np.arange(-3, 3, 1e-4)[:, None])) != 0)
    gaps = np.abs(shore[None] - rows)
    finite = np.isfinite(found.radius)
    assert (np.abs(found.radius[:, None] / gaps - 1).min(axis=1)[finite] < 0.011).all()


class Counting(ClassifierMixin, BaseEstimator):
    """A classifier that counts the rows it is asked about, method by method."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        self.classes_, self.n_asked_ = self.classifier.fit(X, y).classes_, {}
        return self

    def _ask(self, method, X):
        self.n_asked_[method] = self.n_asked_.get(method, 0) + len(X)
        return getattr(self.classifier, method)(X)

    def predict(self, X):
        return self._ask("predict", X)

    def decision_function(self, X):
        return self._ask("decision_function", X)

    def _as_torch(self, *, device, dtype):
        return to_torch(self.classifier, device=device, dtype=dtype)


def test_the_clean_rows_are_asked_once_and_some_twice_to_see_whether_answers_change():
    model = Counting(LogisticRegression()).fit(X, y)
    found = adversarial_examples(model, X, y, eps=1e-6, random_state=0)
    assert found.proven.sum() == (model.classifier.predict(X) == y).sum()
    assert model.n_asked_ == {"predict": 2 * len(X), "decision_function": len(X)}
    many = np.tile(X, (4, 1))
    model = Counting(LogisticRegression()).fit(X, y)
    adversarial_examples(model, many, np.tile(y, 4), eps=1e-6, random_state=0)
    assert model.n_asked_ == {"predict": len(many) + 200, "decision_function": len(many)}


@pytest.mark.parametrize("norm", [np.inf, 2])
@pytest.mark.parametrize(
    "model",
    [
        RegularizedClassifier((20,), max_iter=20, tol=None, random_state=0),
        make_pipeline(StandardScaler(), SVC(gamma=0.02)),
        RandomForestClassifier(10, random_state=0),
        KNeighborsClassifier(1),
    ],
    ids=["network", "kernel", "trees", "neighbours"],
)
def test_proofs_spare_the_worst_case_work_and_change_nothing_else(model, norm, monkeypatch):
    model = model.fit(X, y)
    options = {"eps": 0.3, "threat": ThreatModel(norm=norm)}
    options.update(n_steps=20, max_queries=100, random_state=0)
    found = adversarial_examples(model, X, y, **options)
    assert found.proven.sum() > 10
    assert set(found.outcome[found.proven]) == {"standing"}
    assert not found.n_queries[found.proven].any()
    monkeypatch.setattr(_results, "proven_to_stand", lambda evaluation, eps: np.zeros(len(X), dtype=bool))
    attacked = adversarial_examples(model, X, y, **options)
    assert not attacked.proven.any()
    np.testing.assert_array_equal(found.outcome, attacked.outcome)


def test_an_attack_asked_for_by_name_attacks_every_row_that_is_right(linear):
    found = adversarial_examples(linear, X, y, eps=0.01, attack="black_box", max_queries=20, random_state=0)
    assert not found.proven.any()
    assert found.n_queries[found.outcome == "standing"].all()


def test_trees_are_looked_at_only_where_something_needs_them(forest, monkeypatch):
    def refuse(*args):
        raise AssertionError("nobody needs the trees")

    monkeypatch.setattr(_attacked, "tree_ensemble", refuse)
    adversarial_examples(forest, X, y, eps=0.1, attack="random", random_state=0)
    with pytest.raises(AssertionError, match="nobody needs"):
        adversarial_examples(forest, X, y, eps=0.1, random_state=0)


@pytest.mark.parametrize("function", [adversarial_examples, critical_perturbations, robustness_curve])
def test_the_effort_is_spelled_out_in_signatures_and_is_that_of_the_scorer(function):
    shown = inspect.signature(function).parameters
    for name, parameter in inspect.signature(AdversarialScorer).parameters.items():
        if name not in ("eps", "metric", "max_samples"):
            assert shown[name].default == parameter.default
    assert shown["verbose"].default == 0
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) got an unexpected .* 'n_step'"):
        function(LogisticRegression(), X, y, n_step=3)
