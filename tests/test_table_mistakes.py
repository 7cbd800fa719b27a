"""Mistakes with columns are named with the way out, and no attack gives a column what it cannot hold."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_brm import ThreatModel, adversarial_examples

QUICK = {"n_steps": 5, "max_queries": 20, "random_state": 0}


def people(n=60):
    """Rows with two numbers, a word, a boolean and a pair of one-hot columns, and labels in words."""
    random = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": random.integers(18, 80, n),
            "income": random.lognormal(8, 0.5, n),
            "city": random.choice(["Oslo", "Bergen", "Bodo"], n),
            "owner": random.random(n) < 0.5,
            "is_new": random.integers(0, 2, n),
        }
    )
    X["is_old"] = 1 - X["is_new"]
    score = X["income"] + 30 * X["age"] + 500 * X["owner"] + 1000 * (X["city"] == "Oslo")
    return X, np.where(score > score.median(), "yes", "no")


X, y = people()
ROWS = X[["age", "income", "is_new"]].to_numpy(dtype=float)


@pytest.fixture(scope="module")
def model():
    encode = make_column_transformer((OneHotEncoder(), ["city", "owner"]), remainder=StandardScaler())
    return make_pipeline(encode, LogisticRegression()).fit(X, y)


def renamed(columns):
    return X.set_axis(columns, axis=1)


FEATURES = re.escape(f"must be features of X; X has {list(X)}. Got ")
NUMBERS = r"must be columns of numbers; what categories may become is said by 'categorical' and 'transitions'"
COLUMNS = "must name the columns of X, in any order. Got columns "


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"fixed": ["agee"]}, ValueError, f"'fixed' .* {FEATURES}'agee'"),
        ({"mutable": ["Age"]}, ValueError, f"'mutable' .* {FEATURES}'Age'"),
        ({"mutable": [True, False]}, ValueError, r"'mutable' .* a mask over the 6 features"),
        ({"fixed": [17]}, ValueError, r"'fixed' .* indices of features in \[0, 6\). Got \[17\]"),
        (
            {"scale": "std", "reference_X": X.drop(columns="income")},
            ValueError,
            rf"{COLUMNS}missing: \['income'\]",
        ),
        (
            {"scale": "std", "reference_X": renamed(["age", "age", *X.columns[2:]])},
            ValueError,
            rf"'reference_X' .* {COLUMNS}missing: \['income'\]; given twice: \['age'\]",
        ),
        (
            {"scale": "std", "reference_X": X.astype({"income": str})},
            ValueError,
            r"'reference_X' .* numbers where X has numbers, .* Got \['income'\]",
        ),
        ({"scale": "std", "reference_X": ROWS}, ValueError, r"the 6 features of X. Got '3 features'"),
        (
            {"scale": "std", "reference_X": ROWS[:, 0]},
            ValueError,
            r"'reference_X' .* Got 'data of 1 dimensions'",
        ),
        (
            {"scale": "std", "reference_X": X["age"]},
            ValueError,
            r"'reference_X' .* Got 'data of 1 dimensions'",
        ),
        ({"scale": "std"}, ValueError, r"scale='std' needs the 'reference_X' parameter .* the training rows"),
        ({"scale": "sd", "reference_X": X}, ValueError, r"'scale' .* 'std', 'range', 'iqr', .* Got 'sd'"),
        (
            {"scale": {"age": 1}},
            ValueError,
            rf"'scale' .* {COLUMNS}missing: \['income', 'is_new', 'is_old'\]",
        ),
        (
            {"scale": {"age": 1, "income": 1, "is_new": 1, "is_old": 1, "city": 1}},
            ValueError,
            r"'scale' .* about columns of numbers alone; leave the others out. Got \['city'\]",
        ),
        (
            {"scale": {"age": -1, "income": 1, "is_new": 1, "is_old": 1}},
            ValueError,
            r"'scale' .* none negative. Got \{'age': -1.0\}",
        ),
        ({"bounds": {"city": (0, 1)}}, ValueError, rf"'bounds' .* {NUMBERS}. Got \['city'\]"),
        ({"bounds": {"age": (80, 18)}}, ValueError, r"'bounds' .* low <= high, .* Got \{'age': \(80, 18\)\}"),
        ({"bounds": {"age": 80}}, TypeError, r"'bounds' .* a pair \(low, high\) .* Got \{'age': 80\}"),
        (
            {"bounds": {"age": (30, 50)}},
            ValueError,
            r"'bounds' .* every clean row: .* in row 0, feature 'age'",
        ),
        ({"integer": ["income"]}, ValueError, r"'integer' .* whole numbers. Got 1799.3.* feature 'income'"),
        ({"integer": ["city"]}, ValueError, rf"'integer' .* {NUMBERS}. Got \['city'\]"),
        ({"one_hot": [["is_new", "city"]]}, ValueError, rf"'one_hot' .* {NUMBERS}. Got \['city'\]"),
        (
            {"one_hot": ["is_new", "is_old"]},
            ValueError,
            r"'one_hot' .* a list of groups of two .* 'is_old'\]",
        ),
        ({"one_hot": [["age", "is_old"]]}, ValueError, r"'one_hot' .* exactly one .* feature 'age'"),
        ({"increasing": ["city"]}, ValueError, rf"'increasing' .* {NUMBERS}. Got \['city'\]"),
        ({"increasing": ["is_new"], "categorical": ["is_new"]}, ValueError, rf"{NUMBERS}. Got \['is_new'\]"),
        ({"increasing": ["age"], "decreasing": ["age"]}, ValueError, r"use 'fixed'. Got \['age'\]"),
        ({"categorical": ["cty"]}, ValueError, f"'categorical' .* {FEATURES}'cty'"),
        (
            {"categorical": {"city": "Oslo"}},
            TypeError,
            r"a list of values for each column. Got \{'city': 'Oslo'\}",
        ),
        ({"categorical": {"city": 5}}, TypeError, r"a list of values for each column. Got \{'city': 5\}"),
        (
            {"categorical": {"owner": ["maybe"]}},
            ValueError,
            r"values of column 'owner', which has \[False, True\]. Got 'maybe'",
        ),
        (
            {"transitions": {"city": {"Oslo": ["Bergn"]}}},
            ValueError,
            r"'transitions' .* values of column 'city', which has .*'Oslo'.* Got 'Bergn'",
        ),
        (
            {"transitions": {"city": {"Oslo": "Bergen"}}},
            TypeError,
            r"a dict from value to a list of values, .* Got \{'city': 'Bergen'\}",
        ),
        ({"transitions": {"city": None}}, TypeError, r"a list of values in order, .* Got \{'city': None\}"),
        ({"transitions": {"age": [18, 19]}}, ValueError, r"about columns of categories. Got 'age'"),
        ({"transitions": {"town": ["a", "b"]}}, ValueError, f"'transitions' .* {FEATURES}'town'"),
        ({"relations": ["agee > 0"]}, ValueError, r"expressions of columns \(name 'agee' is not defined\)"),
        ({"relations": "age > 0"}, TypeError, r"a list of expressions of column names, .* Got 'age > 0'"),
        ({"relations": ["age + 1"]}, ValueError, r"say True or False for each of 60 rows. Got 'age \+ 1'"),
        ({"relations": [lambda rows: rows["age"]]}, ValueError, r"say True or False for each of 60 rows"),
        (
            {"relations": ["age > 30"]},
            ValueError,
            r"'age > 30' is false in row 5 \(14 of 60 rows are wrong\)",
        ),
        ({"max_changes": -1}, ValueError, r"'max_changes' .* an int in \[0, inf\). Got -1"),
        ({"max_changes": 1.5}, TypeError, r"'max_changes' .* an int in \[0, inf\). Got 1.5"),
        (
            {"change_costs": 2},
            TypeError,
            r"'change_costs' .* a dict from column to a number, .* pairs \(value, other value\) .* Got 2",
        ),
        ({"change_costs": {"town": 2}}, ValueError, f"'change_costs' .* {FEATURES}'town'"),
        (
            {"change_costs": {"city": -1}},
            ValueError,
            r"'change_costs' .* in \[0, inf\). Got \{'city': -1\}",
        ),
        (
            {"change_costs": {"city": {("Oslo", "Bodo"): np.inf}}},
            ValueError,
            r"'change_costs' .* Got \{'city': inf\}",
        ),
        (
            {"change_costs": {"city": "much"}},
            TypeError,
            r"'change_costs' .* in \[0, inf\). Got 'much'",
        ),
        (
            {"change_costs": {"city": {"Oslo": 2}}},
            TypeError,
            r"'change_costs' .* pairs \(value, other value\) to numbers. Got \{'city': \{'Oslo': 2\}\}",
        ),
        (
            {"change_costs": {"city": {("Oslo", "Bergn"): 2}}},
            ValueError,
            r"'change_costs' .* values of column 'city', .* Got 'Bergn'",
        ),
        (
            {"change_costs": {"age": {(18, 19): 2}}},
            TypeError,
            r"'change_costs' .* a number for columns that hold no categories. Got \{'age'",
        ),
        ({"max_changes": True, "change_costs": {}}, TypeError, r"'max_changes' .* a float in \[0, inf\)"),
        (
            {"categorical": {"city": ["Oslo", "Bergn"]}},
            ValueError,
            r"'categorical' .* of column 'city' that reference_X, X or the estimator knows. Got 'Bergn'",
        ),
        (
            {"missing": "never"},
            ValueError,
            r"'missing' .* 'fixed', 'may_appear', 'may_be_filled' or 'any'. Got 'never'",
        ),
        ({"norm": "l3"}, ValueError, r"'norm' .* 'linf', 'l2' or 'l1'. Got 'l3'"),
    ],
)
def test_mistakes_with_columns_are_named_with_the_way_out(model, rules, error, message):
    with pytest.raises(error, match=message):
        adversarial_examples(model, X, y, threat=ThreatModel(**rules), **QUICK)


def test_values_that_nobody_saw_are_tried_where_the_estimator_takes_them():
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), ["age", "income"])
    )
    model = make_pipeline(encode, LogisticRegression()).fit(X, y)
    threat = ThreatModel.from_data(X, categorical={"city": ["Atlantis"]}, fixed=["age", "income", "owner"])
    found = adversarial_examples(model, X, y, eps=0.1, threat=threat, **QUICK)
    assert (found.X["city"][found.n_changes > 0] == "Atlantis").all()
    assert (found.n_changes > 0).any()


def test_values_that_the_data_hold_are_left_out_where_the_estimator_refuses_them(model):
    rows = X.assign(city=np.where(X.index == 0, "Paris", X["city"]))
    for threat in (
        ThreatModel.from_data(rows),
        ThreatModel(scale="std", categorical={"city": ["Oslo", "Paris"]}, reference_X=rows),
        ThreatModel.from_data(rows, categorical={"city": ["Oslo", "Paris"]}),
    ):
        found = adversarial_examples(model, X[1:], y[1:], eps=0.1, threat=threat, **QUICK)
        assert "Paris" not in set(found.X["city"])
    misspelt = ThreatModel.from_data(X, categorical={"city": ["Oslo", "Bergn"]})
    with pytest.raises(ValueError, match=r"column 'city' .* the estimator knows. Got 'Bergn'"):
        adversarial_examples(model, X, y, threat=misspelt, **QUICK)
    # Changes that nobody may make are not asked about.
    fixed = misspelt.set_params(max_changes=0)
    assert adversarial_examples(model, X, y, eps=0.1, threat=fixed, **QUICK).n_changes.max() == 0


def test_misspelt_values_of_closed_categories_are_named(model):
    rows = X.astype({"city": "category"})
    threat = ThreatModel.from_data(rows, categorical={"city": ["Oslo", "Bergn"]})
    with pytest.raises(ValueError, match=r"column 'city' .* the estimator knows. Got 'Bergn'"):
        adversarial_examples(model, rows, y, threat=threat, **QUICK)


def test_numbers_that_are_categories_take_the_values_of_the_reference():
    random = np.random.default_rng(0)
    codes = np.column_stack([np.repeat([1.0, 2.0, 3.0, 4.0], 20), random.normal(size=80)])
    labels = (codes[:, 0] > 3).astype(int)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(codes, labels)
    for threat in (
        ThreatModel(reference_X=codes, categorical=[0], fixed=[1]),
        ThreatModel.from_data(codes, categorical=[0], fixed=[1]),
    ):
        found = adversarial_examples(model, codes[:20], labels[:20], eps=0, threat=threat, **QUICK)
        assert (found.X[:, 0] == 4).all()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"categorical": {7: [0, 1]}}, r"'categorical' .* indices of features in \[0, 3\). Got 7"),
        ({"categorical": {"age": [0, 1]}}, r"'categorical' .* X has no column names. Got 'age'"),
        ({"categorical": {2: ["new"]}}, r"'categorical' .* must be numbers. Got 'new'"),
        (
            {"relations": ["age > 0"]},
            r"'relations' .* functions where X is not a DataFrame of pandas, which alone takes expressions",
        ),
    ],
)
def test_arrays_have_positions_and_no_names(rules, message):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, y)
    with pytest.raises(ValueError, match=message):
        adversarial_examples(model, ROWS, y, threat=ThreatModel(**rules), **QUICK)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eps": [0.1, 0.2]}, TypeError, r"'eps' .* must be a float in \[0, inf\). Got \[0.1, 0.2\]"),
        ({"eps": "pgd"}, ValueError, r"'eps' .* must be a float in \[0, inf\). Got 'pgd'"),
        ({"threat": {"norm": 2}}, TypeError, r"'threat' .* must be a ThreatModel or None. Got \{'norm': 2\}"),
        ({"threat": ThreatModel}, TypeError, r"'threat' .* must be a ThreatModel or None. Got <class"),
    ],
)
def test_what_is_said_beside_the_threat_is_checked_too(model, options, error, message):
    with pytest.raises(error, match=message):
        adversarial_examples(model, X, y, **{**QUICK, **options})


def test_a_name_that_two_columns_have_names_none():
    class Constant:
        classes_ = np.array(["no", "yes"])

        def predict(self, rows):
            return np.full(len(rows), "yes")

    twice = renamed(["age", "age", *X.columns[2:]])
    with pytest.raises(ValueError, match=r"unique in X; rename one, or give positions. Got 'age'"):
        adversarial_examples(Constant(), twice, y, threat=ThreatModel(fixed=["age"]), **QUICK)


def test_standard_deviations_as_pandas_takes_them_are_a_scale(model):
    scale = X.std(numeric_only=True)
    assert "owner" in scale
    found = adversarial_examples(model, X, y, eps=0.2, threat=ThreatModel(scale=scale), **QUICK)
    expected = ThreatModel(scale=scale.drop("owner"))
    np.testing.assert_array_equal(
        found.outcome, adversarial_examples(model, X, y, eps=0.2, threat=expected, **QUICK).outcome
    )


# What a column can hold


def test_a_closed_list_of_categories_gets_no_value_from_outside():
    random = np.random.default_rng(0)
    train = pd.DataFrame({"v": random.normal(size=80), "c": pd.Categorical(random.choice(list("abc"), 80))})
    labels = (3 * (train["c"] == "c") + train["v"] > 1).astype(int)
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(train, labels)
    test = train[train["c"] != "c"]
    test = test.assign(c=test["c"].cat.remove_unused_categories())
    found = adversarial_examples(
        model, test, labels[test.index], threat=ThreatModel.from_data(train), **QUICK
    )
    assert found.X["c"].dtype == test["c"].dtype
    assert not found.X["c"].isna().any()


def test_categories_that_are_numbers_are_categories():
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"v": random.normal(size=80), "c": pd.Categorical(random.choice([1, 2, 30], 80))})
    labels = (3 * (rows["c"] == 30) + rows["v"] > 1).astype(int)
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(rows, labels)
    found = adversarial_examples(model, rows, labels, eps=0.01, threat=ThreatModel.from_data(rows), **QUICK)
    assert found.X["c"].dtype == rows["c"].dtype
    assert (found.X["c"] != rows["c"]).sum() == found.n_changes.sum() > 0


def test_no_value_gets_lost_where_the_type_knows_no_missing_values():
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"v": random.normal(size=80), "k": random.integers(0, 9, 80), "b": random.random(80) < 0.5}
    )
    labels = (rows["v"] + rows["k"] / 3 + rows["b"] > 2).astype(int)
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5).fit(rows, labels)
    threat = ThreatModel.from_data(rows, missing="may_appear")
    found = adversarial_examples(model, rows, labels, eps=0.01, threat=threat, **QUICK)
    assert found.X.dtypes.equals(rows.dtypes)
    assert found.X["v"].isna().any()
    changed = (found.X["b"] != rows["b"]) | found.X["v"].isna()
    assert changed.sum() == found.n_changes.sum()


def test_columns_in_another_order_than_in_training_are_attacked_alike(model):
    options = {"eps": 0.2, "threat": ThreatModel.from_data(X), "attack": "pgd", **QUICK}
    found = adversarial_examples(model, X, y, **options)
    backwards = X[X.columns[::-1]].assign(extra=1.0)
    threat = ThreatModel.from_data(backwards)
    other = adversarial_examples(model, backwards, y, **{**options, "threat": threat})
    assert list(other.X) == list(backwards)
    assert 0 < other.robust_accuracy == found.robust_accuracy < 1
    pd.testing.assert_frame_equal(other.X[X.columns], found.X)
