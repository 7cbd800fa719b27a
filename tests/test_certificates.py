"""Nothing that is certified breaks, what is complete is exact, and everything else is said."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, QuantileTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import (
    AdversarialScorer,
    NotCertifiableError,
    RegularizedClassifier,
    RobustnessCurveDisplay,
    RobustnessWarning,
    ThreatModel,
    WTAEncoder,
    adversarial_examples,
    certified_radii,
    certify,
    critical_perturbations,
    robustness_curve,
)
from sklearn_brm._robustness import _attacked, _provers


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X[:300], y[:300], X[300:360], y[300:360]


def network(cancer, sizes=(25,)):
    model = MLPClassifier(sizes, alpha=1.0, solver="lbfgs", max_iter=2000, random_state=0)
    return model.fit(cancer[0], cancer[1])


TREES = {
    "tree": DecisionTreeClassifier(max_depth=6, random_state=0),
    "forest": RandomForestClassifier(10, max_depth=5, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=15, random_state=0),
    "histograms": HistGradientBoostingClassifier(max_iter=15, random_state=0),
    "scaled": make_pipeline(StandardScaler(), ExtraTreesClassifier(10, max_depth=5, random_state=0)),
}
MODELS = {
    "logistic": LogisticRegression(),
    "ridge": RidgeClassifier(),
    "perceptron": Perceptron(random_state=0),
    "linear svc": LinearSVC(),
    "bayes": GaussianNB(),
    "bernoulli": BernoulliNB(),
    "one layer": RegularizedClassifier((), max_iter=300, random_state=0),
    "two layers": RegularizedClassifier((12, 8), max_iter=30, tol=None, random_state=0),
    "rbf": SVC(),
    "poly": SVC(kernel="poly"),
    "local": make_pipeline(
        WTAEncoder(30, random_state=0), RegularizedClassifier((), max_iter=300, random_state=0)
    ),
}


@pytest.mark.parametrize("norm", [np.inf, 2.0, 1.0])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "bernoulli"])
def test_no_certified_row_breaks_under_the_worst_case(cancer, name, norm):
    model = MODELS[name].fit(cancer[0], cancer[1])
    eps = {np.inf: 0.15, 2: 0.4, 1: 0.5}[norm]
    threat = ThreatModel(norm=norm)
    proven = certify(model, *cancer[2:], eps=eps, threat=threat, random_state=0)
    found = adversarial_examples(model, *cancer[2:], eps=eps, threat=threat, random_state=0)
    assert not (proven.certified & (found.outcome != "standing")).any()
    assert not (proven.complete & ~proven.certified & (found.outcome == "standing")).any()
    assert proven.certified_accuracy <= found.robust_accuracy <= proven.upper_accuracy
    assert proven.certified.any()


@pytest.mark.parametrize("norm", [np.inf, 2.0, 1.0])
@pytest.mark.parametrize("name", ["logistic", "ridge", "perceptron", "linear svc", "one layer"])
def test_linear_classifiers_are_exact_with_bounds_scales_and_fixed_columns(cancer, name, norm):
    model = MODELS[name].fit(cancer[0], cancer[1])
    threat = ThreatModel.from_data(cancer[0], norm=norm, fixed=[0, 5])
    eps = {np.inf: 0.2, 2: 0.5, 1: 1.2}[norm]
    proven = certify(model, *cancer[2:], eps=eps, threat=threat)
    found = adversarial_examples(model, *cancer[2:], eps=eps, threat=threat, random_state=0)
    assert proven.complete.all()
    np.testing.assert_array_equal(proven.certified, found.outcome == "standing")


def test_several_classes_and_counts_are_exact():
    X, y = load_digits(return_X_y=True)
    X = X[:400] / 16
    y = y[:400]
    for model in [LogisticRegression(max_iter=300), MultinomialNB()]:
        model.fit(X[:300], y[:300])
        threat = ThreatModel(bounds=(0, 1))
        proven = certify(model, X[300:], y[300:], eps=0.03, threat=threat)
        found = adversarial_examples(model, X[300:], y[300:], eps=0.03, threat=threat, random_state=0)
        assert proven.complete.all()
        np.testing.assert_array_equal(proven.certified, found.outcome == "standing")


def test_a_network_of_one_hidden_layer_is_decided_row_by_row(cancer):
    model = network(cancer)
    proven = certify(model, *cancer[2:], eps=0.3, random_state=0, time_limit=20.0)
    found = adversarial_examples(model, *cancer[2:], eps=0.3, random_state=0)
    assert proven.complete.all()
    assert {"attack", "bounds", "branch_and_bound"} <= set(proven.method)
    np.testing.assert_array_equal(proven.certified, found.outcome == "standing")
    bare = certify(model, *cancer[2:], eps=0.3, time_limit=0)
    assert bare.certified_accuracy < proven.certified_accuracy
    assert not bare.complete.all()


def test_a_network_of_two_hidden_layers_is_decided_row_by_row(cancer):
    model = network(cancer, (12, 8))
    proven = certify(model, *cancer[2:], eps=0.3, random_state=0, time_limit=20.0)
    found = adversarial_examples(model, *cancer[2:], eps=0.3, random_state=0)
    assert proven.complete.all()
    assert "branch_and_bound" in proven.method
    standing = found.outcome == "standing"
    assert standing[proven.certified].all()
    # What a complete search breaks, an attack may miss: which row that is, if any, depends on the kernels
    # that the network was trained with.
    assert (standing & ~proven.certified).sum() <= 1


def test_closer_bounds_prove_more_where_nothing_is_searched(cancer):
    threat = ThreatModel(norm=2)
    model = network(cancer, (30, 20))
    plain, closer = (
        certify(model, *cancer[2:], eps=1.5, threat=threat, random_state=0, time_limit=limit)
        for limit in (0, 1.0)
    )
    assert (plain.certified <= closer.certified).all()
    assert closer.certified.sum() > plain.certified.sum()
    right = ~np.isnan(plain.margin_lower)
    assert (plain.margin_lower <= closer.margin_lower)[right].all()
    open_ = right & ~plain.certified & (closer.method == "bounds")
    assert (plain.margin_lower < closer.margin_lower)[open_].all()


def test_rows_that_time_does_not_reach_keep_their_plain_bounds(cancer):
    model = network(cancer, (30, 20))
    plain, late = (
        certify(model, *cancer[2:], eps=0.5, random_state=0, time_limit=limit) for limit in (0, 1e-9)
    )
    np.testing.assert_array_equal(plain.certified, late.certified)


@pytest.mark.parametrize("norm", [np.inf, 2.0, 1.0])
@pytest.mark.parametrize("name", TREES)
def test_trees_are_decided_and_no_attack_is_better_than_the_search(cancer, name, norm):
    model = TREES[name].fit(cancer[0], cancer[1])
    threat, eps = ThreatModel.from_data(cancer[0], norm=norm, fixed=[2]), {np.inf: 0.3, 2: 0.6, 1: 0.9}[norm]
    proven = certify(model, *cancer[2:], eps=eps, threat=threat, time_limit=10)
    found = adversarial_examples(model, *cancer[2:], eps=eps, threat=threat, random_state=0)
    assert proven.complete.mean() > 0.95
    # The worst case searches among leaves as well, so that both sides meet.
    known = proven.complete
    np.testing.assert_array_equal(proven.certified[known], (found.outcome == "standing")[known])
    bare = certify(model, *cancer[2:], eps=eps, threat=threat, time_limit=0)
    assert (bare.certified <= proven.certified).all()
    assert (bare.margin_lower[bare.certified] > 0).all()


def test_whole_numbers_of_tables_with_gaps_are_decided_among_whole_numbers():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 300).astype(float), "score": rng.normal(size=300)})
    y = np.where((frame.age > 45) ^ (frame.score > 0), "a", "b")
    frame.loc[::7, "score"] = np.nan
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(frame, y)
    options = {"eps": 0.1, "threat": ThreatModel.from_data(frame)}
    proven = certify(model, frame[:80], y[:80], **options)
    found = adversarial_examples(model, frame[:80], y[:80], random_state=0, **options)
    assert proven.complete.all()
    np.testing.assert_array_equal(proven.certified, found.outcome == "standing")


def test_several_classes_of_trees_and_radii_below_those_that_break():
    X, y = load_iris(return_X_y=True)
    model = RandomForestClassifier(8, max_depth=4, random_state=0).fit(X[::2], y[::2])
    radii = certified_radii(model, X[1::2], y[1::2])
    broken = critical_perturbations(model, X[1::2], y[1::2], random_state=0).radius
    right = model.predict(X[1::2]) == y[1::2]
    assert (radii[~right] == 0).all()
    assert (radii[right] > 0).mean() > 0.9
    assert (radii <= broken).all()


@pytest.mark.parametrize("norm", [np.inf, 2.0, 1.0])
@pytest.mark.parametrize("n_neighbors", [1, 2, 3, 5])
@pytest.mark.parametrize("scaled", [False, True])
def test_neighbours_are_bounded_in_every_norm_and_behind_linear_steps(cancer, n_neighbors, norm, scaled):
    model = KNeighborsClassifier(n_neighbors)
    model = make_pipeline(StandardScaler(), PCA(6), model) if scaled else model
    model.fit(cancer[0][:150], cancer[1][:150])
    threat, eps = ThreatModel.from_data(cancer[0], norm=norm, fixed=[1]), {np.inf: 0.1, 2: 0.3, 1: 0.4}[norm]
    proven = certify(model, *cancer[2:], eps=eps, threat=threat, time_limit=0)
    assert proven.certified.mean() > 0.3
    rng, broken = np.random.default_rng(0), np.zeros(len(cancer[3]), dtype=bool)
    scale = np.array([cancer[0].std(axis=0)])
    for _ in range(60):
        z = rng.normal(size=cancer[2].shape)
        z = np.sign(z) if norm == np.inf else z / np.linalg.norm(z, ord=norm, axis=1, keepdims=True)
        z[:, 1] = 0
        broken |= model.predict(cancer[2] + eps * scale * z) != cancer[3]
    assert not (proven.certified & broken).any()


def test_the_nearest_of_two_points_is_exact_up_to_their_bisector():
    X, y = np.array([[0.0, 0.0], [4.0, 2.0]]), np.array([0, 1])
    model = KNeighborsClassifier(1).fit(X, y)
    rows = np.array([[0.0, 0.0], [1.0, 1.0], [3.0, 0.0]])
    lead = ((rows - X[1]) ** 2).sum(axis=1) - (rows**2).sum(axis=1)
    labels = (lead < 0).astype(int)
    for norm, length in [(np.inf, 12), (2.0, 2 * 20**0.5), (1.0, 8)]:
        radii = certified_radii(model, rows, labels, threat=ThreatModel(norm=norm), max_eps=10, tol=1e-6)
        np.testing.assert_allclose(radii, np.abs(lead) / length, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (KNeighborsClassifier(weights="distance"), "weights='distance' and metric='euclidean'"),
        (KNeighborsClassifier(p=1), "weights='uniform' and metric='manhattan'"),
        (make_pipeline(QuantileTransformer(n_quantiles=20), KNeighborsClassifier()), "are not all linear"),
    ],
)
def test_other_ways_to_count_neighbours_are_refused(model, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(NotCertifiableError, match=f"Nothing can be proven of this estimator: .*{message}"):
        certify(model.fit(X, y), X, y, eps=0.1)


def test_the_margin_is_never_below_its_bound(cancer):
    model = MODELS["two layers"].fit(cancer[0], cancer[1])
    proven = certify(model, *cancer[2:], eps=0.1, time_limit=0)
    rng = np.random.default_rng(0)
    sign = np.where(cancer[3] == model.classes_[1], 1, -1)
    right = model.predict(cancer[2]) == cancer[3]
    assert np.isnan(proven.margin_lower[~right]).all()
    for _ in range(50):
        X = cancer[2] + 0.1 * np.sign(rng.normal(size=cancer[2].shape))
        lead = sign * model.decision_function(X)
        assert (lead[right] >= proven.margin_lower[right] - 1e-9).all()


@pytest.mark.filterwarnings("ignore::sklearn_brm.RobustnessWarning")
def test_radii_that_are_proven_lie_below_those_that_break_and_reach_them_where_bounds_are_exact(cancer):
    for model, is_exact in [(LogisticRegression(), True), (network(cancer), False)]:
        model.fit(cancer[0], cancer[1])
        for norm in [np.inf, 2.0]:
            threat = ThreatModel(norm=norm)
            proven = certified_radii(model, *cancer[2:], threat=threat)
            broken = critical_perturbations(model, *cancer[2:], threat=threat, random_state=0).radius
            right = model.predict(cancer[2]) == cancer[3]
            assert (proven[~right] == 0).all()
            assert (proven <= broken).all()
            assert (proven[right] > 0).mean() > 0.9
            if is_exact:
                np.testing.assert_allclose(proven[right], broken[right], rtol=0.02)


def test_radii_end_at_the_largest_that_is_asked_for(cancer):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    radii = certified_radii(model, *cancer[2:], max_eps=0.1)
    assert radii.max() == pytest.approx(0.1)
    assert (radii <= certified_radii(model, *cancer[2:]) * 1.002).all()


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "income": rng.normal(size=n),
            "age": rng.uniform(20, 60, n),
            "city": rng.choice(["a", "b", "c"], n),
            "member": rng.choice([False, True], n),
        }
    )
    y = np.where(
        frame.income + (frame.city == "a") + 0.5 * frame.member + 0.02 * frame.age > 1.2, "yes", "no"
    )
    columns = make_column_transformer(
        (StandardScaler(), ["income", "age"]), (OneHotEncoder(), ["city", "member"]), remainder="drop"
    )
    return frame, y, columns


@pytest.mark.parametrize("max_changes", [0, 1, 2])
def test_categories_are_enumerated_and_linear_pipelines_stay_exact(mixed, max_changes):
    frame, y, columns = mixed
    model = make_pipeline(columns, LogisticRegression()).fit(frame, y)
    threat = ThreatModel.from_data(frame, max_changes=max_changes, integer=None)
    rows = frame[:60].sample(frac=1, axis=1, random_state=0)
    proven = certify(model, rows, y[:60], eps=0.1, threat=threat)
    found = adversarial_examples(model, rows, y[:60], eps=0.1, threat=threat, random_state=0)
    assert proven.complete.all()
    np.testing.assert_array_equal(proven.certified, found.outcome == "standing")
    assert 0 < proven.certified_accuracy < 1


def test_a_row_that_may_become_too_many_others_is_left_open(mixed, monkeypatch):
    frame, y, columns = mixed
    model = make_pipeline(columns, LogisticRegression()).fit(frame, y)
    threat = ThreatModel.from_data(frame, max_changes=2, integer=None)
    monkeypatch.setattr(_provers, "_MOST_BASES", 2)
    proven = certify(model, frame[:60], y[:60], eps=0.1, threat=threat, time_limit=0)
    right = model.predict(frame[:60]) == y[:60]
    assert not proven.certified.any()
    assert not proven.complete[right].any()


def test_a_row_within_rounding_of_the_boundary_is_neither_certified_nor_called_broken():
    X, y = np.array([[-1.0], [1.0], [-2.0], [2.0]]), np.array([0, 1, 0, 1])
    model = LogisticRegression().fit(X, y)
    rows = X - model.intercept_ / model.coef_
    proven = certify(model, rows, y, eps=1.0, time_limit=0)
    np.testing.assert_array_equal(proven.certified, [False, False, True, True])
    np.testing.assert_array_equal(proven.complete, [False, False, True, True])


def test_rules_that_only_take_away_leave_proofs_standing(mixed):
    frame, y, columns = mixed
    model = make_pipeline(columns, LogisticRegression()).fit(frame, y)
    free = ThreatModel.from_data(frame, max_changes=1)
    tied = ThreatModel.from_data(frame, max_changes=1, relations=["age >= 18"])
    proven = certify(model, frame[:60], y[:60], eps=0.1, threat=tied, time_limit=0)
    np.testing.assert_array_equal(
        proven.certified, certify(model, frame[:60], y[:60], eps=0.1, threat=free).certified
    )
    # What is not certified may stand after all.
    assert not proven.complete[~proven.certified & (model.predict(frame[:60]) == y[:60])].all()


def test_rows_that_are_wrong_when_clean_are_complete_and_not_certified(cancer):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    proven = certify(model, cancer[2], 1 - cancer[3], eps=0.1)
    wrong = model.predict(cancer[2]) != 1 - cancer[3]
    assert proven.complete[wrong].all()
    assert not proven.certified[wrong].any()
    assert set(proven.method[wrong]) == {"clean"}


def test_the_radius_zero_certifies_what_is_right(cancer):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    proven = certify(model, *cancer[2:], eps=0)
    assert proven.certified_accuracy == pytest.approx(model.score(*cancer[2:]))


def test_single_precision_leaves_room_for_its_rounding(cancer):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    X, y = cancer[2].astype(np.float32), cancer[3]
    radii = certified_radii(model, X, y, tol=1e-6)
    exact = np.abs(model.decision_function(X)) / np.abs(model.coef_).sum()
    right = model.predict(X) == y
    assert (radii[right] < exact[right]).all()
    np.testing.assert_allclose(radii[right], exact[right], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("dtype", "n_conversions"), [(np.float64, 1), (np.float32, 2)])
def test_what_attacks_climb_is_proven_where_it_is_precise_enough(cancer, monkeypatch, dtype, n_conversions):
    model, calls = LogisticRegression().fit(cancer[0], cancer[1]), []
    convert = _attacked.convert_coded
    monkeypatch.setattr(
        _attacked, "convert_coded", lambda *args, **kwargs: calls.append(1) or convert(*args, **kwargs)
    )
    certify(model, cancer[2].astype(dtype), cancer[3], eps=0.1, time_limit=0)
    assert len(calls) == n_conversions


def test_the_interval_is_that_of_a_share(cancer):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    proven = certify(model, *cancer[2:], eps=0.1)
    low, high = proven.interval()
    assert low < proven.certified_accuracy < high


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (QuadraticDiscriminantAnalysis(), "becomes the layer Quadratic, of which no bounds are known"),
        (
            make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()),
            "step 'functiontransformer' becomes the layer Function, of which no bounds are known",
        ),
    ],
)
def test_what_cannot_be_certified_says_which_step_stands_in_the_way(model, message):
    X, y = load_iris(return_X_y=True)
    model.fit(X, y)
    with pytest.raises(NotCertifiableError, match=f"Nothing can be proven of this estimator.*{message}"):
        certify(model, X, y, eps=0.1)
    with pytest.raises(NotCertifiableError, match=message):
        certified_radii(model, X, y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eps": -1}, "'eps' parameter of certify must be a float in \\[0, inf\\). Got -1"),
        ({"time_limit": -1}, "'time_limit' parameter of certify must be a float in \\[0, inf\\)"),
        ({"time_limit": float("nan")}, "'time_limit' parameter of certify"),
        ({"batch_size": 0}, "'batch_size' parameter of certify must be an int in \\[1, inf\\)"),
    ],
)
def test_bad_parameters_are_named(cancer, wrong, message):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    with pytest.raises(ValueError, match=message):
        certify(model, *cancer[2:], **{"eps": 0.1, **wrong})


@pytest.mark.parametrize(("name", "value"), [("max_eps", 0), ("tol", 0), ("tol", 1)])
def test_bad_parameters_of_radii_are_named(cancer, name, value):
    model = LogisticRegression().fit(cancer[0], cancer[1])
    with pytest.raises(ValueError, match=f"'{name}' parameter of certified_radii must be"):
        certified_radii(model, *cancer[2:], **{name: value})


class TestEverywhere:
    """The bounds stand beside the attacks wherever these are."""

    def test_a_search_can_choose_by_what_is_proven(self, cancer):
        search = GridSearchCV(
            LogisticRegression(),
            {"C": [1e-3, 1e-1, 10.0]},
            scoring={
                "proven": AdversarialScorer(0.2, metric="certified_accuracy"),
                "attacked": AdversarialScorer(0.2, random_state=0),
            },
            refit="proven",
            n_jobs=2,
        ).fit(cancer[0], cancer[1])
        # Both are exact for linear classifiers.
        for split in range(5):
            np.testing.assert_allclose(
                *(search.cv_results_[f"split{split}_test_{name}"] for name in ("proven", "attacked"))
            )

    def test_the_scorer_counts_weights(self, cancer):
        model = network(cancer)
        weight = np.arange(len(cancer[3])) % 3
        proven = certify(model, *cancer[2:], eps=0.2, time_limit=0).certified
        score = AdversarialScorer(0.2, metric="certified_accuracy")(model, *cancer[2:], sample_weight=weight)
        assert score == pytest.approx(np.average(proven, weights=weight))

    def test_all_metrics_hold_the_proven_share_or_nan(self, cancer):
        scorer = AdversarialScorer(0.2, metric="all", n_steps=5, max_queries=20, random_state=0)
        linear = scorer(LogisticRegression().fit(cancer[0], cancer[1]), *cancer[2:])
        assert linear["certified_accuracy"] == pytest.approx(linear["robust_accuracy"])
        tree = scorer(QuadraticDiscriminantAnalysis(reg_param=0.1).fit(cancer[0], cancer[1]), *cancer[2:])
        assert np.isnan(tree["certified_accuracy"])

    def test_what_cannot_be_proven_is_nan_with_one_warning(self, cancer):
        model = QuadraticDiscriminantAnalysis(reg_param=0.1).fit(cancer[0], cancer[1])
        scorer = AdversarialScorer(0.2, metric="certified_accuracy")
        with pytest.warns(RobustnessWarning, match="certified_accuracy is NaN. Nothing can be proven"):
            assert np.isnan(scorer(model, *cancer[2:]))
        assert np.isnan(scorer(model, *cancer[2:]))

    def test_a_curve_carries_both_bounds_and_the_picture_hatches_the_gap(self, cancer):
        import matplotlib

        matplotlib.use("agg")
        model, eps = network(cancer), [0.05, 0.1, 0.2, 0.4]
        curve = robustness_curve(model, *cancer[2:], eps=eps, certify=True, random_state=0)
        assert (curve.certified_accuracy <= curve.accuracy).all()
        assert (np.diff(curve.certified_accuracy) <= 0).all()
        bare = [certify(model, *cancer[2:], eps=e, time_limit=0).certified_accuracy for e in eps]
        np.testing.assert_allclose(curve.certified_accuracy, bare)
        assert robustness_curve(model, *cancer[2:], eps=eps, random_state=0).certified_accuracy is None
        display = RobustnessCurveDisplay(curves={"network": curve}).plot()
        labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert any("proven" in label for label in labels)
        assert any(collection.get_hatch() for collection in display.ax_.collections)
        RobustnessCurveDisplay(curves={"network": curve}, relative=True).plot()
        matplotlib.pyplot.close("all")

    def test_critical_perturbations_carry_the_radius_that_is_proven(self, cancer):
        model = LogisticRegression().fit(cancer[0], cancer[1])
        found = critical_perturbations(model, *cancer[2:], certify=True, random_state=0)
        assert (found.radius_lower <= found.radius).all()
        np.testing.assert_allclose(found.radius_lower, found.radius, rtol=0.02)
        bare = critical_perturbations(model, *cancer[2:], random_state=0)
        assert bare.radius_lower is None

    @pytest.mark.parametrize("function", [robustness_curve, critical_perturbations])
    def test_asking_for_the_impossible_is_an_error(self, cancer, function):
        model = QuadraticDiscriminantAnalysis(reg_param=0.1).fit(cancer[0], cancer[1])
        with pytest.raises(NotCertifiableError, match="Nothing can be proven"):
            function(model, *cancer[2:], certify=True)
        with pytest.raises(TypeError, match=r"'certify' parameter of .* must be True or False"):
            function(model, *cancer[2:], certify=1)


@pytest.mark.parametrize("max_eps", [1e3, 1e8])
def test_a_radius_is_found_however_far_one_looks(max_eps):
    X, y = load_iris(return_X_y=True)
    X, y = X[:100], y[:100]
    model = LogisticRegression().fit(X, y)
    exact = np.abs(model.decision_function(X)) / np.abs(model.coef_).sum()
    np.testing.assert_allclose(certified_radii(model, X, y, max_eps=max_eps), exact, rtol=2e-3)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("options", [{"tol": 1e-300}, {"max_eps": 5e-324}, {"max_eps": 1e-320, "tol": 0.5}])
def test_radii_are_found_however_fine_or_short_they_are_asked_for(options):
    X, y = load_iris(return_X_y=True)
    X, y = X[:100:10], y[:100:10]
    model = LogisticRegression().fit(X, y)
    exact = np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_)
    radii = certified_radii(model, X, y, threat=ThreatModel(norm=2), **options)
    assert (radii <= exact).all()
    exact = np.minimum(exact, options.get("max_eps", np.inf))
    np.testing.assert_allclose(radii, exact, rtol=1e-3, atol=5e-324)
