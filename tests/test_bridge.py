"""Every converted function equals its estimator, has the right gradient, and refuses what it cannot do."""

import copy
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn import (
    calibration,
    compose,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_selection,
    impute,
    kernel_approximation,
    linear_model,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    preprocessing,
    random_projection,
    svm,
)
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import NotConvertibleError, register_converter, register_torch_function, to_torch
from sklearn_brm._bridge import mismatch
from sklearn_brm.functional.layers import (
    Affine,
    Columnwise,
    Function,
    Layer,
    Monotone,
    Rescale,
    TwoColumns,
    sequence,
)


def table(n_classes, seed=0):
    """Rows with unequal scales, labels that are not 0, 1, 2."""
    X, y = make_classification(
        n_samples=120, n_features=6, n_informative=5, n_redundant=0, n_classes=n_classes, random_state=seed
    )
    return X * np.geomspace(0.5, 3, 6) + 1, np.array(["c", "a", "b"])[y]


def with_known(estimator, **parameters):
    """Return the estimator, with the parameters where this version of scikit-learn knows them all."""
    return (
        estimator.set_params(**parameters)
        if parameters.keys() <= estimator.get_params().keys()
        else estimator
    )


BINS = with_known(preprocessing.KBinsDiscretizer(3), quantile_method="averaged_inverted_cdf")


class Squares(TransformerMixin, BaseEstimator):
    """A transformer of a user, converted by a registered converter."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.square(X)


register_converter(Squares, lambda squares, target: torch.square)

SCALERS = [
    preprocessing.StandardScaler(),
    preprocessing.StandardScaler(with_mean=False),
    preprocessing.StandardScaler(with_std=False),
    preprocessing.RobustScaler(),
    preprocessing.RobustScaler(with_centering=False, quantile_range=(10, 80)),
    preprocessing.RobustScaler(with_scaling=False),
    preprocessing.MinMaxScaler((-1, 3)),
    preprocessing.MinMaxScaler(clip=True),
    preprocessing.MaxAbsScaler(),
    preprocessing.Normalizer("l1"),
    preprocessing.Normalizer("l2"),
    preprocessing.Normalizer("max"),
    FunctionTransformer(),
    FunctionTransformer(np.tanh),
    FunctionTransformer(np.cbrt),
    preprocessing.PowerTransformer(),
    preprocessing.PowerTransformer(standardize=False),
    preprocessing.QuantileTransformer(n_quantiles=20),
    preprocessing.QuantileTransformer(n_quantiles=20, output_distribution="normal"),
]
PROJECTIONS = [
    decomposition.PCA(3),
    decomposition.PCA(3, whiten=True),
    decomposition.IncrementalPCA(3, whiten=True),
    decomposition.TruncatedSVD(3, random_state=0),
    decomposition.FactorAnalysis(2),
    decomposition.FastICA(3, random_state=0),
    decomposition.FastICA(whiten=False, random_state=0),
    random_projection.GaussianRandomProjection(3, random_state=0),
    random_projection.SparseRandomProjection(3, random_state=0),
    neighbors.NeighborhoodComponentsAnalysis(2, random_state=0, max_iter=5),
    impute.SimpleImputer(),
    impute.SimpleImputer(strategy="median", add_indicator=True),
    feature_selection.VarianceThreshold(1.0),
    feature_selection.SelectKBest(k=3),
    feature_selection.SelectPercentile(percentile=50),
    feature_selection.SelectFromModel(LogisticRegression()),
    feature_selection.SequentialFeatureSelector(LogisticRegression(), n_features_to_select=2),
]
EXPANSIONS = [
    preprocessing.PolynomialFeatures(),
    preprocessing.PolynomialFeatures(3, interaction_only=True),
    preprocessing.PolynomialFeatures((2, 3), include_bias=False, order="F"),
    preprocessing.PolynomialFeatures(0),
    *[
        preprocessing.SplineTransformer(degree=degree, extrapolation=extrapolation, include_bias=degree > 1)
        for extrapolation in ["constant", "continue", "linear", "periodic"]
        for degree in (1, 2, 3)
        if (extrapolation, degree) != ("linear", 1)
    ],
    kernel_approximation.RBFSampler(n_components=7, random_state=0),
    kernel_approximation.Nystroem(n_components=7, random_state=0),
    kernel_approximation.Nystroem(gamma=0.3, n_components=7, random_state=0),
    kernel_approximation.Nystroem("linear", n_components=4, random_state=0),
    kernel_approximation.Nystroem("poly", degree=2, coef0=0.5, n_components=7, random_state=0),
    kernel_approximation.Nystroem("sigmoid", kernel_params={"gamma": 0.1}, n_components=7, random_state=0),
]
LINEAR = [
    linear_model.LogisticRegression(),
    linear_model.LogisticRegression(fit_intercept=False),
    linear_model.RidgeClassifier(),
    linear_model.RidgeClassifier(fit_intercept=False),
    linear_model.RidgeClassifierCV(),
    *[
        linear_model.SGDClassifier(loss=loss, random_state=0, max_iter=20, tol=None)
        for loss in ["hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "huber"]
    ],
    linear_model.Perceptron(random_state=0),
    svm.LinearSVC(random_state=0),
    svm.LinearSVC(random_state=0, fit_intercept=False),
    with_known(
        linear_model.LogisticRegressionCV(Cs=2, scoring="accuracy"),
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ),
    LinearDiscriminantAnalysis(),
    LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
]
ONE_PER_CLASS = linear_model.SGDClassifier(loss="log_loss", random_state=0)
PROBABILISTIC = [
    discriminant_analysis.QuadraticDiscriminantAnalysis(),
    discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1),
    GaussianNB(),
    *[
        MLPClassifier((7, 5), activation=activation, solver="lbfgs", max_iter=15, random_state=0)
        for activation in ["identity", "logistic", "tanh", "relu"]
    ],
    ensemble.VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
    ensemble.VotingClassifier(
        [("a", ONE_PER_CLASS), ("b", "drop"), ("c", GaussianNB()), ("d", LogisticRegression())],
        voting="soft",
        weights=[1, 5, 2, 0],
    ),
    ensemble.BaggingClassifier(
        LogisticRegression(), max_features=0.6, bootstrap_features=True, random_state=0
    ),
    ensemble.BaggingClassifier(make_pipeline(StandardScaler(), GaussianNB()), n_estimators=3, random_state=0),
    # With four rows each, members miss a class.
    ensemble.BaggingClassifier(make_pipeline(GaussianNB(var_smoothing=0.1)), max_samples=4, random_state=1),
    multiclass.OneVsRestClassifier(GaussianNB()),
    *[
        calibration.CalibratedClassifierCV(classifier, method=method, ensemble=is_ensemble, cv=2)
        for classifier in [svm.LinearSVC(random_state=0), GaussianNB(var_smoothing=1.0), svm.SVC()]
        for method in ["sigmoid", "isotonic"]
        for is_ensemble in [True, False]
    ],
]
KERNEL = [
    *[
        svm.SVC(kernel=kernel, break_ties=break_ties)
        for kernel in ["linear", "rbf", "poly", "sigmoid"]
        for break_ties in [True, False]
    ],
    svm.SVC(gamma="auto", kernel="poly", degree=2, coef0=1.0),
    svm.SVC(gamma=0.1, decision_function_shape="ovo"),
    svm.NuSVC(nu=0.3),
]


def fitted(estimator, X, y):
    """A fitted clone; how well it fits does not matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clone(estimator).fit(X, y)


def name_of(estimator):
    """The same in every process, so without addresses of functions."""
    return re.sub(r"\s(at\s0x[0-9a-f]+)?", "", repr(estimator))


def shifted(X):
    """Rows beyond those seen in fit, where clipping and extrapolation show."""
    return np.concatenate([0.93 * X + 0.01, 1.7 * X - 0.3])


def gradient_by_differences(function, X, seed, step=1e-6):
    """Directional derivative of a weighted sum of the outputs, per row, by central differences."""
    rng = np.random.default_rng(seed)
    rows = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    output = function(rows)
    weights, direction = (
        torch.tensor(rng.normal(size=output.shape[1])),
        torch.tensor(rng.normal(size=X.shape)),
    )
    (output @ weights).sum().backward()
    analytic = (rows.grad * direction).sum(dim=1)
    with torch.no_grad():
        numeric = (
            (function(rows + step * direction) - function(rows - step * direction)) @ weights / (2 * step)
        )
    return analytic.numpy(), numeric.numpy()


def decision_of(scores):
    """What `decision_function` returns for these scores."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


def assert_converts(estimator, X):
    """The float64 function agrees to rounding, the float32 one nearly, and both have gradients."""
    function = to_torch(estimator)
    assert not mismatch(estimator, function, X).any()
    single = to_torch(estimator, dtype=torch.float32)
    output = single(torch.tensor(X, dtype=torch.float32))
    assert output.dtype == torch.float32
    assert not mismatch(estimator, single, X, dtype=torch.float32).any()
    np.testing.assert_allclose(*gradient_by_differences(function, X, seed=1), rtol=1e-4, atol=1e-5)
    return function


def assert_transforms_like(transformer, X):
    function = assert_converts(transformer, X)
    expected = transformer.transform(X)
    np.testing.assert_allclose(function(torch.tensor(X)).numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("transformer", SCALERS + PROJECTIONS + EXPANSIONS, ids=name_of)
def test_a_transformer_becomes_its_transform(transformer):
    X, y = table(3)
    assert_transforms_like(fitted(transformer, X, y), shifted(X))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("classifier", LINEAR, ids=name_of)
def test_a_linear_classifier_becomes_its_decision_values(classifier, n_classes):
    X, y = table(n_classes)
    classifier = fitted(classifier, X, y)
    function = assert_converts(classifier, X)
    scores = function(torch.tensor(X)).numpy()
    assert scores.shape == (len(X), n_classes)
    np.testing.assert_allclose(decision_of(scores), classifier.decision_function(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(classifier.classes_[scores.argmax(axis=1)], classifier.predict(X))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("classifier", PROBABILISTIC, ids=name_of)
def test_the_softmax_of_the_scores_is_predict_proba(classifier, n_classes):
    X, y = table(n_classes)
    classifier = fitted(classifier, X, y)
    rows = shifted(X)
    scores = assert_converts(classifier, rows)(torch.tensor(rows))
    assert scores.shape == (len(rows), n_classes)
    if not isinstance(classifier, multiclass.OneVsRestClassifier):
        expected = classifier.predict_proba(rows)
        np.testing.assert_allclose(scores.softmax(dim=1).numpy(), expected, rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(classifier.classes_[scores.argmax(dim=1).numpy()], classifier.predict(rows))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("classifier", KERNEL, ids=name_of)
def test_the_argmax_of_a_kernel_machine_is_what_it_predicts(classifier, n_classes):
    X, y = table(n_classes)
    classifier = fitted(classifier, X, y)
    rows = shifted(X)
    if n_classes == 3:
        strength, is_smooth = strengths(classifier, rows)
        rows, strength = rows[is_smooth], strength[is_smooth]
    scores = assert_converts(classifier, rows)(torch.tensor(rows)).numpy()
    np.testing.assert_array_equal(classifier.classes_[scores.argmax(axis=1)], classifier.predict(rows))
    if n_classes == 3:
        np.testing.assert_allclose(scores, strength, rtol=1e-9, atol=1e-9)
    else:
        np.testing.assert_allclose(
            decision_of(scores), classifier.decision_function(rows), rtol=1e-9, atol=1e-9
        )


def strengths(machine, rows):
    """By an index loop; and the rows where the strongest class wins all duels and no two are level."""
    pairs = clone(machine).set_params(decision_function_shape="ovo", break_ties=False)
    pairs = pairs.fit(*table(3)).decision_function(rows)
    strength, is_smooth = np.empty((len(rows), 3)), np.empty(len(rows), dtype=bool)
    for row, (ab, ac, bc) in enumerate(pairs):
        duels = [(ab, ac), (-ab, bc), (-ac, -bc)]
        strength[row] = [min(d, e) + d / (0.3 + abs(d)) + e / (0.3 + abs(e)) for d, e in duels]
        _, second, best = np.argsort(strength[row])
        clear = strength[row, best] - strength[row, second] > 1e-2 and min(duels[best]) > 1e-3
        is_smooth[row] = clear and min(abs(d - e) for d, e in duels) > 1e-3
    assert is_smooth.mean() > 0.5
    return strength, is_smooth


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "sigmoid"])
def test_calibration_uses_the_decision_function_of_a_kernel_machine(kernel, n_classes):
    X, y = table(n_classes)
    calibrated = calibration.CalibratedClassifierCV(svm.SVC(kernel=kernel), ensemble=False, cv=2)
    assert_converts(fitted(calibrated, X, y), shifted(X))


@pytest.mark.parametrize("break_ties", [True, False])
def test_votes_that_no_class_wins_are_decided_as_the_machine_does(break_ties):
    X, y = table(3)
    classifier = svm.SVC(kernel="sigmoid", break_ties=break_ties).fit(X, y)
    rows = np.random.default_rng(0).normal(size=(2000, 6)) * 3
    function = to_torch(classifier)
    scores = function(torch.tensor(rows)).numpy()
    np.testing.assert_array_equal(classifier.classes_[scores.argmax(axis=1)], classifier.predict(rows))
    assert (scores.max(axis=1) < 0.5).any()
    decided = classifier.classes_[classifier.decision_function(rows).argmax(axis=1)]
    assert (decided == classifier.predict(rows)).all() == break_ties


def test_probabilities_of_one_classifier_per_class_are_those_of_scikit_learn():
    X, y = table(3)
    for classifier in [ONE_PER_CLASS, multiclass.OneVsRestClassifier(LogisticRegression())]:
        voting = ensemble.VotingClassifier([("only", classifier)], voting="soft")
        assert_converts(fitted(voting, X, y), shifted(X))


def test_counts_become_joint_log_likelihoods():
    X, y = table(3)
    counts = np.floor(np.abs(X) * 3)
    for classifier in [naive_bayes.MultinomialNB(), naive_bayes.ComplementNB()]:
        assert_converts(fitted(classifier, counts, y), counts)


def test_box_cox_becomes_its_transform_on_positive_rows():
    X, _ = table(2)
    positive = np.exp(X / 3)
    assert_transforms_like(preprocessing.PowerTransformer("box-cox").fit(positive), 1.3 * positive)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0, -1.0])
@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_powers_are_right_at_their_limits(method, power):
    X = np.abs(table(2)[0]) + 0.1
    transformer = preprocessing.PowerTransformer(method).fit(X)
    transformer.lambdas_ = np.full(6, power)
    assert_transforms_like(transformer, X if method == "box-cox" else np.concatenate([X, -X]))


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_repeated_quantiles_sit_in_the_middle_of_their_levels(distribution):
    X = np.repeat([0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0], 5)[:, None]
    transformer = preprocessing.QuantileTransformer(n_quantiles=8, output_distribution=distribution).fit(X)
    rows = np.array([[-1.0], [0.0], [5e-8], [0.5], [1.0], [1.5], [2.0], [2.5], [3.0 - 5e-8], [3.0], [4.0]])
    function = to_torch(transformer)
    np.testing.assert_allclose(function(torch.tensor(rows)).numpy(), transformer.transform(rows), rtol=1e-12)


def test_a_missing_value_is_filled_in_and_marked():
    X, _ = table(2)
    X[::7, 2] = X[3, 0] = np.nan
    X = np.column_stack([X, np.full(len(X), np.nan)])
    for imputer in [
        impute.SimpleImputer(add_indicator=True),
        impute.SimpleImputer(strategy="constant", fill_value=-1, keep_empty_features=True),
    ]:
        function = to_torch(imputer.fit(X))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Skipping features without any observed values")
            expected = imputer.transform(X)
        np.testing.assert_array_equal(function(torch.tensor(X)).numpy(), expected)


def test_a_number_that_stands_for_missing_is_filled_in():
    X = np.floor(np.abs(table(2)[0]))
    imputer = impute.SimpleImputer(missing_values=0, strategy="most_frequent", add_indicator=True).fit(X)
    np.testing.assert_array_equal(to_torch(imputer)(torch.tensor(X)).numpy(), imputer.transform(X))


def test_recursive_elimination_selects_before_a_step_and_classifies_at_the_end():
    X, y = table(3)
    for elimination in [
        feature_selection.RFE(LogisticRegression(), n_features_to_select=2),
        feature_selection.RFECV(LogisticRegression(), cv=2),
    ]:
        assert_converts(fitted(elimination, X, y), X)
        assert_converts(fitted(make_pipeline(elimination, StandardScaler()), X, y), X)


@pytest.mark.parametrize("solver", ["svd", "eigen"])
def test_a_discriminant_analysis_projects_before_a_step_and_classifies_at_the_end(solver):
    X, y = table(3)
    analysis = LinearDiscriminantAnalysis(solver=solver, n_components=1)
    assert_converts(fitted(make_pipeline(StandardScaler(), analysis, GaussianNB()), X, y), X)
    nested = make_pipeline(make_pipeline(StandardScaler(), analysis), LogisticRegression())
    assert_converts(fitted(nested, X, y), X)
    assert_transforms_like(fitted(make_pipeline(analysis, "passthrough"), X, y), X)


def last_and_third(X):
    return [5, 2]


class TestColumns:
    """Parts side by side, on all columns or on their own."""

    @pytest.mark.parametrize(
        "columns",
        [
            [0, 3],
            [-1, 1],
            slice(1, 4),
            slice(None, -4),
            [True, False, False, True, False, True],
            ["b", "a"],
            slice("b", "d"),
            slice("d", None),
            slice(None, "c"),
            last_and_third,
            [],
        ],
        ids=name_of,
    )
    @pytest.mark.parametrize("remainder", ["drop", "passthrough", preprocessing.MinMaxScaler()], ids=name_of)
    def test_columns_are_found_however_they_are_named(self, columns, remainder):
        frame = pd.DataFrame(table(2)[0], columns=list("abcdef"))
        parts = [("first", StandardScaler(), columns), ("second", "passthrough", [4]), ("third", "drop", [0])]
        transformer = compose.ColumnTransformer(
            parts, remainder=remainder, transformer_weights={"first": 2.0}
        )
        transformer.fit(frame)
        assert not mismatch(transformer, to_torch(transformer), frame).any()

    def test_an_array_does_as_well(self):
        X, y = table(3)
        transformer = compose.make_column_transformer(
            (make_pipeline(StandardScaler(), decomposition.PCA(1)), [0, 1, 5]),
            (Squares(), slice(2, 4)),
            remainder=StandardScaler(),
        )
        assert_converts(fitted(make_pipeline(transformer, LogisticRegression()), X, y), X)

    def test_a_union_puts_its_weighted_parts_side_by_side(self):
        X, _ = table(2)
        union = FeatureUnion(
            [("a", StandardScaler()), ("b", "drop"), ("c", "passthrough"), ("d", decomposition.PCA(2))],
            transformer_weights={"a": 3.0, "c": 0.5},
        )
        assert_transforms_like(union.fit(X), X)

    def test_a_part_that_has_no_function_is_named(self):
        X, _ = table(2)
        transformer = compose.ColumnTransformer([("bins", BINS, [0])])
        with pytest.raises(NotConvertibleError, match=r"Step 'bins' \(KBinsDiscretizer\).*step function"):
            to_torch(transformer.fit(X))


class TestWrappers:
    """Searches, frozen estimators, calibration, thresholds, networks of skorch."""

    @pytest.mark.parametrize(
        "search",
        [
            model_selection.GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
            model_selection.RandomizedSearchCV(LogisticRegression(), {"C": [0.1, 1]}, n_iter=2, cv=2),
            model_selection.HalvingGridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
        ],
        ids=lambda search: type(search).__name__,
    )
    def test_a_search_becomes_the_estimator_it_chose(self, search):
        X, y = table(3)
        assert_converts(fitted(search, X, y), X)

    def test_a_frozen_estimator_becomes_what_it_holds(self):
        X, y = table(2)
        frozen = [FrozenEstimator(StandardScaler().fit(X)), FrozenEstimator(LogisticRegression().fit(X, y))]
        assert_converts(make_pipeline(*frozen).fit(X, y), X)

    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("classifier", [svm.LinearSVC(random_state=0), GaussianNB()], ids=name_of)
    def test_a_calibrated_temperature_is_exact(self, classifier, n_classes):
        X, y = table(n_classes)
        try:
            calibrated = fitted(
                calibration.CalibratedClassifierCV(classifier, method="temperature", cv=2), X, y
            )
        except ValueError:
            pytest.skip("needs a version of scikit-learn with temperature scaling")
        scores = assert_converts(calibrated, X)(torch.tensor(X))
        np.testing.assert_allclose(scores.softmax(dim=1).numpy(), calibrated.predict_proba(X), rtol=1e-7)

    @pytest.mark.parametrize("response", ["auto", "decision_function", "predict_proba"])
    @pytest.mark.parametrize("pos_label", ["a", "c", None])
    def test_a_fixed_threshold_moves_the_scores(self, response, pos_label):
        X, y = table(2)
        threshold = -0.4 if response == "decision_function" else 0.3
        classifier = model_selection.FixedThresholdClassifier(
            LogisticRegression(), threshold=threshold, pos_label=pos_label, response_method=response
        ).fit(X, y)
        scores = assert_converts(classifier, X)(torch.tensor(X))
        assert (classifier.predict(X) != classifier.estimator_.predict(X)).any()
        np.testing.assert_array_equal(
            classifier.classes_[scores.argmax(dim=1).numpy()], classifier.predict(X)
        )

    def test_a_tuned_threshold_moves_the_scores(self):
        X, y = table(2)
        for labels, scoring in [(y, "balanced_accuracy"), (y == "c", "f1")]:
            classifier = model_selection.TunedThresholdClassifierCV(
                svm.LinearSVC(random_state=0), scoring=scoring
            )
            assert_converts(fitted(classifier, X, labels.astype(int) if scoring == "f1" else labels), X)

    def test_a_tuned_threshold_of_an_unknown_class_is_refused(self):
        X, y = table(2)
        scorer = make_scorer(f1_score, pos_label="a")
        classifier = fitted(
            model_selection.TunedThresholdClassifierCV(LogisticRegression(), scoring=scorer), X, y
        )
        with pytest.raises(NotConvertibleError, match="does not tell which class is the positive one"):
            to_torch(classifier)

    def test_a_default_threshold_leaves_the_scores(self):
        X, y = table(2)
        assert_converts(model_selection.FixedThresholdClassifier(LogisticRegression()).fit(X, y), X)

    @pytest.mark.parametrize("loss", [torch.nn.CrossEntropyLoss, torch.nn.NLLLoss])
    def test_a_network_of_skorch_becomes_its_logits(self, loss):
        X, y = table(3)
        ends = [torch.nn.Softmax(dim=1)] if loss is torch.nn.NLLLoss else []
        module = torch.nn.Sequential(
            torch.nn.Linear(6, 5), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(5, 3), *ends
        )
        net = skorch.NeuralNetClassifier(module, criterion=loss, max_epochs=2, train_split=None, verbose=0)
        net.fit(X.astype(np.float32), np.unique(y, return_inverse=True)[1])
        assert_converts(net, X.astype(np.float32))

    def test_a_binary_network_of_skorch_becomes_its_logit(self):
        X, y = table(2)
        module = torch.nn.Linear(6, 1)
        net = skorch.NeuralNetBinaryClassifier(module, max_epochs=2, train_split=None, verbose=0)
        net.fit(X.astype(np.float32), (y == "c").astype(np.float32))
        assert_converts(net, X.astype(np.float32))


def test_sparsified_coefficients_are_made_dense():
    X, y = table(3)
    classifier = linear_model.SGDClassifier(penalty="l1", random_state=0).fit(X, y).sparsify()
    assert_converts(classifier, X)


def test_the_log_of_predict_proba_differs_from_the_scores_by_a_number_per_row():
    X, y = table(3)
    classifier = LogisticRegression().fit(X, y)
    scores = to_torch(classifier)(torch.tensor(X))
    np.testing.assert_allclose(scores.softmax(dim=1).numpy(), classifier.predict_proba(X), rtol=1e-10)


@pytest.mark.parametrize("nothing", [None, "passthrough"])
def test_a_pipeline_applies_its_steps_in_order_and_skips_empty_ones(nothing):
    X, y = table(3)
    inner = make_pipeline(preprocessing.MinMaxScaler(), FunctionTransformer(np.expm1))
    pipeline = Pipeline(
        [("inner", inner), ("empty", nothing), ("scale", StandardScaler()), ("head", LogisticRegression())]
    )
    assert_converts(pipeline.fit(X, y), X)


def test_a_pipeline_of_transformers_is_a_transformer():
    X, _ = table(2)
    pipeline = make_pipeline(StandardScaler(), preprocessing.MaxAbsScaler(), "passthrough").fit(X)
    assert_converts(pipeline, X)


def test_a_data_frame_fits_and_its_array_converts():
    X, y = table(2)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, y)
    assert not mismatch(pipeline, to_torch(pipeline), frame).any()


def test_parameters_are_copied_and_need_no_gradient():
    X, y = table(2)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    function = to_torch(pipeline)
    before = function(torch.tensor(X))
    pipeline[-1].coef_ *= 2
    assert not before.requires_grad
    assert torch.equal(function(torch.tensor(X)), before)


def test_a_zero_row_stays_zero_under_the_normalizer_and_has_a_finite_gradient():
    normalizer = preprocessing.Normalizer().fit(np.eye(3))
    rows = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    output = to_torch(normalizer)(rows)
    output.sum().backward()
    assert torch.equal(output, torch.zeros_like(output))
    assert torch.equal(rows.grad, torch.ones_like(rows))


def test_an_estimator_answers_by_its_own_method():
    class Double(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X):
            return 2 * X

        def _as_torch(self, *, device, dtype):
            two = torch.tensor(2, device=device, dtype=dtype)
            return lambda X: two * X

    class Triple(Double):
        def transform(self, X):
            return 3 * X

    X, y = table(2)
    assert_converts(make_pipeline(Double(), LogisticRegression()).fit(X, y), X)
    with pytest.raises(NotConvertibleError, match="it redefines transform of Double"):
        to_torch(Triple().fit(X))


ALL = SCALERS + PROJECTIONS + EXPANSIONS + LINEAR + PROBABILISTIC + KERNEL


@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_a_module_is_pickled_copied_and_saved_with_its_numbers_and_has_nothing_to_train(estimator):
    X, y = table(3)
    module, rows = to_torch(fitted(estimator, X, y)), torch.tensor(X)
    expected = module(rows)
    assert torch.equal(pickle.loads(pickle.dumps(module))(rows), expected)
    assert not module.training
    assert not list(module.parameters())
    other = copy.deepcopy(module)
    for tensor in other.buffers():
        tensor.zero_()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(rows), expected)


def test_a_pipeline_is_a_flat_sequence_of_layers_that_say_what_they_are_and_whence_they_come():
    X, y = table(2)
    inner = make_pipeline(preprocessing.MinMaxScaler(clip=True), decomposition.PCA(3))
    pipeline = Pipeline([("prepare", inner), ("head", svm.SVC())]).fit(X, y)
    module = to_torch(pipeline)
    n_vectors = len(pipeline[-1].support_)
    assert repr(module).split("\n")[1:-1] == [
        "  (0): Stretch()",
        "  (1): Clamp(0, 1)",
        "  (2): Affine(6 -> 3)",
        f"  (3): RadialBasis({n_vectors} rows)",
        f"  (4): Affine({n_vectors} -> 1)",
        "  (5): TwoColumns()",
    ]
    assert [layer.step for layer in module] == [
        "prepare__minmaxscaler", "prepare__minmaxscaler", "prepare__pca", "head", "head", "head",
    ]  # fmt: skip


def test_parts_side_by_side_are_named_and_know_their_steps():
    X, y = table(2)
    columns = compose.ColumnTransformer(
        [("a.b", StandardScaler(), [0, 1]), ("keep", "passthrough", [4])], transformer_weights={"keep": 2.0}
    )
    concat = to_torch(make_pipeline(columns, LogisticRegression()).fit(X, y))[0]
    assert concat.extra_repr() == "a.b, keep"
    assert concat.step == "columntransformer"
    assert concat.parts[0][1].step == "columntransformer__a.b"
    np.testing.assert_allclose(concat(torch.tensor(X)).numpy(), columns.fit_transform(X))


def test_a_module_moves_to_another_precision_as_torch_modules_do():
    X, y = table(3)
    classifier = make_pipeline(StandardScaler(), svm.SVC()).fit(X, y)
    single = to_torch(classifier).to(torch.float32)
    assert not mismatch(classifier, single, X, dtype=torch.float32).any()


class TestLayers:
    """Layers by themselves."""

    def test_a_layer_of_a_user_is_one_class_that_gets_what_was_fitted_by_name(self):
        class Shift(Layer):
            def forward(self, X):
                return X - self.offset - sum(self.more)

        layer = Shift(offset=torch.ones(2), more=[torch.ones(2), 2 * torch.ones(2)], nothing=None)
        assert torch.equal(layer(torch.zeros(1, 2)), torch.full((1, 2), -4.0))
        assert layer.to(torch.float64)(torch.zeros(1, 2, dtype=torch.float64)).dtype == torch.float64
        assert sorted(layer.state_dict()) == ["more.0", "more.1", "offset"]
        assert layer.nothing is None

    def test_a_sequence_is_flat_and_leaves_out_what_is_nothing(self):
        scale, line = Rescale(None, torch.ones(2)), Affine(torch.eye(2))
        module = sequence(sequence(scale, None), sequence(), sequence(line, torch.tanh))
        assert [type(layer) for layer in module] == [Rescale, Affine, Function]
        assert sequence(line) is line
        rows = torch.ones(3, 2)
        assert torch.equal(sequence()(rows), rows)

    def test_a_sequence_that_does_more_than_its_parts_is_kept_whole(self):
        class Twice(torch.nn.Sequential):
            def forward(self, X):
                return 2 * super().forward(X)

        twice = Twice(Affine(torch.eye(2)))
        module = sequence(twice, TwoColumns())
        assert module[0] is twice

    def test_affine_shifts_before_and_after_the_product(self):
        rows, weight = torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(3, 2)
        shift, bias = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0])
        assert torch.equal(Affine(weight, bias, shift=shift)(rows), (rows - shift) @ weight + bias)
        assert torch.equal(Affine(weight)(rows), rows @ weight)

    @pytest.mark.parametrize("transformer", SCALERS, ids=name_of)
    def test_the_image_of_an_interval_under_monotone_layers_lies_between_the_images_of_its_ends(
        self, transformer
    ):
        X, y = table(2)
        module = to_torch(fitted(transformer, X, y))
        layers = list(module) if type(module) is torch.nn.Sequential else [module]
        if not all(isinstance(layer, Monotone | Columnwise) for layer in layers):
            pytest.skip("mixes columns, or is a function of which nothing is known")
        low, high = (torch.tensor(X + step) for step in (-0.7, 0.7))
        ends = torch.stack([module(low), module(high)])
        for share in torch.linspace(0, 1, 9):
            image = module(low + share * (high - low))
            assert (image >= ends.amin(0) - 1e-12).all()
            assert (image <= ends.amax(0) + 1e-12).all()


def test_an_unknown_step_is_named_with_the_way_out():
    X, y = table(2)
    pipeline = Pipeline(
        [("prepare", make_pipeline(StandardScaler())), ("tree", DecisionTreeClassifier())]
    ).fit(X, y)
    message = (
        r"Step 'tree' \(DecisionTreeClassifier\) cannot be .*: no converter is registered .* as a black box"
    )
    with pytest.raises(NotConvertibleError, match=message):
        to_torch(pipeline)


def test_the_path_to_a_nested_step_is_named():
    X, y = table(2)
    inner = Pipeline([("bins", preprocessing.Binarizer())])
    with pytest.raises(NotConvertibleError, match=r"Step 'prepare__bins' \(Binarizer\)"):
        to_torch(Pipeline([("prepare", inner), ("head", LogisticRegression())]).fit(X, y))


X, Y = table(2)
REFUSED = [
    (BINS, "step function, whose gradient is zero"),
    (preprocessing.OneHotEncoder(), "encodes categories"),
    (preprocessing.SplineTransformer(degree=0), "degree 0 are step functions"),
    (
        preprocessing.SplineTransformer(degree=1, extrapolation="linear"),
        "differently after the first feature",
    ),
    (impute.SimpleImputer(strategy="constant", fill_value="none"), "fills in values that are no numbers"),
    (svm.SVC(kernel=lambda A, B: A @ B.T), "its kernel <function .* is not known in torch"),
    (svm.SVC(kernel="precomputed"), "its kernel 'precomputed' is not known in torch"),
    (
        kernel_approximation.Nystroem("laplacian", n_components=5),
        "its kernel 'laplacian' is not known in torch",
    ),
    (ensemble.VotingClassifier([("a", LogisticRegression())]), "hard votes are step functions"),
    (
        ensemble.VotingClassifier(
            [("a", LinearDiscriminantAnalysis()), ("b", DecisionTreeClassifier())], voting="soft"
        ),
        r"Step 'b' \(DecisionTreeClassifier\)",
    ),
    (ensemble.BaggingClassifier(svm.LinearSVC(), n_estimators=2), "members without predict_proba vote"),
    (
        make_pipeline(ensemble.VotingClassifier([("a", LogisticRegression())], voting="soft"), GaussianNB()),
        "its transform is not known",
    ),
    (
        ensemble.VotingClassifier([("a", linear_model.SGDClassifier(loss="modified_huber"))], voting="soft"),
        "probabilities do not follow",
    ),
    (ensemble.BaggingClassifier(DecisionTreeClassifier(), n_estimators=2), r"Step 'estimators_\[0\]'"),
]


@pytest.mark.parametrize(
    ("estimator", "message"), REFUSED, ids=[name_of(estimator)[:60] for estimator, _ in REFUSED]
)
def test_what_has_no_torch_function_is_refused_with_the_reason(estimator, message):
    rows = X @ X.T if getattr(estimator, "kernel", None) == "precomputed" else X
    is_text = getattr(estimator, "fill_value", None) == "none"
    with pytest.raises(NotConvertibleError, match=message):
        to_torch(fitted(estimator, rows.astype(object) if is_text else rows, Y))


def test_a_spline_that_takes_missing_values_is_refused():
    spline = with_known(preprocessing.SplineTransformer(), handle_missing="zeros")
    if not hasattr(spline, "handle_missing"):
        pytest.skip("needs a version of scikit-learn whose splines take missing values")
    with pytest.raises(NotConvertibleError, match="turns missing values into zeros"):
        to_torch(spline.fit(X))


def test_several_labels_per_row_are_refused():
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    for classifier in [MLPClassifier((3,), max_iter=2), multiclass.OneVsRestClassifier(LogisticRegression())]:
        with pytest.raises(NotConvertibleError, match="several labels per row"):
            to_torch(fitted(classifier, X, labels))


def test_an_unregistered_function_is_refused_by_its_name():
    def secret(X):
        return X

    message = "torch counterpart of .*secret is not known; sklearn_brm.register_torch_function"
    with pytest.raises(NotConvertibleError, match=message):
        to_torch(FunctionTransformer(secret))


def test_a_registered_function_gets_its_keyword_arguments():
    def scaled(X, by):
        return by * X

    register_torch_function(scaled, scaled)
    X, _ = table(2)
    assert_converts(FunctionTransformer(scaled, kw_args={"by": 3.0}).fit(X), X)


def test_a_registered_converter_is_used_and_inherited_unless_the_output_changes():
    class Shift(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.offset_ = X.min(axis=0)
            return self

        def transform(self, X):
            return X - self.offset_

    class MeanShift(Shift):
        def fit(self, X, y=None):
            self.offset_ = X.mean(axis=0)
            return self

    class Negative(Shift):
        def transform(self, X):
            return self.offset_ - X

    def convert_shift(shift, target):
        offset = target.tensor(shift.offset_)
        return lambda X: X - offset

    register_converter(Shift, convert_shift)
    X, _ = table(2)
    assert_converts(Shift().fit(X), X)
    assert_converts(MeanShift().fit(X), X)
    with pytest.raises(NotConvertibleError, match="redefines transform of Shift"):
        to_torch(Negative().fit(X))


def test_a_subclass_of_a_known_type_that_predicts_differently_is_refused():
    class Flipped(LogisticRegression):
        def decision_function(self, X):
            return -super().decision_function(X)

    X, y = table(2)
    with pytest.raises(NotConvertibleError, match="redefines decision_function of LogisticRegression"):
        to_torch(Flipped().fit(X, y))


STATELESS = (preprocessing.Normalizer, FunctionTransformer)


@pytest.mark.parametrize(
    "estimator",
    [make_pipeline(StandardScaler(), LogisticRegression())]
    + [
        e
        for e in SCALERS + PROJECTIONS + EXPANSIONS + LINEAR + PROBABILISTIC + KERNEL
        if not isinstance(e, STATELESS)
    ],
    ids=name_of,
)
def test_an_unfitted_estimator_raises_not_fitted(estimator):
    with pytest.raises(NotFittedError):
        to_torch(estimator)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"device": "foo"},
            ValueError,
            "'device' parameter of to_torch must be 'auto' or a device .* Got 'foo'",
        ),
        ({"device": "meta"}, ValueError, "'device' parameter of to_torch .* Got 'meta' instead"),
        ({"device": 0}, TypeError, "'device' parameter of to_torch .* Got 0 instead"),
        ({"device": "cuda:99"}, ValueError, "'device' parameter of to_torch .* Got 'cuda:99' instead"),
        ({"dtype": torch.int64}, TypeError, "'dtype' parameter .* a floating torch.dtype. Got torch.int64"),
        ({"dtype": "float32"}, ValueError, "'dtype' parameter .* a floating torch.dtype. Got 'float32'"),
        ({"dtype": None}, TypeError, "'dtype' parameter .* a floating torch.dtype. Got None"),
    ],
)
def test_where_and_in_what_precision_must_be_known_to_torch(parameters, error, message):
    with pytest.raises(error, match=message):
        to_torch(StandardScaler().fit(np.eye(3)), **parameters)


def test_auto_is_a_device_that_computes_in_the_precision_asked_for(monkeypatch):
    rows = torch.eye(3, dtype=torch.float64)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    scaler = StandardScaler().fit(rows.numpy())
    expected = scaler.transform(rows.numpy())
    np.testing.assert_allclose(to_torch(scaler, device="auto")(rows).numpy(), expected, atol=1e-12)


def test_a_class_in_place_of_an_estimator_is_an_error():
    with pytest.raises(TypeError, match="'estimator' parameter of to_torch must be a fitted estimator"):
        to_torch(LogisticRegression)
    for nothing in [None, 3, "svc"]:
        with pytest.raises(TypeError, match="'estimator' parameter of to_torch must be a fitted estimator"):
            to_torch(nothing)


@pytest.mark.parametrize(("arguments", "name"), [((3, len), "estimator_type"), ((int, 3), "converter")])
def test_registering_checks_its_arguments(arguments, name):
    with pytest.raises(TypeError, match=f"'{name}' parameter of register_converter must be a"):
        register_converter(*arguments)
    with pytest.raises(TypeError, match="parameter of register_torch_function must be a callable"):
        register_torch_function(*arguments[::-1]) if callable(arguments[0]) else register_torch_function(
            *arguments
        )


class TestMismatch:
    """The check finds wrong rows and only those."""

    def test_it_finds_the_rows_where_a_classifier_function_is_wrong(self):
        X, y = table(3)
        classifier = LogisticRegression().fit(X, y)
        right, wrong_rows = to_torch(classifier), np.arange(len(X)) % 7 == 0
        offset = torch.tensor(np.outer(wrong_rows, [0.0, 1e-3, 0.0]))
        found = mismatch(classifier, lambda rows: right(rows) + offset, X)
        np.testing.assert_array_equal(found, wrong_rows)

    def test_a_number_common_to_a_row_does_not_matter(self):
        X, y = table(3)
        classifier = LogisticRegression().fit(X, y)
        right = to_torch(classifier)
        assert not mismatch(classifier, lambda rows: right(rows) + rows[:, :1], X).any()

    def test_log_probabilities_agree_where_decision_values_do_not(self):
        X, y = table(3)
        classifier = linear_model.SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
        assert not mismatch(classifier, lambda rows: torch.tensor(classifier.predict_log_proba(X)), X).any()

    def test_two_classes_are_compared_by_their_difference(self):
        X, y = table(2)
        classifier = LogisticRegression().fit(X, y)
        right = to_torch(classifier)
        assert not mismatch(classifier, lambda rows: right(rows) - 5, X).any()
        assert mismatch(classifier, lambda rows: right(rows) * 1.01, X).all()

    def test_it_finds_the_rows_where_a_transformer_is_wrong(self):
        X, _ = table(2)
        scaler = StandardScaler().fit(X)
        right = to_torch(scaler)
        found = mismatch(scaler, lambda rows: right(rows).clamp(max=2), X)
        np.testing.assert_array_equal(found, (scaler.transform(X) > 2).any(axis=1))

    def test_a_wrong_shape_is_wrong_everywhere(self):
        X, y = table(3)
        classifier = LogisticRegression().fit(X, y)
        assert mismatch(classifier, lambda rows: rows[:, :2], X).all()
        assert mismatch(feature_selection.VarianceThreshold(0.5).fit(X), lambda rows: rows[:, :2], X).all()

    def test_not_a_number_is_wrong(self):
        X, y = table(2)
        classifier = LogisticRegression().fit(X, y)
        assert mismatch(classifier, lambda rows: rows[:, :2] * torch.nan, X).all()

    def test_several_labels_per_row_are_wrong_everywhere(self):
        X, _ = table(2)
        labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0, X[:, 2] > 1]).astype(int)
        classifier = linear_model.RidgeClassifier().fit(X, labels)
        assert mismatch(classifier, to_torch(classifier), X).all()
