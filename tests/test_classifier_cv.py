"""A search over the strength of a penalty, as GridSearchCV does it, the networks of a fold in a batch."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    RegularizedClassifierCV,
    TradeOffDisplay,
    to_torch,
)
from sklearn_brm._classifier import _stack
from sklearn_brm.functional.backpropagation import backpropagate, backpropagate_stack
from sklearn_brm.penalties import L1, L2, Adversarial, Jacobian, Penalty, Spectral

STRENGTHS = [0.0, 1e-3, 0.1, 1.0]


@pytest.fixture(scope="module")
def two_classes():
    X, y = load_breast_cancer(return_X_y=True)
    return X, np.where(y == 1, "benign", "malign")


@pytest.fixture(scope="module")
def three_classes():
    return load_iris(return_X_y=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        # One batch, whose order does not count.
        RegularizedClassifierCV(alphas=[1e-4, 1e-3], max_iter=40, cv=2, batch_size=200),
        RegularizedClassifierCV((), penalty="l2", alphas=[1e-4, 1e-3], cv=2),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def each(classifier, X, y, weight=None, strengths=STRENGTHS):
    """Return fits of every strength, in a batch and one by one."""
    together = classifier._fit_each(strengths, X, y, weight)
    alone = [clone(classifier).set_params(alpha=alpha).fit(X, y, weight) for alpha in strengths]
    return together, alone


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_of_a_stack_are_those_of_each_network(n_classes, power, hidden, weighted):
    generator = torch.Generator().manual_seed(0)
    sizes = [6, *hidden, 1 if n_classes == 2 else n_classes]

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    X, y = draw(20, 6), torch.randint(n_classes, (20,), generator=generator)
    weight = draw(20).abs() if weighted else None
    weights = [draw(3, n_in, n_out) for n_in, n_out in pairwise(sizes)]
    biases = [draw(3, 1, n_out) for n_out in sizes[1:]]
    out = [torch.empty_like(tensor) for tensor in [*weights, *biases]]
    loss, scores, preactivations = backpropagate_stack(X, y, weights, biases, power, weight, out=out)
    for i in range(3):
        alone = backpropagate(X, y, [w[i] for w in weights], [b[i, 0] for b in biases], power, weight)
        torch.testing.assert_close(loss[i], alone[0])
        torch.testing.assert_close(scores[i], alone[1])
        for found, expected in zip(preactivations, alone[2], strict=True):
            torch.testing.assert_close(found[i], expected)
        for found, expected in zip(out, [*alone[3], *alone[4]], strict=True):
            torch.testing.assert_close(found[i].view_as(expected), expected)


@pytest.mark.parametrize("penalty", [L1(), L2(), Jacobian(), Jacobian("preactivation"), Jacobian("logits")])
@pytest.mark.parametrize("hidden", [(12,), ()])
@pytest.mark.parametrize("table", ["two_classes", "three_classes"])
@pytest.mark.parametrize(
    "options", [{}, {"standardize": False}, {"early_stopping": True}, {"hidden_bias": False}]
)
def test_networks_in_a_batch_are_those_fitted_one_by_one(request, table, penalty, hidden, options):
    X, y = request.getfixturevalue(table)
    X = scale(X) if options.get("standardize") is False else X
    classifier = RegularizedClassifier(hidden, penalty=penalty, optimizer="adam", random_state=3, **options)
    together, alone = each(classifier.set_params(max_iter=15, tol=None), X, y)
    for found, expected in zip(together, alone, strict=True):
        assert found.get_params()["alpha"] == expected.get_params()["alpha"]
        assert found.n_iter_ == expected.n_iter_
        for name in ("coefs_", "intercepts_"):
            for a, b in zip(getattr(found, name), getattr(expected, name), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-8)
        np.testing.assert_allclose(found.validation_scores_, expected.validation_scores_)
        assert (found.predict(X) == expected.predict(X)).mean() > 0.99


def test_each_network_ends_where_it_ends_alone(three_classes):
    settings = {"learning_rate": 0.02, "max_iter": 200, "tol": 1e-3, "n_iter_no_change": 3}
    classifier = RegularizedClassifier((8,), penalty="l2", random_state=0, **settings)
    together, alone = each(classifier, *three_classes, strengths=[1e-4, 0.1, 1.0])
    epochs = [fitted.n_iter_ for fitted in alone]
    assert len(set(epochs)) == 3
    assert [fitted.n_iter_ for fitted in together] == epochs
    for found, expected in zip(together, alone):
        np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-6, atol=1e-9)


def test_weights_of_rows_and_classes_count_in_a_batch(three_classes):
    X, y = three_classes
    weight = np.random.RandomState(0).randint(0, 3, len(y)).astype(float)
    classifier = RegularizedClassifier(
        (8,),
        penalty=Jacobian("logits"),
        class_weight={0: 3.0, 1: 1.0, 2: 0.5},
        max_iter=5,
        tol=None,
        random_state=0,
    )
    together, alone = each(classifier, X, y, weight)
    for found, expected in zip(together, alone):
        np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-6, atol=1e-9)


def test_float32_rows_are_learnt_in_float32(three_classes):
    X, y = three_classes
    (found,) = RegularizedClassifier((8,), penalty="l2", random_state=0)._fit_each(
        [0.1], X.astype("f"), y, None
    )
    assert found.coefs_[0].dtype == np.float32


class Halved(L2):
    """Half of the squares, by gradients that know one network only."""

    def value(self, batch):
        return sum(weight.square().sum() for weight in batch.weights) / 2

    def gradients(self, batch):
        return self.value(batch), [*batch.weights]


class Renamed(L2):
    """L2 as it is."""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"penalty": "l1"}, True),
        ({"penalty": "l2"}, True),
        ({"penalty": Renamed()}, True),
        ({"penalty": "jacobian"}, True),
        ({"penalty": "jacobian", "hidden_layer_sizes": ()}, True),
        ({"penalty": Jacobian("preactivation"), "power": 3.0}, True),
        ({"penalty": "l2", "hidden_layer_sizes": (3, 4)}, True),
        ({"penalty": Halved()}, False),
        ({"penalty": L2(intercepts=True)}, False),
        ({"penalty": "jacobian", "hidden_layer_sizes": (3, 4)}, False),
        ({"penalty": "jacobian", "power": 2.0}, False),
        ({"penalty": Jacobian(n_projections=2)}, False),
        ({"penalty": "spectral"}, False),
        ({"penalty": "l2", "optimizer": "sgd"}, False),
        ({"penalty": "l2", "optimizer": torch.optim.Adam}, False),
        ({"penalty": "l2", "batch_norm": True}, False),
        ({"penalty": "l2", "hidden_layer_sizes": ()}, False),  # a convex loss, which L-BFGS solves
        ({"penalty": None}, False),
    ],
)
def test_what_learns_in_a_batch(options, expected):
    assert _stack.stackable(RegularizedClassifier(**options)._settings()) is expected


def results_of(search):
    return {key: value for key, value in search.cv_results_.items() if "time" not in key}


@pytest.mark.parametrize("penalty", ["jacobian", Spectral("preactivation"), Halved()])
def test_the_results_are_those_of_a_grid_search(two_classes, penalty):
    X, y = two_classes
    X = scale(X)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    settings = {
        "hidden_layer_sizes": (10,),
        "penalty": penalty,
        "random_state": 0,
        "max_iter": 4,
        "tol": None,
    }
    scoring = {"accuracy": "accuracy", "robust": AdversarialScorer(eps=0.2, max_samples=20, random_state=0)}
    alphas = [1e-4, 1e-2, 0.3]
    grid = GridSearchCV(
        RegularizedClassifier(**settings), {"alpha": alphas}, cv=cv, scoring=scoring, refit="robust"
    ).fit(X, y)
    ours = RegularizedClassifierCV(**settings, alphas=alphas, cv=cv, scoring=scoring, refit="robust").fit(
        X, y
    )
    assert ours.cv_results_.keys() == grid.cv_results_.keys()
    for key, value in results_of(grid).items():
        if key == "params":
            assert ours.cv_results_[key] == value
        else:
            np.testing.assert_allclose(ours.cv_results_[key].astype(float), value.astype(float), atol=1e-12)
    assert (ours.alpha_, ours.best_index_) == (grid.best_params_["alpha"], grid.best_index_)
    assert ours.best_score_ == pytest.approx(grid.best_score_)
    assert ours.n_splits_ == grid.n_splits_
    np.testing.assert_array_equal(ours.coefs_[0], grid.best_estimator_.coefs_[0])
    np.testing.assert_array_equal(ours.predict(X), grid.predict(X))
    assert ours.loss_curve_ == grid.best_estimator_.loss_curve_
    display = TradeOffDisplay.from_cv_results(ours, color_by="alpha")
    assert display.chosen == grid.best_index_


def test_processes_change_no_bit(three_classes):
    searches = [
        RegularizedClassifierCV((8,), alphas=STRENGTHS, max_iter=3, tol=None, cv=3, random_state=0, n_jobs=n)
        for n in (None, 2)
    ]
    first, second = (search.fit(*three_classes) for search in searches)
    for key, value in results_of(first).items():
        np.testing.assert_array_equal(second.cv_results_[key], value)
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])


def test_many_strengths_are_parted_so_that_the_batch_does_not_depend_on_processes(three_classes, monkeypatch):
    sizes = []
    train_stack = _stack.train_stack

    def counted(task, strengths):
        sizes.append(len(strengths))
        return train_stack(task, strengths)

    monkeypatch.setattr("sklearn_brm._classifier._estimator.train_stack", counted)
    alphas = np.logspace(-4, 0, 35)
    settings = {"alphas": alphas, "cv": 2, "max_iter": 1, "tol": None, "random_state": 0}
    search = RegularizedClassifierCV((4,), **settings).fit(*three_classes)
    assert sizes == [12, 12, 11] * 2
    np.testing.assert_array_equal(search.cv_results_["param_alpha"], alphas)


def test_the_default_score_is_the_accuracy_and_ties_go_to_the_first(three_classes):
    X, y = three_classes
    search = RegularizedClassifierCV((8,), alphas=[1.0, 1e-4], cv=3, random_state=0).fit(X, y)
    assert search.alpha_ == 1e-4
    tied = clone(search).set_params(scoring=make_scorer(lambda y, predicted: 0.5)).fit(X, y)
    assert (tied.alpha_, tied.best_index_, tied.best_score_) == (1.0, 0, 0.5)
    np.testing.assert_array_equal(tied.cv_results_["rank_test_score"], [1, 1])


def test_a_scorer_that_returns_several_scores_needs_a_name(three_classes):
    def several(estimator, X, y):
        return {"right": estimator.score(X, y), "wrong": 1 - estimator.score(X, y)}

    search = RegularizedClassifierCV(
        (8,), alphas=[1.0, 1e-4], cv=3, random_state=0, scoring=several, refit="right"
    )
    assert search.fit(*three_classes).alpha_ == 1e-4
    assert search.set_params(refit="wrong").fit(*three_classes).alpha_ == 1.0
    with pytest.raises(ValueError, match=r"'refit'.*must be one of \['right', 'wrong'\] or a callable"):
        search.set_params(refit=True).fit(*three_classes)


def test_a_callable_decides_from_the_results(three_classes):
    search = RegularizedClassifierCV(
        (8,),
        alphas=[1.0, 1e-4],
        cv=3,
        random_state=0,
        refit=lambda results: results["mean_test_score"].argmin(),
    )
    assert search.fit(*three_classes).alpha_ == 1.0
    assert not hasattr(search, "best_score_")
    for wrong, kind in ((2, ValueError), (-1, ValueError), (0.0, TypeError), (True, TypeError)):
        with pytest.raises(kind, match=r"'refit'.*an int in \[0, 1\]"):
            search.set_params(refit=lambda results, wrong=wrong: wrong).fit(*three_classes)


@pytest.mark.parametrize("penalty", ["l2", Halved()])
def test_a_strength_that_diverges_is_not_chosen(three_classes, penalty):
    X, y = three_classes
    # Steps this long throw the weights far beyond where squares of them are finite.
    settings = {"penalty": penalty, "learning_rate": 1.0, "max_iter": 30, "tol": None, "random_state": 0}
    search = RegularizedClassifierCV((8,), alphas=[1e308, 1e-4], cv=3, **settings)
    with pytest.warns(FitFailedWarning, match=r"3 of 6 trainings diverged, under alpha=\[1e\+308\]"):
        search.fit(X, y)
    assert search.alpha_ == 1e-4
    assert np.isnan(search.cv_results_["mean_test_score"][0])
    np.testing.assert_array_equal(search.cv_results_["rank_test_score"], [2, 1])
    with (
        pytest.warns(FitFailedWarning, match="6 of 6"),
        pytest.raises(ValueError, match="No strength can be chosen"),
    ):
        search.set_params(alphas=[1e308, 1e307]).fit(X, y)


@pytest.mark.parametrize("penalty", ["jacobian", Spectral("preactivation")])
def test_a_table_reaches_the_scorer_with_its_names(two_classes, penalty):
    X, y = two_classes
    frame = pd.DataFrame(X, columns=[f"column {j}" for j in range(X.shape[1])])
    seen = []

    def score(estimator, X, y):
        seen.append(list(X.columns))
        return estimator.score(X, y)

    search = RegularizedClassifierCV(
        (4,), penalty=penalty, alphas=[0.1, 1.0], cv=2, max_iter=2, tol=None, scoring=score, random_state=0
    )
    search.fit(frame, pd.Series(y))
    assert seen == [list(frame.columns)] * 4
    assert list(search.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        search.predict(frame[frame.columns[::-1]])


def test_groups_reach_the_splitter_and_other_metadata_needs_routing(three_classes):
    X, y = three_classes
    groups = np.arange(len(y)) % 4
    search = RegularizedClassifierCV(
        (4,), alphas=[0.1, 1.0], cv=GroupKFold(4), max_iter=2, tol=None, random_state=0
    )
    assert search.fit(X, y, groups=groups).n_splits_ == 4
    with pytest.raises(ValueError, match=r"\['color'\] only where metadata routing is enabled"):
        search.fit(X, y, color=groups)
    with config_context(enable_metadata_routing=True):
        assert search.fit(X, y, groups=groups).n_splits_ == 4


def test_weights_reach_training_and_scores_that_take_them(three_classes):
    X, y = three_classes
    weight = np.where(y == 2, 0.01, 1.0)
    seen = []

    def score(y, predicted, sample_weight=None):
        seen.append(sample_weight)
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    def search(scoring):
        return RegularizedClassifierCV((4,), alphas=[0.1], cv=3, random_state=0, scoring=scoring)

    scorer = make_scorer(score)
    unweighted, weighted = search(scorer).fit(X, y), search(scorer).fit(X, y, sample_weight=weight)
    assert (weighted.predict(X) == 2).sum() < (unweighted.predict(X) == 2).sum()
    assert seen[:3] == [None] * 3
    np.testing.assert_array_equal(np.sort(np.concatenate(seen[3:])), np.sort(weight))
    assert 0 <= search(lambda estimator, X, y: 0.5).fit(X, y, weight).best_score_ <= 1
    with config_context(enable_metadata_routing=True):
        del seen[:]
        scorer.set_score_request(sample_weight=False)
        search(scorer).set_fit_request(sample_weight=True).fit(X, y, sample_weight=weight)
        assert seen == [None] * 3
        scorer.set_score_request(sample_weight=True)
        search(scorer).set_fit_request(sample_weight=True).fit(X, y, sample_weight=weight)
        assert sum(map(len, seen[3:])) == len(y)


def test_a_fitted_search_is_a_network_like_any_other(two_classes):
    X, y = scale(two_classes[0]), two_classes[1]
    search = RegularizedClassifierCV((6,), alphas=[1e-3, 0.1], cv=2, max_iter=5, tol=None, random_state=0)
    pipeline = make_pipeline(StandardScaler(), search).fit(X, y)
    robust = AdversarialScorer(eps=0.1, max_samples=20, random_state=0)
    assert 0 <= robust(pipeline, X, y) <= pipeline.score(X, y)
    scores = to_torch(pipeline)(torch.as_tensor(X[:5]))
    np.testing.assert_allclose(
        (scores[:, 1] - scores[:, 0]).detach().numpy(), pipeline.decision_function(X[:5]), rtol=1e-6
    )
    assert search.hidden(X).shape == (len(X), 6)


def test_a_second_fit_forgets_the_first(two_classes, three_classes):
    search = RegularizedClassifierCV((6,), alphas=[1e-3, 0.1], cv=2, max_iter=5, tol=None, random_state=0)
    search.fit(*two_classes).set_params(alphas=[0.5]).fit(*three_classes)
    assert (search.alpha_, search.n_features_in_, len(search.classes_)) == (0.5, 4, 3)
    assert len(search.cv_results_["params"]) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"penalty": None}, TypeError, "'penalty'.*one word or one Penalty"),
        ({"penalty": ["l1", "l2"]}, TypeError, "'penalty'.*one word or one Penalty"),
        ({"penalty": "l3"}, ValueError, "'penalty'"),
        ({"alphas": []}, ValueError, "'alphas'.*one or more floats"),
        ({"alphas": 0.1}, ValueError, "'alphas'.*one or more floats"),
        ({"alphas": [0.1, 0.1]}, ValueError, "'alphas'.*all different"),
        ({"alphas": [0.1, -1.0]}, ValueError, "'alphas'"),
        ({"alphas": [0.1, np.nan]}, ValueError, "'alphas'"),
        ({"alphas": ["weak"]}, TypeError, "'alphas'"),
        ({"refit": False}, TypeError, "'refit'"),
        ({"refit": "robust"}, ValueError, r"'refit'.*one of \['score'\]"),
        ({"n_jobs": 1.5}, TypeError, "'n_jobs'"),
        ({"n_jobs": 0}, ValueError, "n_jobs == 0"),
        ({"cv": 1}, ValueError, r"'cv'.*an int in \[2, inf\)"),
        ({"cv": "five"}, ValueError, "'cv'"),
        ({"cv": 2.0}, TypeError, "'cv'"),
        ({"cv": 100}, ValueError, "'cv'.*does not fit the 150 rows: n_splits=100"),
        ({"cv": [1, 2]}, ValueError, "'cv'.*does not fit the 150 rows"),
        ({"cv": [([0, 1], [150])]}, ValueError, "'cv'.*does not fit the 150 rows: index 150"),
        ({"cv": [([0, 60], np.array([], dtype=int))]}, ValueError, "'cv'.*with rows on both sides"),
        ({"cv": []}, ValueError, "'cv'.*with rows on both sides"),
        ({"scoring": "acuracy"}, ValueError, "scoring"),
        (
            {"hidden_layer_sizes": (0,)},
            ValueError,
            "'hidden_layer_sizes' parameter of RegularizedClassifierCV",
        ),
    ],
)
def test_mistakes_get_a_message(three_classes, options, error, message):
    with pytest.raises(error, match=message):
        RegularizedClassifierCV(**{"max_iter": 1, "tol": None, **options}).fit(*three_classes)


def test_a_scorer_must_return_a_number(three_classes):
    search = RegularizedClassifierCV(
        alphas=[0.1], max_iter=1, tol=None, scoring=lambda estimator, X, y: "good"
    )
    with pytest.raises(ValueError, match="scoring must return a number, got 'good'"):
        search.fit(*three_classes)


def test_progress_is_shown_on_request_only(three_classes, capsys):
    search = RegularizedClassifierCV((4,), alphas=[0.1, 1.0], cv=2, max_iter=2, tol=None, random_state=0)
    search.fit(*three_classes)
    assert capsys.readouterr().err == ""
    search.set_params(verbose=1).fit(*three_classes)
    assert "RegularizedClassifierCV" in capsys.readouterr().err


def test_what_the_user_gave_stays_as_it_is(three_classes):
    X, y = (array.copy() for array in three_classes)
    penalty, state = Adversarial(eps=0.1), np.random.RandomState(0)
    alphas = np.array([0.1, 1.0])
    X.setflags(write=False)
    search = RegularizedClassifierCV(
        (4,), penalty=penalty, alphas=alphas, cv=2, max_iter=2, tol=None, random_state=state
    )
    before = torch.get_rng_state()
    search.fit(X, y)
    assert isinstance(search.penalty, Penalty)
    assert penalty.alpha == Adversarial().alpha
    assert search.alphas is alphas
    assert search.random_state is state
    torch.testing.assert_close(torch.get_rng_state(), before)


def test_ctrl_c_ends_a_search(three_classes):
    def press(estimator, X, y):
        raise KeyboardInterrupt

    search = RegularizedClassifierCV((4,), alphas=[0.1, 1.0], cv=2, max_iter=2, tol=None, scoring=press)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*three_classes)


def test_rows_that_are_sparse_are_split_as_others():
    from scipy import sparse

    X, y = make_classification(60, 8, random_state=0)
    X[np.abs(X) < 0.5] = 0
    search = RegularizedClassifierCV((4,), alphas=[0.1, 1.0], cv=2, max_iter=2, tol=None, random_state=0)
    dense_scores = search.fit(X, y).cv_results_["mean_test_score"]
    sparse_scores = search.fit(sparse.coo_matrix(X), y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(dense_scores, sparse_scores)


def test_where_memory_runs_out_networks_learn_one_by_one(three_classes, monkeypatch):
    search = RegularizedClassifierCV((4,), alphas=[0.1, 1.0], cv=2, max_iter=2, tol=None, random_state=0)
    expected = clone(search).fit(*three_classes).cv_results_["mean_test_score"]

    def full(*args, **kwargs):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(_stack, "backpropagate_stack", full)
    np.testing.assert_array_equal(search.fit(*three_classes).cv_results_["mean_test_score"], expected)

    def wrong(*args, **kwargs):
        raise RuntimeError("something else")

    monkeypatch.setattr(_stack, "backpropagate_stack", wrong)
    with pytest.raises(RuntimeError, match="something else"):
        search.fit(*three_classes)


@pytest.mark.parametrize("scoring", [None, "accuracy", ["accuracy", "f1_macro"], {"right": "accuracy"}])
def test_a_wrong_name_of_a_score_is_found_before_any_work(three_classes, scoring, monkeypatch):
    monkeypatch.setattr(RegularizedClassifier, "_fit_each", None)
    with pytest.raises(ValueError, match=r"'refit'.*one of"):
        RegularizedClassifierCV(scoring=scoring, refit="robust").fit(*three_classes)


@pytest.mark.parametrize(("n_units", "sizes"), [(50, [8]), (200, [3, 3, 2]), (240, [2, 2, 2, 2]), (300, [])])
def test_large_networks_learn_in_smaller_batches_and_one_by_one(three_classes, monkeypatch, n_units, sizes):
    seen = []
    start = _stack.NetworkStack.__init__

    def counted(self, network, n_networks):
        seen.append(n_networks)
        start(self, network, n_networks)

    monkeypatch.setattr(_stack.NetworkStack, "__init__", counted)
    monkeypatch.setattr(_stack, "_ENTRIES", (3 * 200**2, 0))
    strengths = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 2.0, 3.0, 4.0]
    settings = {"max_iter": 2, "tol": None, "random_state": 0, "device": "cpu"}
    classifier = RegularizedClassifier((n_units,), penalty="l2", **settings)
    found = classifier._fit_each(strengths, *three_classes, None)
    assert seen == sizes
    assert [fitted.alpha for fitted in found] == strengths
    alone = clone(classifier).set_params(alpha=3.0).fit(*three_classes)
    np.testing.assert_allclose(found[6].coefs_[0], alone.coefs_[0], rtol=1e-6, atol=1e-9)
