"""The pictures of robustness hold the right numbers, and draw them where they say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sklearn_brm import TradeOffDisplay


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
        assert labels == ["linear: Pareto front", "linear"]

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
