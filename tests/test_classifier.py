"""The classifier against scikit-learn's contract, closed-form optima, and its own formulas."""

import os
import pickle
import signal
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback, EarlyStopping, EpochScoring

from sklearn_brm import RegularizedClassifier, _device, paper_recipe
from sklearn_brm._classifier import _training
from sklearn_brm._classifier._batches import Rows
from sklearn_brm._classifier._network import Perceptron
from sklearn_brm._classifier._plan import automatic_rate, planned, rows_per_batch
from sklearn_brm.functional.adam import Adam
from sklearn_brm.functional.rectifier import rectify
from sklearn_brm.functional.schedules import StepSchedule
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

PENALTIES = [
    "l1",
    "l2",
    "jacobian",
    "spectral",
    "input_gradient",
    "adversarial",
    "interval",
    "linear_relaxation",
]


def quick(*args, **kwargs):
    """Return a classifier that trains for a fixed small number of epochs."""
    return RegularizedClassifier(*args, **{"max_iter": 5, "tol": None, "random_state": 0, **kwargs})


@pytest.fixture(scope="module")
def table():
    return make_classification(200, 6, n_informative=4, n_classes=3, class_sep=2.0, random_state=0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        RegularizedClassifier(max_iter=40),
        RegularizedClassifier((), max_iter=40),
        RegularizedClassifier((10,), penalty=Jacobian(of="logits"), max_iter=40),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_linear_classifier_with_l2_has_the_optimum_of_logistic_regression(standardize):
    X, y = load_iris(return_X_y=True)
    alpha = 0.01
    expected = LogisticRegression(C=1 / (2 * len(X) * alpha), tol=1e-8, max_iter=10_000).fit(X, y)
    found = RegularizedClassifier(
        (), penalty="l2", alpha=alpha, standardize=standardize, optimizer=torch.optim.LBFGS,
        learning_rate=0.5, batch_size=150, max_iter=300, tol=None, random_state=0,
    ).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(found.coefs_[0].T, expected.coef_, atol=1e-4)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-4)


def test_two_classes_have_the_optimum_of_logistic_regression_and_one_output():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = LogisticRegression(C=1 / (2 * len(X) * 0.01), tol=1e-8, max_iter=10_000).fit(X, y)
    found = RegularizedClassifier(
        (), penalty="l2", alpha=0.01, optimizer=torch.optim.LBFGS, learning_rate=0.5, batch_size=len(X),
        max_iter=100, tol=None, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert found.coefs_[0].shape == (30, 1)
    assert found.decision_function(X).shape == (len(X),)
    np.testing.assert_allclose(found.decision_function(X), expected.decision_function(X), atol=1e-3)


def mean_squared_norm_of_logit_jacobian(classifier, X):
    """Return the mean of |J|_F^2 of the logits in the user's features, row by row by autograd."""
    function = classifier._as_torch(device="cpu", dtype=torch.float64)
    rows = torch.as_tensor(X, dtype=torch.float64)
    jacobians = [torch.autograd.functional.jacobian(lambda x: function(x[None])[0], row) for row in rows]
    return torch.stack(jacobians).square().sum(dim=(1, 2)).mean().item()


def expected_penalty(classifier, X, name, of):
    """Return a penalty of a fitted classifier, in the user's units, from what it shows."""
    coefs, power = classifier.coefs_, classifier.power
    if name in ("l1", "l2"):
        return sum((np.abs(coef) if name == "l1" else coef**2).sum() for coef in coefs)
    if of == "logits":
        return mean_squared_norm_of_logit_jacobian(classifier, X)
    row_norms = (coefs[0] ** 2).sum(axis=0)
    if of == "preactivation":
        return row_norms.sum()
    slope = power * np.maximum(classifier.hidden(X, activation=False), 0) ** (power - 1)
    slope[classifier.hidden(X) == 0] = 0
    return (slope**2 @ row_norms).mean()


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("l1", None),
        ("l2", None),
        ("jacobian", "hidden"),
        ("jacobian", "preactivation"),
        ("jacobian", "logits"),
    ],
)
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_penalties_are_measured_in_the_users_coordinates(table, name, of, power, standardize):
    X, y = table
    X = X * [1, 10, 100, 0.1, 1, 1] + 5
    penalty = name if of is None else Jacobian(of)
    classifier = quick(
        (7,), penalty=penalty, alpha=1e-6, power=power, standardize=standardize, warm_start=True
    ).fit(X, y)
    expected = expected_penalty(classifier, X, name, of)
    # One more epoch with one batch and a rate of nothing evaluates the penalty at the present weights.
    classifier.set_params(max_iter=1, batch_size=len(X), learning_rate=1e-30).fit(X, y)
    assert classifier.penalties_[name][-1] == pytest.approx(1e-6 * expected, rel=1e-9)


def test_one_feature_in_other_units_changes_only_the_weights_units(table):
    X, y = table
    scale = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3])
    plain, tiny = quick((7,)).fit(X, y), quick((7,)).fit(X * scale, y)
    np.testing.assert_allclose(tiny.coefs_[0], plain.coefs_[0] / scale[:, None], rtol=1e-9)
    np.testing.assert_allclose(tiny.predict_proba(X * scale), plain.predict_proba(X), rtol=1e-7)


def test_a_common_offset_does_not_change_the_predictions(table):
    X, y = table
    np.testing.assert_allclose(
        quick((7,)).fit(X + 1000, y).predict_proba(X + 1000),
        quick((7,)).fit(X, y).predict_proba(X),
        rtol=1e-6,
    )


def test_constant_features_do_no_harm(table):
    X, y = table
    X = np.hstack([X, np.full((len(X), 2), 3.0)])
    classifier = quick((7,), max_iter=50).fit(X, y)
    assert all(np.isfinite(coef).all() for coef in classifier.coefs_)
    assert classifier.score(X, y) > 0.6
    only_constant = quick().fit(np.ones((10, 3)), np.arange(10) % 2)
    np.testing.assert_allclose(only_constant.predict_proba(np.ones((1, 3))), 0.5, atol=0.2)


def test_a_feature_that_hardly_varies_is_not_blown_up(table):
    X, y = table
    X = np.hstack([X, 1e-6 * np.random.RandomState(0).randn(len(X), 1)])
    classifier = quick((7,), max_iter=50).fit(X, y)
    assert np.abs(classifier.coefs_[0][-1]).max() < 10 * np.abs(classifier.coefs_[0][:-1]).max()


@pytest.mark.parametrize(
    ("penalty", "hidden_layer_sizes"),
    [(name, sizes) for name in PENALTIES for sizes in [(), (7,), (7, 5)] if sizes or name != "spectral"],
)
def test_every_penalty_trains_every_depth_and_is_noted(table, penalty, hidden_layer_sizes):
    X, y = table
    classifier = quick(hidden_layer_sizes, penalty=penalty).fit(X, y)
    assert list(classifier.penalties_) == [penalty]
    assert len(classifier.penalties_[penalty]) == len(classifier.loss_curve_) == classifier.n_iter_ == 5
    assert (np.array(classifier.penalties_[penalty]) >= 0).all()
    assert classifier.loss_curve_[-1] > classifier.penalties_[penalty][-1]


def test_a_list_holds_several_penalties_with_their_strengths(table):
    X, y = table
    classifier = quick((7,), penalty=[L2(1e-3), "jacobian", L1(0)]).fit(X, y)
    assert list(classifier.penalties_) == ["l2", "jacobian"]
    alone = quick((7,), penalty="l2", alpha=1e-3).fit(X, y)
    assert classifier.penalties_["l2"][0] == pytest.approx(alone.penalties_["l2"][0], rel=0.1)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_strength_zero_is_no_penalty_to_the_last_bit(table, penalty):
    X, y = table
    without, zero = quick((7,)).fit(X, y), quick((7,), penalty=penalty, alpha=0).fit(X, y)
    for a, b in zip(without.coefs_, zero.coefs_):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("of", ["hidden", "preactivation", "logits"])
def test_a_stronger_jacobian_penalty_flattens_the_logits(table, of):
    X, y = table
    norms = [
        mean_squared_norm_of_logit_jacobian(
            quick((20,), penalty=Jacobian(of), alpha=alpha, max_iter=50).fit(X, y), X[:50]
        )
        for alpha in (0, 0.1, 1)
    ]
    assert norms[0] > norms[1] > norms[2]


@pytest.mark.parametrize("hidden_layer_sizes", [(), (7,), (7, 5)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_torch_function_equals_the_predictions(hidden_layer_sizes, n_classes):
    X, y = make_classification(60, 6, n_informative=4, n_classes=n_classes, random_state=0)
    classifier = quick(hidden_layer_sizes, power=2.0, batch_norm=True).fit(X, y)
    rows = torch.tensor(X, requires_grad=True)
    scores = classifier._as_torch(device="cpu", dtype=torch.float64)(rows)
    assert scores.shape == (60, n_classes)
    np.testing.assert_allclose(
        torch.softmax(scores, dim=1).detach().numpy(), classifier.predict_proba(X), atol=1e-12
    )
    (gradient,) = torch.autograd.grad(scores.sum(), rows)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_follows_the_data_and_probabilities_sum_to_one_in_float64(table, dtype):
    X, y = table
    classifier = quick((7,)).fit(X.astype(dtype), y)
    assert {a.dtype for a in [*classifier.coefs_, *classifier.intercepts_]} == {np.dtype(dtype)}
    assert classifier.decision_function(X.astype(dtype)).dtype == dtype
    probabilities = classifier.predict_proba(X.astype(dtype))
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-15)


@pytest.mark.parametrize("labels", [[5, 7], ["a", "b"], [False, True], [-1.0, 2.0], ["x", "y", "zz"]])
def test_labels_of_any_type_come_back(labels):
    X, y = make_classification(90, 6, n_informative=4, n_classes=len(labels), class_sep=2.0, random_state=0)
    y = np.array(labels)[y]
    classifier = quick(max_iter=40).fit(X, y)
    np.testing.assert_array_equal(classifier.classes_, np.unique(y))
    assert classifier.predict(X).dtype == y.dtype
    assert classifier.score(X, y) > 0.8


def test_a_fitted_classifier_is_numpy_only_and_survives_pickling(table):
    X, y = table
    classifier = quick((7,), batch_norm=True).partial_fit(X, y, classes=[0, 1, 2])
    data = pickle.dumps(classifier)
    assert b"torch" not in data
    np.testing.assert_array_equal(pickle.loads(data).predict_proba(X), classifier.predict_proba(X))


def test_fit_leaves_data_and_global_state_alone(table, global_state_unchanged):
    X, y = table[0].copy(), table[1].copy()
    X.flags.writeable = y.flags.writeable = False
    for penalty in PENALTIES:
        quick((7,), penalty=penalty).fit(X, y)


def test_the_same_seed_gives_the_same_bits(table):
    X, y = table
    first = quick(penalty=Adversarial(n_steps=3)).fit(X, y)
    torch.rand(3)
    np.random.rand(3)
    second = clone(first).fit(X, y)
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    assert first.loss_curve_ == second.loss_curve_


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_digits])
@pytest.mark.parametrize("scaler", [None, StandardScaler()])
@pytest.mark.parametrize("penalty", [None, "l2", "jacobian"])
def test_the_defaults_converge_without_a_warning_and_generalise(load, scaler, penalty):
    model = make_pipeline(scaler, RegularizedClassifier(penalty=penalty, random_state=0))
    splits = StratifiedShuffleSplit(2, test_size=0.2, random_state=0)
    assert cross_val_score(model, *load(return_X_y=True), cv=splits).mean() > 0.94


@pytest.mark.parametrize(
    ("optimizer", "is_linear", "n_rows", "n_features", "rate"),
    [
        ("adam", False, 128, 4, 0.005),
        ("adam", False, 4000, 64, 0.05 / 20),
        ("adam", False, 1600, 784, 1 / 784),
        ("adam", False, 200_000, 64, 0.001),
        ("adam", True, 128, 4, 0.15),
        ("adam", True, 1600, 64, 2 / 64),
        ("adam", True, 200_000, 30, 0.01),
        ("adam", True, 60_000, 2000, 0.001),
        ("sgd", False, 128, 4, 0.001),
    ],
)
def test_the_rate_rises_where_an_epoch_holds_few_updates_and_a_row_few_features(
    optimizer, is_linear, n_rows, n_features, rate
):
    updates = -(-n_rows // rows_per_batch("auto", n_rows))
    assert automatic_rate(optimizer, n_features, updates, is_linear=is_linear) == pytest.approx(rate)


def test_batches_go_to_the_network_where_the_rows_have_no_room_beside_it():
    rows = Rows(torch.zeros(5, 2), torch.zeros(5), torch.ones(5), torch.device("meta"))
    batches = list(rows.batches(2))
    assert [len(y) for _, y, _ in batches] == [2, 2, 1]
    for batch in batches:
        assert {part.device.type for part in batch} == {"meta"}
    assert rows.X.device.type == "cpu"


def test_rows_stay_on_the_host_where_they_take_more_than_half_of_the_free_memory(table, monkeypatch):
    X, y = table
    network = Perceptron(
        [6, 3], power=1, hidden_bias=True, batch_norm=False, mean=None, scale=None, dtype=torch.float64
    )
    network.to("meta")
    homes = {}
    for free in (2 * X.nbytes, 2 * X.nbytes - 1):
        monkeypatch.setattr(_device, "_free_memory", lambda device, free=free: free)
        homes[free] = Rows.for_network(X, y, None, network).X.device.type
    assert list(homes.values()) == ["meta", "cpu"]


@pytest.mark.parametrize("penalty", [None, "l2", "jacobian"])
def test_a_training_that_is_planned_ends_as_planned_without_a_warning(penalty):
    # Labels that say nothing keep the loss falling for a long time.
    random = np.random.RandomState(0)
    X, y = random.randn(640, 10), random.randint(2, size=640)
    classifier = RegularizedClassifier((30,), penalty=penalty, random_state=0).fit(X, y)
    # 16 batches of 40 rows in each epoch, and a rate that falls in a line to zero.
    assert classifier.n_iter_ == 30
    by_hand = clone(classifier).set_params(
        batch_size=40, max_iter=30, learning_rate=4.8 / 480, schedule="linear", tol=None
    )
    np.testing.assert_array_equal(classifier.coefs_[0], by_hand.fit(X, y).coefs_[0])


@pytest.mark.parametrize(
    ("n_rows", "n_features", "sizes", "n_epochs", "rate"),
    [
        (100, 4, [100], 120, 4.8 / 480),
        (1000, 20, [100], 30, 4.8 / 510),
        (1000, 500, [100], 30, 0.002),
        (1000, 500, [100, 50], 30, 0.001),
        (1000, 5000, [100], 30, 0.001),
        (50_000, 20, [100], 30, 0.004),
    ],
)
def test_the_plan_has_enough_updates_and_a_rate_that_suits_them(n_rows, n_features, sizes, n_epochs, rate):
    settings = RegularizedClassifier(sizes)._settings()
    plan = planned(settings, n_rows, n_features, begins=True)
    assert (plan.max_iter, plan.schedule, plan.ends_by_plan) == (n_epochs, "linear", True)
    assert plan.learning_rate == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(
    "said",
    [
        {"learning_rate": 0.001},
        {"max_iter": 200},
        {"schedule": "constant"},
        {"optimizer": "sgd"},
        {"power": 2.0},
        {"hidden_layer_sizes": ()},
    ],
)
def test_what_is_said_about_epochs_leaves_the_rate_constant_until_the_loss_rests(said):
    plan = planned(RegularizedClassifier(**said)._settings(), 1000, 10, begins=True)
    assert (plan.max_iter, plan.schedule, plan.ends_by_plan) == (200, "constant", False)
    assert (plan.batch_size, plan.learning_rate) == ("auto", said.get("learning_rate", "auto"))
    again = planned(RegularizedClassifier()._settings(), 1000, 10, begins=False)
    assert (again.max_iter, again.schedule, again.ends_by_plan) == (200, "constant", False)


def test_columns_in_different_units_are_as_good_as_scaled_ones():
    X, y = make_classification(400, 10, n_informative=6, random_state=0)
    two_units = X * np.where(np.arange(10) % 2, 1e6, 1e-6)
    one_large = X * np.where(np.arange(10), 1, 1e3)
    scaled = StandardScaler().fit_transform(X)
    expected = RegularizedClassifier((20,), random_state=0).fit(scaled, y).predict_proba(scaled)
    for rows in (two_units, one_large):
        classifier = RegularizedClassifier((20,), random_state=0).fit(rows, y)
        np.testing.assert_allclose(classifier.predict_proba(rows), expected, atol=1e-6)


def test_the_end_of_the_epochs_before_convergence_warns(table):
    with pytest.warns(
        ConvergenceWarning, match=r"stopped at max_iter=3 epochs while the loss was still improv"
    ):
        RegularizedClassifier(max_iter=3).fit(*table)
    with pytest.warns(
        ConvergenceWarning, match=r"Without a penalty, .* under penalty='l2' alone it has an opt"
    ):
        RegularizedClassifier((), max_iter=3).fit(*table)


@pytest.mark.parametrize("name", ["KH", "BP", "L2", "JReg", "SpecReg"])
def test_the_published_settings_are_one_call_away(table, name):
    recipe = paper_recipe(name)
    assert (recipe.batch_size, recipe.max_iter, recipe.learning_rate) == (1000, 1000, 1e-3)
    X, y = table
    classifier = paper_recipe(name, max_iter=2, random_state=0).fit(X, y)
    assert [len(coef) for coef in classifier.coefs_] == ([6] if name == "KH" else [6, 2000])


def test_changing_a_recipe_leaves_the_next_one_as_published():
    paper_recipe("L2").set_params(penalty__alpha=1.0)
    assert paper_recipe("L2").penalty.alpha == 5e-4


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="The 'name' parameter of paper_recipe must be 'KH', 'BP'"):
        paper_recipe("SHLP")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"penalty": "l3"}, ValueError, "parameter of RegularizedClassifier must be None, 'l1', 'l2'"),
        ({"penalty": L2}, TypeError, "None, 'l1', .* a Penalty or a list of such. Got <class"),
        ({"penalty": {"l2": 1.0}}, TypeError, r"a Penalty or a list of such. Got \{'l2': 1.0\} instead"),
        ({"penalty": ["l2", "l3"]}, ValueError, "a Penalty or a list of such. Got 'l3' instead"),
        ({"penalty": ["l2"], "alpha": 1.0}, ValueError, "'alpha' .* must be 'auto' where penalty is a list"),
        ({"alpha": 100}, ValueError, "'alpha' .* must be 'auto' or 0 where penalty is None, .* Got 100"),
        ({"penalty": "spectral", "hidden_layer_sizes": ()}, ValueError, "Spectral .* there is no hidden"),
        ({"penalty": [Spectral()], "hidden_layer_sizes": []}, ValueError, "give hidden_layer_sizes one"),
        (
            {"penalty": Spectral(start=7), "hidden_layer_sizes": (9, 7)},
            ValueError,
            "'start' .* Spectral must be below the 7 units of the last hidden layer.* Got 7 instead",
        ),
        ({"penalty": L2(-1.0)}, ValueError, r"'alpha' parameter of L2 must be a float in \[0, inf\). Got -1"),
        ({"penalty": L1(intercepts=2)}, TypeError, "'intercepts' parameter of L1 must be True or False"),
        ({"penalty": Jacobian("output")}, ValueError, "must be 'hidden', 'preactivation' or 'logits'"),
        ({"penalty": Jacobian(n_projections=0)}, ValueError, r"must be an int in \[1, inf\) or 'auto'"),
        ({"penalty": Spectral(start=1.5)}, TypeError, r"'start' parameter .* must be an int in \[0, inf\)"),
        ({"penalty": InputGradient(3)}, TypeError, "'norm' parameter of InputGradient must be 1 or 2. Got 3"),
        ({"penalty": Adversarial(-0.1)}, ValueError, "'eps' parameter of Adversarial"),
        ({"penalty": Interval("0.1")}, ValueError, "'eps' parameter of Interval .* Got '0.1' instead"),
        ({"penalty": Interval(ramp=1)}, ValueError, r"'ramp' .* Interval must be a float in \[0, 1\). Got 1"),
        ({"penalty": Interval(bounds=(1, 0))}, ValueError, r"'bounds' .* low < high. Got \(1, 0\) instead"),
        ({"penalty": Interval(bounds=(0, np.nan))}, ValueError, "None or a tuple .low, high. of two floats"),
        ({"penalty": LinearRelaxation(n_classes=0)}, ValueError, "'n_classes' parameter of Linear.* Got 0"),
        ({"penalty": Interval(bounds=1.0)}, ValueError, "'bounds' parameter of Interval .* Got 1.0 instead"),
        ({"penalty": Interval(bounds="data")}, TypeError, "'bounds' .* of two floats.* Got 'data' instead"),
        ({"alpha": -1}, ValueError, r"'alpha' parameter .* must be a float in \[0, inf\) or 'auto'. Got -1"),
        ({"alpha": np.nan}, ValueError, "Got nan instead"),
        ({"alpha": True}, TypeError, "Got True instead"),
        ({"power": 0.5}, ValueError, r"'power' parameter .* must be a float in \[1, inf\). Got 0.5"),
        ({"hidden_layer_sizes": (10, 0)}, ValueError, r"must be an int in .* or a tuple .* Got \(10, 0\)"),
        ({"hidden_layer_sizes": "10"}, ValueError, "Got '10' instead"),
        ({"hidden_layer_sizes": 2.5}, TypeError, "Got 2.5 instead"),
        ({"max_iter": 0}, ValueError, "'max_iter' parameter"),
        ({"batch_size": "all"}, ValueError, r"must be an int in \[1, inf\) or 'auto'. Got 'all'"),
        ({"optimizer": "lbfgs"}, ValueError, "must be 'auto', 'adam', 'sgd' or a callable"),
        ({"schedule": 0.1}, TypeError, "'auto', 'constant', 'linear', 'cosine' or a callable. Got 0.1"),
        ({"learning_rate": 0}, ValueError, r"must be a float in \(0, inf\) or 'auto'. Got 0"),
        ({"validation_fraction": 1.0}, ValueError, r"must be a float in \(0, 1\)"),
        ({"early_stopping": "yes"}, ValueError, "must be True or False"),
        ({"class_weight": "even"}, ValueError, "Got 'even' instead"),
        ({"class_weight": {0: -1.0, 1: 1, 2: 1}}, ValueError, r"weight\[0\].* in \[0, inf\). Got -1.0"),
        ({"class_weight": {0: 1, 1: np.nan, 2: 1}}, ValueError, r"weight\[1\].* in \[0, inf\). Got nan"),
        ({"callbacks": "early"}, ValueError, "must be a list of skorch callbacks or None"),
        ({"callbacks": EarlyStopping()}, TypeError, "must be a list of skorch callbacks or None"),
        ({"callbacks": ["early"]}, TypeError, "skorch callbacks or None, each an instance, .* Got 'early'"),
        ({"callbacks": [EpochScoring]}, TypeError, "a class that needs no argument, .* Got <class"),
        ({"callbacks": [dict]}, TypeError, "must be a list of skorch callbacks .* Got <class 'dict'>"),
        ({"callbacks": [("a", "b", "c")]}, TypeError, "a pair of a name and such. Got"),
        ({"alpha": np.array(0.1), "penalty": "l2"}, TypeError, r"Got array\(0.1\) instead"),
        ({"hidden_layer_sizes": np.array(4)}, TypeError, r"Got array\(4\) instead"),
        ({"device": "cuda:99"}, ValueError, "'device' parameter"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named_before_any_work(table, parameters, error, message):
    with pytest.raises(error, match=message):
        RegularizedClassifier(**parameters).fit(*table)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "hidden"])
def test_an_unfitted_classifier_says_so(table, method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(RegularizedClassifier(), method)(table[0])


def test_one_class_is_refused_in_scikit_learns_words(table):
    with pytest.raises(
        ValueError, match="needs samples of at least 2 classes in the data, but the data contains only"
    ):
        RegularizedClassifier().fit(table[0], np.zeros(200))


def test_a_loss_that_is_not_finite_names_the_epoch_and_what_to_try(table):
    X, y = table
    with pytest.raises(
        ValueError, match=r"not finite in epoch \d+: training diverged. Try a smaller learning_rate"
    ):
        quick((7,), power=4.5, standardize=False).fit(X.astype(np.float32) * 1e9, y)


def probabilities_of(classifier, X, y, **kwargs):
    return classifier.fit(X, y, **kwargs).predict_proba(X)


def test_weights_of_one_equal_none_to_the_last_bit(table):
    X, y = table
    for penalty in [None, *PENALTIES]:
        without = quick((7,), penalty=penalty).fit(X, y)
        ones = quick((7,), penalty=penalty).fit(X, y, sample_weight=np.ones(len(X)))
        np.testing.assert_array_equal(without.coefs_[0], ones.coefs_[0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((7,), {"penalty": [L1(1e-3), L2(1e-3)]}),
        ((7, 5), {"penalty": "l2"}),
        ((), {"penalty": "jacobian"}),
        ((7,), {"penalty": "jacobian", "alpha": 0.1}),
        ((7,), {"penalty": Jacobian("preactivation"), "alpha": 0.1}),
        ((7,), {"penalty": Jacobian("logits"), "alpha": 0.1}),
    ],
)
def test_training_is_the_same_with_and_without_autograd(table, monkeypatch, sizes, options, power, weighted):
    X, y = table
    weight = np.linspace(1, 2, len(X)) if weighted else None
    fast = quick(sizes, power=power, **options).fit(X, y, sample_weight=weight)
    monkeypatch.setattr(_training, "in_closed_form", lambda network, regularizer: False)
    slow = quick(sizes, power=power, **options).fit(X, y, sample_weight=weight)
    for found, expected in zip([*fast.coefs_, *fast.intercepts_], [*slow.coefs_, *slow.intercepts_]):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    assert fast.penalties_.keys() == slow.penalties_.keys()
    for name, curve in fast.penalties_.items():
        np.testing.assert_allclose(curve, slow.penalties_[name], rtol=1e-6)


@pytest.mark.parametrize(
    "penalty",
    [None, "l2", "jacobian", "spectral", "input_gradient", "adversarial", "interval", "linear_relaxation"],
)
def test_integer_weights_equal_repetition_for_full_batches(table, penalty):
    X, y = table
    weight = np.random.RandomState(0).randint(0, 4, size=len(X))
    options = {"penalty": penalty, "batch_size": 10_000, "max_iter": 20}
    weighted = probabilities_of(quick((7,), **options), X, y, sample_weight=weight)
    repeated = quick((7,), **options).fit(X.repeat(weight, axis=0), y.repeat(weight)).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7)


@pytest.mark.parametrize("penalty", ["spectral", Spectral("preactivation"), Spectral(start=2)])
def test_the_spectral_penalty_takes_weights_of_every_origin(table, penalty):
    X, y = table
    options = {"penalty": penalty, "batch_size": 10_000}
    weight = np.array([3.0, 1.0, 2.0])[y]
    by_class = quick((7,), class_weight={0: 3, 1: 1, 2: 2}, **options).fit(X, y)
    by_sample = quick((7,), **options).fit(X, y, sample_weight=5 * weight)
    repeated = quick((7,), **options).fit(X.repeat(weight.astype(int), axis=0), y.repeat(weight.astype(int)))
    for classifier in (by_class, by_sample):
        curves = classifier.penalties_["spectral"], repeated.penalties_["spectral"]
        np.testing.assert_allclose(*curves, rtol=1e-7)
    balanced = quick((7,), class_weight="balanced", **options).fit(X[y < 2], y[y < 2])
    assert np.isfinite(balanced.penalties_["spectral"]).all()


def test_the_spectral_recipe_and_chunks_of_a_stream_take_weights(table):
    X, y = table
    weight = np.linspace(0, 2, len(X))
    recipe = paper_recipe("SpecReg", max_iter=2, random_state=0, hidden_layer_sizes=(20,), batch_size=50)
    recipe.fit(X, y, sample_weight=weight)
    once, twice = (
        quick((7,), penalty="spectral", batch_size=50).partial_fit(X, y, [0, 1, 2], factor * weight)
        for factor in (1, 2)
    )
    # As the loss does, a penalty of rows counts twice where their weights do.
    assert twice.penalties_["spectral"][0] == pytest.approx(2 * once.penalties_["spectral"][0], rel=0.1)


def test_rows_of_weight_zero_are_left_out(table):
    X, y = table
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    weighted = probabilities_of(quick((7,), batch_norm=True), X, y, sample_weight=weight)
    removed = quick((7,), batch_norm=True).fit(X[weight > 0], y[weight > 0]).predict_proba(X)
    np.testing.assert_array_equal(weighted, removed)


def test_class_weights_are_sample_weights(table):
    X, y = table
    by_class = probabilities_of(quick((7,), class_weight={0: 3.0, 1: 1.0, 2: 0.5}), X, y)
    by_sample = probabilities_of(quick((7,)), X, y, sample_weight=np.array([3.0, 1.0, 0.5])[y])
    np.testing.assert_array_equal(by_class, by_sample)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(200, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.zeros(200), "must contain at least one non-zero number"),
        (np.ones(199), "inconsistent numbers of samples"),
        (np.full(200, np.nan), "Input sample_weight contains NaN"),
    ],
)
def test_impossible_weights_are_refused(table, weight, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(*table, sample_weight=weight)


def test_early_stopping_keeps_the_best_weights(table):
    X, y = table
    classifier = RegularizedClassifier(
        (30,), early_stopping=True, learning_rate=0.1, validation_fraction=0.3, random_state=0
    ).fit(X, y)
    assert classifier.n_iter_ == len(classifier.validation_scores_) < 200
    best = int(np.argmax(classifier.validation_scores_))
    again = clone(classifier).set_params(max_iter=best + 1, tol=None).fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], classifier.coefs_[0])


def test_too_few_rows_to_set_aside_are_refused():
    X = np.arange(12.0)[:, None]
    with pytest.raises(ValueError, match=r"validation set is too small|should be greater or equal"):
        RegularizedClassifier(early_stopping=True, validation_fraction=0.01).fit(X, np.arange(12) % 2)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_warm_start_goes_on_from_where_fit_stopped(table, batch_norm, standardize):
    X, y = table
    options = {"batch_norm": batch_norm, "standardize": standardize, "warm_start": True}
    classifier = quick((7,), **options).fit(X, y)
    before = classifier.predict_proba(X)
    classifier.set_params(max_iter=1, learning_rate=1e-30).fit(X, y)
    assert classifier.n_iter_ == len(classifier.loss_curve_) == 6
    if not batch_norm:  # its running statistics move on
        np.testing.assert_allclose(classifier.predict_proba(X), before, rtol=1e-9)


def test_warm_start_refuses_other_layers_and_classes(table):
    X, y = table
    classifier = quick((7,), warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(8,\) does not fit the layers to go on with"):
        clone_of(classifier, hidden_layer_sizes=(8,)).fit(X, y)
    with pytest.raises(ValueError, match="classes must stay the same"):
        clone_of(classifier).fit(X, y + 1)


def clone_of(classifier, **parameters):
    return pickle.loads(pickle.dumps(classifier)).set_params(**parameters)


def test_partial_fit_learns_from_chunks_of_any_size(table):
    X, y = table
    classifier = quick((20,), learning_rate=0.01)
    for _ in range(20):
        for start, stop in [(0, 1), (1, 3), (3, 90), (90, 200)]:
            classifier.partial_fit(X[start:stop], y[start:stop], classes=[0, 1, 2])
    assert classifier.score(X, y) > 0.8
    assert classifier.n_iter_ == len(classifier.loss_curve_) == 80


def test_partial_fit_equals_fit_for_one_epoch(table):
    X, y = table
    np.testing.assert_allclose(
        quick((7,), max_iter=1, learning_rate=1e-3).fit(X, y).predict_proba(X),
        quick((7,)).partial_fit(X, y, classes=[0, 1, 2]).predict_proba(X),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("parameters", "classes", "message"),
    [
        ({}, None, "classes must be passed on the first call to partial_fit"),
        ({}, [0, 1], r"labels that are not in `classes_`, \[0 1\]: \[2\]"),
        ({"early_stopping": True}, [0, 1, 2], "partial_fit does not support early_stopping=True"),
        ({"class_weight": "balanced"}, [0, 1, 2], "class_weight='balanced' is not supported by partial_fit"),
    ],
)
def test_partial_fit_says_what_it_cannot_do(table, parameters, classes, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).partial_fit(*table, classes=classes)


def test_batch_normalisation_is_merged_into_the_last_layer(table):
    X, y = table
    classifier = quick((7,), batch_norm=True, max_iter=30).fit(X, y)
    scores = classifier.hidden(X) @ classifier.coefs_[-1] + classifier.intercepts_[-1]
    np.testing.assert_allclose(scores, classifier.decision_function(X), rtol=1e-10)
    one_row = quick((7,), batch_norm=True, batch_size=199).fit(X, y)
    assert np.isfinite(one_row.coefs_[-1]).all()


class KeepsTheNetwork(Callback):
    """Have the network at hand that was trained."""

    def on_train_end(self, net, **kwargs):
        self.network = net.module_.eval()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("sizes", [(), (7,), (7, 5)])
def test_the_weights_that_are_kept_are_those_of_the_network_that_was_trained(
    table, sizes, standardize, batch_norm
):
    X, y = table[0] * [1, 10, 100, 0.1, 1, 1] + 5, table[1]
    callback = KeepsTheNetwork()
    options = {"standardize": standardize, "batch_norm": batch_norm, "callbacks": [callback]}
    classifier = quick(sizes, **options, warm_start=True)
    for rate in (0.01, 1e-30):
        classifier.set_params(learning_rate=rate).fit(X, y)
        rows = torch.tensor(X - (X.mean(axis=0) if standardize else 0.0))
        expected = callback.network(rows)[0].detach()
        np.testing.assert_allclose(classifier.decision_function(X), expected, rtol=1e-9, atol=1e-9)
        weights, biases = callback.network.layers_in_prediction()
        for i, (weight, bias) in enumerate(zip(weights, biases)):
            rows = (rectify(rows) if i else rows) @ weight + bias
        torch.testing.assert_close(rows.detach(), expected)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_hidden_returns_what_the_layers_compute(table, power):
    X, y = table
    classifier = quick((7, 5), power=power).fit(X, y)
    u = X @ classifier.coefs_[0] + classifier.intercepts_[0]
    np.testing.assert_allclose(classifier.hidden(X, 0, activation=False), u, rtol=1e-10)
    np.testing.assert_allclose(classifier.hidden(X, 0), np.maximum(u, 0) ** power, rtol=1e-10)
    u = np.maximum(u, 0) ** power @ classifier.coefs_[1] + classifier.intercepts_[1]
    np.testing.assert_allclose(classifier.hidden(X, activation=False), u, rtol=1e-9)
    with pytest.raises(ValueError, match=r"'layer' parameter .* must be an int in \[-2, 1\]. Got 2"):
        classifier.hidden(X, 2)


def test_a_linear_classifier_has_no_hidden_layer(table):
    with pytest.raises(ValueError, match="no hidden layer"):
        quick(()).fit(*table).hidden(table[0])


def test_callbacks_of_skorch_are_heard_and_can_stop_the_training(table):
    callbacks = [EpochScoring("accuracy", on_train=True, name="train_accuracy", lower_is_better=False)]
    stop = EarlyStopping(monitor="train_accuracy", lower_is_better=False, patience=3, sink=lambda _: None)
    classifier = RegularizedClassifier((20,), max_iter=200, callbacks=[*callbacks, stop], random_state=0)
    assert classifier.fit(*table).n_iter_ < 200
    assert classifier.score(*table) > 0.8


def test_a_callback_sees_gradients_and_batches(table):
    seen = Counter()

    class Listener(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            seen["gradients"] += sum(p.grad is not None for _, p in named_parameters)

        def on_batch_end(self, net, training=None, **kwargs):
            seen["batches"] += training

    quick((7,), batch_size=50, callbacks=[Listener()]).fit(*table)
    assert seen == {"gradients": 5 * 4 * 4, "batches": 5 * 4}


def test_ctrl_c_leaves_a_fitted_classifier_and_is_raised(table):
    class Interrupt(torch.optim.SGD):
        n_steps = 0

        def step(self, closure=None):
            Interrupt.n_steps += 1
            if Interrupt.n_steps == 8:
                raise KeyboardInterrupt
            return super().step(closure)

    classifier = quick((7,), batch_size=50, optimizer=Interrupt)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*table)
    assert classifier.n_iter_ == 1
    assert classifier.predict(table[0]).shape == (200,)


def press_ctrl_c(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C raise KeyboardInterrupt, which shells switch off for what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


EVENTS = [
    "on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end", "on_epoch_end", "on_train_end"
]  # fmt: skip


def callback_after_two_epochs(event, action):
    """Return a callback that does something at an event once two epochs are behind."""

    def act(self, net, **kwargs):
        if len(net.training.course.losses) >= 2:
            action()

    return type("Acting", (Callback,), {event: act})()


@pytest.mark.parametrize("event", EVENTS)
def test_ctrl_c_inside_a_callback_is_an_interruption(table, ctrl_c, event):
    classifier = quick((7,), callbacks=[callback_after_two_epochs(event, press_ctrl_c)])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*table)
    assert classifier.n_iter_ == (5 if event == "on_train_end" else 2)
    assert classifier.predict(table[0]).shape == (200,)


@pytest.mark.parametrize("event", EVENTS)
def test_a_callback_that_raises_keyboard_interrupt_itself_ends_the_training(table, event):
    def stop():
        raise KeyboardInterrupt

    classifier = quick((7,), callbacks=[callback_after_two_epochs(event, stop)]).fit(*table)
    assert classifier.n_iter_ == (5 if event == "on_train_end" else 2)


def test_ctrl_c_that_a_handler_of_the_user_raises_is_an_interruption(table, ctrl_c):
    def handler(number, frame):
        raise KeyboardInterrupt("the user's own")

    signal.signal(signal.SIGINT, handler)
    classifier = quick((7,), callbacks=[callback_after_two_epochs("on_epoch_end", press_ctrl_c)])
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*table)
    assert classifier.n_iter_ == 2


def test_ctrl_c_in_the_pass_of_a_penalty_over_all_rows_is_an_interruption(table, ctrl_c):
    passes = []

    class Interrupted(Spectral):
        def start_epoch(self, batches):
            passes.append(0)
            if len(passes) == 3:
                press_ctrl_c()
            return super().start_epoch(batches)

    classifier = quick((7,), penalty=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(*table)
    assert classifier.n_iter_ == 2
    assert classifier.predict(table[0]).shape == (200,)


def test_a_callback_that_stops_before_anything_is_learned_is_an_error(table):
    def stop(self, net, **kwargs):
        raise KeyboardInterrupt

    stopping = type("Stopping", (Callback,), {"on_batch_end": stop})
    with pytest.raises(
        ValueError, match="stopped the training of RegularizedClassifier before the end of the"
    ):
        quick((7,), callbacks=[stopping]).fit(*table)


@pytest.mark.parametrize(
    ("factor", "error"),
    [(-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("1", TypeError), (None, TypeError)],
)
def test_a_schedule_that_would_not_train_forwards_is_refused_with_the_share(table, factor, error):
    classifier = quick((7,), schedule=lambda share: 1 if share < 0.4 else factor)
    message = (
        r"'schedule' parameter of .* that returns a float in \[0, inf\) for the share 0.4 of epochs. Got"
    )
    with pytest.raises(error, match=message):
        classifier.fit(*table)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", np.int64(5)),
        ("hidden_layer_sizes", np.array([4, 3], dtype=np.int32)),
        ("alpha", np.float16(0.01)),
        ("power", np.float16(1.7)),
        ("learning_rate", np.float16(0.01)),
        ("batch_size", np.uint8(200)),
        ("batch_size", np.int64(32)),
        ("max_iter", np.int32(3)),
        ("tol", np.float16(1e-9)),
        ("n_iter_no_change", np.uint8(250)),
        ("validation_fraction", np.float32(0.2)),
        ("random_state", np.int64(3)),
        ("verbose", np.int64(0)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_numbers_of_numpy_do_what_those_of_python_do(table, penalty, name, value):
    X, y = table
    plain = value.tolist() if isinstance(value, np.ndarray) else value.item()
    options = {"hidden_layer_sizes": 7, "penalty": penalty, "max_iter": 2}
    options["early_stopping"] = name == "validation_fraction"
    found, expected = (quick(**(options | {name: number})).fit(X, y) for number in (value, plain))
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
    np.testing.assert_array_equal(found.hidden(X), expected.hidden(X))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (L2, "alpha", np.float16(0.01)),
        (L2, "intercepts", np.True_),
        (Jacobian, "n_projections", np.int32(2)),
        (Spectral, "exponent", np.float16(1.3)),
        (Spectral, "start", np.uint8(2)),
        (InputGradient, "norm", np.int64(1)),
        (Adversarial, "eps", np.float16(0.3)),
        (Adversarial, "n_steps", np.uint8(3)),
        (Interval, "eps", np.float16(0.3)),
        (Interval, "ramp", np.float32(0.3)),
        (LinearRelaxation, "n_classes", np.uint8(1)),
    ],
)
def test_numbers_of_numpy_in_a_penalty_do_what_those_of_python_do(table, kind, name, value):
    found, expected = (
        quick((7,), penalty=kind(**{name: number})).fit(*table) for number in (value, value.item())
    )
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1]])
@pytest.mark.parametrize("standardize", [True, False])
def test_arrays_that_run_backwards_are_learned_and_predicted_like_their_copies(table, turn, standardize):
    X, y = table[0][turn], table[1][::-1]
    for method, options in {"fit": {}, "partial_fit": {"classes": [0, 1, 2]}}.items():
        found, expected = (
            getattr(quick((7,), standardize=standardize), method)(rows, labels, **options)
            for rows, labels in ((X, y), (X.copy(), y.copy()))
        )
        np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
        np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X.copy()))


class RateListener(Callback):
    """Notes the learning rate of every epoch."""

    def __init__(self):
        self.rates = []

    def on_epoch_end(self, net, **kwargs):
        self.rates.append(net.optimizer_.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        (StepSchedule(shares=[0.5], factors=[0.1]), [1, 1, 0.1, 0.1]),
        (lambda share: 1 - share**2, [1, 15 / 16, 3 / 4, 7 / 16]),
    ],
)
def test_the_schedule_sets_the_rate_of_every_epoch_by_the_share_done(table, schedule, factors):
    listener = RateListener()
    classifier = quick((7,), schedule=schedule, learning_rate=0.5, callbacks=[listener], max_iter=4)
    classifier.set_params(warm_start=True).fit(*table)
    classifier.fit(*table)
    assert listener.rates == pytest.approx([0.5 * factor for factor in 2 * factors])


def test_partial_fit_stays_where_the_schedule_starts_and_takes_another_rate(table):
    listener = RateListener()
    classifier = quick((7,), schedule=lambda share: 0.5 - share, callbacks=[listener])
    for parameters in ({"learning_rate": 0.1}, {"learning_rate": 0.2}, {"schedule": "constant"}):
        classifier.set_params(**parameters).partial_fit(*table, classes=[0, 1, 2])
    assert listener.rates == pytest.approx([0.05, 0.1, 0.2])


@pytest.mark.parametrize(
    "optimizer", ["adam", "sgd", torch.optim.AdamW, partial(torch.optim.RMSprop, eps=1e-6)]
)
def test_optimizers_by_name_and_by_callable(table, optimizer):
    classifier = quick((20,), optimizer=optimizer, learning_rate=0.01, max_iter=30).fit(*table)
    assert classifier.loss_curve_[-1] < 0.7 * classifier.loss_curve_[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 2), (2, 2**16 + 5)])
def test_adam_takes_the_steps_of_torch(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator, dtype=dtype)
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    settings = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6}
    optimizers = Adam([ours], **settings), torch.optim.Adam([theirs], foreach=False, fused=False, **settings)
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(shape, generator=generator, dtype=dtype)
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-6 if dtype == torch.float32 else 1e-14)


def test_adam_goes_on_from_its_saved_state_and_leaves_what_has_no_gradient():
    first, second = (torch.ones(3, requires_grad=True) for _ in range(2))
    still = torch.ones(2, requires_grad=True)
    for parameter in (first, second):
        optimizer = Adam([parameter, still], lr=0.1)
        for step in range(4):
            parameter.grad = torch.arange(3.0) * (step + 1)
            assert optimizer.step(lambda: "the loss") == "the loss"
            if parameter is second:
                again = Adam([parameter, still], lr=0.1)
                again.load_state_dict(optimizer.state_dict())
                optimizer = again
    np.testing.assert_array_equal(first.detach(), second.detach())
    np.testing.assert_array_equal(still.detach(), 1)


def test_a_gradient_that_an_optimizer_takes_away_comes_back(table):
    class Taking(torch.optim.SGD):
        def step(self, closure=None):
            loss = super().step(closure)
            self.zero_grad(set_to_none=True)
            return loss

    settings = {"learning_rate": 0.1, "max_iter": 5, "penalty": "l2"}
    taking = quick((7,), optimizer=Taking, **settings).fit(*table)
    plain = quick((7,), optimizer=torch.optim.SGD, **settings).fit(*table)
    np.testing.assert_array_equal(taking.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("penalty", [None, "input_gradient"])
def test_an_optimizer_that_asks_for_the_loss_more_than_once_is_answered(table, penalty):
    lbfgs = partial(torch.optim.LBFGS, max_iter=4)
    options = {"penalty": penalty, "batch_size": 10_000, "learning_rate": 0.5, "max_iter": 10}
    classifier = quick((), optimizer=lbfgs, **options).fit(*table)
    steps = quick((), optimizer=torch.optim.SGD, **options).fit(*table)
    assert classifier.loss_ < steps.loss_


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"penalty": "jacobian"}, {"optimizer": "sgd"}])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_skorch_net_and_our_own_loop_learn_the_same(table, options, early_stopping):
    options = {"early_stopping": early_stopping, "max_iter": 8, "batch_size": 32, **options}
    ours = quick((7,), **options).fit(*table)
    theirs = quick((7,), callbacks=[Callback()], **options).fit(*table)
    assert ours.loss_curve_ == theirs.loss_curve_
    assert ours.validation_scores_ == theirs.validation_scores_
    for found, expected in zip(ours.coefs_, theirs.coefs_):
        np.testing.assert_array_equal(found, expected)


def test_a_stream_may_get_callbacks_and_other_penalties_on_its_way(table):
    X, y = table
    plain, changing = quick((7,)), quick((7,))
    for part, changes in enumerate([{}, {"callbacks": [Callback()]}, {"callbacks": None}]):
        rows = slice(50 * part, 50 * part + 50)
        plain.partial_fit(X[rows], y[rows], classes=np.unique(y))
        changing.set_params(**changes).partial_fit(X[rows], y[rows], classes=np.unique(y))
    np.testing.assert_array_equal(plain.coefs_[0], changing.coefs_[0])
    changing.set_params(penalty="input_gradient").partial_fit(X, y)
    assert len(changing.penalties_["input_gradient"]) == 4


def test_the_spectral_penalty_moves_the_spectrum_towards_the_power_law(table):
    X, y = table

    def distance(alpha):
        classifier = quick(
            (6,), penalty="spectral", alpha=alpha, max_iter=100, learning_rate=0.01, batch_size=200
        ).fit(X, y)
        eigenvalues = np.linalg.eigvalsh(np.cov(classifier.hidden(X), rowvar=False))[::-1]
        return np.abs(eigenvalues * np.arange(1, 7) - 1).max()

    assert distance(10.0) < 0.5 * distance(0.0)


def test_intercepts_are_penalised_on_request(table):
    X, y = table
    X = X + 3
    classifier = quick((7,), penalty=L2(intercepts=True), warm_start=True).fit(X, y)
    arrays = [*classifier.coefs_, *classifier.intercepts_]
    expected = sum((array**2).sum() for array in arrays)
    classifier.set_params(max_iter=1, batch_size=len(X), learning_rate=1e-30).fit(X, y)
    assert classifier.penalties_["l2"][-1] == pytest.approx(5e-4 * expected, rel=1e-9)


def test_projections_estimate_the_closed_form_in_training(table):
    X, y = table
    X = X * [1, 10, 1, 0.1, 1, 1]
    exact, estimate = (
        quick((7,), penalty=Jacobian("logits", n_projections=n), max_iter=1, learning_rate=1e-30)
        .fit(X, y)
        .penalties_["jacobian"][0]
        for n in ("auto", 300)
    )
    assert estimate == pytest.approx(exact, rel=0.05)


def test_batches_larger_than_the_data_still_train(table):
    classifier = quick((7,), batch_size=10_000, max_iter=100, learning_rate=0.05).fit(*table)
    assert classifier.score(*table) > 0.8


def test_grid_search_in_two_processes_gives_the_same_scores(table):
    grid = {"alpha": [1e-4, 1e-2]}
    base = quick((7,), penalty="jacobian")
    one, two = (GridSearchCV(base, grid, cv=2, n_jobs=n).fit(*table) for n in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


def test_sample_weight_is_routed_on_request(table):
    X, y = table
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, quick((7,)).set_fit_request(sample_weight=True))
        weighted = pipeline.fit(X, y, sample_weight=np.arange(len(X))).predict_proba(X)
        plain = pipeline.fit(X, y).predict_proba(X)
    assert np.abs(weighted - plain).max() > 1e-6


def test_data_frames_keep_their_names(table):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(table[0], columns=list("abcdef"))
    y = pandas.Series(table[1]).map({0: "x", 1: "y", 2: "z"})
    classifier = quick((7,)).fit(X, y)
    assert list(classifier.feature_names_in_) == list("abcdef")
    assert set(classifier.predict(X)) <= {"x", "y", "z"}
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(X[list("bacdef")])


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.full((4, 2), np.nan), ValueError, "contains NaN"),
        (np.full((4, 2), np.inf), ValueError, "contains infinity"),
        (np.array([["a", "b"]] * 4), ValueError, "could not convert string to float"),
        (np.ones((3, 2)), ValueError, "inconsistent numbers of samples"),
        (np.ones((4, 0)), ValueError, "0 feature"),
    ],
)
def test_bad_data_is_refused_in_scikit_learns_words(X, error, message):
    with pytest.raises(error, match=message):
        quick().fit(X, [0, 1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.int32, bool])
def test_other_number_types_are_cast(dtype):
    X = np.arange(40).reshape(20, 2) % 7
    classifier = quick().fit(X.astype(dtype), np.arange(20) % 2)
    assert classifier.coefs_[0].dtype == np.float64


def test_verbose_shows_progress_and_silence_is_the_default(table, capfd):
    quick().fit(*table)
    assert capfd.readouterr() == ("", "")
    quick(verbose=1).fit(*table)
    assert "RegularizedClassifier" in capfd.readouterr().err


def test_columns_whose_variance_overflows_are_refused_and_leave_a_stream_as_it_was(table):
    X, y = table
    huge = X * [1, 1, 1e160, 1, 1, 1]
    classifier = quick((7,)).partial_fit(X, y, classes=[0, 1, 2])
    before = clone_of(classifier).partial_fit(X, y).coefs_[0]
    for method in (quick((7,)).fit, classifier.partial_fit):
        with pytest.raises(
            ValueError, match="variance of a column of X overflows float64 in RegularizedClassifier"
        ):
            method(huge, y)
    np.testing.assert_array_equal(classifier.partial_fit(X, y).coefs_[0], before)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_rows_give_what_dense_rows_give(make):
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]
    options = {"hidden_layer_sizes": (8,), "max_iter": 5, "tol": None, "random_state": 0}
    dense, thin = (RegularizedClassifier(**options).fit(rows, y) for rows in (X, make(X)))
    np.testing.assert_array_equal(dense.predict_proba(X), thin.predict_proba(X))
    np.testing.assert_array_equal(dense.predict_proba(X), dense.predict_proba(make(X)))
    np.testing.assert_array_equal(dense.hidden(X), dense.hidden(make(X)))


def loss_under_l2(model, X, y, alpha, weight=None):
    losses = -model.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return np.average(losses, weights=weight) + alpha * (model.coef_**2).sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_digits])
def test_a_linear_classifier_under_l2_reaches_the_optimum_of_logistic_regression(load, weighted):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    weight = np.random.RandomState(0).randint(0, 4, size=len(X)) if weighted else None
    n = len(X) if weight is None else weight.sum()
    for alpha in (1e-4, 1e-2):
        classifier = RegularizedClassifier((), penalty="l2", alpha=alpha, device="cpu")
        found = classifier.fit(X, y, sample_weight=weight)
        oracle = LogisticRegression(C=1 / (2 * n * alpha), tol=1e-8, max_iter=10_000)
        best = loss_under_l2(oracle.fit(X, y, sample_weight=weight), X, y, alpha, weight)
        assert found.loss_ == pytest.approx(loss_under_l2(found, X, y, alpha, weight), rel=1e-9)
        assert best - 1e-9 < found.loss_ < best + 1e-4
        assert found.n_iter_ == len(found.loss_curve_) == len(found.penalties_["l2"]) < 100
        assert found.penalties_["l2"][-1] == pytest.approx(alpha * (found.coef_**2).sum(), rel=1e-9)


def test_whatever_needs_batches_or_epochs_keeps_a_linear_classifier_with_adam(table):
    class Other(L2):
        """May be anything."""

    class AlmostL2(Other):
        def value(self, batch):
            return super().value(batch) + 0.0 * batch.scores.sum()

    at_optimum = RegularizedClassifier((), penalty="l2", device="cpu").fit(*table)
    for change in (
        {"learning_rate": 0.01}, {"batch_size": 20}, {"schedule": "linear"}, {"early_stopping": True},
        {"callbacks": [Callback()]}, {"batch_norm": True}, {"optimizer": "adam"}, {"penalty": AlmostL2(5e-4)},
        {"penalty": [L2(5e-4), L1(0.0)]},
    ):  # fmt: skip
        options = {"penalty": "l2", "tol": None, "max_iter": 3, "random_state": 0, "device": "cpu"} | change
        adam = RegularizedClassifier((), **options).fit(*table)
        assert adam.n_iter_ == 3
        if "batch_norm" not in change:
            assert adam.loss_ > at_optimum.loss_ + 1e-4


def test_the_optimum_is_reached_from_chunks_warm_starts_and_in_few_iterations_only_with_a_warning(table):
    X, y = table
    classifier = RegularizedClassifier((), penalty="l2", device="cpu", max_iter=2)
    with pytest.warns(ConvergenceWarning, match="stopped at max_iter=2 epochs while the loss was still"):
        classifier.fit(X, y)
    assert classifier.n_iter_ == 2
    best = RegularizedClassifier((), penalty="l2", device="cpu").fit(X, y)
    classifier.set_params(warm_start=True, max_iter=200).fit(X, y)
    assert classifier.loss_ == pytest.approx(best.loss_, abs=1e-5)
    again = classifier.n_iter_
    assert classifier.fit(X, y).n_iter_ <= again + 2
    streamed = RegularizedClassifier((), penalty="l2", device="cpu", random_state=0)
    for _ in range(3):
        streamed.partial_fit(X, y, classes=np.unique(y))
    assert streamed.n_iter_ == 3
    assert streamed.loss_ > best.loss_
    short = RegularizedClassifier((), penalty="l2", device="cpu").fit(X.astype(np.float32), y)
    assert short.coef_.dtype == np.float32
    np.testing.assert_allclose(short.coef_, best.coef_, atol=2e-2)


def test_linear_classifiers_show_coef_and_intercept_and_networks_do_not(table):
    X, y = table
    linear = quick(()).fit(X, y)
    scores = X @ linear.coef_.T + linear.intercept_
    np.testing.assert_allclose(linear.decision_function(X), scores, rtol=1e-10)
    two = quick(()).fit(X, y == y[0])
    assert (two.coef_.shape, two.intercept_.shape) == ((1, X.shape[1]), (1,))
    assert SelectFromModel(quick(()), max_features=2).fit(X, y).get_support().sum() <= 2
    network = quick((7,)).fit(X, y)
    with pytest.raises(AttributeError, match="has hidden layers: see `coefs_` and `intercepts_`"):
        network.coef_  # noqa: B018
    assert not hasattr(RegularizedClassifier(()), "intercept_")


def test_logarithms_of_probabilities_are_finite_where_probabilities_vanish(table):
    X, y = table
    for labels in (y, y == y[0]):
        classifier = quick((7,)).fit(X, labels)
        usual = np.log(classifier.predict_proba(X))
        np.testing.assert_allclose(classifier.predict_log_proba(X), usual, rtol=1e-9, atol=1e-12)
        far = classifier.predict_log_proba(1e4 * X)
        assert np.isfinite(far).all()
        assert (classifier.predict_proba(1e4 * X) == 0).any()
