"""The pictures of robustness hold the right numbers, and draw them where they say."""

import copy
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.svm import SVC, LinearSVC

from sklearn_brm import (
    AdversarialScorer,
    AttackProfileDisplay,
    DecisionPlaneDisplay,
    NotConvertibleError,
    RobustnessCurveDisplay,
    ThreatModel,
    TradeOffDisplay,
    adversarial_examples,
    robustness_curve,
)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def search():
    scoring = {"accuracy": "accuracy", "certain": "neg_log_loss"}
    grid = {"C": [1e-4, 1e-2, 1.0, 100.0], "fit_intercept": [True, False]}
    return GridSearchCV(LogisticRegression(max_iter=1000), grid, scoring=scoring, refit="accuracy").fit(
        *load_iris(return_X_y=True)
    )


class TestTradeOffDisplay:
    """Two scores of a search and their front."""

    def test_the_front_is_what_an_index_loop_finds(self):
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 8, size=(2, 60)) / 8
        on_front = TradeOffDisplay(x=x, y=y).on_front
        for i in range(60):
            beaten = any(x[j] >= x[i] and y[j] >= y[i] and (x[j] > x[i] or y[j] > y[i]) for j in range(60))
            assert on_front[i] == (not beaten)

    def test_a_failed_candidate_is_neither_on_the_front_nor_in_its_way(self):
        on_front = TradeOffDisplay(x=[0.5, np.nan, 0.4], y=[0.5, 1.0, 0.9]).on_front
        np.testing.assert_array_equal(on_front, [True, False, True])

    def test_the_scores_are_those_of_the_search(self, search):
        display = TradeOffDisplay.from_cv_results(search, y="certain")
        results = search.cv_results_
        np.testing.assert_array_equal(
            display.points_.get_offsets(),
            np.column_stack([results["mean_test_accuracy"], results["mean_test_certain"]]),
        )
        assert display.ax_.get_xlabel() == "accuracy (mean of 5 folds)"
        assert display.ax_.get_ylabel() == "certain (mean of 5 folds)"
        assert display.chosen == search.best_index_
        assert display.figure_ is display.ax_.figure

    def test_the_staircase_goes_through_the_front_from_left_to_right(self):
        display = TradeOffDisplay(x=[0.9, 0.5, 0.7, 0.6], y=[0.1, 0.8, 0.5, 0.4]).plot()
        np.testing.assert_array_equal(display.front_.get_xydata(), [[0.5, 0.8], [0.7, 0.5], [0.9, 0.1]])
        assert display.front_.get_drawstyle() == "steps-pre"

    def test_the_results_alone_will_do(self, search):
        display = TradeOffDisplay.from_cv_results(search.cv_results_, y="certain", name="linear")
        assert display.chosen is None
        labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert labels == ["linear: Pareto front"]

    def test_a_searched_parameter_becomes_colour(self, search):
        display = TradeOffDisplay.from_cv_results(search, y="certain", color_by="C")
        np.testing.assert_array_equal(
            display.points_.get_array(), search.cv_results_["param_C"].astype(float)
        )
        assert display.colorbar_.ax.get_ylabel() == "C"
        assert display.colorbar_.ax.get_yscale() == "log"

    def test_two_searches_share_axes_in_different_colours(self, search):
        first = TradeOffDisplay.from_cv_results(search, y="certain", name="first")
        second = TradeOffDisplay.from_cv_results(search, y="certain", name="second", ax=first.ax_)
        assert second.ax_ is first.ax_
        assert first.front_.get_color() != second.front_.get_color()

    def test_the_legend_covers_no_data(self, search):
        display = TradeOffDisplay.from_cv_results(search, y="certain")
        display.figure_.canvas.draw()
        legend = display.ax_.get_legend().get_window_extent()
        assert not legend.overlaps(display.ax_.get_window_extent())

    @pytest.mark.parametrize("n_axes", [1, 2])
    def test_several_searches_in_a_subplot_leave_it_its_width(self, search, n_axes):
        figure, axes = plt.subplots(1, n_axes, layout="constrained", figsize=(5 * n_axes, 4), squeeze=False)
        for ax in axes[0]:
            for name in ["a pipeline with a long name", "another, longer one of that kind"]:
                TradeOffDisplay.from_cv_results(search, y="certain", name=name, ax=ax)
        figure.canvas.draw()
        assert all(ax.get_window_extent().width > 0.7 * 5 * figure.dpi for ax in axes[0])
        assert all(ax.get_window_extent().height > 0.5 * 4 * figure.dpi for ax in axes[0])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"y": "robust"}, "'y' parameter of .* must be one of ['accuracy', 'certain']. Got 'robust'"),
            ({"x": "score", "y": "certain"}, "'x' parameter of .* must be one of ['accuracy', 'certain']"),
            (
                {"y": "certain", "color_by": "alpha"},
                "'color_by' parameter of .* must be one of ['C', 'fit_intercept']",
            ),
        ],
    )
    def test_an_unknown_score_or_parameter_lists_those_there_are(self, search, arguments, message):
        with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]")):
            TradeOffDisplay.from_cv_results(search, **arguments)

    def test_something_that_is_no_search_is_an_error(self):
        with pytest.raises(
            TypeError, match=r"'search' parameter of .* must be a fitted search or its cv_results_"
        ):
            TradeOffDisplay.from_cv_results(LogisticRegression())


def overlaps_data(display, ax):
    """Whether the legend lies over the axes, after they were laid out."""
    display.figure_.canvas.draw()
    return ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())


@pytest.fixture(scope="module")
def linear_models():
    X, y = load_breast_cancer(return_X_y=True)
    X, y = scale(X)[:150, :4], np.array(["bad", "good"])[y[:150]]
    models = {f"C={C}": LogisticRegression(C=C).fit(X, y) for C in (0.01, 1.0)}
    return models, X, y

    def test_the_label_says_what_the_attacker_may_do(self):
        X, y = load_iris(return_X_y=True)
        threat = ThreatModel.from_data(X, norm=2, scale="iqr", increasing=[0])
        scoring = {
            "accuracy": "accuracy",
            "robust": AdversarialScorer(0.25, threat=threat, attack="fgsm"),
            "radius": AdversarialScorer(metric="median_critical_perturbation", attack="fgsm"),
        }
        model = LogisticRegression(max_iter=1000)
        search = GridSearchCV(model, {"C": [0.1, 1.0]}, scoring=scoring, refit=False, cv=2).fit(X, y)
        display = TradeOffDisplay.from_cv_results(search)
        assert display.x_label == "accuracy (mean of 2 folds)"
        words = "Euclidean length up to 0.25 interquartile ranges; bounds of the data; increasing"
        assert display.y_label.replace("\n", " ") == f"robust (mean of 2 folds) {words}"
        assert max(map(len, display.y_label.splitlines())) <= 44
        radius = TradeOffDisplay.from_cv_results(search, y="radius").y_label.replace("\n", " ")
        assert radius == "radius (mean of 2 folds) largest change of a feature, raw units"

    def test_one_scorer_of_several_scores_names_the_threat_where_it_holds(self):
        results = {f"mean_test_{name}": np.array([0.5, 0.6]) for name in ("accuracy", "robust_accuracy")}

        class Search:
            scoring = AdversarialScorer(0.5, metric="all")
            cv_results_ = results

        display = TradeOffDisplay.from_cv_results(Search(), y="robust_accuracy")
        assert "\n" not in display.x_label
        assert display.y_label.endswith("each feature up to 0.5 raw units")

    @pytest.mark.parametrize(
        ("searched", "asked", "label"),
        [
            (["wta__classifier__alpha"], "wta__classifier__alpha", "alpha"),
            (["wta__classifier__alpha"], "alpha", "alpha"),
            (["a__alpha", "b__alpha"], "a__alpha", "a__alpha"),
            (["x__a__alpha", "x__b__alpha"], "x__b__alpha", "b__alpha"),
            (["alpha", "b__alpha"], "alpha", "alpha"),
            (["alpha", "b__alpha"], "b__alpha", "b__alpha"),
        ],
    )
    def test_paths_of_parameters_are_as_short_as_they_can_be(self, searched, asked, label):
        results = {"mean_test_accuracy": np.array([0.5, 0.6]), "mean_test_robust": np.array([0.1, 0.2])}
        results |= {f"param_{name}": np.array([i, i + 1.0]) for i, name in enumerate(searched)}
        display = TradeOffDisplay.from_cv_results(results, color_by=asked)
        assert display.colors_label == label
        at = next(i for i, name in enumerate(searched) if name == asked or len(searched) == 1)
        np.testing.assert_array_equal(display.colors, [at, at + 1])

    def test_an_end_that_two_parameters_share_names_neither(self):
        results = {"mean_test_accuracy": [0.5], "mean_test_robust": [0.1]}
        results |= {"param_a__alpha": [1.0], "param_b__alpha": [2.0]}
        with pytest.raises(ValueError, match=r"must be one of \['a__alpha', 'b__alpha'\]. Got 'alpha'"):
            TradeOffDisplay.from_cv_results(results, color_by="alpha")

    def test_a_candidate_far_from_all_others_does_not_squeeze_them(self):
        x, y = [0.9, 0.91, 0.93, 0.92, 0.2], [0.5, 0.52, 0.49, 0.51, 0.55]
        display = TradeOffDisplay(x=x, y=y).plot()
        low, high = display.ax_.get_xlim()
        assert 0.85 < low < 0.9
        assert 0.93 < high < 0.97
        assert [text.get_text() for text in display.ax_.texts] == ["(0.2, 0.55)"]
        mark = [line for line in display.ax_.lines if line.get_marker() == "<"]
        np.testing.assert_allclose(mark[0].get_xydata(), [[low, 0.55]])
        assert len(display.points_.get_offsets()) == 5
        # Another display of the same axes begins anew, and knows the points of both.
        TradeOffDisplay(x=[0.95, 0.94], y=[0.5, 0.3]).plot(ax=display.ax_)
        assert display.ax_.get_xlim()[1] > 0.95
        assert [text.get_text() for text in display.ax_.texts] == ["(0.2, 0.55)"]

    def test_the_chosen_candidate_is_always_shown(self):
        display = TradeOffDisplay(
            x=[0.9, 0.91, 0.93, 0.92, 0.2], y=[0.5, 0.52, 0.49, 0.51, 0.5], chosen=4
        ).plot()
        assert display.ax_.get_xlim()[0] < 0.2
        assert len(display.ax_.texts) == 0

    def test_limits_of_the_user_stay(self):
        ax = plt.subplots()[1]
        ax.set_xlim(0.3, 1.0)
        TradeOffDisplay(x=[0.9, 0.91, 0.93, 0.92, 0.2], y=[0.5, 0.52, 0.49, 0.51, 0.5]).plot(ax=ax)
        assert ax.get_xlim() == (0.3, 1.0)


class TestRobustnessCurveDisplay:
    """Accuracy under attack of several classifiers, with the boxes of their critical norms."""

    @pytest.mark.parametrize("factor", [1.0, 1e4])
    def test_without_eps_the_curve_spans_what_happens_to_all(self, linear_models, factor):
        models, X, y = linear_models
        X = X * factor
        models = {C: LogisticRegression(C=C / factor**2).fit(X, y) for C in (0.01, 1.0)}
        display = RobustnessCurveDisplay.from_estimator(models, X, y, attack="apgd", random_state=0)
        first, second = display.curves.values()
        np.testing.assert_array_equal(first.eps, second.eps)
        for curve, model in zip((first, second), models.values()):
            assert curve.relative_accuracy[0] > 0.85
            assert curve.relative_accuracy[-1] < 0.1
            exact = np.abs(model.decision_function(X)) / np.abs(model.coef_).sum()
            assert curve.eps[-1] < 2 * exact.max() + first.eps[0] + second.eps[0]
        assert len(first.eps) == 20

    def test_the_grid_is_the_same_every_time_and_ends_where_the_data_do(self, linear_models):
        models, X, y = linear_models
        stuck = ThreatModel.from_data(X, fixed=[0, 1, 2], bounds="data")
        options = {"threat": stuck, "attack": "apgd", "random_state": 0}
        curve, again = (robustness_curve(models["C=0.01"], X, y, **options) for _ in range(2))
        np.testing.assert_array_equal(curve.eps, again.eps)
        assert curve.relative_accuracy[-1] > 0.3
        assert curve.eps[-1] == pytest.approx(np.ptp(X[:, 3]) / X[:, 3].std())

    def test_one_estimator_has_the_radii_of_robustness_curve(self, linear_models):
        models, X, y = linear_models
        options = {"attack": "apgd", "random_state": 0}
        display = RobustnessCurveDisplay.from_estimator(models["C=1.0"], X, y, **options)
        curve = robustness_curve(models["C=1.0"], X, y, **options)
        np.testing.assert_array_equal(display.curves["LogisticRegression"].eps, curve.eps)

    def test_an_unknown_parameter_is_named(self, linear_models):
        models, X, y = linear_models
        with pytest.raises(TypeError, match="unexpected keyword argument 'epsilon'"):
            RobustnessCurveDisplay.from_estimator(models, X, y, epsilon=1)

    @pytest.mark.parametrize(
        ("scale", "word"),
        [("std", "standard deviations"), ("range", "ranges"), ("iqr", "interquartile ranges")],
    )
    def test_units_learned_from_data_keep_their_word(self, scale, word):
        X, y = load_iris(return_X_y=True)
        threat = ThreatModel.from_data(X, scale=scale)
        answers = [y, y]
        for one in (threat, clone(threat), pickle.loads(pickle.dumps(threat)), copy.deepcopy(threat)):
            display = RobustnessCurveDisplay.from_predictions(y, answers, eps=[0, 1], threat=one)
            assert display.ax_.get_xlabel() == f"perturbation size (largest change of a feature, in {word})"
        other = clone(threat).set_params(scale=2.0)
        assert other.size_words().endswith("in units of scale")
        found = adversarial_examples(
            LogisticRegression(max_iter=1000).fit(X, y), X, y, eps=0.1, threat=threat, attack="fgsm"
        )
        assert AttackProfileDisplay.from_examples(found).axes_[1].get_xlabel() == f"median move ({word})"

    def test_the_band_is_the_interval_of_the_curve(self, linear_models):
        models, X, y = linear_models
        display = RobustnessCurveDisplay.from_estimator(models, X, y, eps=[0.1, 0.5, 1.0], **self.effort)
        assert len(display.ax_.collections) == 2
        for band, curve in zip(display.ax_.collections, display.curves.values()):
            corners = band.get_paths()[0].vertices
            for eps, low, high in zip(curve.eps, *curve.interval):
                drawn = corners[np.isclose(corners[:, 0], eps), 1]
                assert drawn.min() == pytest.approx(low)
                assert drawn.max() == pytest.approx(high)

    @pytest.mark.parametrize(
        "names",
        [
            ["SVC", "forest"],
            ["LogisticRegression after a StandardScaler", "a support vector machine with a kernel"],
            ["WithoutAnyBreak" * 4, "b"],
        ],
    )
    def test_names_under_the_boxes_are_whole_and_overlap_nothing(self, linear_models, names):
        _, _, y = linear_models
        answers = {name: np.stack([y, y[::-1]]) for name in names}
        lengths = {name: np.ones((2, len(y))) for name in names}
        display = RobustnessCurveDisplay.from_predictions(y, answers, eps=[0, 1], l2_norm=lengths)
        display.figure_.canvas.draw()
        labels = display.axes_[1].get_xticklabels()
        for name, label in zip(names, labels):
            written, note = label.get_text().rsplit("\n", 1)
            assert written.replace("\n", "").replace(" ", "") == name.replace(" ", "")
            assert note.endswith("% broken")
        frame = display.figure_.bbox
        for label in labels:
            box = label.get_window_extent()
            assert box.x0 >= frame.x0 - 1
            assert box.y0 >= frame.y0 - 1
        if labels[0].get_rotation() == 0:
            assert not labels[0].get_window_extent().overlaps(labels[1].get_window_extent())

    effort = {"n_steps": 10, "max_queries": 50, "random_state": 0}  # noqa: RUF012

    def test_the_curve_of_a_linear_model_follows_from_its_distances(self, linear_models):
        models, X, y = linear_models
        eps = np.linspace(0.1, 2, 6)
        display = RobustnessCurveDisplay.from_estimator(
            models, X, y, eps=eps, threat=ThreatModel(norm=2), **self.effort
        )
        for line, model in zip(display.lines_, models.values()):
            right = model.predict(X) == y
            distance = np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_)
            expected = [np.mean(right & (distance > radius)) for radius in [0, *eps]]
            np.testing.assert_allclose(line.get_xdata(), [0, *eps])
            np.testing.assert_allclose(line.get_ydata(), expected, atol=1 / len(X))

    def test_lines_and_boxes_hold_what_robustness_curve_returns(self, linear_models):
        models, X, y = linear_models
        parameters = {
            "eps": [0.01, 0.1, 1.0],
            "threat": ThreatModel(scale="std", reference_X=X),
            **self.effort,
        }
        display = RobustnessCurveDisplay.from_estimator(
            list(models.values()), X, y, name=["a", "b"], **parameters
        )
        assert list(display.curves) == ["a", "b"]
        for i, model in enumerate(models.values()):
            curve = robustness_curve(model, X, y, **parameters)
            np.testing.assert_array_equal(display.lines_[i].get_ydata(), curve.accuracy)
            broken = np.isfinite(curve.l2_norm) & (curve.radius > 0)
            median = display.boxes_["medians"][i].get_ydata()[0]
            assert median == pytest.approx(np.median(curve.l2_norm[broken]))
            share = broken.sum() / (curve.radius > 0).sum()
            assert display.axes_[1].get_xticklabels()[i].get_text() == f"{'ab'[i]}\n{share:.0%} broken"
        assert display.ax_.get_xscale() == "log"
        assert "standard deviations" in display.ax_.get_xlabel()

    def test_one_estimator_is_named_after_its_class(self, linear_models):
        models, X, y = linear_models
        display = RobustnessCurveDisplay.from_estimator(models["C=1.0"], X, y, eps=[0.1, 0.2], **self.effort)
        assert list(display.curves) == ["LogisticRegression"]
        assert display.ax_.get_legend().get_texts()[0].get_text().startswith("LogisticRegression (clean 0.")
        assert not overlaps_data(display, display.ax_)

    def test_predictions_become_what_an_index_loop_counts(self):
        rng = np.random.default_rng(0)
        y_true, y_pred = rng.integers(0, 3, 40), rng.integers(0, 3, (5, 40))
        y_pred[0, :30] = y_true[:30]
        lengths, eps = np.sort(rng.random((5, 40)), axis=0), np.array([0, 0.1, 0.2, 0.3, 0.4])
        display = RobustnessCurveDisplay.from_predictions(
            y_true, y_pred, eps=eps, l2_norm=lengths, relative=True
        )
        curve = display.curves["classifier"]
        for i in range(40):
            wrong = [k for k in range(5) if y_pred[k, i] != y_true[i]]
            first = wrong[0] if wrong else None
            assert curve.radius[i] == (eps[first] if wrong else np.inf)
            assert curve.l2_norm[i] == (np.inf if not wrong else 0 if first == 0 else lengths[first, i])
        accuracy = [np.mean([all(y_pred[: k + 1, i] == y_true[i]) for i in range(40)]) for k in range(5)]
        np.testing.assert_allclose(curve.accuracy, accuracy)
        np.testing.assert_allclose(display.lines_[0].get_ydata(), np.array(accuracy) / accuracy[0])

    def test_several_sets_of_predictions_without_lengths_have_no_boxes(self):
        y = np.array([0, 1, 1])
        answers = {"a": [[0, 1, 1], [1, 1, 1]], "b": [[0, 1, 0], [0, 1, 0]]}
        display = RobustnessCurveDisplay.from_predictions(y, answers, eps=[0, 1])
        assert display.boxes_ is None
        assert len(display.axes_) == 1
        assert [line.get_ydata()[-1] for line in display.lines_] == pytest.approx([2 / 3, 2 / 3])

    def test_axes_of_the_user_are_used(self):
        y, answers, lengths = np.array([0, 1]), [[0, 1], [1, 1]], [[0, 0], [0.5, 0.7]]
        _, pair = plt.subplots(1, 2)
        both = RobustnessCurveDisplay.from_predictions(y, answers, eps=[0, 1], l2_norm=lengths, ax=pair)
        assert list(both.axes_) == list(pair)
        assert both.boxes_ is not None
        _, single = plt.subplots()
        alone = both.plot(ax=single)
        assert alone.ax_ is single
        assert alone.boxes_ is None

    @pytest.mark.parametrize("eps", [[0.1, 0.2], [0, 0.2, 0.1], [0.0], [[0, 1]], [0, np.nan]])
    def test_radii_that_do_not_rise_from_zero_are_an_error(self, eps):
        with pytest.raises(ValueError, match=r"'eps' parameter of .* must be two or more rising numbers"):
            RobustnessCurveDisplay.from_predictions([0, 1], [[0, 1], [0, 1]], eps=eps)

    def test_shapes_that_do_not_fit_are_an_error(self):
        with pytest.raises(
            ValueError, match=r"'y_pred' parameter .* \(n_eps, n_samples\) = \(2, 3\). Got \(2, 2\)"
        ):
            RobustnessCurveDisplay.from_predictions([0, 1, 1], [[0, 1], [0, 1]], eps=[0, 1])
        with pytest.raises(ValueError, match="'l2_norm' parameter"):
            RobustnessCurveDisplay.from_predictions([0, 1], [[0, 1], [0, 1]], eps=[0, 1], l2_norm=[[0, 1]])

    @pytest.mark.parametrize("name", [["a"], ["a", "a"], None])
    def test_names_must_tell_the_estimators_apart(self, linear_models, name):
        models, X, y = linear_models
        with pytest.raises(ValueError, match=r"'name' parameter of .* must be 2 different names"):
            RobustnessCurveDisplay.from_estimator(list(models.values()), X, y, name=name)


@pytest.fixture(scope="module")
def network():
    X, y = load_iris(return_X_y=True)
    return MLPClassifier((6,), solver="lbfgs", max_iter=200, random_state=0, activation="tanh").fit(X, y), X


class TestDecisionPlaneDisplay:
    """What a classifier answers on a plane through rows."""

    @pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
    @pytest.mark.parametrize("with_labels", [True, False])
    def test_by_default_the_plane_goes_through_rows_of_two_classes_or_three(self, load, with_labels):
        X, y = load(return_X_y=True)
        X = scale(X)
        model = LogisticRegression().fit(X, y)
        labels = y if with_labels else None
        display = DecisionPlaneDisplay.from_estimator(model, X, labels, resolution=3)
        again = DecisionPlaneDisplay.from_estimator(model, X, labels, resolution=3)
        np.testing.assert_array_equal(display.rows, again.rows)
        # The row in the middle is one whose distances to two rows of X are those in the picture.
        assert display.rows.shape == (3, 2)
        np.testing.assert_array_equal(display.rows[0], [0, 0])
        lengths = np.linalg.norm(display.rows[1:], axis=1)
        middles = [
            i
            for i in range(len(X))
            if all(np.isclose(np.linalg.norm(X - X[i], axis=1), length).any() for length in lengths)
        ]
        assert middles
        assert display.in_plane.all()
        assert display.coordinates[-1] >= np.abs(display.rows).max()
        if with_labels:
            classes = display.true_classes.tolist()
            assert len(set(classes)) == len(np.unique(y))
            assert classes[0] != classes[1]
        else:
            assert display.true_classes is None
            assert len(np.unique(display.regions)) >= 2

    def test_the_rows_of_the_plane_are_marked_with_their_true_class_and_answered_right(self):
        X, y = load_breast_cancer(return_X_y=True)
        X, y = scale(X), np.array(["bad", "good"])[y]
        model = LogisticRegression().fit(X, y)
        display = DecisionPlaneDisplay.from_estimator(model, X, y, resolution=101)
        places = np.abs(display.coordinates[:, None] - display.rows.T.reshape(1, -1)).argmin(axis=0)
        across, along = places[3:], places[:3]
        answered = display.classes[display.regions[across, along]]
        np.testing.assert_array_equal(answered, display.true_classes)
        texts = [text.get_text() for text in display.ax_.texts]
        assert [text for text in texts if text in ("bad", "good")] == display.true_classes.tolist()
        assert "true class" in [text.get_text() for text in display.ax_.get_legend().get_texts()]

    def test_a_plane_around_a_given_row_goes_to_the_nearest_other_class(self):
        X, y = load_iris(return_X_y=True)
        model = LogisticRegression(max_iter=1000).fit(X, y)
        display = DecisionPlaneDisplay.from_estimator(model, X, y, index=3, resolution=3)
        assert display.true_classes.tolist() == [0, 1, 2]

    def test_what_is_the_same_everywhere_is_written_and_not_coloured(self):
        X, y = load_breast_cancer(return_X_y=True)
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
        flat = DecisionPlaneDisplay.from_estimator(model, X, y, scale="std", resolution=5)
        assert flat.jacobian_norm is not None
        assert flat.colorbar_ is None
        norm = np.linalg.norm(model[-1].coef_)
        assert any(f"the same everywhere: {norm:.3g}" in text.get_text() for text in flat.axes_[1].texts)
        assert len(flat.axes_[1].images[0].cmap.colors) == 1
        constant = DecisionPlaneDisplay.from_estimator(
            DummyClassifier(strategy="most_frequent").fit(X, y), X, y, resolution=3
        )
        assert np.unique(constant.regions).tolist() == [1]
        assert "one answer everywhere: 1" in [text.get_text() for text in constant.ax_.texts]

    def test_rows_that_are_all_the_same_have_a_plane_still(self):
        model = LogisticRegression().fit(np.eye(3), [0, 1, 1])
        display = DecisionPlaneDisplay.from_estimator(model, np.ones((4, 3)), resolution=3)
        assert display.regions.shape == (3, 3)

    def test_words_and_missing_values_stay_what_they_are_in_the_middle(self):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"a": rng.normal(size=80), "word": ["x", "y"] * 40, "b": rng.normal(size=80)})
        frame["flag"], labels = frame["a"] > 1, np.where(frame["a"] + frame["b"] > 0, "up", "down")
        frame.loc[7, "b"] = np.nan
        seen = []

        class Remembers(LogisticRegression):
            def fit(self, X, y):
                return super().fit(X[["a", "b"]].fillna(0), y)

            def predict(self, X):
                seen.append(X)
                return super().predict(X[["a", "b"]].fillna(0))

            def predict_proba(self, X):
                return super().predict_proba(X[["a", "b"]].fillna(0))

        model = Remembers().fit(frame, labels)
        display = DecisionPlaneDisplay.from_estimator(model, frame, labels, index=2, resolution=5)
        assert display.jacobian_norm is None
        lines = seen[2:]
        assert len(lines) == 5
        for line in lines:
            assert line.dtypes.equals(frame.dtypes)
            assert (line["word"] == frame["word"][2]).all()
            assert (line["flag"] == frame["flag"][2]).all()
        np.testing.assert_allclose(
            lines[2].iloc[2][["a", "b"]].astype(float), frame.loc[2, ["a", "b"]].astype(float)
        )
        assert display.in_plane[0]
        missing = DecisionPlaneDisplay.from_estimator(
            model, frame, labels, index=7, directions=np.eye(4)[[0, 2]], resolution=3
        )
        assert seen[-1]["b"].isna().all()
        assert missing.in_plane.tolist() == [True]
        with pytest.raises(
            ValueError, match=r"'landscape' parameter of .* where some columns of X hold no numbers"
        ):
            DecisionPlaneDisplay.from_estimator(model, frame, labels, landscape=True)

    def test_every_point_is_what_the_classifier_answers_there(self, network):
        network, X = network
        directions = [[1.0, 0, 0, 0], [1, 1, 0, 0]]
        display = DecisionPlaneDisplay.from_estimator(
            network, X, index=70, directions=directions, extent=2.0, resolution=7
        )
        np.testing.assert_allclose(display.coordinates, np.linspace(-2, 2, 7))
        for i, second in enumerate(display.coordinates):
            for j, first in enumerate(display.coordinates):
                row = (X[70] + [first, second, 0, 0])[None]
                assert display.classes[display.regions[i, j]] == network.predict(row)[0]
                assert display.confidence[i, j] == pytest.approx(network.predict_proba(row).max())

    def test_the_landscape_is_the_jacobian_of_finite_differences(self, network):
        network, X = network
        steps, (W, V), (b, c) = np.array([1.0, 2.0, 0.5, 0.0]), network.coefs_, network.intercepts_
        display = DecisionPlaneDisplay.from_estimator(
            network, X, index=70, directions=np.eye(4)[:2], extent=1.0, resolution=3, scale=steps
        )
        for i, second in enumerate(display.coordinates):
            for j, first in enumerate(display.coordinates):
                row = X[70] + steps * [first, second, 0, 0]
                moved = row + 1e-6 * np.concatenate([np.eye(4), -np.eye(4)])
                logits = np.tanh(moved @ W + b) @ V + c
                jacobian = (logits[:4] - logits[4:]) / 2e-6 * steps[:, None]
                assert display.jacobian_norm[i, j] == pytest.approx(
                    np.linalg.norm(jacobian), rel=1e-5, abs=1e-7
                )
        assert display.jacobian_norm.max() > 1

    def test_the_landscape_of_a_linear_representation_is_flat(self, network):
        _, X = network
        y = (X[:, 0] > 5.8).astype(int)
        pipeline = make_pipeline(
            StandardScaler(), RandomForestClassifier(n_estimators=3, random_state=0)
        ).fit(X, y)
        display = DecisionPlaneDisplay.from_estimator(
            pipeline, X, landscape_of=pipeline[:-1], resolution=5, random_state=0
        )
        expected = np.linalg.norm(1 / pipeline[0].scale_)
        np.testing.assert_allclose(display.jacobian_norm, expected)

    def test_a_forest_has_regions_and_no_landscape(self, network):
        _, X = network
        forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, X[:, 0] > 5.8)
        display = DecisionPlaneDisplay.from_estimator(forest, X, resolution=5, random_state=0)
        assert display.jacobian_norm is None
        assert display.colorbar_ is None
        assert len(display.axes_) == 1
        with pytest.raises(NotConvertibleError, match="RandomForestClassifier cannot be turned into"):
            DecisionPlaneDisplay.from_estimator(forest, X, landscape=True)

    def test_directions_are_orthonormal_in_units_of_scale_and_repeatable(self, network):
        network, X = network

        def display(**kwargs):
            return DecisionPlaneDisplay.from_estimator(
                network, X, index=0, directions="random", resolution=9, **kwargs
            )

        first, again, other = (display(scale="std", random_state=seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first.confidence, again.confidence)
        assert (first.confidence != other.confidence).any()
        assert first.ax_.get_xlabel() == "first direction (standard deviations)"
        standard = (X - X[0]) / X.std(axis=0)
        distance = np.linalg.norm(standard, axis=1)
        assert first.coordinates[-1] == pytest.approx(np.median(distance[distance > 0]))

    def test_without_probabilities_the_softmax_of_the_decision_values_counts(self, network):
        _, X = network
        y = (X[:, 0] > 5.8).astype(int)
        machine = LinearSVC().fit(X, y)
        display = DecisionPlaneDisplay.from_estimator(machine, X, resolution=5, random_state=0)
        assert display.confidence.min() >= 0.5
        several = SVC().fit(X, np.digitize(X[:, 0], [5.4, 6.2]))
        assert DecisionPlaneDisplay.from_estimator(several, X, resolution=5).confidence.min() >= 1 / 3

    def test_a_data_frame_keeps_its_names(self, network):
        _, X = network
        frame = pd.DataFrame(X, columns=list("abcd"))
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, X[:, 0] > 5.8)
        display = DecisionPlaneDisplay.from_estimator(model, frame, resolution=5, random_state=0)
        assert display.jacobian_norm.shape == (5, 5)

    def test_the_legend_names_the_classes_present_and_covers_nothing(self):
        X, y = load_digits(return_X_y=True)
        model = LogisticRegression(max_iter=50, tol=0.1).fit(X, 2 * y)
        display = DecisionPlaneDisplay.from_estimator(
            model, X, index=0, resolution=21, directions=X[1:3] - X[0], extent=60.0
        )
        labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert labels == [str(2 * k) for k in np.unique(display.regions)]
        assert len(labels) > 2
        assert not overlaps_data(display, display.ax_)

    def test_more_classes_than_colours_have_colours_still(self):
        X, y = load_digits(return_X_y=True)
        model = LogisticRegression(max_iter=20, tol=0.5).fit(X, y + 10 * (X[:, 20] > 8))
        display = DecisionPlaneDisplay.from_estimator(model, X, resolution=5, random_state=0)
        assert len(display.ax_.images[0].cmap.colors) == 20

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"extent": 0.0}, "'extent' parameter of .* must be a float in (0, inf) or None. Got 0.0"),
            ({"resolution": 1}, "'resolution' parameter of .* must be an int in [2, inf). Got 1"),
            ({"index": 150}, "'index' parameter of .* must be an int in [-150, 149] or None. Got 150"),
            ({"landscape": "yes"}, "'landscape' parameter of .* must be 'auto', True or False. Got 'yes'"),
            ({"scale": "range"}, "'scale' parameter of .* must be None or 'std'. Got 'range'"),
            (
                {"scale": [1.0, -1, 1, 1]},
                "'scale' parameter of .* must be None, 'std' or 4 numbers of 0 or more",
            ),
            (
                {"directions": [[1, 0, 0, 0], [2, 0, 0, 0]]},
                "'directions' parameter of .* two independent directions",
            ),
            ({"scale": [1, 1, 1, np.inf]}, "'scale' parameter of .* must be None, 'std' or 4 numbers"),
            (
                {"directions": np.full((2, 4), np.nan)},
                "'directions' parameter of .* two independent directions",
            ),
            ({"directions": [[1, 0], [2, 0]]}, "'directions' parameter of .* of shape (2, 4)"),
            ({"directions": "any"}, "'directions' parameter of .* must be None or 'random'. Got 'any'"),
            ({"y": [0, 1]}, "'y' parameter of .* must be None or 150 labels, one per row. Got (2,)"),
            ({"scale": [1, 0, 0, 0]}, "'scale' parameter of .* above 0 for two columns of numbers or more"),
        ],
    )
    def test_bad_parameters_say_the_rule(self, network, arguments, message):
        network, X = network
        for sign in "()[]":
            message = message.replace(sign, "\\" + sign)
        with pytest.raises(ValueError, match=message):
            DecisionPlaneDisplay.from_estimator(network, X, **arguments)

    def test_one_feature_and_unfitted_estimators_are_errors(self, network):
        network, X = network
        with pytest.raises(
            ValueError, match=r"'X' parameter of .* must be rows with two features of numbers or more"
        ):
            DecisionPlaneDisplay.from_estimator(network, X[:, :1])
        with pytest.raises(NotFittedError):
            DecisionPlaneDisplay.from_estimator(LogisticRegression(), X)


@pytest.mark.parametrize("ax", [3, "right", [None], []])
def test_axes_that_are_none_are_refused_before_any_work(ax):
    X, y = load_iris(return_X_y=True)
    kind = ValueError if isinstance(ax, str) else TypeError
    calls = {
        "TradeOffDisplay.from_cv_results": lambda: TradeOffDisplay.from_cv_results(None, ax=ax),
        "RobustnessCurveDisplay.from_estimator": lambda: RobustnessCurveDisplay.from_estimator(
            None, X, y, ax=ax
        ),
        "RobustnessCurveDisplay.from_predictions": lambda: RobustnessCurveDisplay.from_predictions(
            y, [y], eps=None, ax=ax
        ),
        "DecisionPlaneDisplay.from_estimator": lambda: DecisionPlaneDisplay.from_estimator(None, X, ax=ax),
    }
    for owner, call in calls.items():
        with pytest.raises(kind, match=f"The 'ax' parameter of {owner} must be matplotlib Axes"):
            call()


def test_a_third_axes_is_one_too_many():
    axes = plt.subplots(ncols=3)[1]
    with pytest.raises(ValueError, match="must be matplotlib Axes, a pair of them or None"):
        DecisionPlaneDisplay.from_estimator(None, np.eye(3), ax=axes)


@pytest.mark.parametrize("estimator", [StandardScaler(), LinearRegression(), KMeans(2, n_init=1)])
def test_only_a_classifier_has_a_decision_plane(estimator):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(
        TypeError, match=r"'estimator' parameter of DecisionPlaneDisplay.* a fitted classifier"
    ):
        DecisionPlaneDisplay.from_estimator(estimator.fit(X, y), X)


def test_a_scale_that_runs_backwards_is_a_scale_still():
    X, y = load_iris(return_X_y=True)
    model, scale = LogisticRegression(max_iter=1000).fit(X, y), np.arange(1.0, 5)[::-1]
    found, expected = (
        DecisionPlaneDisplay.from_estimator(model, X, scale=one, resolution=3, random_state=0).jacobian_norm
        for one in (scale, scale.copy())
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda X, y: RobustnessCurveDisplay.from_estimator([], X, y), ValueError, r"one or more. Got \[\]"),
        (lambda X, y: RobustnessCurveDisplay.from_estimator({}, X, y), ValueError, r"one or more. Got \{\}"),
        (
            lambda X, y: RobustnessCurveDisplay.from_estimator(None, X, y, name=3),
            TypeError,
            "'name' parameter of .* must be 1 different names, one per estimator. Got 3",
        ),
        (
            lambda X, y: RobustnessCurveDisplay.from_predictions(y, [y, y], eps=[0, 1], threat=3),
            TypeError,
            "'threat' parameter of .* must be a ThreatModel or None. Got 3",
        ),
        (
            lambda X, y: RobustnessCurveDisplay.from_predictions(y, {}, eps=[0, 1]),
            ValueError,
            "'y_pred' parameter of .* one or more sets by name",
        ),
        (
            lambda X, y: DecisionPlaneDisplay.from_estimator(
                LogisticRegression(max_iter=1000).fit(X, y), X, landscape_of=3
            ),
            TypeError,
            "'landscape_of' parameter of .* must be a fitted estimator. Got 3",
        ),
    ],
)
def test_what_is_nothing_to_draw_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(*load_iris(return_X_y=True))


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        (ThreatModel(), "each feature up to 0.5 raw units"),
        (ThreatModel(1, bounds=(0, 16)), "sum of changes up to 0.5 raw units; bounds 0 to 16"),
        (ThreatModel(bounds=([0, 1], [2, 3])), "each feature up to 0.5 raw units; bounds by column"),
        (ThreatModel("l2", scale=[1, 2]), "Euclidean length up to 0.5 units of scale"),
        (
            ThreatModel(scale=2.0, fixed=[1], missing="any", categorical={"a": [1]}, max_changes=2),
            "each feature up to 0.5 units of scale; max_changes 2; fixed; missing any",
        ),
    ],
)
def test_a_line_says_what_an_attacker_may_do(threat, words):
    assert threat.limit_words(0.5) == words
