"""ThreatModel on tables as people have them: what is inferred, what comes back, and the exact answer."""

import itertools
import pickle
from datetime import date
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    RobustnessWarning,
    ThreatModel,
    adversarial_examples,
    critical_perturbations,
    robustness_curve,
)
from sklearn_brm._bridge.tree_splits import split_points
from sklearn_brm._robustness._intervals import share_interval

QUICK = {"n_steps": 20, "max_queries": 200, "random_state": 0}
FEW = {"n_steps": 5, "max_queries": 20, "random_state": 0}


def mixed(n=160, seed=0):
    """Three whole numbers, three categories, and labels that depend on all of them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": random.integers(0, 5, n),
            "b": random.integers(0, 5, n),
            "c": random.integers(0, 4, n),
            "color": random.choice(["red", "green", "blue"], n),
            "size": pd.Categorical(
                random.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True
            ),
            "new": random.random(n) < 0.5,
        }
    )
    effect = {"red": 0.0, "green": 1.5, "blue": -2.0}
    score = frame["a"] - frame["b"] + 0.7 * frame["c"] + frame["color"].map(effect) + 1.2 * frame["new"]
    score += frame["size"].cat.codes - 1.8 + random.normal(size=n)
    return frame, np.where(score > np.median(score), "yes", "no")


X, y = mixed()
NUMBERS = ["a", "b", "c"]


def encoded(classifier):
    encode = make_column_transformer(
        (OneHotEncoder(), ["color", "size"]), (StandardScaler(), NUMBERS), remainder="passthrough"
    )
    return make_pipeline(encode, classifier)


def ordinal(classifier):
    encode = make_column_transformer((OrdinalEncoder(), ["color", "size", "new"]), remainder="passthrough")
    return make_pipeline(encode, classifier)


MODELS = {
    "logistic": encoded(LogisticRegression()),
    "network": encoded(MLPClassifier((10,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)),
    "ours": encoded(RegularizedClassifier((10,), tol=None, max_iter=40, random_state=0)),
    "kernel": encoded(SVC()),
    "bayes": ordinal(GaussianNB()),
    "neighbours": encoded(KNeighborsClassifier()),
    "tree": ordinal(DecisionTreeClassifier(max_depth=5, random_state=0)),
    "forest": ordinal(RandomForestClassifier(10, max_depth=5, random_state=0)),
    "boosting": ordinal(GradientBoostingClassifier(n_estimators=10, random_state=0)),
    "votes": encoded(VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft")),
}


CATEGORIES = ["color", "size", "new"]


def one_each(name, before, after):
    return 1


def breakable(model, frame, labels, max_changes, cost=one_each):
    """Which rows some allowed row breaks, by asking about every one."""
    choices = {"color": ["red", "green", "blue"], "size": ["S", "M", "L"], "new": [False, True]}
    found = np.zeros(len(frame), dtype=bool)
    moves = np.array(list(itertools.product([-1, 0, 1], repeat=3)))
    low, high = X[NUMBERS].min().to_numpy(), X[NUMBERS].max().to_numpy()
    numbers = np.clip(frame[NUMBERS].to_numpy() + moves[:, None], low, high).reshape(-1, 3)
    tiled = pd.concat([frame] * len(moves))
    tiled[NUMBERS] = numbers
    for values in itertools.product(*choices.values()):
        changes = np.zeros(len(frame), dtype=object)
        for name, value in zip(choices, values):
            tiled[name] = pd.Series([value] * len(tiled), dtype=frame[name].dtype, index=tiled.index)
            changes += [0 if before == value else cost(name, before, value) for before in frame[name]]
        wrong = model.predict(tiled).reshape(len(moves), -1) != labels
        found |= (changes <= max_changes) & wrong.any(axis=0)
    return found


@pytest.mark.parametrize("max_changes", [0, 1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_attacks_on_mixed_rows_find_what_trying_every_row_finds(name, max_changes):
    frame, labels = X[:40], y[:40]
    model = MODELS[name].fit(X, y)
    threat = ThreatModel.from_data(X, scale=1.0, max_changes=max_changes)
    found = adversarial_examples(model, frame, labels, eps=1.0, threat=threat, **QUICK)
    expected = breakable(model, frame, labels, max_changes) & (model.predict(frame) == labels)
    np.testing.assert_array_equal(found.outcome == "broken", expected)
    assert (found.n_changes <= max_changes).all()
    broken = found.outcome == "broken"
    assert (model.predict(found.X[broken]) != labels[broken]).all()
    assert found.X.dtypes.equals(frame.dtypes)
    assert (found.X[NUMBERS] - frame[NUMBERS]).abs().to_numpy().max(initial=0) <= 1


COSTS = {
    "color": {("red", "green"): 0.1, ("green", "blue"): 2.5, ("blue", "red"): 0},
    "size": 0.2,
    "new": 0.7,
}


def exact_cost(name, before, after):
    cost = COSTS[name]
    return Fraction(str(cost.get((before, after), 1) if isinstance(cost, dict) else cost))


@pytest.mark.parametrize("budget", [0.3, 0.9, 1, 1.7])
@pytest.mark.parametrize("name", ["logistic", "neighbours", "forest"])
def test_attacks_spend_what_changes_cost_as_trying_every_row_says(name, budget):
    frame, labels = X[:40], y[:40]
    model = MODELS[name].fit(X, y)
    threat = ThreatModel.from_data(X, scale=1.0, max_changes=budget, change_costs=COSTS)
    found = adversarial_examples(model, frame, labels, eps=1.0, threat=threat, **QUICK)
    # 0.1 + 0.2 is 0.3 for people, and for fractions, but not for floats.
    allowed = Fraction(str(budget))
    expected = breakable(model, frame, labels, allowed, exact_cost) & (model.predict(frame) == labels)
    np.testing.assert_array_equal(found.outcome == "broken", expected)
    spent = [
        sum(exact_cost(name, before[name], after[name]) for name in CATEGORIES if before[name] != after[name])
        for (_, before), (_, after) in zip(frame.iterrows(), found.X.iterrows())
    ]
    assert max(spent) <= allowed
    assert (found.n_changes > 1).any()


def test_a_beam_search_spends_no_more_than_it_may():
    random = np.random.default_rng(0)
    words = pd.DataFrame({name: random.choice(list("abcdef"), 120) for name in "pqrstu"})
    labels = ((words == "a").sum(axis=1) + (words == "b").sum(axis=1) > 1).astype(int)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(words, labels)
    costs = {"p": 0.3, "q": {("a", "b"): 0.1, ("c", "d"): 5}, "r": 0.7, "s": 4}
    threat = ThreatModel.from_data(words, max_changes=2, change_costs=costs)
    found = adversarial_examples(model, words, labels, eps=0.0, threat=threat, **QUICK)
    changed = (words != found.X).to_numpy()
    prices = {"p": 0.3, "r": 0.7, "s": 4}
    spent = np.zeros(len(words))
    for j, name in enumerate(words):
        pairs = costs["q"] if name == "q" else {}
        each = [pairs.get(pair, prices.get(name, 1)) for pair in zip(words[name], found.X[name])]
        spent += changed[:, j] * np.array(each)
    assert spent.max() <= 2 + 1e-9
    assert changed.sum(axis=1).max() >= 3
    assert not changed[:, list(words).index("s")].any()
    few = adversarial_examples(model, words, labels, eps=0.0, threat=ThreatModel.from_data(words), **QUICK)
    assert found.robust_accuracy < few.robust_accuracy


def columns_of_all_kinds():
    """A ColumnTransformer with scalers, imputers and encoders."""
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    parts = [
        ("two", scaled, ["b", "a"]),
        ("word", OneHotEncoder(), ["color"]),
        ("c", RobustScaler(), slice(2, 3)),
    ]
    return ColumnTransformer(parts, remainder="passthrough")


@pytest.mark.parametrize("max_changes", [0, 1])
@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_trees_behind_columns_of_all_kinds_are_split_as_trying_every_cell_tells(kind, max_changes):
    random = np.random.default_rng(1)
    rows = pd.DataFrame(random.normal(size=(200, 4)), columns=["a", "b", "c", "d"])
    rows["color"] = random.choice(["red", "green", "blue"], 200)
    labels = (rows["a"] * rows["b"] + rows["c"] + (rows["color"] == "red") + rows["d"] > 0.3).astype(int)
    forest = {
        "forest": RandomForestClassifier(5, max_depth=4, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=6, max_depth=2, random_state=0),
    }[kind]
    model = make_pipeline(columns_of_all_kinds(), forest).fit(rows, labels)
    frame, target, eps = rows[:30], labels[:30].to_numpy(), 0.15
    threat = ThreatModel(max_changes=max_changes)
    # The columns in another order are the same table.
    found = adversarial_examples(
        model, frame[["color", "d", "c", "b", "a"]], target, eps=eps, threat=threat, random_state=0
    )
    inner = forest.estimators_ if kind == "forest" else forest.estimators_.ravel()
    thresholds = {
        j: np.concatenate([t.tree_.threshold[t.tree_.feature == j] for t in inner]) for j in range(7)
    }
    (_, scaled, _), _, (_, wide, _), _ = model[0].transformers_
    scaler = scaled[-1]
    places = {
        "b": thresholds[0] * scaler.scale_[0] + scaler.mean_[0],
        "a": thresholds[1] * scaler.scale_[1] + scaler.mean_[1],
        "c": thresholds[5] * wide.scale_[0] + wide.center_[0],
        "d": thresholds[6],
    }
    for i, outcome in enumerate(found.outcome):
        row = frame.iloc[i]
        options = []
        for name in "abcd":
            near = places[name][np.abs(places[name] - row[name]) < eps - 1e-4]
            options.append([row[name], *(near - 1e-5), *(near + 1e-5)])
        options.append(["red", "green", "blue"] if max_changes else [row["color"]])
        everyone = pd.DataFrame(itertools.product(*options), columns=["a", "b", "c", "d", "color"])
        broke = (model.predict(everyone) != target[i]).any()
        right = model.predict(frame[i : i + 1])[0] == target[i]
        assert (outcome == "broken") == (broke and right)
    assert 3 < (found.outcome == "broken").sum() < 28


def test_splits_are_read_through_columns_by_name_place_and_mask():
    random = np.random.default_rng(0)
    rows = random.normal(size=(100, 5))
    labels = (rows.sum(axis=1) > 0).astype(int)
    for first, rest in (
        ([0, 3], "passthrough"),
        (np.arange(5) == 2, "drop"),
        (slice(1, 4), StandardScaler()),
    ):
        encode = ColumnTransformer([("some", MinMaxScaler(), first)], remainder=rest)
        model = make_pipeline(encode, DecisionTreeClassifier(random_state=0)).fit(rows, labels)
        splits = split_points(model)
        assert len(splits) == 5
        assert sum(map(len, splits.points)) > 3
        for j, points in enumerate(splits.points):
            for point in points:
                beside = np.repeat(rows, 2, axis=0)
                beside[0::2, j], beside[1::2, j] = point - 1e-6, point + 1e-6
                leaves = model[-1].apply(model[0].transform(beside))
                assert (leaves[0::2] != leaves[1::2]).any()
    for other in (
        ColumnTransformer([("some", PCA(1), [0, 1])], remainder="passthrough"),
        ColumnTransformer([("some", MinMaxScaler(), [0, 1])], transformer_weights={"some": 2.0}),
    ):
        model = make_pipeline(other, DecisionTreeClassifier(random_state=0)).fit(rows, labels)
        assert split_points(model) is None


def test_many_categories_take_few_calls():
    random = np.random.default_rng(0)
    codes = random.integers(0, 40, 300)
    rows = pd.DataFrame({"city": [f"city {code:02d}" for code in codes], "v": random.normal(size=300)})
    labels = (random.normal(size=40)[codes] + rows["v"] > 0).astype(int)
    encode = make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(encode, RandomForestClassifier(10, random_state=0)).fit(rows, labels)

    class Counted(BaseEstimator):
        classes_ = model.classes_
        n_calls = 0
        predict = staticmethod(model.predict)

        def __sklearn_is_fitted__(self):
            return True

        def predict_proba(self, X):
            self.n_calls += 1
            return model.predict_proba(X)

    counted = Counted()
    threat = ThreatModel.from_data(rows)
    found = adversarial_examples(counted, rows[:30], labels[:30], eps=0.01, threat=threat, **QUICK)
    # 39 other cities for each row, and 200 queries around each of them, 4 at a time.
    assert counted.n_calls < 39 * 200 / 4 / 3
    everyone = [rows[:30].assign(city=city) for city in set(rows["city"])]
    broke = np.any([model.predict(other) != labels[:30] for other in everyone], axis=0)
    assert (found.outcome == "broken")[broke & (model.predict(rows[:30]) == labels[:30])].all()
    # Where the change alone is enough, nothing else is changed.
    changed = found.n_changes == 1
    assert changed.any()
    kept = (found.X["v"] == rows["v"][:30]).to_numpy()
    assert kept[changed & broke].all()


def test_tables_of_words_alone_are_attacked_though_nothing_in_them_moves_a_little():
    words = X[["color", "size"]]
    for drop in (["size"], ["color", "size"]):
        encode = make_column_transformer((OneHotEncoder(), drop))
        model = make_pipeline(encode, LogisticRegression()).fit(words, y)
        found = adversarial_examples(model, words, y, threat=ThreatModel(max_changes=2), **QUICK)
        everyone = [words.assign(color=c, size=s) for c in set(words["color"]) for s in "SML"]
        broke = np.any([model.predict(rows) != y for rows in everyone], axis=0)
        np.testing.assert_array_equal(found.outcome == "broken", broke & (model.predict(words) == y))
    # Neither does a model that sees no number have a gradient.
    model = make_pipeline(encode, LogisticRegression()).fit(X, y)
    with pytest.warns(RobustnessWarning, match="The gradient is exactly zero"):
        found = adversarial_examples(model, X, y, eps=1.0, **QUICK)
    assert (found.n_changes[found.outcome == "broken"] == 1).all()


def test_what_gets_lost_or_filled_has_a_cost():
    rows, target = with_gaps()
    rows, target = rows.iloc[:60, :8], target[:60]
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(rows, target)
    costs = dict.fromkeys(rows.columns[:7], 0.5) | {rows.columns[7]: 3}
    threat = ThreatModel.from_data(rows, missing="any", max_changes=1, change_costs=costs)
    found = adversarial_examples(model, rows, target, eps=0.1, threat=threat, **QUICK)
    assert found.n_changes.max() == 2
    last = rows.columns[7]
    np.testing.assert_array_equal(found.X[last].isna(), rows[last].isna())
    words = pd.DataFrame({"city": ["Oslo", "Bergen", None, "Bergen"] * 10})
    labels = np.array([0, 1, 1, 1] * 10)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(words, labels)
    options = {"missing": "any", "max_changes": 1, "reference_X": words}
    for cost, may in (({("Oslo", None): 1.5, ("Oslo", "Bergen"): 1.5}, False), ({("Oslo", None): 1}, True)):
        threat = ThreatModel(change_costs={"city": cost}, **options)
        found = adversarial_examples(model, words, labels, eps=0.0, threat=threat, **QUICK)
        assert (found.outcome[labels == 0] == "broken").all() == may
        assert (found.outcome[words["city"] == "Bergen"] == "broken").all()


@pytest.mark.parametrize("name", ["logistic", "network", "ours", "kernel", "votes"])
def test_pipelines_that_encode_categories_have_gradients(name):
    model = MODELS[name].fit(X, y)
    threat = ThreatModel.from_data(X)
    found = adversarial_examples(model, X, y, attack="pgd", eps=0.5, threat=threat, random_state=0)
    assert (found.outcome == "broken").any()
    assert set(found.attack) == {"", "pgd"}


def test_what_comes_back_has_the_types_the_names_and_the_index_of_what_went_in():
    frame = X.copy()
    frame["text"] = pd.Series(["u", "v"] * 80, dtype="string")
    frame["nullable"] = pd.array([1, 2, None, 4] * 40, dtype="Int64")
    frame["day"] = pd.Timestamp("2020-01-01")
    frame.index = [f"row {i}" for i in range(len(frame))]
    model = encoded(LogisticRegression()).set_params(columntransformer__remainder="drop").fit(frame, y)
    found = adversarial_examples(model, frame, y, eps=1.0, threat=ThreatModel.from_data(frame), **QUICK)
    assert (found.outcome == "broken").any()
    assert found.X.dtypes.equals(frame.dtypes)
    assert found.X.index.equals(frame.index)
    pd.testing.assert_frame_equal(found.X[found.outcome != "broken"], frame[found.outcome != "broken"])
    changed = frame.compare(found.X)
    assert set(changed.columns.get_level_values(0)) <= {*NUMBERS, "color", "size", "new", "text", "nullable"}
    assert len(pd.concat([frame, found.X])) == 2 * len(frame)


def test_frames_of_polars_come_back_with_their_types():
    polars = pytest.importorskip("polars")
    words = {"color": X["color"].tolist(), "size": [str(size) for size in X["size"]]}
    gaps = [None if i % 9 == 0 else float(i % 7) for i in range(160)]
    frame = polars.DataFrame(
        {
            **{name: X[name].to_numpy() for name in NUMBERS},
            **words,
            "new": X["new"].to_numpy(),
            "gaps": gaps,
            "count": [None if i % 11 == 0 else i % 5 for i in range(160)],
            "day": [date(2020, 1, 1 + i % 20) for i in range(160)],
        },
        schema_overrides={"size": polars.Enum(["S", "M", "L"]), "a": polars.Int32},
    )
    other = pd.DataFrame({name: frame[name].to_numpy() for name in NUMBERS} | words)
    other = other.assign(new=X["new"], gaps=np.array(gaps, dtype=float))
    encode = make_column_transformer(
        (OneHotEncoder(), ["color", "size"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), [*NUMBERS, "gaps"]),
        ("passthrough", ["new"]),
    )
    threat = ThreatModel.from_data(frame, max_changes=2, relations=[lambda rows: (rows["a"] >= 0).to_numpy()])
    for classifier in (LogisticRegression(), DecisionTreeClassifier(max_depth=4, random_state=0)):
        model = make_pipeline(encode, classifier).fit(frame, y)
        found = adversarial_examples(model, frame, y, eps=0.3, threat=threat, **FEW)
        assert found.X.schema == frame.schema
        assert (found.outcome == "broken").sum() > 10
        broken = found.outcome == "broken"
        assert (model.predict(found.X.filter(broken)) != y[broken]).all()
        assert found.X.filter(~broken).equals(frame.filter(~broken))
        assert found.X.null_count().equals(frame.null_count())
        same = adversarial_examples(
            make_pipeline(encode, classifier).fit(other, y),
            other,
            y,
            eps=0.3,
            threat=ThreatModel.from_data(other, max_changes=2),
            **FEW,
        )
        assert found.robust_accuracy == same.robust_accuracy
    scorer = AdversarialScorer(0.3, threat=threat, max_samples=20, **FEW)
    assert 0 <= scorer(model, frame, y) < 1
    with pytest.raises(ValueError, match=r"'relations' .* a DataFrame of pandas, .* Got 'a > 0'"):
        adversarial_examples(model, frame, y, threat=ThreatModel(relations=["a > 0"]))


def test_inference_tells_what_each_column_is():
    frame = X.assign(
        weight=np.linspace(0.1, 1, 160), flag=np.arange(160) % 2 * 1.0, one=3.0, count=X["a"] * 1.0
    )
    threat = ThreatModel.from_data(frame)
    rows = {row[0]: row for row in threat.describe().rows}
    kinds = {name: row[1] for name, row in rows.items()}
    assert kinds == {
        "a": "integer",
        "b": "integer",
        "c": "integer",
        "color": "category",
        "size": "category",
        "new": "boolean",
        "weight": "number",
        "flag": "category",
        "one": "integer",
        "count": "integer",
    }
    assert rows["one"][2] == "fixed"
    assert rows["one"][5] == "constant"
    assert rows["weight"][3:5] == ("0.1", "1")
    assert "<td>weight</td>" in threat.describe()._repr_html_()
    # Beside the ends and the middle all values of each category.
    assert len(threat.reference_X) == 5
    assert set(threat.reference_X["color"]) == {"red", "green", "blue"}


def test_inference_gives_what_the_data_give():
    cancer, target = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(cancer, target)
    learned = ThreatModel.from_data(cancer)
    given = ThreatModel(scale="std", bounds="data", reference_X=cancer)
    one, two = (
        AdversarialScorer(0.3, threat=threat, **QUICK)(model, cancer, target) for threat in (learned, given)
    )
    assert one == two < model.score(cancer, target)


def with_gaps(share=0.1, seed=0):
    cancer, target = load_breast_cancer(return_X_y=True, as_frame=True)
    gaps = np.random.default_rng(seed).random(cancer.shape) < share
    return cancer.mask(gaps), target


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=10, random_state=0),
    ],
)
@pytest.mark.filterwarnings("ignore:The black box broke:sklearn_brm.RobustnessWarning")
@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_missing_values_stay_missing_and_no_other_appears(model, norm):
    rows, target = with_gaps()
    rows, target = rows[:150], target[:150]
    model.fit(rows, target)
    threat, eps = ThreatModel.from_data(rows, norm=norm), 2.0 if norm == 1 else 0.5
    found = adversarial_examples(model, rows, target, eps=eps, threat=threat, **QUICK)
    assert (found.outcome == "broken").sum() > 5
    pd.testing.assert_frame_equal(found.X.isna(), rows.isna())
    broken = found.outcome == "broken"
    assert (model.predict(found.X[broken]) != target[broken]).all()
    moved = ((found.X - rows) / rows.std(ddof=0)).fillna(0).to_numpy()
    assert (np.linalg.norm(moved, ord=norm, axis=1) <= eps * (1 + 1e-9)).all()


def test_missing_values_may_appear_or_be_filled_where_that_is_said():
    rows, target = with_gaps()
    rows, target = rows.iloc[:60, :8], target[:60]
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(rows, target)
    robust = {}
    for missing in ("fixed", "may_appear", "may_be_filled", "any"):
        threat = ThreatModel.from_data(rows, missing=missing, max_changes=1)
        found = adversarial_examples(model, rows, target, eps=0.1, threat=threat, **QUICK)
        robust[missing] = found.robust_accuracy
        appeared = (found.X.isna() & rows.notna()).sum(axis=1)
        filled = (found.X.notna() & rows.isna()).sum(axis=1)
        assert (appeared + filled == found.n_changes).all()
        assert (found.n_changes <= 1).all()
        assert appeared.any() == (missing in ("may_appear", "any"))
        assert not filled.any() or missing in ("may_be_filled", "any")
    assert robust["any"] <= min(robust["may_appear"], robust["may_be_filled"]) <= robust["fixed"]
    assert robust["may_appear"] < robust["fixed"]


def test_scores_in_cross_validation_and_searches():
    rows, target = with_gaps()
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    robust = AdversarialScorer(0.2, threat=ThreatModel.from_data(rows), max_samples=30, **QUICK)
    scores = cross_val_score(model, rows, target, scoring=robust, cv=3)
    assert ((scores > 0.3) & (scores < 0.95)).all()
    robust = AdversarialScorer(
        0.3, threat=ThreatModel.from_data(X), max_samples=20, n_steps=5, random_state=0
    )
    search = GridSearchCV(
        encoded(LogisticRegression()), {"logisticregression__C": [0.01, 1]}, scoring=robust, cv=2, n_jobs=2
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    norms = [clone(robust).set_params(threat__norm=norm)(search, X, y) for norm in (np.inf, 1)]
    assert norms[0] <= norms[1]


def test_rare_categories_that_a_fold_never_saw_do_not_stop_a_search():
    frame = X.copy()
    frame.loc[frame.index[:2], "color"] = "mauve"
    robust = AdversarialScorer(0.3, threat=ThreatModel.from_data(frame), **QUICK)
    model = encoded(LogisticRegression())
    model = model.fit(frame[2:], y[2:])
    assert 0 < robust(model, frame[2:], y[2:]) < 1


def test_transitions_say_which_value_may_become_which():
    model = MODELS["logistic"].fit(X, y)
    rules = {"color": {"red": ["green"]}, "size": ["S", "M", "L"]}
    threat = ThreatModel.from_data(X, transitions=rules, max_changes=2, fixed=[*NUMBERS, "new"])
    found = adversarial_examples(model, X, y, eps=1.0, threat=threat, **QUICK)
    for before, after in zip(X["color"], found.X["color"]):
        assert before == after or (before, after) == ("red", "green")
    assert (np.abs(X["size"].cat.codes - found.X["size"].cat.codes) <= 1).all()
    assert (found.n_changes > 0).any()


@pytest.mark.filterwarnings("ignore:.*gradients know nothing of relations:sklearn_brm.RobustnessWarning")
@pytest.mark.parametrize("relations", [["a <= b + 3"], [lambda rows: rows["a"] <= rows["b"] + 3]])
def test_relations_hold_in_every_row_that_comes_back(relations):
    frame = X[X["a"] <= X["b"] + 3]
    labels = y[X["a"] <= X["b"] + 3]
    model = MODELS["logistic"].fit(X, y)
    threat = ThreatModel.from_data(X, relations=relations, scale=1.0)
    found = adversarial_examples(model, frame, labels, eps=2.0, threat=threat, **QUICK)
    free = adversarial_examples(
        model, frame, labels, eps=2.0, threat=ThreatModel.from_data(X, scale=1.0), **QUICK
    )
    assert (found.X["a"] <= found.X["b"] + 3).all()
    assert not (free.X["a"] <= free.X["b"] + 3).all()
    assert (found.outcome == "broken").any()


def test_directions_are_obeyed():
    model = MODELS["logistic"].fit(X, y)
    threat = ThreatModel.from_data(X, increasing=["a"], decreasing=["b"], max_changes=0)
    found = adversarial_examples(model, X, y, eps=1.0, threat=threat, **QUICK)
    assert (found.X["a"] >= X["a"]).all()
    assert (found.X["b"] <= X["b"]).all()
    assert (found.outcome == "broken").any()


def test_columns_are_chosen_by_selectors_and_types():
    model = MODELS["logistic"].fit(X, y)
    threat = ThreatModel.from_data(X, fixed=make_column_selector(dtype_include="number"))
    found = adversarial_examples(model, X, y, eps=5.0, threat=threat, **QUICK)
    pd.testing.assert_frame_equal(found.X[NUMBERS], X[NUMBERS])
    assert (found.n_changes[found.outcome == "broken"] == 1).all()


def test_groups_may_be_empty_where_the_first_category_was_dropped():
    random = np.random.default_rng(0)
    group = np.eye(3)[random.integers(0, 3, 100)][:, 1:]
    rows = np.hstack([random.normal(size=(100, 2)), group])
    labels = (rows @ [1, -1, 2, -2] + 0.3 * random.normal(size=100) > 0).astype(int)
    model = LogisticRegression().fit(rows, labels)
    threat = ThreatModel(1, one_hot=[[2, 3]], fixed=[0, 1])
    found = adversarial_examples(model, rows, labels, eps=2.0, threat=threat, **QUICK)
    assert set(map(tuple, found.X[:, 2:])) <= {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)}
    assert (found.outcome == "broken").any()
    broke = np.zeros(100, dtype=bool)
    for option in ([0, 0], [1, 0], [0, 1]):
        broke |= model.predict(np.hstack([rows[:, :2], np.tile(option, (100, 1))])) != labels
    np.testing.assert_array_equal(found.outcome == "broken", broke & (model.predict(rows) == labels))


def test_whole_numbers_and_booleans_of_arrays_keep_their_type():
    random = np.random.default_rng(0)
    counts = random.integers(0, 9, size=(120, 4))
    labels = (counts @ [1, -1, 1, -1] > 0).astype(int)
    model = LogisticRegression().fit(counts, labels)
    found = adversarial_examples(model, counts, labels, eps=1, random_state=0)
    assert found.X.dtype == counts.dtype
    assert (found.outcome == "broken").any()
    flags = random.random((120, 5)) < 0.5
    labels = (flags.sum(axis=1) > 2).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(flags, labels)
    found = adversarial_examples(model, flags, labels, eps=0.1, threat=ThreatModel(max_changes=2), **QUICK)
    assert found.X.dtype == bool
    assert found.n_changes.max() == 2
    assert found.robust_accuracy == pytest.approx(0, abs=0.2)


def test_critical_perturbations_and_curves_take_categories():
    model = MODELS["logistic"].fit(X, y)
    options = {"threat": ThreatModel.from_data(X), **QUICK, "max_queries": 40}
    frame, labels = X[:50], y[:50]
    found = critical_perturbations(model, frame, labels, **options)
    options["threat"] = ThreatModel.from_data(X, max_changes=0)
    none = critical_perturbations(model, frame, labels, **options)
    options["threat"] = ThreatModel.from_data(X)
    assert (found.radius <= none.radius * 1.02 + 1e-9).all()
    assert (found.radius < none.radius * 0.8).any()
    # A category alone breaks such a row, however small the ball.
    assert ((found.radius == 0) & (found.outcome == "broken")).any()
    curve = robustness_curve(model, frame, labels, eps=[0.1, 0.5, 1.0], **options)
    np.testing.assert_allclose(curve.clean_accuracy, model.score(frame, labels))
    assert (np.diff(curve.accuracy) <= 0).all()
    assert curve.accuracy[0] < curve.clean_accuracy


def test_threats_are_cloned_pickled_and_shown():
    threat = ThreatModel.from_data(X, norm=2)
    for copy in (clone(threat), pickle.loads(pickle.dumps(threat))):
        assert repr(copy) == repr(threat)
        assert str(copy.describe()) == str(threat.describe())
    assert "ThreatModel" in threat._repr_html_()
    with pytest.raises(ValueError, match=r"describe needs X: a threat without reference_X"):
        ThreatModel().describe()
    assert len(ThreatModel().describe(X).rows) == 6


class ScoredBy(LogisticRegression):
    """A model with a scorer among its parameters, so that a search can set those of its threat."""

    def __init__(self, robust=None):
        super().__init__()
        self.robust = robust

    def score(self, X, y):
        return self.robust(self, X, y)


def test_copies_and_searches_leave_the_threat_of_the_user_alone():
    threat = ThreatModel(norm=2)
    robust = AdversarialScorer(0.1, threat=threat, attack="fgsm", max_queries=4, random_state=0)
    copy = clone(robust).set_params(threat__norm=1)
    assert (threat.norm, copy.threat.norm) == (2, 1)
    search = GridSearchCV(ScoredBy(robust), {"robust__threat__norm": [1, np.inf]}, cv=2).fit(X[NUMBERS], y)
    assert search.cv_results_["mean_test_score"][0] >= search.cv_results_["mean_test_score"][1]
    assert threat.norm == 2
    assert robust.threat is threat
    assert search.best_estimator_.robust.threat is not threat
    # Without a copy it is the object itself, as with every nested estimator of scikit-learn.
    assert robust.set_params(threat__norm=1).threat is threat
    assert threat.norm == 1


@pytest.mark.parametrize("sparse_output", [False, True])
def test_sparse_encodings_go_through_the_whole_pipeline(sparse_output):
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=sparse_output), ["color", "size"]),
        (StandardScaler(), NUMBERS),
        sparse_threshold=1.0,
    )
    model = make_pipeline(encode, RegularizedClassifier((), tol=None, max_iter=20, random_state=0)).fit(X, y)
    threat = ThreatModel.from_data(X)
    found = adversarial_examples(
        model, X, y, eps=0.3, threat=threat, n_steps=5, max_queries=20, random_state=0
    )
    assert (found.outcome == "broken").any()
    assert found.robust_accuracy == np.mean(model.predict(found.X) == y)


def test_figures_say_how_sure_they_are_and_for_which_class():
    model = MODELS["logistic"].fit(X, y)
    threat = ThreatModel.from_data(X)
    found = adversarial_examples(
        model, X, y, eps=0.3, threat=threat, n_steps=5, max_queries=20, random_state=0
    )
    low, high = found.interval()
    # Clopper and Pearson's ends: the shares under which so few, or so many, rows are just 2.5% likely.
    standing = int((found.outcome == "standing").sum())
    assert binom.sf(standing - 1, len(y), low) == pytest.approx(0.025)
    assert binom.cdf(standing, len(y), high) == pytest.approx(0.025)
    assert found.interval(0.5)[0] > low
    figures = found.by_class()
    assert set(figures) == {"yes", "no"}
    n_rows = [one["n_samples"] for one in figures.values()]
    robust = [one["robust_accuracy"] for one in figures.values()]
    assert np.average(robust, weights=n_rows) == pytest.approx(found.robust_accuracy)
    values = AdversarialScorer(
        0.3, threat=threat, metric="all", n_steps=5, max_queries=20, random_state=0, max_samples=40
    )(model, X, y)
    assert values["robust_accuracy_low"] < values["robust_accuracy"] < values["robust_accuracy_high"]


def test_intervals_at_the_ends_and_under_weights():
    ones = np.ones(70)
    assert share_interval(0.0, ones)[0] == 0
    assert share_interval(1.0, ones)[1] == 1
    # The rule of three: no event in n rows.
    assert share_interval(0.0, ones)[1] == pytest.approx(1 - 0.025 ** (1 / 70))
    assert np.isnan(share_interval(np.nan, 0 * ones)).all()
    wide, narrow = share_interval(0.5, np.geomspace(1, 100, 70)), share_interval(0.5, ones)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    np.testing.assert_allclose(share_interval(0.5, 3 * ones), narrow)


@pytest.mark.filterwarnings("ignore:All .* rows that stand are of class:sklearn_brm.RobustnessWarning")
@pytest.mark.parametrize("kind", [float, bool])
def test_groups_that_are_named_stay_groups_when_the_rest_is_inferred(kind):
    random = np.random.default_rng(0)
    colors = pd.get_dummies(pd.Series(random.choice(["red", "green", "blue"], 80))).astype(kind)
    frame = colors.assign(v=random.normal(size=80))
    labels = (colors["red"].astype(float) + 0.3 * random.normal(size=80) > 0.5).astype(int)
    model = LogisticRegression().fit(frame, labels)
    members = ["red", "green", "blue"]
    threat = ThreatModel.from_data(frame, one_hot=[members], fixed=["v"])
    assert {row[0]: row[5] for row in threat.describe().rows}["red"] == "one-hot"
    found = adversarial_examples(model, frame, labels, eps=1.0, threat=threat, **QUICK)
    assert (found.X[members].sum(axis=1) == 1).all()
    assert found.X.dtypes.equals(frame.dtypes)
    broke = np.zeros(80, dtype=bool)
    for member in members:
        changed = frame.copy()
        changed[members] = np.array([name == member for name in members]).astype(kind)
        broke |= model.predict(changed) != labels
    np.testing.assert_array_equal(found.outcome == "broken", broke & (model.predict(frame) == labels))
    assert (found.outcome == "broken").any()


def test_what_is_inferred_is_described_whatever_must_be_true_of_rows():
    frame = pd.DataFrame({"a": [1, 2, 4, 5], "b": [4, 3, 1, 0]})
    threat = ThreatModel.from_data(frame, relations=["a + b == 5"])
    assert len(threat.describe().rows) == 2
    with pytest.raises(ValueError, match=r"'a \+ b == 5' is false in row 0"):
        threat.describe(frame + 1)


def test_bounds_of_a_category_are_refused():
    frame = X.assign(flag=np.arange(160) % 2)
    model = MODELS["logistic"].fit(X, y)
    with pytest.raises(
        ValueError, match=r"'bounds' .* columns of numbers; what categories may become .* \['flag'\]"
    ):
        adversarial_examples(model, frame, y, threat=ThreatModel.from_data(frame, bounds={"flag": (0, 0)}))
