"""A smoothed classifier certifies no more than is true, and is an estimator like any other."""

import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest, norm
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_brm import SmoothedClassifier, ThreatModel, adversarial_examples
from sklearn_brm._robustness._intervals import lowest_share


class Asked(ClassifierMixin, BaseEstimator):
    """Answer by a function of the first column, and keep what was fitted and asked."""

    def __init__(self, answer=lambda x: x > 0):
        self.answer = answer

    def fit(self, X, y):
        self.fitted_, self.labels_, self.asked_ = X, y, []
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        self.asked_.append(X)
        first = np.asarray(X, dtype=float)[:, 0] if not hasattr(X, "iloc") else X.iloc[:, 0].to_numpy(float)
        return self.classes_[self.answer(first).astype(int)]


def ready(answer=lambda x: x > 0, labels=(0, 1)):
    """Return a frozen classifier of the first of two columns."""
    return FrozenEstimator(Asked(answer).fit(np.zeros((2, 2)), np.array(labels)))


def smooth(answer=lambda x: x > 0, labels=(0, 1), **kwargs):
    """Return a smoothed classifier of two columns in raw units."""
    kwargs = {"sigma": 1.0, "scale": None, "random_state": 0, **kwargs}
    return SmoothedClassifier(ready(answer, labels), **kwargs).fit(np.zeros((2, 2)), np.array(labels))


@pytest.fixture(scope="module")
def cancer():
    X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
    return X, X_test, y, y_test


@pytest.fixture
def people():
    frame = pd.DataFrame(
        {
            "income": [2500.0, 1800.0, np.nan, 5200.0, 3100.0, 2100.0, 4400.0, 2900.0],
            "age": [25, 32, 47, 51, 62, 23, 39, 44],
            "children": pd.array([0, 1, None, 2, 3, 0, 1, 2], dtype="Int64"),
            "city": ["Oslo", "Bergen", "Oslo", "Bodø", "Oslo", "Bergen", None, "Oslo"],
            "owner": [False, False, True, True, True, False, True, False],
            "one": 1,
        }
    )
    return frame, np.array(["no", "no", "yes", "yes", "yes", "no", "yes", "no"])


def lenders():
    """Return a pipeline that takes the rows of `people`."""
    return make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["city", "owner"]),
            (make_pipeline(SimpleImputer(), StandardScaler()), ["income", "age", "children"]),
        ),
        LogisticRegression(max_iter=1000),
    )


@parametrize_with_checks(
    [
        SmoothedClassifier(LogisticRegression(max_iter=1000), n_samples=100),
        SmoothedClassifier(LogisticRegression(max_iter=1000), n_samples=100, n_copies=0, scale=2.0),
        SmoothedClassifier(DecisionTreeClassifier(random_state=0), n_samples=50, scale=None, n_selection=10),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# What is certified


@pytest.mark.parametrize("n", [1, 7, 1000])
@pytest.mark.parametrize("alpha", [0.2, 0.001])
def test_the_lower_bound_is_that_of_an_exact_binomial_test(n, alpha):
    hits = np.unique(np.linspace(0, n, 20).astype(int))
    tests = [binomtest(int(k), n, alternative="greater") for k in hits]
    expected = [test.proportion_ci(confidence_level=1 - alpha, method="exact").low for test in tests]
    np.testing.assert_allclose(lowest_share(hits, n, alpha), expected, rtol=1e-9)


def test_the_radius_follows_from_the_votes_by_the_formula_of_the_paper():
    model = smooth(n_samples=300, alpha=0.02, sigma=0.7)
    X = np.column_stack([np.linspace(-2, 2, 21), np.zeros(21)])
    votes = np.round(model.predict_proba(X).max(axis=1) * 300).astype(int)
    for hits, radius in zip(votes, model.certified_radius(X)):
        test = binomtest(int(hits), 300, alternative="greater")
        low = test.proportion_ci(confidence_level=0.98, method="exact").low
        assert radius == pytest.approx(max(0, 0.7 * norm.ppf(low)), abs=1e-9)


def test_shares_of_votes_are_those_of_normal_noise_around_the_row():
    def inside(x):
        return np.abs(x) < 1

    x, sigma, n = np.linspace(-3, 3, 13), 0.8, 20_000
    expected = norm.cdf((1 - x) / sigma) - norm.cdf((-1 - x) / sigma)
    found = smooth(inside, sigma=sigma, n_samples=n).predict_proba(np.column_stack([x, x]))
    assert (np.abs(found[:, 1] - expected) < 5 * np.sqrt(0.25 / n)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_the_radius_of_a_linear_model_comes_close_to_its_margin_and_stays_below():
    X = np.array([[0.5, 3.0], [-1.0, 0.0], [2.0, -1.0]])
    margin = np.abs(X[:, 0])
    found = [smooth(n_samples=n).certified_radius(X) for n in (100, 2000, 100_000)]
    gaps = margin - found
    assert (gaps > 0).all()
    assert (np.diff(gaps, axis=0) < 0).all()
    np.testing.assert_allclose(found[-1], margin, rtol=0.06)


def test_certificates_are_wrong_as_often_as_the_binomial_law_says():
    """The share of seeds with a radius beyond the margin is the probability that the exact interval fails."""
    n, alpha, margin, n_seeds = 60, 0.1, 1.0, 600
    share = norm.cdf(margin)
    bounds = [
        binomtest(k, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
        for k in range(n + 1)
    ]
    expected = binom.pmf(np.arange(n + 1), n, share)[np.array(bounds) > share].sum()
    assert 0.05 < expected <= alpha
    model, wrong = ready(), 0
    for seed in range(n_seeds):
        smoothed = SmoothedClassifier(model, 1.0, n, alpha, scale=None, random_state=seed)
        radius = smoothed.fit(np.zeros((2, 2)), [0, 1]).certified_radius([[margin, 0.0]])
        wrong += radius[0] > margin
    assert binom.ppf(1e-4, n_seeds, expected) <= wrong <= binom.ppf(1 - 1e-4, n_seeds, expected)


def test_the_class_is_selected_on_draws_that_are_not_counted():
    model = smooth(n_samples=70, n_selection=30, batch_size=16)
    asked = model.estimator_.estimator.asked_
    model.predict(np.zeros((1, 2)))
    points = np.concatenate(asked)
    assert points.shape == (100, 2)
    assert len(np.unique(points, axis=0)) == 100
    answers = points[30:, 0] > 0
    assert model.predict_proba(np.zeros((1, 2)))[0, 1] == answers.mean()


def test_a_selected_class_without_a_majority_has_no_radius():
    # One draw selects; where it differs from the majority, nothing is certified.
    model = smooth(n_selection=1, n_samples=500)
    X = [[0.4, 0.0]]
    radii = []
    for seed in range(40):
        model.noise_seed_ = seed
        radii.append(model.certified_radius(X)[0])
    first = np.array([np.random.default_rng(seed).standard_normal(2)[0] for seed in range(40)])
    np.testing.assert_array_equal(np.array(radii) > 0, first > -0.4)


def test_no_radius_is_above_the_largest_that_the_draws_allow():
    model = smooth(n_samples=50, alpha=0.01, sigma=2.0)
    assert model.certified_radius([[1e6, 0.0]])[0] == pytest.approx(2.0 * norm.ppf(0.01 ** (1 / 50)))


def test_a_row_certified_to_be_of_another_class_has_radius_zero():
    model = smooth(labels=("a", "b"), n_samples=200)
    X = [[3.0, 0.0], [3.0, 0.0], [-3.0, 0.0]]
    np.testing.assert_array_equal(model.certified_radius(X, ["b", "a", "a"]) > 0, [True, False, True])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.certified_radius(X, ["a"])
    with pytest.raises(ValueError, match="Mix of label input types"):
        model.certified_radius(X, [0, 1, 1])


def test_radii_do_not_depend_on_the_units_of_columns(cancer):
    X, X_test, y, _ = cancer
    factor = 2.0 ** np.random.default_rng(0).integers(-9, 9, X.shape[1])
    base = make_pipeline(StandardScaler(), KNeighborsClassifier())
    model = SmoothedClassifier(base, n_samples=100, n_copies=0, random_state=0)
    found = clone(model).fit(X, y).certified_radius(X_test)
    assert (found > 0).mean() > 0.8
    np.testing.assert_allclose(clone(model).fit(X * factor, y).certified_radius(X_test * factor), found)


def test_many_classes_are_counted_apart():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = SmoothedClassifier(LogisticRegression(max_iter=1000), 0.3, n_samples=200, random_state=0).fit(
        X, names
    )
    shares = model.predict_proba(X)
    assert shares.shape == (150, 3)
    np.testing.assert_array_equal(model.predict(X), model.classes_[shares.argmax(axis=1)])
    assert model.score(X, names) > 0.9
    radius = model.certified_radius(X)
    np.testing.assert_array_equal(radius > 0, lowest_share(shares.max(axis=1) * 200, 200, 0.001) > 0.5)


@pytest.mark.parametrize("eps", [0.5, 1.0])
def test_the_worst_attack_of_a_linear_model_breaks_no_row_certified_beyond_eps(cancer, eps):
    X, X_test, y, y_test = cancer
    base = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model = SmoothedClassifier(base, random_state=0).fit(X, y)
    scaler, linear = model.estimator_

    def steepest(model, X, y):
        slope = linear.coef_[0] / scaler.scale_ * model.scale_
        step = eps * model.scale_ * slope / np.linalg.norm(slope)
        return X - np.where(y == 1, 1, -1)[:, None] * step

    radius = model.certified_radius(X_test, y_test)
    threat = ThreatModel(norm=2, scale=model.scale_, max_changes=0)
    found = adversarial_examples(model, X_test, y_test, eps=eps, threat=threat, attack=steepest)
    broken = found.outcome == "broken"
    assert broken.sum() >= 3
    assert (radius[broken] < eps).all()
    assert 0 <= found.robust_accuracy - (radius > eps).mean() < 0.1


# Abstaining


def test_rows_without_certificate_get_the_abstain_label():
    X = np.column_stack([np.linspace(-1, 1, 21), np.zeros(21)])
    model = smooth(n_samples=100, abstain_label=-1)
    without = model.certified_radius(X) == 0
    assert 0 < without.sum() < 21
    answers = model.predict(X)
    np.testing.assert_array_equal(answers == -1, without)
    always = model.set_params(abstain_label=None).predict(X)
    np.testing.assert_array_equal(answers[~without], always[~without])
    assert set(always) == {0, 1}


def test_an_abstain_label_longer_than_the_classes_is_not_cut():
    model = smooth(labels=("a", "b"), n_samples=100, abstain_label="do not know")
    assert model.predict([[0.0, 0.0], [5.0, 0.0]]).tolist() == ["do not know", "b"]


def test_small_types_of_labels_leave_room_for_the_abstain_label():
    model = smooth(labels=np.array([0, 255], dtype=np.uint8), n_samples=100, abstain_label=-1)
    assert model.predict([[0.0, 0.0], [5.0, 0.0]]).tolist() == [-1, 255]


@pytest.mark.parametrize(
    ("labels", "label", "error"),
    [
        ((0, 1), 1, ValueError),
        ((0, 1), "none", ValueError),
        (("a", "b"), -1, ValueError),
        (("a", "b"), "b", ValueError),
        ((0, 1), [2], TypeError),
        ((0, 1), 10**30, TypeError),
    ],
)
def test_an_abstain_label_that_could_be_a_class_or_no_label_is_refused(labels, label, error):
    with pytest.raises(error, match="The 'abstain_label' parameter of SmoothedClassifier must be None or a"):
        smooth(labels=labels, abstain_label=label)
    model = smooth(labels=labels).set_params(abstain_label=label)
    with pytest.raises(error, match=r"none of them, .* Got .* instead\."):
        model.predict([[0.0, 0.0]])


# Answers belong to rows


def test_answers_depend_neither_on_the_batch_nor_on_its_size():
    X = np.random.default_rng(0).normal(size=(30, 2))
    model = smooth(n_samples=200)
    expected = model.predict_proba(X)
    for batch_size in (1, 7, np.int8(32), 10**6):
        np.testing.assert_array_equal(model.set_params(batch_size=batch_size).predict_proba(X), expected)
    np.testing.assert_array_equal(model.predict_proba(X[::-1]), expected[::-1])
    np.testing.assert_array_equal(model.predict_proba(X[3:4]), expected[3:4])


def test_no_batch_is_larger_than_asked():
    model = smooth(n_samples=50, n_selection=20, batch_size=16)
    model.predict(np.zeros((40, 2)))
    sizes = [len(X) for X in model.estimator_.estimator.asked_]
    assert max(sizes) == 16
    assert sum(sizes) == 40 * 70


def test_the_seed_decides_all_and_numpy_numbers_are_numbers(cancer):
    X, X_test, y, _ = cancer
    tree = DecisionTreeClassifier(random_state=0)
    first = SmoothedClassifier(tree, 0.5, 100, n_copies=2, random_state=3).fit(X, y)
    again = SmoothedClassifier(
        tree,
        Fraction(1, 2),
        np.int8(100),
        np.float64(0.001),
        n_copies=np.uint8(2),
        n_selection=np.int16(100),
        random_state=3,
    ).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X_test), again.predict_proba(X_test))
    other = clone(first).set_params(random_state=4).fit(X, y)
    assert (first.predict_proba(X_test) != other.predict_proba(X_test)).any()


def test_a_model_is_pickled_and_its_draws_may_be_changed_after_fit(cancer):
    X, X_test, y, _ = cancer
    model = SmoothedClassifier(DecisionTreeClassifier(random_state=0), n_samples=100, random_state=0).fit(
        X, y
    )
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.certified_radius(X_test), model.certified_radius(X_test))
    more = copy.set_params(n_samples=2000).certified_radius(X_test)
    assert more.max() > model.certified_radius(X_test).max()
    with pytest.raises(ValueError, match="The 'n_samples' parameter of SmoothedClassifier must be an int"):
        copy.set_params(n_samples=0).predict(X_test)


# Training


def test_each_copy_of_each_row_has_its_own_normal_noise_in_units_of_the_scale():
    X = np.random.default_rng(0).normal(size=(400, 2)) * [1.0, 1000.0]
    y = (X[:, 0] > 0).astype(int)
    model = SmoothedClassifier(Asked(), 0.3, n_copies=5, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.scale_, X.std(axis=0))
    noise = (model.estimator_.fitted_ - np.tile(X, (5, 1))) / (0.3 * model.scale_)
    np.testing.assert_array_equal(model.estimator_.labels_, np.tile(y, 5))
    assert len(np.unique(noise)) == noise.size
    assert np.abs(noise.mean(axis=0)).max() < 5 / np.sqrt(2000)
    assert np.abs(noise.std(axis=0) - 1).max() < 5 / np.sqrt(2 * 2000)
    assert np.abs(np.corrcoef(noise.T)[0, 1]) < 5 / np.sqrt(2000)


def test_without_copies_the_estimator_is_fitted_on_the_rows_as_they_are():
    X = np.random.default_rng(0).normal(size=(20, 2))
    model = SmoothedClassifier(Asked(), n_copies=0).fit(X, np.arange(20) % 2)
    np.testing.assert_array_equal(model.estimator_.fitted_, X)


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_weight_of_two_is_the_row_twice_and_of_zero_no_row(as_frame):
    X, y = make_classification(60, 5, random_state=0)
    weight = np.arange(60) % 3
    twice = np.repeat(np.arange(60), weight)
    if as_frame:
        X = pd.DataFrame(X, columns=list("abcde")).assign(e=np.arange(60))
    rows = X.iloc[twice] if as_frame else X[twice]
    model = SmoothedClassifier(LogisticRegression(tol=1e-8), random_state=0)
    weighted, repeated = clone(model).fit(X, y, sample_weight=weight), clone(model).fit(rows, y[twice])
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)
    np.testing.assert_allclose(weighted.estimator_.coef_, repeated.estimator_.coef_, rtol=1e-5)
    assert not np.allclose(clone(model).fit(X, y).scale_, weighted.scale_)


def test_rows_without_weight_have_no_part_in_the_scale():
    X = np.array([[0.0, 0.1, 1.0], [1.0, 0.1, 2.0], [2.0, 0.1, 4.0], [100.0, 9.0, 100.0]])
    model = SmoothedClassifier(LogisticRegression(max_iter=1000), scale="range", n_samples=10)
    weight = [1, 2, 1, 0]
    assert model.fit(X, [0, 1, 1, 0], sample_weight=weight).scale_.tolist() == [2, 0, 3]
    scale = model.set_params(scale="std").fit(X, [0, 1, 1, 0], sample_weight=weight).scale_
    np.testing.assert_allclose(scale, [np.std([0, 1, 1, 2]), 0, np.std([1, 2, 2, 4])])
    assert scale[1] == 0


def test_both_zeros_get_the_same_noise_in_training():
    X = np.array([[0.0, 1.0], [2.0, 3.0]])
    fitted = [
        SmoothedClassifier(Asked(), random_state=0).fit(rows, [0, 1]).estimator_.fitted_
        for rows in (X, X * [[-1, 1], [1, 1]])
    ]
    np.testing.assert_array_equal(*fitted)


def test_weights_for_an_estimator_that_takes_none_are_refused():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(TypeError, match="KNeighborsClassifier, takes no sample_weight in fit"):
        SmoothedClassifier(KNeighborsClassifier()).fit(X, y, sample_weight=np.ones(150))
    with pytest.raises(TypeError, match="The 'sample_weight' parameter of SmoothedClassifier must be"):
        SmoothedClassifier(LogisticRegression(max_iter=1000)).fit(X, y, sample_weight=["a"] * 150)


def test_a_frozen_estimator_is_left_as_it_is_and_must_be_fitted():
    X, y = load_iris(return_X_y=True)
    fitted = LogisticRegression(max_iter=500).fit(X, y)
    model = SmoothedClassifier(FrozenEstimator(fitted), 0.2, n_samples=100).fit(X[:100], y[:100])
    assert model.estimator_.estimator is fitted
    assert model.classes_.tolist() == [0, 1, 2]
    with pytest.raises(NotFittedError):
        SmoothedClassifier(FrozenEstimator(LogisticRegression(max_iter=1000))).fit(X, y)


def test_a_search_chooses_the_noise_by_what_is_certified():
    X, y = load_iris(return_X_y=True)

    def certified(model, X, y):
        return (model.certified_radius(X, y) > 0.2).mean()

    model = SmoothedClassifier(DecisionTreeClassifier(random_state=0), n_samples=200, random_state=0)
    search = GridSearchCV(model, {"sigma": [0.01, 0.3], "estimator__max_depth": [2, 4]}, scoring=certified)
    search.fit(X, y)
    assert search.best_params_["sigma"] == 0.3
    assert search.best_score_ > 0.5


# Rows


def test_words_booleans_constants_and_missing_values_get_no_noise(people):
    X, y = people
    model = SmoothedClassifier(Asked(lambda x: x > 3000), n_copies=2, n_samples=10, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.scale_ > 0, [True, True, True, False, False, False])
    np.testing.assert_allclose(model.scale_[:2], [np.nanstd(X["income"]), np.std(X["age"])])
    model.predict(X)
    for noisy in (model.estimator_.fitted_, model.estimator_.asked_[0]):
        clean = X.loc[noisy.index]
        assert list(noisy.columns) == list(X.columns)
        fixed = ["city", "owner", "one"]
        pd.testing.assert_frame_equal(noisy[fixed], clean[fixed])
        for name in ("income", "age", "children"):
            assert noisy[name].dtype == float
            before = clean[name].to_numpy(float, na_value=np.nan)
            np.testing.assert_array_equal(np.isnan(noisy[name]), np.isnan(before))
            assert (noisy[name] != before).all()


def test_a_pipeline_on_a_table_with_words_is_smoothed(people):
    X, y = people
    model = SmoothedClassifier(lenders(), 0.2, n_samples=100, random_state=0).fit(X, y)
    assert model.feature_names_in_.tolist() == list(X.columns)
    radius = model.certified_radius(X, y)
    assert (radius > 0).mean() > 0.5
    # One row at a time, in which a column may hold nothing but a missing value.
    alone = [model.certified_radius(X.iloc[[i]], y[[i]])[0] for i in range(len(X))]
    np.testing.assert_allclose(alone, radius)


def test_arrays_of_objects_with_words_are_rows_too(people):
    X, y = people
    X = X[["city", "age"]].to_numpy(dtype=object)
    encode = make_column_transformer((OneHotEncoder(), [0]), (StandardScaler(), [1]))
    model = SmoothedClassifier(
        make_pipeline(encode, LogisticRegression(max_iter=1000)), n_samples=50, random_state=0
    )
    model.fit(X, y)
    assert model.scale_[0] == 0
    assert model.predict(X).shape == (8,)


def test_missing_numbers_reach_an_estimator_that_takes_them():
    X, y = load_iris(return_X_y=True)
    X[::7, 2] = np.nan
    model = SmoothedClassifier(DecisionTreeClassifier(random_state=0), n_samples=50, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.8
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SmoothedClassifier(LogisticRegression(max_iter=1000)).fit(X, y)
    with pytest.raises(ValueError, match="contains infinity"):
        model.predict(np.full((1, 4), np.inf))


def test_float32_rows_reach_the_estimator_as_float32():
    X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    model = SmoothedClassifier(Asked(), n_samples=10).fit(X, np.arange(20) % 2)
    model.predict(X)
    assert model.estimator_.fitted_.dtype == model.estimator_.asked_[0].dtype == np.float32


def test_scale_by_column_leaves_out_what_is_zero(people):
    X, y = people
    scale = {"income": 1000.0, "age": 0, "children": 0, "one": 0}
    model = SmoothedClassifier(Asked(lambda x: x > 3000), scale=scale, n_samples=10).fit(X, y)
    np.testing.assert_array_equal(model.scale_, [1000, 0, 0, 0, 0, 0])
    assert model.estimator_.fitted_["age"].dtype == X["age"].dtype
    assert model.estimator_.fitted_["children"].dtype == "Int64"


def test_one_scale_for_all_numbers_leaves_words_alone(people):
    X, y = people
    model = SmoothedClassifier(Asked(lambda x: x > 3000), scale=2.0, n_samples=10).fit(X, y)
    np.testing.assert_array_equal(model.scale_, [2, 2, 2, 0, 0, 2])


def test_a_column_of_objects_may_hold_nothing_in_a_row(people):
    X, y = people
    X = X.assign(income=X["income"].astype(object).where(X["income"].notna(), None))
    model = SmoothedClassifier(lenders(), 0.2, n_samples=50, random_state=0).fit(X, y)
    assert model.scale_[0] > 0
    np.testing.assert_array_equal(model.predict_proba(X.iloc[[2]]), model.predict_proba(X)[[2]])


def test_a_frame_of_polars_reaches_the_estimator_as_one_of_pandas(people):
    polars = pytest.importorskip("polars")
    X, y = people
    frame = polars.DataFrame(
        {name: X[name].astype(object).where(X[name].notna(), None).tolist() for name in X}
    )
    model = SmoothedClassifier(lenders(), 0.2, n_samples=50, random_state=0).fit(frame, y)
    assert model.certified_radius(frame, y).shape == (8,)


# Mistakes


@pytest.mark.parametrize(
    ("name", "value", "error", "rule"),
    [
        ("estimator", LinearRegression(), TypeError, "a classifier with fit and predict"),
        ("estimator", LogisticRegression, TypeError, "a classifier with fit and predict"),
        ("estimator", None, TypeError, "a classifier with fit and predict"),
        ("sigma", 0, ValueError, r"a float in \(0, inf\)"),
        ("sigma", "std", ValueError, r"a float in \(0, inf\)"),
        ("n_samples", 0, ValueError, r"an int in \[1, inf\)"),
        ("n_samples", 10.5, TypeError, r"an int in \[1, inf\)"),
        ("alpha", 1, ValueError, r"a float in \(0, 1\)"),
        ("alpha", np.nan, ValueError, r"a float in \(0, 1\)"),
        ("scale", "sd", ValueError, "None, 'std', 'range', 'iqr', a number or numbers by column"),
        (
            "scale",
            [1.0, 2.0],
            ValueError,
            "None, 'std', 'range', 'iqr', a number or 4 numbers, finite and none negative",
        ),
        (
            "scale",
            -1.0,
            ValueError,
            "None, 'std', 'range', 'iqr', a number or 4 numbers, finite and none negative",
        ),
        ("n_copies", -1, ValueError, r"an int in \[0, inf\)"),
        ("n_selection", 0, ValueError, r"an int in \[1, inf\)"),
        ("batch_size", True, TypeError, r"an int in \[1, inf\)"),
    ],
)
def test_wrong_parameters_are_refused_by_name(name, value, error, rule):
    X, y = load_iris(return_X_y=True)
    model = SmoothedClassifier(LogisticRegression(max_iter=1000)).set_params(**{name: value})
    with pytest.raises(error, match=f"The '{name}' parameter of SmoothedClassifier must be {rule}. Got"):
        model.fit(X, y)


def test_rows_that_hold_nothing_to_move_are_refused(people):
    X, y = people
    with pytest.raises(ValueError, match="has nothing to add noise to: no column of X holds numbers"):
        SmoothedClassifier(lenders()).fit(X[["city", "owner", "one"]], y)


def test_words_where_there_were_numbers_are_refused(people):
    X, y = people
    model = SmoothedClassifier(lenders(), n_samples=10).fit(X, y)
    with pytest.raises(ValueError, match="words or booleans where there were numbers in fit: column 'age'"):
        model.predict(X.assign(age="old"))


@pytest.mark.parametrize("answer", [2, 7])
def test_an_answer_that_is_no_class_is_refused(answer):
    class Odd(Asked):
        def predict(self, X):
            return np.full(len(X), answer)

    model = SmoothedClassifier(Odd(), n_samples=10).fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 3])
    with pytest.raises(
        ValueError, match=rf"answered .*{answer}.*, which is none of its classes: \[0, 1, 3\]"
    ):
        model.predict(np.zeros((1, 2)))
