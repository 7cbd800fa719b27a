"""AdversarialScorer as scikit-learn's scorer: every way of scoring, every metric, bad input, many labels."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_brm import AdversarialScorer, RobustnessWarning, ThreatModel, adversarial_examples

X, y = load_iris(return_X_y=True)
METRICS = {
    "accuracy",
    "robust_accuracy",
    "robust_accuracy_low",
    "robust_accuracy_high",
    "relative_accuracy",
    "attack_success_rate",
    "median_critical_perturbation",
    "certified_accuracy",
}


def pipeline(C=1.0):
    return make_pipeline(StandardScaler(), LogisticRegression(C=C))


@pytest.fixture
def model():
    return pipeline().fit(X, y)


def scorer(**kwargs):
    options = {"eps": 0.3, "n_steps": 10, "max_queries": 40, "random_state": 0, "device": "cpu", **kwargs}
    return AdversarialScorer(**options)


def test_score_is_the_accuracy_of_predict_on_the_adversarial_rows(model):
    found = adversarial_examples(model, X, y, eps=0.3, n_steps=10, max_queries=40, random_state=0)
    expected = np.mean(model.predict(found.X) == y)
    assert scorer()(model, X, y) == pytest.approx(expected)
    assert scorer().score(model, X, y) == pytest.approx(expected)
    assert expected < np.mean(model.predict(X) == y)


def test_all_metrics_follow_from_each_other_and_match_the_single_ones(model):
    values = scorer(metric="all")(model, X, y)
    assert set(values) == METRICS
    assert values["accuracy"] == model.score(X, y)
    assert values["relative_accuracy"] == pytest.approx(values["robust_accuracy"] / values["accuracy"])
    assert values["attack_success_rate"] == pytest.approx(1 - values["relative_accuracy"])
    for name in METRICS - {"accuracy", "robust_accuracy_low", "robust_accuracy_high"}:
        assert scorer(metric=name)(model, X, y) == pytest.approx(values[name], abs=0.01)
    assert values["certified_accuracy"] <= values["robust_accuracy"]


def test_without_room_to_move_the_score_is_the_clean_accuracy(model):
    assert scorer(eps=0)(model, X, y) == model.score(X, y)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("form", ["single", "dict", "all"])
def test_every_way_of_scoring_works_with_metadata_routing_on_and_off(routing, form):
    scoring = {
        "single": scorer(),
        "dict": {"accuracy": "accuracy", "robust": scorer()},
        "all": scorer(metric="all"),
    }[form]
    with sklearn.config_context(enable_metadata_routing=routing):
        result = cross_validate(pipeline(), X, y, scoring=scoring, cv=3)
    names = {"single": ["score"], "dict": ["accuracy", "robust"], "all": METRICS}[form]
    for name in names:
        assert np.isfinite(result[f"test_{name}"]).all()


@pytest.mark.parametrize("form", ["single", "dict"])
@pytest.mark.parametrize("requested", [False, True])
def test_sample_weight_is_used_exactly_when_it_is_requested(form, requested):
    weight = np.where(y == 0, 1.0, 0.2)
    with sklearn.config_context(enable_metadata_routing=True):
        robust = scorer().set_score_request(sample_weight=requested)
        inner = LogisticRegression(C=0.1).set_fit_request(sample_weight=True)
        scoring = robust if form == "single" else {"robust": robust}
        result = cross_validate(
            inner,
            X,
            y,
            scoring=scoring,
            cv=3,
            params={"sample_weight": weight},
            return_estimator=True,
            return_indices=True,
        )
        scores = result["test_score" if form == "single" else "test_robust"]
        for score, fitted, test in zip(scores, result["estimator"], result["indices"]["test"]):
            unweighted, weighted = (
                scorer()(fitted, X[test], y[test]),
                scorer()(fitted, X[test], y[test], weight[test]),
            )
            assert weighted != unweighted
            assert score == (weighted if requested else unweighted)


def test_weights_of_one_equal_none_and_weights_count_rows(model):
    twice = np.where(np.arange(len(y)) % 3 == 0, 2.0, 1.0)
    rows = np.repeat(np.arange(len(y)), twice.astype(int))
    assert scorer()(model, X, y, sample_weight=np.ones(len(y))) == scorer()(model, X, y)
    weighted = scorer()(model, X, y, sample_weight=twice)
    assert weighted == pytest.approx(scorer()(model, X[rows], y[rows]), abs=0.01)


def test_grid_search_with_two_workers_gives_the_scores_of_one():
    def search(n_jobs):
        grid = {"logisticregression__C": [0.01, 1.0]}
        scoring = {"accuracy": "accuracy", "robust": scorer()}
        return GridSearchCV(pipeline(), grid, scoring=scoring, refit="robust", cv=2, n_jobs=n_jobs).fit(X, y)

    one, two = search(1), search(2)
    np.testing.assert_array_equal(one.cv_results_["mean_test_robust"], two.cv_results_["mean_test_robust"])
    assert (one.cv_results_["mean_test_robust"] < one.cv_results_["mean_test_accuracy"]).all()


def test_one_attack_feeds_a_search_with_several_metrics():
    search = GridSearchCV(
        pipeline(),
        {"logisticregression__C": [0.01, 1.0]},
        scoring=scorer(metric="all"),
        refit="robust_accuracy",
    )
    search.fit(X, y)
    assert {f"mean_test_{name}" for name in METRICS} <= set(search.cv_results_)


def test_the_same_seed_gives_the_same_score_and_leaves_global_generators_alone(model, global_state_unchanged):
    first = scorer(metric="all")(model, X, y)
    scorer(random_state=5)(model, X, y)
    assert scorer(metric="all")(model, X, y) == first


def test_the_score_does_not_depend_on_the_batch_size(model):
    assert scorer(batch_size=7)(model, X, y) == scorer(batch_size=500)(model, X, y)


def test_max_samples_attacks_that_many_rows_and_the_same_ones_each_time(model):
    asked = []

    def spy(estimator, rows, labels):
        asked.append(rows)
        return rows

    few = scorer(attack=spy, max_samples=20)
    few(model, X, y)
    few(model, X, y)
    assert len(asked[0]) <= 20
    np.testing.assert_array_equal(asked[0], asked[1])


def test_clone_pickle_and_repr_work(model):
    original = scorer(threat=ThreatModel(norm=2, bounds=(0.0, 8.0)))
    for copy in (clone(original), pickle.loads(pickle.dumps(original))):
        assert copy(model, X, y) == original(model, X, y)
        assert repr(copy) == repr(original)


@pytest.mark.parametrize(
    "labels",
    [np.array([5, 7, 9])[y], np.array(["a", "b", "c"])[y], np.array(["a", "b", "c"], dtype=object)[y]],
)
def test_labels_of_any_type_give_the_same_score(labels, model):
    assert scorer()(pipeline().fit(X, labels), X, labels) == scorer()(model, X, y)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_digits])
def test_two_three_and_ten_classes_work_with_gradients_and_without(load):
    rows, labels = load(return_X_y=True)
    rows, labels = rows[:120], labels[:120]
    linear = pipeline().fit(rows, labels)
    trees = RandomForestClassifier(5, random_state=0).fit(rows, labels)
    for estimator in (linear, trees):
        robust = scorer(threat=ThreatModel(scale="std", reference_X=rows), eps=0.5)(estimator, rows, labels)
        assert 0 <= robust < estimator.score(rows, labels)


def test_a_data_frame_through_a_pipeline_gives_the_score_of_its_array(model):
    frame = pd.DataFrame(X, columns=list("abcd"))
    assert scorer()(pipeline().fit(frame, y), frame, y) == scorer()(model, X, y)


def test_read_only_rows_are_attacked_and_left_as_they_are(model):
    frozen = X.copy()
    frozen.flags.writeable = False
    assert scorer()(model, frozen, y) == scorer()(model, X, y)
    np.testing.assert_array_equal(frozen, X)


def test_labels_that_the_estimator_never_saw_count_as_wrong(model):
    strange = np.where(np.arange(len(y)) < 10, 99, y)
    with pytest.warns(RobustnessWarning, match=r"never saw the labels \[99\], of 10 rows, which count as"):
        score = scorer(eps=0)(model, X, strange)
    assert score == np.mean(model.predict(X) == strange)


def test_relative_metrics_are_nan_where_no_row_is_right(model):
    wrong = (model.predict(X) + 1) % 3
    values = scorer(metric="all")(model, X, wrong)
    assert values["accuracy"] == values["robust_accuracy"] == 0
    assert np.isnan([values["relative_accuracy"], values["median_critical_perturbation"]]).all()


class CoinFlipper(ClassifierMixin, BaseEstimator):
    """Answers at random near one boundary."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.random_ = np.random.RandomState(0)
        return self

    def predict(self, X):
        return self.classes_[self.random_.randint(len(self.classes_), size=len(X))]


def test_a_scorer_warns_of_each_kind_of_doubt_once():
    flipper, told = CoinFlipper().fit(X, y), scorer()
    with pytest.warns(RobustnessWarning, match=r"answers \d+ of 150 rows differently when asked twice"):
        told(flipper, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told(flipper, X, y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"eps": -1}, ValueError, r"'eps' parameter of AdversarialScorer must be a float in \[0, inf\)"),
        ({"eps": np.nan}, ValueError, r"'eps' parameter of AdversarialScorer"),
        ({"eps": "big"}, ValueError, r"'eps' parameter of AdversarialScorer"),
        (
            {"threat": ThreatModel(3)},
            ValueError,
            r"'norm' parameter of ThreatModel must be inf, 2 or 1, or 'linf', 'l2' or 'l1'. Got 3",
        ),
        ({"metric": "auc"}, ValueError, r"'metric' parameter of AdversarialScorer must be 'robust_accuracy'"),
        (
            {"attack": "pgdd"},
            ValueError,
            r"'attack' parameter of AdversarialScorer must be a callable, an Attack, one of",
        ),
        ({"attack": 3}, TypeError, r"'attack' parameter of AdversarialScorer"),
        ({"attack": []}, TypeError, r"'attack' parameter of AdversarialScorer"),
        (
            {"n_steps": 0},
            ValueError,
            r"'n_steps' parameter of AdversarialScorer must be an int in \[1, inf\)",
        ),
        ({"batch_size": 2.5}, TypeError, r"'batch_size' parameter of AdversarialScorer must be an int"),
        ({"max_samples": 0}, ValueError, r"'max_samples' parameter of AdversarialScorer must be an int"),
        (
            {"threat": ThreatModel(scale="mad", reference_X=X)},
            ValueError,
            r"'scale' parameter of ThreatModel must be None, 'std', 'range'",
        ),
        (
            {"threat": ThreatModel(scale="std")},
            ValueError,
            r"scale='std' needs the 'reference_X' parameter of Thr",
        ),
        ({"threat": ThreatModel(scale=[1, 2])}, ValueError, r"'scale' parameter .* a number or 4 numbers"),
        ({"threat": ThreatModel(scale=[1, 2, 3, -1])}, ValueError, r"'scale' parameter .* none negative"),
        (
            {"threat": ThreatModel(bounds="data")},
            ValueError,
            r"bounds='data' needs the 'reference_X' parameter",
        ),
        (
            {"threat": ThreatModel(bounds=(1, 0))},
            ValueError,
            r"'bounds' parameter of ThreatModel must be None, 'd",
        ),
        (
            {"threat": ThreatModel(bounds=3)},
            TypeError,
            r"'bounds' parameter of ThreatModel must be None, 'data'",
        ),
        (
            {"threat": ThreatModel(bounds=(0, 1))},
            ValueError,
            r"'bounds' .* hold for every clean row.* Got 5.1 in row 0",
        ),
        (
            {"threat": ThreatModel(reference_X=X[:, :2])},
            ValueError,
            r"'reference_X' parameter .* data with the 4 features of X",
        ),
        (
            {"threat": {"mutable": [0]}},
            TypeError,
            r"'threat' parameter of AdversarialScorer must be a ThreatModel or None",
        ),
        (
            {"device": "cuda:99"},
            ValueError,
            r"'device' parameter of AdversarialScorer must be 'auto' or a device",
        ),
    ],
)
def test_bad_parameters_are_named_with_their_rule_and_value(parameters, error, message, model):
    with pytest.raises(error, match=message):
        scorer(**parameters)(model, X, y)


def test_bad_data_and_estimators_are_refused_in_plain_words(model):
    from scipy import sparse

    with pytest.raises(
        ValueError, match=r"Input X contains NaN.\nLogisticRegression does not accept missing values"
    ):
        scorer()(model, np.where(X > 7, np.nan, X), y)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        scorer()(model, np.where(X > 7, np.inf, X), y)
    with pytest.raises(TypeError, match=r"dense array or a DataFrame; use X.toarray\(\)"):
        scorer()(model, sparse.csr_array(X), y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[150, 149\]"):
        scorer()(model, X, y[:-1])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        scorer()(model, X[:0], y[:0])
    with pytest.raises(NotFittedError):
        scorer()(pipeline(), X, y)
    with pytest.raises(TypeError, match="fitted classifier with a predict method"):
        scorer()(LogisticRegression, X, y)
    with pytest.raises(ValueError, match="fitted classifier with a predict method"):
        scorer()(LinearRegression().fit(X, y), X, y)
    with pytest.raises(ValueError, match="sample_weight must be 150 finite numbers, none negative"):
        scorer()(model, X, y, sample_weight=-np.ones(150))


def test_a_gradient_attack_on_a_step_without_gradient_says_what_to_do():
    # Whether the default 100 iterations suffice depends on the processor's kernels.
    odd = make_pipeline(FunctionTransformer(np.round), LogisticRegression(max_iter=1000)).fit(X, y)
    with pytest.raises(ValueError, match=r"(?s)functiontransformer.*black box"):
        scorer(attack="pgd")(odd, X, y)
    assert scorer(attack="worst_case")(odd, X, y) < odd.score(X, y)
