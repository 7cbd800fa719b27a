"""What is proven of trees, against every cell of the plane, all combinations of leaves, and single ulps."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from sklearn_brm._bridge import NotConvertibleError
from sklearn_brm._bridge.tree_ensembles import read_trees, tree_ensemble
from sklearn_brm.functional.leaves import Region, breaking_point, leaf_bounds, nearest_wrong_leaf, search

FOREST = RandomForestClassifier(6, max_depth=4, random_state=0)
KINDS = {
    "tree": DecisionTreeClassifier(),
    "shallow tree": DecisionTreeClassifier(max_depth=2),
    "extra tree": ExtraTreeClassifier(max_depth=5),
    "forest": RandomForestClassifier(8),
    "shallow forest": FOREST,
    "extra trees": ExtraTreesClassifier(7, max_depth=5),
    "boosting": GradientBoostingClassifier(n_estimators=6),
    "boosting from zero": GradientBoostingClassifier(n_estimators=6, init="zero", max_depth=2),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
    "bagging": BaggingClassifier(DecisionTreeClassifier(max_depth=4), 5, max_features=0.8),
    "bagging few rows": BaggingClassifier(n_estimators=6, max_samples=4),
    "bagging of forests": BaggingClassifier(clone(FOREST), 3),
    "bagging of pipelines": BaggingClassifier(make_pipeline(MaxAbsScaler(), DecisionTreeClassifier()), 3),
    "voting": VotingClassifier(
        [
            ("tree", DecisionTreeClassifier(max_depth=3)),
            ("none", "drop"),
            ("forest", make_pipeline(RobustScaler(), clone(FOREST))),
        ],
        voting="soft",
        weights=[1, 7, 2],
    ),
    "search": GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2, 3]}, cv=2),
    "scaled forest": make_pipeline(StandardScaler(), clone(FOREST)),
    "twice scaled": make_pipeline(
        RobustScaler(), "passthrough", MinMaxScaler(clip=True), DecisionTreeClassifier()
    ),
    "scaled histogram boosting": make_pipeline(
        StandardScaler(), HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=5)
    ),
}
NORMS = (math.inf, 2, 1)


def table(seed, n_features=2, n_classes=3, n=90):
    """Rows whose classes overlap, with a column of whole numbers."""
    X, y = make_classification(
        n,
        n_features,
        n_informative=n_features,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        flip_y=0.1,
        class_sep=0.7,
        random_state=seed,
    )
    X[:, 0] = np.round(5 * X[:, 0])
    return X, y


def fitted(kind, seed, X, y):
    """A fitted estimator and its trees."""
    model = clone(KINDS[kind])
    seeds = {name: seed for name in model.get_params() if name.split("__")[-1] == "random_state"}
    model.set_params(**seeds).fit(X, y)
    return model, read_trees(model)


def scores_of(model, X):
    """What the estimator itself answers, with a column for each class."""
    if hasattr(model, "decision_function"):
        scores = model.decision_function(X)
        return scores if scores.ndim == 2 else np.column_stack([np.zeros(len(X)), scores])
    return model.predict_proba(X)


def box(X, eps):
    return Region(X - eps, X + eps)


def ball(X, eps, norm, scale=None):
    reach = eps if scale is None else eps * scale
    return Region(X - reach, X + reach, X, eps, norm, scale)


def cells(trees, lower, upper, centre):
    """The point next to `centre` of each cell of the plane, cut by a box, in which no tree has a split."""
    sides = []
    for j in range(trees.n_features):
        ends = trees.high[(trees.feature == j) & np.isfinite(trees.high)]
        firsts = np.unique([lower[j], *np.nextafter(ends, np.inf)])
        firsts = firsts[(firsts >= lower[j]) & (firsts <= upper[j])]
        lasts = np.append(np.nextafter(firsts[1:], -np.inf), upper[j])
        sides.append(np.clip(centre[j], firsts, lasts))
    return np.array(list(itertools.product(*sides)))


def broken_cells(model, trees, region, row, label, centre):
    """The nearest points of all wrong cells that lie in the region, by the estimator's own answers."""
    points = cells(trees, region.lower[row], region.upper[row], centre)
    if not math.isinf(region.norm):
        moved = points != centre
        ways = np.divide(
            points - centre, 1 if region.scale is None else region.scale, where=moved, out=0 * points
        )
        points = points[np.linalg.norm(ways, region.norm, axis=1) <= region.eps]
    return points[model.predict(points) != label]


class TestScores:
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("kind", KINDS)
    def test_they_are_the_estimators(self, kind, n_classes):
        for seed in range(4):
            X, y = table(seed, 4, n_classes)
            model, trees = fitted(kind, seed, X, y)
            rows = np.vstack([X, 2 * X[::3], np.random.default_rng(seed).normal(size=(200, 4))])
            np.testing.assert_allclose(trees.scores(rows), scores_of(model, rows), rtol=0, atol=1e-13)
            best = np.sort(trees.scores(rows), axis=1)
            clear = best[:, -1] - best[:, -2] > (0 if trees.exact else 1e-12)
            assert (trees.predict(rows) == model.predict(rows))[clear | trees.exact].all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_rows_one_ulp_around_every_split_go_where_the_estimator_sends_them(self, kind):
        X, y = table(3, 2)
        model, trees = fitted(kind, 3, X, y)
        for j in range(2):
            ends = np.unique(trees.high[(trees.feature == j) & np.isfinite(trees.high)])
            values = np.concatenate(
                [ends, np.nextafter(ends, -np.inf), np.nextafter(ends, np.inf), ends - 1e-9]
            )
            rows = np.tile(X[7], (len(values), 1))
            rows[:, j] = values
            np.testing.assert_allclose(trees.scores(rows), scores_of(model, rows), rtol=0, atol=1e-13)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_float32_row_reaches_leaves_that_add_up_to_what_the_estimator_says(self, kind):
        X, y = table(4, 2)
        model, trees = fitted(kind, 4, X, y)
        for j in range(2):
            ends = np.unique(trees.high[(trees.feature == j) & np.isfinite(trees.high)]).astype(np.float32)
            values = np.concatenate([ends, *(np.nextafter(ends, np.float32(s * np.inf)) for s in (-1, 1))])
            rows = np.tile(X[7].astype(np.float32), (len(values), 1))
            rows[:, j] = values
            answers = model.predict(rows)
            wide = rows.astype(float)
            verdicts = search(trees, Region(wide, wide), np.searchsorted(model.classes_, answers))
            assert not verdicts.broken.any()
            bounds = leaf_bounds(trees, Region(wide, wide), np.zeros(len(rows), dtype=int))[:, 1:]
            scores = scores_of(model, rows)
            assert (bounds <= scores[:, :1] - scores[:, 1:] + 1e-13).all()

    @pytest.mark.parametrize(
        "model",
        [
            DecisionTreeClassifier(max_depth=5, random_state=0),
            RandomForestClassifier(5, max_depth=4, random_state=0),
            HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
            make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=4, random_state=0)),
        ],
        ids=lambda model: type(model).__name__,
    )
    def test_missing_values_take_the_branch_that_they_take(self, model):
        X, y = table(5, 3)
        X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
        model = clone(model).fit(X, y)
        trees = read_trees(model).as_float64()
        np.testing.assert_allclose(trees.scores(X), scores_of(model, X), rtol=0, atol=1e-13)
        right = model.predict(X) == y
        verdicts = search(trees, box(X, 0.3), y)
        assert verdicts.complete.all()
        assert not verdicts.certified[~right].any()
        points = breaking_point(verdicts, X)[verdicts.broken]
        assert (model.predict(points) != y[verdicts.broken]).all()
        np.testing.assert_array_equal(np.isnan(points), np.isnan(X[verdicts.broken]))
        rng = np.random.default_rng(1)
        for _ in range(50):
            moved = X + rng.uniform(-0.3, 0.3, X.shape)
            assert (model.predict(moved) == y)[verdicts.certified].all()

    def test_names_of_columns_and_pandas_output_are_no_matter(self):
        X, y = table(6)
        frame = pd.DataFrame(X, columns=["a", "b"])
        for kind in ("boosting", "histogram boosting"):
            model = make_pipeline(StandardScaler(), clone(KINDS[kind])).set_output(transform="pandas")
            model.fit(frame, y)
            np.testing.assert_allclose(
                read_trees(model).scores(X), scores_of(model, frame), rtol=0, atol=1e-13
            )

    def test_nothing_of_the_estimator_is_changed(self):
        X, y = table(7)
        frame = pd.DataFrame(X, columns=["a", "b"])
        model = make_pipeline(StandardScaler(copy=False), clone(FOREST)).fit(frame.copy(), y)
        before = model.predict_proba(frame.copy())
        read_trees(model)
        assert list(model[0].feature_names_in_) == ["a", "b"]
        np.testing.assert_array_equal(model.predict_proba(frame.copy()), before)


class TestRefusals:
    @pytest.mark.parametrize(
        ("model", "reason"),
        [
            (LogisticRegression(), "LogisticRegression can't be read as a sum of trees: it is no tree"),
            (AdaBoostClassifier(n_estimators=2), "AdaBoostClassifier can't be read"),
            (
                make_pipeline(StandardScaler(), LogisticRegression()),
                "LogisticRegression can't be read as a sum of trees",
            ),
            (
                make_pipeline(make_pipeline(StandardScaler()), DecisionTreeClassifier()),
                "Pipeline can't be read as a sum of trees: its step 'pipeline', a Pipeline, does not scale",
            ),
            (GradientBoostingClassifier(init=LogisticRegression()), "it starts from a LogisticRegression"),
            (VotingClassifier([("a", DecisionTreeClassifier())]), "hard votes aren't a sum"),
            (
                VotingClassifier([("a", GradientBoostingClassifier(n_estimators=2))], voting="soft"),
                "probabilities of its GradientBoostingClassifier aren't a sum over trees",
            ),
            (
                BaggingClassifier(
                    make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2)), 2
                ),
                "probabilities of its HistGradientBoostingClassifier aren't a sum over trees",
            ),
            (HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]), "it splits categories"),
        ],
    )
    def test_what_is_no_sum_of_trees_is_refused_with_the_reason(self, model, reason):
        X, y = table(0)
        model.fit(np.abs(X), y)
        with pytest.raises(NotConvertibleError, match=reason):
            read_trees(model)
        assert tree_ensemble(model) is None

    def test_several_outputs_are_refused(self):
        X, y = table(0)
        for model in (DecisionTreeClassifier(max_depth=1), RandomForestClassifier(2, max_depth=1)):
            with pytest.raises(NotConvertibleError, match="it has 2 outputs"):
                read_trees(model.fit(X, np.column_stack([y, y])))

    def test_a_subclass_of_a_scaler_may_do_anything(self):
        class Mirror(StandardScaler):
            def transform(self, X):
                return -super().transform(X)

        X, y = table(0)
        with pytest.raises(NotConvertibleError, match="its step 'mirror', a Mirror, does not scale"):
            read_trees(make_pipeline(Mirror(), DecisionTreeClassifier()).fit(X, y))

    def test_a_ball_needs_its_centre(self):
        with pytest.raises(ValueError, match="norm=2 needs 'centre' and 'eps'"):
            Region(np.zeros((1, 2)), np.ones((1, 2)), norm=2)

    def test_distances_to_leaves_need_one_tree(self):
        X, y = table(0)
        with pytest.raises(ValueError, match=r"Distances to leaves need one tree\. Got 6 instead"):
            nearest_wrong_leaf(fitted("shallow forest", 0, X, y)[1], X, y)


class TestSearch:
    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_equals_every_cell_of_the_plane_asked_one_by_one(self, kind, norm):
        for seed, n_classes, eps in ((0, 2, 0.4), (1, 3, 0.6), (2, 3, 1.1)):
            X, y = table(seed, 2, n_classes)
            model, trees = fitted(kind, seed, X, y)
            trees = trees.as_float64()
            X, y = X[:25], y[:25]
            scale = np.array([1.5, 0.8])
            region = ball(X, eps, norm, scale)
            verdicts = search(trees, region, y, time_limit=60)
            broken = [len(broken_cells(model, trees, region, i, y[i], X[i])) > 0 for i in range(len(X))]
            # What is left open is a tie within rounding, where sums have rounding.
            clear = np.abs(verdicts.margin_lower) > 1e-9 if not trees.exact else np.ones(len(X), dtype=bool)
            assert clear.mean() > 0.8
            broken = np.array(broken)
            np.testing.assert_array_equal(verdicts.certified[clear], ~broken[clear])
            np.testing.assert_array_equal(verdicts.broken[clear], broken[clear])
            assert not verdicts.complete[~clear].any()
            broken = verdicts.broken
            points = breaking_point(verdicts, X)[broken]
            assert (model.predict(points) != y[broken]).all()
            lengths = np.linalg.norm((points - X[broken]) / scale, norm, axis=1)
            assert (lengths <= eps * (1 + 1e-6)).all()

    @pytest.mark.parametrize("norm", NORMS)
    def test_it_equals_all_combinations_of_leaves(self, norm):
        for seed in range(6):
            X, y = table(seed, 5)
            kind = RandomForestClassifier if seed % 2 else ExtraTreesClassifier
            model = kind(3, max_depth=3, random_state=seed).fit(X, y)
            trees = read_trees(model)
            region = ball(X[:20], 0.8, norm)
            verdicts = search(trees, region, y[:20], time_limit=60)
            low, high = trees.boxes(np.arange(len(trees.leaf)))
            groups = np.split(np.arange(len(trees.leaf)), trees.starts[1:])
            for i in range(20):
                margins = []
                for leaves in itertools.product(*groups):
                    lo = np.maximum(low[[*leaves]].max(axis=0), region.lower[i])
                    hi = np.minimum(high[[*leaves]].min(axis=0), region.upper[i])
                    if (lo <= hi).all() and np.linalg.norm(np.clip(X[i], lo, hi) - X[i], norm) <= 0.8:
                        total = trees.values[[*leaves]].sum(axis=0)
                        margins.append(total[y[i]] - np.delete(total, y[i]).max())
                worst = min(margins) / 3
                assert verdicts.margin_lower[i] <= worst + 1e-12
                assert verdicts.certified[i] == (worst > 1e-12)
                assert verdicts.broken[i] == (worst < -1e-12)

    def test_what_is_proven_lies_between_the_sum_of_worst_leaves_and_the_truth(self):
        X, y = table(8, 6, n=200)
        model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, y)
        trees, region = read_trees(model), box(X, 0.4)
        sums = leaf_bounds(trees, region, y).min(axis=1)
        none, some = (search(trees, region, y, time_limit=limit) for limit in (0, 30))
        np.testing.assert_array_equal(none.margin_lower, sums)
        np.testing.assert_array_equal(none.certified, sums > 1e-9)
        assert not none.broken.any()
        assert (some.margin_lower >= sums).all()
        assert (none.certified <= some.certified).all()
        assert some.certified.sum() > none.certified.sum()
        assert some.complete.all()

    def test_a_time_limit_of_nothing_is_kept(self):
        X, y = table(8, 6, n=200)
        trees = read_trees(GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, y))
        sums, short = (search(trees, box(X, 0.4), y, time_limit=limit) for limit in (0, 1e-9))
        np.testing.assert_array_equal(short.certified, sums.certified)
        assert not short.complete.all()

    def test_it_says_the_same_twice(self):
        X, y = table(9, 6)
        trees = read_trees(RandomForestClassifier(20, random_state=0).fit(X, y))
        first, second = (search(trees, box(X, 0.5), y, time_limit=60) for _ in range(2))
        for name in ("margin_lower", "certified", "broken", "lower", "upper"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))

    @pytest.mark.parametrize("kind", ["scaled forest", "twice scaled"])
    def test_both_precisions_are_promised_unless_float64_alone_is_asked_for(self, kind):
        opened = 0
        for seed in range(12):
            X, y = table(seed)
            model, trees = fitted(kind, seed, X, y)
            # Whole numbers halfway between others, at which trees split behind a scaler.
            grid = np.round(X * [1, 5]) / [1, 5]
            both, alone = (search(each, Region(grid, grid), y) for each in (trees, trees.as_float64()))
            right = model.predict(grid) == y
            np.testing.assert_array_equal(alone.certified[alone.complete], right[alone.complete])
            assert (both.certified <= alone.certified).all()
            assert (both.broken <= alone.broken).all()
            single = model.predict(grid.astype(np.float32)) == y
            assert single[both.certified].all()
            opened += (~both.complete).sum()
        assert 0 < opened < 12 * 9

    def test_no_random_point_breaks_a_certified_row(self):
        X, y = load_breast_cancer(return_X_y=True)
        rng = np.random.default_rng(0)
        for model in (
            make_pipeline(StandardScaler(), RandomForestClassifier(15, max_depth=5, random_state=0)),
            make_pipeline(MinMaxScaler(), HistGradientBoostingClassifier(max_iter=10)),
            VotingClassifier(
                [("a", DecisionTreeClassifier(random_state=0)), ("b", clone(FOREST))], voting="soft"
            ),
        ):
            model.fit(X[::2], y[::2])
            rows, labels, reach = X[1:120:2], y[1:120:2], 0.2 * X.std(axis=0)
            verdicts = search(read_trees(model), Region(rows - reach, rows + reach), labels)
            assert verdicts.certified.any()
            assert verdicts.broken.any()
            for sign in (0, 1):
                moves = rng.uniform(-1, 1, (100, *rows.shape))
                moved = rows + (np.sign(moves) if sign else moves) * reach
                moved = np.clip(moved, rows - reach, rows + reach)
                answers = model.predict(moved.reshape(-1, rows.shape[1])).reshape(100, -1)
                assert (answers == labels)[:, verdicts.certified].all()

    def test_a_tie_goes_to_the_first_class_where_sums_are_exact(self):
        X, y = np.array([[0.0], [1.0]]), np.array([0, 1])
        trees = [DecisionTreeClassifier().fit(X, y) for _ in range(2)]
        trees[1].fit(X, 1 - y)
        forest = RandomForestClassifier(2, bootstrap=False).fit(X, y)
        forest.estimators_ = trees
        assert (forest.predict([[-3.0], [3.0]]) == 0).all()
        everywhere = Region(np.full((2, 1), -9.0), np.full((2, 1), 9.0))
        verdicts = search(read_trees(forest), everywhere, y)
        np.testing.assert_array_equal(verdicts.certified, [True, False])
        np.testing.assert_array_equal(verdicts.broken, [False, True])
        assert verdicts.margin_lower[0] == 0

    def test_a_tie_within_rounding_is_left_open(self):
        X, y = np.array([[0.0], [1.0]]), np.array([0, 1])
        voting = VotingClassifier([(name, DecisionTreeClassifier()) for name in "ab"], voting="soft")
        voting.fit(X, y)
        voting.estimators_[1].fit(X, 1 - y)
        everywhere = Region(np.full((2, 1), -9.0), np.full((2, 1), 9.0))
        verdicts = search(read_trees(voting), everywhere, y)
        assert not verdicts.complete.any()

    def test_a_feature_that_does_not_move_keeps_rows_standing(self):
        X, y = table(10)
        model, trees = fitted("tree", 0, X, y)
        reach = np.array([0.0, 2.0])
        verdicts = search(trees, Region(X - reach, X + reach), y)
        free = search(trees, box(X, 2.0), y)
        assert verdicts.certified.sum() > free.certified.sum()
        points = breaking_point(verdicts, X)[verdicts.broken]
        np.testing.assert_array_equal(points[:, 0], X[verdicts.broken, 0])
        assert (model.predict(points) != y[verdicts.broken]).all()

    @pytest.mark.parametrize("norm", NORMS)
    def test_whole_numbers_are_tried_alone(self, norm):
        n_freed = 0
        for kind in ("forest", "boosting", "histogram boosting", "scaled forest"):
            X, y = table(16)
            X[:, 0] = np.round(X[:, 0] * 0.4)
            model, trees = fitted(kind, 0, X, y)
            trees, whole = trees.as_float64(), np.array([True, False])
            free = ball(X, 1.7, norm)
            region = Region(free.lower, free.upper, X, 1.7, norm, whole=whole)
            verdicts = search(trees, region, y, time_limit=60)
            broken = []
            for i in range(len(X)):
                steps = np.arange(np.ceil(free.lower[i, 0]), free.upper[i, 0] + 1e-9)
                parts = [
                    cells(trees, *(np.where(whole, step, v) for v in (free.lower[i], free.upper[i])), X[i])
                    for step in steps
                ]
                points = np.vstack([np.where(whole, step, part) for step, part in zip(steps, parts)])
                points = points[np.linalg.norm(points - X[i], norm, axis=1) <= 1.7]
                broken.append((model.predict(points) != y[i]).any())
            clear = np.abs(verdicts.margin_lower) > 1e-9
            np.testing.assert_array_equal(verdicts.broken[clear], np.array(broken)[clear])
            np.testing.assert_array_equal(verdicts.certified[clear], ~np.array(broken)[clear])
            points = breaking_point(verdicts, X)[verdicts.broken]
            assert (points[:, 0] == np.round(points[:, 0])).all()
            n_freed += (verdicts.certified & search(trees, free, y, time_limit=60).broken).sum()
        assert n_freed > 0

    @pytest.mark.parametrize(("norm", "eps", "stands"), [(2, 0.9, True), (2, 1.1, False), (1, 1.7, True)])
    def test_leaves_that_meet_in_pairs_inside_the_ball_need_not_meet_there_together(self, norm, eps, stands):
        labels = np.repeat([0, 0, 1], [10, 3, 7])
        trees = []
        for j in range(4):
            X = np.zeros((20, 4))
            X[10:, j] = 1.2
            trees.append(DecisionTreeClassifier().fit(X, labels))
        forest = RandomForestClassifier(4, max_depth=1).fit(X, labels)
        forest.estimators_ = trees
        # Two moves of 0.6 leave class 0 in front, three do not.
        assert list(forest.predict([[0.7, 0.7, 0, 0], [0.7, 0.7, 0.7, 0]])) == [0, 1]
        verdicts = search(read_trees(forest), ball(np.zeros((1, 4)), eps, norm), np.array([0]))
        assert verdicts.certified[0] == stands
        assert verdicts.broken[0] != stands

    def test_rows_with_more_leaves_than_it_takes_keep_the_sum(self, monkeypatch):
        X, y = table(11, 4)
        trees = fitted("forest", 0, X, y)[1]
        monkeypatch.setattr("sklearn_brm.functional.leaves._MOST_LEAVES", 10)
        verdicts = search(trees, box(X, 1.0), y)
        assert not verdicts.complete.all()
        sums = leaf_bounds(trees, box(X, 1.0), y).min(axis=1)
        np.testing.assert_array_equal(verdicts.margin_lower[~verdicts.complete], sums[~verdicts.complete])

    def test_trees_without_splits_are_constants(self):
        X, y = table(12)
        trees = read_trees(
            RandomForestClassifier(3, max_depth=1, min_samples_leaf=90, random_state=0).fit(X, y)
        )
        verdicts = search(trees, box(X, 1.0), y)
        np.testing.assert_array_equal(verdicts.certified, trees.predict(X) == y)
        np.testing.assert_array_equal(verdicts.broken, trees.predict(X) != y)

    def test_the_users_arrays_stay_as_they_are(self):
        X, y = table(13, 4)
        trees = fitted("forest", 0, X, y)[1]
        region = ball(X, 0.5, 2)
        before = [array.copy() for array in (X, y, region.lower, region.upper)]
        search(trees, region, y)
        for array, copy in zip((X, y, region.lower, region.upper), before):
            np.testing.assert_array_equal(array, copy)


class TestBreakingPoints:
    def test_moved_values_are_held_by_float32_where_there_is_room(self):
        X, y = table(14, 4)
        for kind in ("forest", "boosting", "histogram boosting", "scaled forest"):
            model, trees = fitted(kind, 0, X, y)
            verdicts = search(trees, box(X, 0.7), y)
            points = breaking_point(verdicts, X)
            assert np.isnan(points[~verdicts.broken]).all()
            moved = (points != X) & verdicts.broken[:, None]
            assert (points.astype(np.float32).astype(float) == points)[moved].all()
            rows, labels = points[verdicts.broken], y[verdicts.broken]
            assert (np.abs(rows - X[verdicts.broken]) <= 0.7 + 1e-12).all()
            for dtype in (np.float64, np.float32):
                assert (model.predict(rows.astype(dtype)) != labels).all()


class TestOneTree:
    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("kind", ["tree", "shallow tree", "extra tree", "twice scaled"])
    def test_the_distance_equals_that_to_the_nearest_wrong_cell(self, kind, norm):
        for seed, scale in ((0, None), (1, np.array([2.0, 0.5])), (2, np.array([0.0, 1.0]))):
            X, y = table(seed)
            model, trees = fitted(kind, seed, X, y)
            trees = trees.as_float64()
            units = np.ones(2) if scale is None else scale
            lower, upper = X.min(axis=0) - 0.1, X.max(axis=0) + 0.1
            radii, points = nearest_wrong_leaf(trees, X, y, norm=norm, scale=scale, lower=lower, upper=upper)
            for i in range(len(X)):
                low, high = np.where(units > 0, [lower, upper], X[i])
                near = cells(trees, low, high, X[i])
                near = near[model.predict(near) != y[i]]
                ways = (near - X[i]) / np.where(units > 0, units, 1)
                expected = np.linalg.norm(ways, norm, axis=1).min(initial=np.inf)
                np.testing.assert_allclose(radii[i], expected, rtol=1e-7, atol=1e-12)
                assert radii[i] <= expected
                assert np.isnan(points[i]).all() == np.isinf(expected)
            found = np.isfinite(radii)
            assert (model.predict(points[found]) != y[found]).all()
            assert (radii == 0).sum() >= (model.predict(X) != y).sum()

    def test_the_search_breaks_rows_just_past_the_distance_and_none_before(self):
        X, y = table(15, 5)
        trees = fitted("tree", 0, X, y)[1]
        y = (y + (np.arange(len(y)) % 7 == 0)) % 3
        for norm in NORMS:
            radii, _ = nearest_wrong_leaf(trees, X, y, norm=norm)
            for factor, breaks in ((0.999, False), (1.001, True)):
                for i in np.flatnonzero((radii > 1e-3) & np.isfinite(radii))[::5]:
                    region = ball(X[[i]], factor * radii[i], norm)
                    assert search(trees, region, y[[i]]).broken[0] == breaks
