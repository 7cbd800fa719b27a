"""Penalties as objects: those of users, and what scikit-learn does with parameters; all from outside."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from sklearn_brm import AdversarialScorer, RegularizedClassifier, certify
from sklearn_brm.functional.worst_case import box_around, relaxed_scores
from sklearn_brm.penalties import (
    L1,
    L2,
    Adversarial,
    InputGradient,
    Interval,
    Jacobian,
    LinearRelaxation,
    Penalty,
    Spectral,
)

OBJECTS = [
    L1(1e-4, intercepts=True),
    L2(1e-4),
    Jacobian("logits", n_projections=2),
    Spectral("preactivation", exponent=1.5, start=2),
    InputGradient(1),
    Adversarial(0.05, n_steps=2),
    Interval(0.05, ramp=0.2, bounds=(0, 1)),
    LinearRelaxation(0.05, ramp=0.2, bounds=(0, 1), n_classes=2, share=0.5),
]


class Orthogonality(Penalty):
    """How far the units of the first layer are from being orthogonal and of length one."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def needs(self, network):
        return "weights"

    def value(self, batch):
        W = batch.weights[0]
        return (W.T @ W - torch.eye(W.shape[1], dtype=W.dtype, device=W.device)).square().sum()


class Seen(Penalty):
    """Stores what it may look at, and adds nothing."""

    def __init__(self, alpha=1.0, *, of="activations", found=None):
        self.alpha = alpha
        self.of = of
        self.found = found

    def needs(self, network):
        return self.of

    def start_epoch(self, batches):
        self.found["all"] = list(batches)
        return super().start_epoch(batches)

    def value(self, batch):
        self.found["batch"] = batch
        self.found["X"], self.found["losses"] = batch.X.detach(), batch.losses.detach()
        self.found["weights"] = [weight.detach().clone() for weight in batch.weights]
        self.found["intercepts"] = [bias.detach().clone() for bias in batch.intercepts]
        return 0 * batch.weights[0].sum()


def quick(*args, **kwargs):
    return RegularizedClassifier(*args, **{"max_iter": 5, "tol": None, "random_state": 0, **kwargs})


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(200, 6, n_informative=4, n_classes=3, class_sep=2.0, random_state=0)
    return X * [1, 10, 100, 0.1, 1, 1] + 5, y


def gram_error(classifier):
    W = classifier.coefs_[0]
    return ((W.T @ W - np.eye(W.shape[1])) ** 2).sum()


class Halved(L2):
    def value(self, batch):
        return super().value(batch) / 2


class Sum(Penalty):
    def __init__(self, alpha=0.01):
        self.alpha = alpha

    def needs(self, network):
        return "weights"

    def value(self, batch):
        return sum(weight.sum() for weight in batch.weights)


class SumInClosedForm(Sum):
    def gradients(self, batch):
        return self.value(batch), [torch.ones_like(weight) for weight in batch.weights]


class SumOfOneLayer(Sum):
    def value(self, batch):
        return batch.weights[1].sum()

    def gradients(self, batch):
        return self.value(batch), [None, torch.ones_like(batch.weights[1])]


def test_gradients_are_not_inherited_by_another_value(table):
    halved = quick((4,), penalty=Halved(0.02)).fit(*table)
    whole = quick((4,), penalty=L2(0.01)).fit(*table)
    for found, expected in zip(halved.coefs_, whole.coefs_):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("others", [[], ["l2"], [Orthogonality()]])
@pytest.mark.parametrize("standardize", [True, False])
def test_gradients_of_the_user_are_those_of_torch(table, others, standardize):
    X, y = table
    given, found = (
        quick((4,), penalty=[penalty, *others], standardize=standardize).fit(X, y)
        for penalty in (SumInClosedForm(), Sum())
    )
    for one, other in zip(given.coefs_, found.coefs_):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert given.penalties_["sum_in_closed_form"] == pytest.approx(found.penalties_["sum"], rel=1e-9)


@pytest.mark.parametrize("change", [lambda weights: weights[:1], lambda weights: [weights[0].T, weights[1]]])
def test_gradients_of_other_shapes_are_refused(table, change):
    class Wrong(Sum):
        def value(self, batch):
            return batch.weights[0].sum()

        def gradients(self, batch):
            return self.value(batch), change([torch.ones_like(weight) for weight in batch.weights])

    with pytest.raises(ValueError, match=r"Wrong.gradients must .* of shapes \[\(6, 4\), \(4, 3\)\]. Got"):
        quick((4,), penalty=Wrong()).fit(*table)


def test_a_layer_without_gradient_stays_out_of_it(table):
    one = quick((4,), penalty=SumOfOneLayer(0.5)).fit(*table)
    none = quick((4,), penalty=[SumOfOneLayer(0.5), Sum(0.0)]).fit(*table)
    plain = quick((4,)).fit(*table)
    np.testing.assert_array_equal(one.coefs_[0], none.coefs_[0])
    assert one.coefs_[1].sum() < plain.coefs_[1].sum()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_penalty_of_the_user_is_one_small_class(table, batch_norm):
    X, y = table
    options = {"max_iter": 300, "learning_rate": 0.02, "batch_norm": batch_norm, "warm_start": True}
    options["batch_size"] = len(X)
    plain = quick((4,), **options).fit(X, y)
    classifier = quick((4,), penalty=Orthogonality(), **options).fit(X, y)
    assert gram_error(classifier) < 0.1 * gram_error(plain)
    error = gram_error(classifier)
    classifier.set_params(max_iter=1, learning_rate=1e-30).fit(X, y)
    assert classifier.penalties_["orthogonality"][-1] == pytest.approx(0.1 * error, rel=1e-9)


def test_alpha_replaces_the_strength_of_a_single_object_and_leaves_it_as_it_is(table):
    penalty = Orthogonality(alpha=0.5)
    found = quick((4,), penalty=penalty, alpha=0.02).fit(*table)
    assert penalty.get_params() == {"alpha": 0.5}
    expected = quick((4,), penalty=[Orthogonality(alpha=0.02)]).fit(*table)
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize(
    "kind", [L1, L2, Jacobian, Spectral, InputGradient, Adversarial, Interval, LinearRelaxation]
)
def test_a_word_is_an_object_with_its_defaults(table, kind):
    words = {InputGradient: "input_gradient", LinearRelaxation: "linear_relaxation"}
    word = words.get(kind, kind.__name__.lower())
    found, expected, listed = (quick((7,), penalty=p).fit(*table) for p in (word, kind(), (word,)))
    for classifier in (found, listed):
        np.testing.assert_array_equal(classifier.coefs_[0], expected.coefs_[0])
        assert classifier.penalties_ == expected.penalties_
    assert list(found.penalties_) == [word]


def test_two_penalties_of_one_class_both_count_and_have_names_of_their_own(table):
    X, y = table
    both = [Jacobian("preactivation", alpha=1e-6), Jacobian("logits"), Jacobian("hidden", alpha=0)]
    classifier = quick((7,), penalty=both, max_iter=1, learning_rate=1e-30, batch_size=len(X)).fit(X, y)
    alone = [quick((7,), penalty=p, max_iter=1, learning_rate=1e-30, batch_size=len(X)) for p in both[:2]]
    expected = [one.fit(X, y).penalties_["jacobian"] for one in alone]
    assert list(classifier.penalties_) == ["jacobian", "jacobian (2)"]
    np.testing.assert_allclose(list(classifier.penalties_.values()), expected, rtol=1e-12)


@pytest.mark.parametrize("penalty", OBJECTS, ids=lambda penalty: type(penalty).__name__)
def test_objects_are_cloned_pickled_printed_and_not_changed_by_training(table, penalty):
    before = penalty.get_params()
    classifier = quick((7,), penalty=[penalty]).fit(*table)
    assert classifier.penalty == [penalty]
    assert vars(penalty) == before == clone(penalty).get_params()
    copied = pickle.loads(pickle.dumps(clone(classifier))).fit(*table)
    assert copied.penalty[0] is not penalty
    np.testing.assert_array_equal(copied.coefs_[0], classifier.coefs_[0])
    assert type(penalty).__name__ in repr(classifier)
    assert type(penalty).__name__ in classifier._repr_html_()


def test_a_search_reaches_into_an_object_and_over_objects(table):
    grid = {"penalty__alpha": [1e-4, 1e-2], "penalty__of": ["hidden", "logits"]}
    search = GridSearchCV(quick((7,), penalty=Jacobian()), grid, cv=2).fit(*table)
    assert search.best_estimator_.penalty.get_params() == {
        "n_projections": "auto",
        **{name.removeprefix("penalty__"): value for name, value in search.best_params_.items()},
    }
    choices = {"penalty": [None, "l2", Jacobian("logits"), [Jacobian(), L2()]]}
    one, two = (GridSearchCV(quick((7,)), choices, cv=2, n_jobs=n).fit(*table) for n in (1, 2))
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])


@pytest.mark.parametrize("needs", ["weights", "activations", "input"])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_penalty_sees_rows_and_weights_in_the_users_units(table, needs, standardize):
    X, y = table
    penalty = Seen(of=needs, found={})
    options = {"standardize": standardize, "batch_size": len(X), "max_iter": 1}
    weight = np.linspace(0.5, 1.5, len(X))
    quick((7,), penalty=[penalty], **options).fit(X, y, sample_weight=weight)
    found = penalty.found
    rows = found["X"] + torch.as_tensor(np.average(X, axis=0, weights=weight) * standardize)
    np.testing.assert_allclose(np.sort(rows, axis=0), np.sort(X, axis=0), rtol=1e-9)
    u = rows @ found["weights"][0] + found["intercepts"][0]
    torch.testing.assert_close(u, found["batch"].preactivations[0].detach())
    log_probabilities = torch.log_softmax(found["batch"].scores.detach(), dim=1)
    expected = -log_probabilities[range(len(X)), found["batch"].y]
    torch.testing.assert_close(found["losses"], expected)
    assert sum(len(batch.X) for batch in found["all"]) == len(X)
    assert not any(batch.scores.requires_grad for batch in found["all"])


@pytest.mark.parametrize(
    ("method", "returned", "error", "message"),
    [
        ("value", 0.0, TypeError, "Orthogonality.value must return a tensor without dimensions. Got 0.0"),
        ("value", torch.zeros(3), TypeError, "must return a tensor without dimensions. Got tensor"),
        ("needs", "slopes", ValueError, "must return 'weights', 'activations' or 'input'. Got 'slopes'"),
    ],
)
def test_what_a_penalty_may_not_return_is_said(table, monkeypatch, method, returned, error, message):
    monkeypatch.setattr(Orthogonality, method, lambda self, given: returned)
    with pytest.raises(error, match=message):
        quick((4,), penalty=Orthogonality()).fit(*table)


def test_a_penalty_without_a_value_says_what_is_missing(table):
    class Empty(Penalty):
        def __init__(self, alpha=1.0):
            self.alpha = alpha

    with pytest.raises(NotImplementedError, match="Empty has no method `value`"):
        quick((4,), penalty=Empty()).fit(*table)


def test_the_strength_of_a_users_penalty_is_checked(table):
    with pytest.raises(ValueError, match=r"'alpha' parameter of Orthogonality must be .* \[0, inf\). Got -1"):
        quick((4,), penalty=Orthogonality(-1)).fit(*table)


class Shares(Penalty):
    """Stores the share of training that batches are told, and adds a constant that grows with the epochs."""

    def __init__(self, alpha=1.0, *, settles=0.0, found=None):
        self.alpha = alpha
        self.settles = settles
        self.found = found

    def is_settled(self, share):
        return share >= self.settles

    def value(self, batch):
        if batch.share not in self.found:
            self.found.append(batch.share)
        return 0 * batch.scores.sum() + len(self.found)


def test_a_penalty_knows_the_share_of_training_done_and_that_a_stream_has_none(table):
    penalty = Shares(found=[])
    classifier = quick((4,), penalty=[penalty], max_iter=4, warm_start=True).fit(*table)
    assert penalty.found == [0.0, 0.25, 0.5, 0.75]
    penalty.found.clear()
    classifier.set_params(max_iter=2).fit(*table)
    assert penalty.found == [0.0, 0.5]
    penalty.found.clear()
    for _ in range(2):
        classifier.partial_fit(*table)
    assert penalty.found == [1.0]


@pytest.mark.parametrize(("settles", "n_epochs"), [(0.0, 5), (0.5, 15)])
def test_training_stops_for_lack_of_improvement_only_where_penalties_are_settled(table, settles, n_epochs):
    penalty = Shares(settles=settles, found=[])
    options = {"max_iter": 20, "tol": 1e-4, "n_iter_no_change": 3, "learning_rate": 1e-30}
    assert quick((4,), penalty=[penalty], **options).fit(*table).n_iter_ == n_epochs


def test_early_stopping_keeps_no_weights_from_before_penalties_are_settled(table):
    kept = []
    for settles in (0.0, 0.75):
        penalty = [Shares(settles=settles, found=[])]
        options = {"max_iter": 4, "early_stopping": True, "learning_rate": 0.5, "schedule": falls_after_one}
        kept.append(quick((4,), penalty=penalty, **options).fit(*table))
    first, last = kept
    assert first.validation_scores_ == last.validation_scores_
    assert np.argmax(first.validation_scores_) < 3
    assert (first.coefs_[0] != last.coefs_[0]).any()
    assert last.score(*table) < first.score(*table)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("sizes", [(), (7,)])
def test_the_jacobian_penalty_on_the_logits_is_that_of_finite_differences(
    table, sizes, batch_norm, n_classes
):
    X, y = table[0], table[1] % n_classes
    options = {"batch_size": len(X), "warm_start": True, "batch_norm": batch_norm}
    classifier = quick(sizes, penalty=Jacobian("logits", alpha=0.7), **options, learning_rate=0.01)
    classifier.fit(X, y).set_params(max_iter=1, learning_rate=1e-30).fit(X, y)
    squares = 0.0
    for step in np.diag(1e-4 * X.std(axis=0)):
        rise = classifier.decision_function(X + step) - classifier.decision_function(X - step)
        squares += np.square(rise / (2 * step.sum())).sum() / len(X)
    assert classifier.penalties_["jacobian"][-1] == pytest.approx(0.7 * squares, rel=1e-4)


def falls_after_one(share):
    """Return a rate that learns in the first epoch and destroys what it learned in the last."""
    return {0.0: 0.1, 0.25: 0.0, 0.5: 0.0, 0.75: 1e3}[share]


def loss_at_worst(classifier, X, y, eps, bounds=(-np.inf, np.inf), weight=None):
    """Return the mean cross-entropy by interval arithmetic on the weights that the classifier shows."""
    low, high = np.clip(X - eps, *bounds), np.clip(X + eps, *bounds)
    *hidden, (V, c) = zip(classifier.coefs_, classifier.intercepts_)
    for W, b in hidden:
        ends = (np.maximum(W, 0), np.minimum(W, 0))
        low, high = low @ ends[0] + high @ ends[1] + b, high @ ends[0] + low @ ends[1] + b
        low, high = (np.maximum(end, 0) ** classifier.power for end in (low, high))
    if V.shape[1] == 1:
        V, c = np.hstack([np.zeros_like(V), V]), np.array([0.0, c[0]])
    losses = []
    for lower, upper, label in zip(low, high, y):
        gaps = V - V[:, [label]]
        worst = upper @ np.maximum(gaps, 0) + lower @ np.minimum(gaps, 0) + c - c[label]
        losses.append(np.log(np.exp(worst).sum()))
    return np.average(losses, weights=weight)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((), {}),
        ((7,), {}),
        ((7,), {"standardize": False}),
        ((7,), {"hidden_bias": False}),
        ((7, 5), {"power": 1.5}),
        ((7,), {"batch_norm": True}),
        ((), {"batch_norm": True}),
    ],
)
def test_the_interval_penalty_is_the_loss_at_worst_in_the_users_units(table, sizes, options, n_classes):
    X, y = table[0], table[1] % n_classes
    weight = np.linspace(0.5, 1.5, len(X))
    penalty = Interval(0.02, ramp=0, bounds=(X.min(), X.max()), alpha=0.7)
    options = options | {"batch_size": len(X), "warm_start": True}
    classifier = quick(sizes, penalty=penalty, **options, learning_rate=0.01).fit(X, y, sample_weight=weight)
    classifier.set_params(max_iter=1, learning_rate=1e-30).fit(X, y, sample_weight=weight)
    expected = 0.7 * loss_at_worst(classifier, X, y, 0.02, penalty.bounds, weight)
    assert classifier.penalties_["interval"][-1] == pytest.approx(expected, rel=1e-9)


def test_radius_and_strength_of_the_interval_penalty_grow_in_a_line_up_to_the_end_of_the_ramp(table):
    X, y = table
    options = {"max_iter": 8, "learning_rate": 1e-30, "batch_size": len(X), "tol": None}
    classifier = quick((7,), penalty=Interval(0.04, ramp=0.5, alpha=2.0), **options).fit(X, y)
    expected = [
        2 * grown * loss_at_worst(classifier, X, y, 0.04 * grown)
        for grown in (0, 0.25, 0.5, 0.75, 1, 1, 1, 1)
    ]
    np.testing.assert_allclose(classifier.penalties_["interval"], expected, rtol=1e-9)
    chunk = quick((7,), penalty=Interval(0.04, alpha=2.0), learning_rate=1e-30, batch_size=len(X))
    chunk.partial_fit(X, y, classes=[0, 1, 2])
    expected = 2 * loss_at_worst(chunk, X, y, 0.04)
    assert chunk.penalties_["interval"] == [pytest.approx(expected, rel=1e-9)]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((), {}),
        ((7,), {}),
        ((7,), {"standardize": False}),
        ((7, 5), {"power": 1.5}),
        ((7,), {"batch_norm": True}),
    ],
)
def test_the_linear_penalty_is_the_loss_at_its_bounds_in_the_users_units(table, sizes, options, n_classes):
    X, y = table[0], table[1] % n_classes
    penalty = LinearRelaxation(0.02, ramp=0, bounds=(X.min(), X.max()), n_classes=2, alpha=0.7)
    options = options | {"batch_size": len(X), "warm_start": True}
    classifier = quick(sizes, penalty=penalty, **options, learning_rate=0.01).fit(X, y)
    classifier.set_params(max_iter=1, learning_rate=1e-30).fit(X, y)
    layers = [list(map(torch.as_tensor, part)) for part in (classifier.coefs_, classifier.intercepts_)]
    box, labels = box_around(torch.as_tensor(X), 0.02, *map(float, penalty.bounds)), torch.as_tensor(y)
    scores = relaxed_scores(*box, labels, *layers, float(classifier.power), n_classes=2)
    expected = 0.7 * torch.nn.functional.cross_entropy(scores, labels).item()
    assert classifier.penalties_["linear_relaxation"][-1] == pytest.approx(expected, rel=1e-9)


def test_training_on_linear_bounds_buys_more_certificates_than_no_penalty_and_costs_little():
    X, y = load_breast_cancer(return_X_y=True)
    X, options = scale(X), {"max_iter": 40, "tol": None, "random_state": 0}
    proven = []
    for penalty in (None, LinearRelaxation(0.3)):
        classifier = RegularizedClassifier((20,), penalty=penalty, **options).fit(X, y)
        proven.append(certify(classifier, X, y, eps=0.3, time_limit=0).certified_accuracy)
        assert classifier.score(X, y) > 0.94
    assert proven[1] > proven[0] + 0.15
    assert proven[1] > 0.8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_interval_training_buys_proofs_and_keeps_the_precision(dtype):
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X).astype(dtype)
    options = {"max_iter": 40, "tol": None, "random_state": 0}
    proven = []
    for penalty in (None, Interval(0.3)):
        classifier = RegularizedClassifier((20,), penalty=penalty, **options).fit(X, y)
        assert classifier.coefs_[0].dtype == dtype
        losses = [loss_at_worst(classifier, X[[i]], y[[i]], 0.3) for i in range(len(X))]
        proven.append(np.mean(np.array(losses) < np.log(2)))
        assert classifier.score(X, y) > 0.94
    assert proven[0] < 0.6
    assert proven[1] > 0.8


def test_a_search_chooses_radius_and_strength_of_the_interval_penalty(table):
    grid = {"penalty__eps": [0.0, 0.02], "penalty__alpha": [0.5, 2.0]}
    search = GridSearchCV(quick((7,), penalty=Interval(ramp=0.4)), grid, cv=2, n_jobs=2).fit(*table)
    best = search.best_estimator_.penalty.get_params()
    assert best == {
        "ramp": 0.4,
        "bounds": None,
        **{k[9:]: v for k, v in search.best_params_.items()},
    }


def test_a_search_by_what_is_proven_buys_it_with_accuracy():
    X, y = load_breast_cancer(return_X_y=True)
    classifier = RegularizedClassifier(
        (10,), penalty=Interval(), learning_rate=0.01, max_iter=30, tol=None, random_state=0
    )
    scoring = {"proven": AdversarialScorer(0.3, metric="certified_accuracy"), "accuracy": "accuracy"}
    search = GridSearchCV(classifier, {"penalty__eps": [0.0, 0.3]}, scoring=scoring, refit="proven", cv=2)
    results = search.fit(scale(X), y).cv_results_
    assert search.best_params_ == {"penalty__eps": 0.3}
    assert results["mean_test_proven"][1] > results["mean_test_proven"][0] + 0.1
    assert results["mean_test_accuracy"].min() > 0.93
