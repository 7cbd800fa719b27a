"""What single errors in the attacks and in AdversarialScorer would change, against closed forms."""

import inspect
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import (
    AdversarialScorer,
    RobustnessWarning,
    ThreatModel,
    adversarial_examples,
    critical_perturbations,
    from_art,
    from_foolbox,
    robustness_curve,
)
from sklearn_brm._robustness._doubts import _several
from sklearn_brm._robustness._table import Table
from sklearn_brm._robustness._threat import resolve_threat
from sklearn_brm.functional.attacks import (
    Ball,
    apgd,
    cross_entropy,
    linear_radius,
    margin,
    minimum_norm,
    noise,
    pgd,
    random_search,
    ray_search,
)
from sklearn_brm.functional.attacks import gradient as gradient_module
from sklearn_brm.functional.attacks.black_box import _ends, _mutated, _some
from sklearn_brm.functional.attacks.gradient import _Climb, _halve
from sklearn_brm.functional.attacks.noise import _GOLDEN, _mix

X, y = load_iris(return_X_y=True)


@pytest.mark.filterwarnings("ignore:.*accuracy rises with eps:sklearn_brm.RobustnessWarning")
def test_a_row_that_breaks_below_eps_does_not_stand_at_eps_where_radii_are_known():
    def miss_at_first(estimator, rows, labels):
        calls.append(len(rows))
        return (
            rows
            if len(calls) == 1
            else rows - 10 * np.sign(estimator.decision_function(rows))[:, None] * np.sign(estimator.coef_)
        )

    calls, (rows, labels) = [], (X[50:], y[50:])
    model = LogisticRegression().fit(rows, labels)
    radii = np.abs(model.decision_function(rows)) / np.abs(model.coef_).sum()
    right = np.sort(radii[model.predict(rows) == labels])
    # In the widest gap between radii the answer does not depend on how exactly they are found.
    gap = np.argmax(right[21:80] / right[20:79]) + 20
    eps = np.sqrt(right[gap] * right[gap + 1])
    values = AdversarialScorer(attack=miss_at_first, eps=eps, metric="all", random_state=0)(
        model, rows, labels
    )
    assert values["robust_accuracy"] == (right > eps).sum() / 100
    assert 0.2 < values["attack_success_rate"] < 0.9


def test_the_median_radius_is_nan_where_no_row_that_is_right_has_a_weight():
    model = LogisticRegression(C=0.01).fit(X, y)
    wrong = model.predict(X) != y
    assert 0 < wrong.sum() < len(y)
    score = AdversarialScorer(attack="fgsm", metric="median_critical_perturbation", random_state=0)
    assert np.isnan(score(model, X, y, sample_weight=wrong.astype(float)))
    assert score(model, X, y, sample_weight=(~wrong).astype(float)) > 0


def test_the_scorer_and_the_functions_start_from_the_same_defaults():
    own = {"attack", "eps", "metric", "max_samples", "method", "max_eps", "sample_weight", "verbose"}
    expected = inspect.signature(AdversarialScorer).parameters
    for function in (adversarial_examples, critical_perturbations, robustness_curve):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in expected and name not in own:
                assert (
                    parameter.default is expected[name].default or parameter.default == expected[name].default
                )
    assert inspect.signature(adversarial_examples).parameters["eps"].default == expected["eps"].default


@pytest.mark.parametrize("eps", [-0.1, np.nan, "big"])
def test_a_radius_that_is_none_is_refused(eps):
    model = LogisticRegression(C=0.01).fit(X, y)
    with pytest.raises(ValueError, match="'eps' parameter of adversarial_examples must be a float"):
        adversarial_examples(model, X, y, eps=eps)


def test_a_grid_that_falls_only_once_is_refused():
    model = LogisticRegression(C=0.01).fit(X, y)
    with pytest.raises(ValueError, match="'eps' parameter of robustness_curve must be a rising sequence"):
        robustness_curve(model, X, y, eps=[0.1, 0.3, 0.2, 0.4])


def binary():
    """Return a linear classifier of two kinds of iris, their rows and labels, and radii in closed form."""
    rows, labels = X[50:], y[50:]
    model = LogisticRegression().fit(rows, labels)
    radii = np.abs(model.decision_function(rows)) / np.abs(model.coef_).sum()
    return model, rows, labels, np.where(model.predict(rows) == labels, radii, 0)


def test_no_radius_beyond_the_largest_asked_for_is_looked_at():
    model, rows, labels, radii = binary()
    found = critical_perturbations(model, rows, labels, attack="pgd", max_eps=0.4, random_state=0)
    assert 10 < (radii > 0.4).sum() < 90
    np.testing.assert_array_equal(np.isinf(found.radius), radii > 0.4)
    inside = (radii > 0) & (radii < 0.4)
    assert (found.radius[inside] >= radii[inside]).all()
    assert (found.radius[inside] <= 1.011 * radii[inside]).all()


def test_a_flat_start_is_tried_again_from_a_random_point(flat_at_zero):
    rows, labels = np.zeros((30, 2)), np.zeros(30, dtype=int)
    model = flat_at_zero().fit(rows, [0, 1])
    for attack in ("pgd", "apgd"):
        with pytest.warns(RobustnessWarning, match="gradient is exactly zero at 30 of 30 rows"):
            found = adversarial_examples(model, rows, labels, attack=attack, eps=0.6, random_state=0)
        assert (found.outcome == "broken").all()


def test_answers_alone_break_the_rows_a_little_beyond_their_radius():
    model, rows, labels, radii = binary()

    class Oracle:
        def predict(self, X):
            return model.predict(X)

    found = adversarial_examples(Oracle(), rows, labels, eps=0.8, random_state=0, max_queries=400)
    assert (found.outcome[radii > 0.8] == "standing").all()
    assert (found.outcome[(radii > 0) & (radii < 0.6)] == "broken").all()
    assert found.n_queries.max() <= 400
    assert (found.n_queries[found.outcome == "standing"] > 200).all()


def test_a_score_that_leads_is_no_break_where_predict_says_otherwise():
    # The answer is the second class from a probability of 0.8 on: a wrong class may lead and not be given.
    model, rows, labels, _ = binary()
    careful = FixedThresholdClassifier(FrozenEstimator(model), threshold=0.8).fit(rows, labels)
    distance = np.abs(model.decision_function(rows) - np.log(4)) / np.abs(model.coef_).sum()
    right = careful.predict(rows) == labels
    found = adversarial_examples(
        careful, rows, labels, attack="black_box", eps=1.0, random_state=0, max_queries=400
    )
    assert (found.outcome[right & (distance < 0.7)] == "broken").all()
    assert (found.outcome[right & (distance > 1.0)] == "standing").all()


def test_noise_is_drawn_anew_for_every_radius_and_restart(monkeypatch):
    model, rows, labels, _ = binary()
    drawn, uniform = [], noise.uniform

    def spy(seed, rows, stream, n):
        drawn.append(uniform(seed, rows, stream, n))
        return drawn[-1]

    monkeypatch.setattr(noise, "uniform", spy)
    critical_perturbations(
        model, rows[:3], labels[:3], attack="random", method="grid", eps=[1e-9, 2e-9, 3e-9], n_restarts=2
    )
    first = {round(float(u[0, 0]), 12) for u in drawn if u.shape == (3, 4)}
    assert len(first) == 6


@pytest.mark.parametrize(
    "rules", [{"integer": [0]}, {"one_hot": [[1, 2, 3]]}, {"integer": [0], "one_hot": [[1, 2, 3]]}], ids=str
)
def test_each_rule_without_a_gradient_is_obeyed_alone_and_costs_no_breaks(rules):
    random = np.random.RandomState(0)
    rows = np.hstack([random.randint(0, 6, size=(40, 1)), np.eye(3)[random.randint(3, size=40)]]).astype(
        float
    )
    model = LogisticRegression().fit(rows, (rows @ [1, -2, 0.5, 1.5] + random.randn(40) > 2).astype(int))
    labels = model.predict(rows)
    # All that an attacker may do within 1, by trying it.
    steps = [-1.0, 0.0, 1.0] if "integer" in rules else [-1.0, 1.0]
    shifts = np.array(list(itertools.product(steps, repeat=3)))
    kinds = np.eye(3)[None].repeat(40, 0) if "one_hot" in rules else rows[:, None, 1:] + shifts
    moved = [
        np.column_stack([rows[:, 0] + step, kinds[:, k]]) for step in steps for k in range(kinds.shape[1])
    ]
    breakable = np.any([model.predict(points) != labels for points in moved], axis=0)
    found = adversarial_examples(
        model,
        rows,
        labels,
        attack="apgd_margin",
        eps=1.0,
        threat=ThreatModel(**rules),
        random_state=0,
    )
    assert 0 < breakable.sum() < 40
    np.testing.assert_array_equal(found.outcome == "broken", breakable)


def test_one_hot_groups_lie_between_0_and_1_whatever_the_bounds():
    rows = np.hstack([X[:, :2], np.eye(3)[y]])
    low, high = np.full(5, -7.0), np.full(5, 9.0)
    threat = ThreatModel(one_hot=[[2, 3, 4]], bounds=(low, high))
    resolved = resolve_threat("owner", threat, Table("owner", rows)).rules
    assert resolved.low.tolist() == [-7, -7, 0, 0, 0]
    assert resolved.high.tolist() == [9, 9, 1, 1, 1]


@pytest.mark.parametrize(
    ("count", "n", "several"), [(2, 10, False), (3, 10, True), (3, 300, False), (4, 300, True)]
)
def test_three_rows_are_several_if_they_are_more_than_a_hundredth(count, n, several):
    assert _several(count, n) is several


def test_foolbox_is_given_a_model_in_the_precision_of_the_rows_and_the_indices_of_the_labels(monkeypatch):
    model, rows, _, radii = binary()
    asked = {}

    class Climb:
        def __call__(self, wrapped, inputs, criterion, *, epsilons):
            asked.update(criterion=criterion, epsilons=epsilons, scores=wrapped.module(inputs))
            step = torch.tensor(-np.sign(model.coef_[0])) * (2 * criterion[:, None] - 1)
            return None, inputs + epsilons * step, None

    def wrap(module, *, bounds, device):
        asked.update(bounds=bounds, training=module.training)
        return SimpleNamespace(module=module)

    monkeypatch.setitem(sys.modules, "foolbox", SimpleNamespace(PyTorchModel=wrap))
    named = np.array(["no", "yes"])[y[50:] - 1]
    words = LogisticRegression().fit(rows, named)
    attack = from_foolbox(Climb(), eps=0.9, bounds=(-3, 9))
    found = adversarial_examples(words, rows, named, attack=attack, eps=0.5)
    np.testing.assert_array_equal(found.outcome == "standing", radii > 0.5)
    assert set(found.attack) == {"", "foolbox_Climb"}
    assert (asked["epsilons"], asked["bounds"], asked["training"]) == (0.9, (-3, 9), False)
    torch.testing.assert_close(
        asked["scores"][:, 1] - asked["scores"][:, 0], torch.tensor(model.decision_function(rows[radii > 0]))
    )


@pytest.mark.parametrize("gradients", [True, False])
def test_art_is_given_a_classifier_of_gradients_or_of_answers(monkeypatch, gradients):
    model, rows, labels, radii = binary()
    named = np.array(["no", "yes"])[labels - 1]
    estimator = (LogisticRegression() if gradients else KNeighborsClassifier(1)).fit(rows, named)
    given = {}

    def keep(kind):
        return lambda *args, **kwargs: given.update(kind=kind, args=args, kwargs=kwargs) or given

    classes = SimpleNamespace(PyTorchClassifier=keep("torch"), BlackBoxClassifier=keep("answers"))
    for name in ("art", "art.estimators", "art.estimators.classification"):
        monkeypatch.setitem(sys.modules, name, classes)

    def build(classifier):
        assert classifier is given
        step = -np.sign(model.coef_)
        return SimpleNamespace(generate=lambda X, y: X + 0.5 * step * (2 * y[:, None] - 1))

    found = adversarial_examples(estimator, rows, named, attack=from_art(build, bounds=(-3, 9)), eps=0.5)
    assert given["kwargs"]["clip_values"] == (-3, 9)
    function, *shape = [
        argument for argument in given["args"] if not isinstance(argument, torch.nn.CrossEntropyLoss)
    ]
    assert shape == [(4,), 2]
    assert given["kind"] == ("torch" if gradients else "answers")
    if gradients:
        np.testing.assert_array_equal(found.outcome == "standing", radii > 0.5)
        scores = function(torch.tensor(rows, dtype=torch.float32))
        assert (scores.argmax(dim=1).numpy() == model.predict(rows) - 1).all()
    else:
        np.testing.assert_array_equal(function(rows.astype(np.float32)), np.eye(2)[labels - 1])


class Answers:
    """An estimator of which only the answers can be had, by a function of rows."""

    def __init__(self, predict):
        self.predict = predict


def apart(radii):
    """Return a radius in the widest gap between those in the middle."""
    radii = np.sort(radii)
    gap = np.argmax(radii[20:80] / radii[19:79]) + 19
    return np.sqrt(radii[gap] * radii[gap + 1])


def test_a_value_that_the_estimator_does_not_know_is_left_out_and_the_others_are_tried():
    frame = pd.DataFrame({"kind": ["a", "b"] * 10, "size": np.linspace(0, 1, 20)})
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(frame, frame["kind"])
    threat = ThreatModel(reference_X=frame.replace({"kind": {"a": "never trained on"}}))
    found = adversarial_examples(model, frame, frame["kind"], eps=0.0, threat=threat, attack="fgsm")
    assert found.X["kind"].tolist() == ["b", "a"] * 10


def test_a_budget_of_five_queries_is_kept_where_there_are_only_answers():
    model, rows, labels, _ = binary()
    found = adversarial_examples(
        Answers(model.predict), rows, labels, eps=0.01, random_state=0, max_queries=5
    )
    assert 0 < found.n_queries.max() <= 5


@pytest.mark.parametrize(("direction", "sign"), [("increasing", 1), ("decreasing", -1)])
@pytest.mark.filterwarnings("ignore:All .* rows that stand are of class:sklearn_brm.RobustnessWarning")
def test_columns_that_only_grow_or_only_fall_make_a_linear_model_as_robust_as_that(direction, sign):
    model, rows, labels, _ = binary()
    # What one unit of each column adds to the score of the wrong class, where it may move that way.
    slope = np.where(labels == 2, -1, 1)[:, None] * sign * model.coef_
    radii = np.abs(model.decision_function(rows)) / slope.clip(min=0).sum(axis=1)
    right = model.predict(rows) == labels
    eps = apart(radii[right])
    threat = ThreatModel(**{direction: [0, 1, 2, 3]})
    found = adversarial_examples(model, rows, labels, eps=eps, threat=threat, attack="pgd", random_state=0)
    np.testing.assert_array_equal(found.outcome == "standing", right & (radii > eps))
    assert ((found.X - rows) * sign >= 0).all()
    words = {"increasing": "only grows", "decreasing": "only falls"}[direction]
    assert [row[5] for row in threat.describe(rows).rows] == [words] * 4


def test_rows_that_stand_at_the_width_of_the_data_are_told_at_the_largest_radius_and_not_below_it():
    rows = np.linspace(0, 0.5, 40)[:, None]
    model, labels = Answers(lambda X: np.zeros(len(X))), np.zeros(40)
    attack = {"attack": "random", "random_state": 0}
    with pytest.warns(RobustnessWarning, match="40 of 40 rows still stand at eps=0.5, as far as from one"):
        adversarial_examples(model, rows, labels, eps=0.5, **attack)
    with pytest.warns(RobustnessWarning, match="40 of 40 rows still stand at eps=0.7, as far as from one"):
        robustness_curve(model, rows, labels, eps=[0.1, 0.2, 0.7], **attack)
    # Warnings are errors in tests.
    adversarial_examples(model, rows, labels, eps=0.49, **attack)
    robustness_curve(model, rows, labels, eps=[0.1, 0.2, 0.49], **attack)


def test_a_curve_skips_no_radius_between_two_that_are_far_apart():
    model, rows, labels, radii = binary()
    grid = np.array([1e-3, 0.8, 0.9])
    curve = robustness_curve(model, rows, labels, eps=grid, attack="fgsm", random_state=0)
    assert ((radii > 0.45) & (radii < 0.8)).sum() > 10
    expected = np.where(radii > 0, np.append(grid, np.inf)[np.searchsorted(grid, radii)], 0)
    np.testing.assert_array_equal(curve.radius, expected)


def test_radii_that_a_second_look_finds_smaller_are_kept_and_counted():
    def predict(X):
        return ((X[:, 0] > 0.09) & (X[:, 0] < 0.11)) | (X[:, 0] > 0.95)

    grid, rows = [0.1, 0.2, 0.5, 0.6, 1.0], np.zeros((40, 1))
    with pytest.warns(RobustnessWarning) as caught:
        curve = robustness_curve(
            Answers(predict),
            rows,
            np.zeros(40, dtype=bool),
            eps=grid,
            attack=lambda estimator, X, y: X + 10,
            random_state=0,
        )
    n_smaller = (curve.radius == 0.1).sum()
    assert set(curve.radius) == {0.1, 1.0}
    assert f"accuracy rises with eps by up to {n_smaller} of 20 rows" in str(caught[0].message)


@pytest.mark.parametrize("function", [adversarial_examples, critical_perturbations, robustness_curve])
def test_progress_is_shown_only_where_that_is_asked_for(function, capsys):
    model, rows, labels, _ = binary()
    options = {"attack": ["fgsm", "pgd"], "random_state": 0}
    function(model, rows[:10], labels[:10], **options)
    assert capsys.readouterr() == ("", "")
    function(model, rows[:10], labels[:10], verbose=1, **options)
    assert "Attacking" in capsys.readouterr().err


@pytest.mark.parametrize("max_eps", [0, -1.0, np.nan, "big"])
def test_a_largest_radius_that_is_none_is_refused(max_eps):
    model, rows, labels, _ = binary()
    message = (
        rf"'max_eps' parameter of critical_perturbations must be a float in \(0, inf\).* Got {max_eps!r}"
    )
    with pytest.raises(ValueError, match=message):
        critical_perturbations(model, rows, labels, max_eps=max_eps)


def test_columns_without_names_on_one_side_are_aligned_by_their_place():
    frame = pd.DataFrame({"size": np.linspace(0, 1, 6), "kind": list("abcabc")})
    for rows in (frame, frame.to_numpy()):
        described = [
            ThreatModel(reference_X=reference, scale="range", bounds="data").describe(rows[:2]).rows
            for reference in (frame, frame.to_numpy())
        ]
        assert described[0] == described[1]
        assert [row[1:] for row in described[0]] == [
            ("number", "1", "0", "1", ""),
            ("category", "", "", "", "3 values"),
        ]


@pytest.mark.parametrize("dtype", [float, int])
def test_what_is_kept_of_an_array_are_the_least_the_middle_and_the_largest_values(dtype):
    rows = np.array([[3, 10], [1, 30], [2, 20], [5, 50], [4, 40]], dtype=dtype)
    kept = ThreatModel.from_data(rows).reference_X
    assert kept.tolist() == [[1, 10], [3, 30], [5, 50]]
    assert kept.dtype == dtype


@pytest.mark.parametrize(("clean", "changed"), [(0.0, np.nan), (np.nan, 0.0)])
def test_a_projection_that_loses_or_fills_values_breaks_nothing_unless_missing_values_may_change(
    clean, changed
):
    rows = np.full((30, 2), 0.5)
    rows[:20, 0] = clean
    model = Answers(lambda X: np.isnan(X[:, 0]))
    options = {"eps": 0.1, "max_queries": 8, "random_state": 0}

    def project(X, X_clean):
        X[:, 0] = changed
        return X

    for rules, outcome in (({"project": project}, "standing"), ({"missing": "any"}, "broken")):
        found = adversarial_examples(model, rows, model.predict(rows), threat=ThreatModel(**rules), **options)
        assert set(found.outcome) == {outcome}


@pytest.mark.parametrize(
    ("norm", "scale", "words"),
    [
        (np.inf, None, "largest change of a feature, raw units"),
        (2, "std", "Euclidean length, in standard deviations"),
        (1, "iqr", "sum of changes, in interquartile ranges"),
        (np.inf, "range", "largest change of a feature, in ranges"),
        (2, 0.5, "Euclidean length, in units of scale"),
    ],
)
def test_what_eps_measures_is_said_in_words(norm, scale, words):
    assert ThreatModel(norm, scale=scale).size_words() == words


def test_a_column_without_any_value_is_not_taken_for_whole_numbers():
    rows = np.column_stack([np.linspace(0, 1, 20), np.full(20, np.nan)])
    threat = ThreatModel.from_data(rows)
    assert [row[1] for row in threat.describe().rows] == ["number", "number"]
    later = np.nan_to_num(rows, nan=0.5)
    model = LogisticRegression().fit(later, later[:, 0] > 0.5)
    assert len(adversarial_examples(model, later, later[:, 0] > 0.5, threat=threat, attack="fgsm").X) == 20


def test_trees_are_asked_about_the_nearest_float32_on_either_side_of_every_split():
    class Constant(DecisionTreeClassifier):
        """Scores as its tree does, but answers always the same, so that nobody stops asking."""

        def predict(self, X):
            return np.zeros(len(X), dtype=int)

        def predict_proba(self, X):
            asked.update(np.ravel(X).tolist())
            return super().predict_proba(X)

    asked, random = set(), np.random.RandomState(0)
    rows = random.rand(60, 1)
    model = Constant(random_state=0).fit(rows, random.randint(2, size=60))
    adversarial_examples(
        model, rows, np.zeros(60), eps=0.9, attack="black_box", random_state=0, max_queries=200
    )
    splits = model.tree_.threshold[model.tree_.feature == 0]
    nearest = np.float32(splits)
    below = np.where(nearest <= splits, nearest, np.nextafter(nearest, np.float32(-1)))
    above = np.where(nearest > splits, nearest, np.nextafter(nearest, np.float32(2)))
    assert (nearest > splits).sum() > 5
    assert {*below.tolist(), *above.tolist()} <= asked


# The attacks as formulas


def two_classes(n=40, d=5):
    """Return a linear model, rows that it answers rightly, their labels and gradients of their margins."""
    random = np.random.RandomState(0)
    W, x = torch.from_numpy(random.randn(2, d)), torch.from_numpy(random.randn(n, d))
    y = (x @ W.T).argmax(dim=1)
    return (lambda points: points @ W.T), x, y, W[1 - y] - W[y]


def balls(x, eps, norm=np.inf):
    return Ball(x, torch.full((len(x),), eps).double(), norm)


class Spy:
    """A model that keeps what it is asked."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __call__(self, x):
        self.asked.append(x.detach().clone())
        return self.model(x)


def test_rows_leave_apgd_as_soon_as_they_are_broken():
    model, x, y, _ = two_classes()
    spy = Spy(model)
    found = apgd(spy, balls(x, 0.3), y, loss=margin, n_steps=10)
    assert 0 < found.broken.sum() < 40
    assert [len(points) for points in spy.asked] == [40, 40] + [int((~found.broken).sum())] * 9


def test_rows_leave_a_random_search_as_soon_as_they_are_broken():
    model, x, y, _ = two_classes()
    sizes = []

    def ask(points, index):
        sizes.append(len(points))
        lead = margin(model(points), y[index])
        return lead, lead > 0

    found = random_search(ask, balls(x, 0.3), n_queries=200, seed=0)
    assert 0 < found.broken.sum() < 40
    assert sizes[-1] == 4 * (~found.broken).sum()
    sizes.clear()
    assert random_search(ask, balls(x, 100.0), n_queries=200, seed=0).broken.all()
    assert len(sizes) < 50
    assert 0 not in sizes


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_apgd_counts_its_last_point_and_stays_where_a_linear_model_is_worst_off(norm):
    model, x, y, gradient = two_classes()
    gap = -margin(model(x), y)
    ball = Ball(x, gap, norm)
    radius = gap / ball.dual_length(gradient)
    assert apgd(model, ball.with_eps(1.001 * radius), y, loss=margin, n_steps=1).broken.all()
    spy = Spy(model)
    ball = ball.with_eps(0.9 * radius)
    apgd(spy, ball, y, loss=margin, n_steps=8)
    torch.testing.assert_close(spy.asked[1], ball.furthest(gradient))
    for points in spy.asked[2:]:
        torch.testing.assert_close(points, spy.asked[1], rtol=0, atol=1e-12)


def test_apgd_halves_a_step_by_the_two_conditions_of_its_checkpoints():
    n = 8
    few, same_step, no_gain = (torch.tensor([bool(i >> bit & 1) for i in range(n)]) for bit in range(3))
    x, best = torch.zeros(n, 2).double(), torch.ones(n, 2).double()
    one = torch.ones(n).double()
    climb = _Climb(
        index=torch.arange(n),
        x=x,
        previous=x,
        best_x=best,
        best_value=one,
        best_gradient=3 * best,
        gradient=2 * best,
        value=0 * one,
        step=0.5 * one,
        rises=torch.where(few, 7.0, 8.0),
        checked_value=torch.where(no_gain, 1.0, 0.5),
        checked_step=torch.where(same_step, 0.5, 1.0),
    )
    _halve(climb, n_since=10)
    halved = [bool(few[i]) or (bool(same_step[i]) and bool(no_gain[i])) for i in range(n)]
    assert climb.step.tolist() == [0.25 if half else 0.5 for half in halved]
    for field, back, stay in (("x", 1, 0), ("previous", 1, 0), ("gradient", 3, 2)):
        assert getattr(climb, field)[:, 0].tolist() == [back if half else stay for half in halved]
    assert climb.value.tolist() == [1 if half else 0 for half in halved]
    assert (climb.rises.tolist(), climb.checked_value.tolist()) == ([0] * n, [1] * n)
    assert climb.checked_step.tolist() == [0.5] * n


def test_a_tie_is_not_broken():
    x, y = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    assert not pgd(
        lambda points: torch.zeros(len(points), 2) * points, balls(x.double(), 1.0), y
    ).broken.any()


@pytest.mark.parametrize("attack", [pgd, apgd, minimum_norm])
def test_every_gradient_attack_tells_at_which_rows_the_gradient_is_zero(attack):
    def dead(x):
        return torch.stack([torch.ones(len(x)).double(), x.clamp(min=0).sum(dim=1)], dim=1)

    x = torch.tensor([[-1.0, -1.0], [0.5, -1.0], [-0.3, -2.0]]).double()
    found = attack(dead, balls(x, 0.1), torch.zeros(3, dtype=torch.int64))
    assert found.flat.tolist() == [True, False, True]


def test_cross_entropy_rescales_a_lead_of_more_than_eight_to_eight():
    scores = torch.tensor([[100.0, 0.0], [3.0, 20.0], [8.0, 0.0], [-5.0, 4.0]])
    expected = np.log1p(np.exp([-8.0, -8.0, -8.0, 9.0]))
    torch.testing.assert_close(
        cross_entropy(scores, torch.tensor([0, 1, 0, 0])), torch.tensor(expected).float()
    )


def test_the_share_of_coordinates_that_change_is_never_less_than_one_coordinate():
    u, one = torch.full((5, 5), 0.5), (torch.arange(5.0) + 0.5) / 5
    assert _some(u, 0.0, one).tolist() == torch.eye(5).bool().tolist()
    assert _some(u, 0.6, one).all()


def test_random_numbers_are_those_of_splitmix64():
    # The first numbers of the published generator from the state 1234567.
    bits = _mix(np.uint64(1234567) + _GOLDEN * np.arange(1, 6, dtype=np.uint64))
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert bits.tolist() == [*published, 16408922859458223821]


def test_the_furthest_point_of_a_row_does_not_depend_on_gradients_beside_it():
    x = torch.zeros(2, 3)
    found = balls(x, 1.0, 2).furthest(torch.tensor([[3e-30, 0.0, 4e-30], [2e10, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0, 0.8], [1, 0, 0]]), check_dtype=False)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_minimum_norm_finds_the_radius_of_two_classes_to_a_thousandth_in_twenty_steps(norm):
    model, x, y, gradient = two_classes()
    ball = balls(x, 100.0, norm)
    radius = -margin(model(x), y) / ball.dual_length(gradient)
    found = minimum_norm(model, ball, y, n_steps=20)
    assert ((ball.distance(found.x) / radius - 1).abs() < 1e-3).all()


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_the_furthest_point_is_inside_the_box_to_the_last_bit(norm):
    random = np.random.RandomState(0)
    one, scale = torch.ones(1, 7).double(), torch.from_numpy(random.rand(7))
    x, gradient = torch.from_numpy(random.rand(500, 7)) / 3, torch.from_numpy(random.randn(500, 7))
    ball = Ball(x, torch.full((500,), 2.0).double(), norm, scale=scale, lower=0 * one, upper=one / 3)
    furthest = ball.furthest(gradient)
    assert ((furthest >= 0) & (furthest <= ball.upper)).all()
    assert (furthest == ball.upper).any()


def test_linear_radius_of_a_tie_without_a_slope_is_zero():
    x, y = torch.zeros(1, 2).double(), torch.tensor([0])
    assert linear_radius(lambda points: 0 * points, balls(x, 1.0), y).tolist() == [0.0]


def test_apgd_looks_back_at_the_checkpoints_of_its_paper(monkeypatch):
    since = []
    monkeypatch.setattr(gradient_module, "_halve", lambda climb, n_since: since.append(n_since))
    x, y = torch.zeros(1, 2).double(), torch.tensor([0])
    apgd(lambda points: points * 0 + torch.tensor([1.0, 0.0]), balls(x, 1.0), y, n_steps=100)
    shares = [0.0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    assert np.cumsum(since).tolist() == [round(100 * share) for share in shares[1:-1]]


def test_what_was_drawn_anew_keeps_its_value_and_the_rest_makes_room():
    x = torch.zeros(1, 4).double()
    ball = balls(x, 1.0, 1)
    at_the_edge = torch.tensor([[1.0, 0, 0, 0]]).double()
    mutants = torch.cat([_mutated(ball, at_the_edge, 0.0, _ends, 0, stream) for stream in range(40)])
    assert (mutants.abs().sum(dim=1) == 1).all()
    assert sorted(map(tuple, np.unique(mutants.numpy(), axis=0))) == sorted(
        tuple(sign * unit) for sign in (-1, 1) for unit in np.eye(4)
    )


@pytest.mark.parametrize("search", ["random", "ray"])
def test_a_search_asks_only_about_points_that_obey_the_rules_without_a_gradient(search):
    model, x, y, _ = two_classes()
    x, asked = x.round(), []
    y = model(x).argmax(dim=1)
    ball = Ball(x, torch.full((40,), 3.0).double(), snap=lambda points, ball: points.round())

    def ask(points, index):
        asked.append(points)
        lead = margin(model(points), y[index])
        return lead, lead > 0

    if search == "random":
        random_search(ask, ball, n_queries=20, seed=0, draw=lambda ball, u: ball.centre + 6 * u - 3)
    else:
        ray_search(ask, ball, torch.stack([x + 2.4, x - 2.4]), n_queries=20, seed=0, goal=0 * ball.eps)
    assert all((points == points.round()).all() for points in asked)
    assert len(asked) > 2


def test_a_ray_search_spends_its_budget_and_returns_the_smallest_of_all_it_broke():
    model, x, y, _ = two_classes()
    ball, smallest, n_asked = balls(x, 100.0, 2), torch.full((40,), torch.inf).double(), []

    def ask(points, index):
        lead = margin(model(points), y[index])
        size = torch.where(lead > 0, (points - x[index]).norm(dim=1), torch.inf)
        smallest.scatter_reduce_(0, index, size, "amin")
        n_asked.append(len(points) // 40)
        return lead, lead > 0

    starts = torch.stack([x[y != label][0] for label in y])[None]
    found = ray_search(ask, ball, starts, n_queries=81, seed=0, goal=0 * ball.eps)
    assert n_asked == [1] + 20 * [4]
    torch.testing.assert_close(ball.distance(found.x), smallest)
