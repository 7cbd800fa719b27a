"""ThreatModel: every rule is obeyed exactly by every row that comes back."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from sklearn_brm import ThreatModel, adversarial_examples, critical_perturbations

ATTACKS = ["worst_case", "pgd", "apgd_margin", "minimum_norm", "black_box", "random"]


def table(n=120, seed=0):
    """Rows with 3 real features, 2 integers and a category of 3, and labels that depend on all of them."""
    random = np.random.RandomState(seed)
    X = np.hstack(
        [random.randn(n, 3), random.randint(0, 9, size=(n, 2)), np.eye(3)[random.randint(3, size=n)]]
    )
    return X, (X @ [1, -1, 2, 0.5, -0.5, 1, 0, -1] + random.randn(n) > 0).astype(int)


X, y = table()
NAMES = ["a", "b", "c", "n", "m", "red", "green", "blue"]


@pytest.fixture(scope="module")
def model():
    return LogisticRegression().fit(X, y)


def attacked(model, threat, X=X, **kwargs):
    options = {"eps": 2.5, "random_state": 0, "n_steps": 20, "max_queries": 80, **kwargs}
    found = adversarial_examples(model, X, y, threat=threat, **options)
    assert (found.outcome == "broken").any()
    return np.asarray(found.X, dtype=float), found


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_all_rules_together_are_obeyed_exactly_by_every_attack(model, attack, norm):
    constraints = ThreatModel(
        norm,
        mutable=[0, 1, 3, 4, 5, 6, 7],
        bounds={0: (-2.5, 2.5), 3: (0, 8)},
        integer=[3, 4],
        one_hot=[[5, 6, 7]],
        increasing=[1],
    )
    clean = X.copy()
    clean[:, 0] = clean[:, 0].clip(-2.5, 2.5)
    rows, _ = attacked(model, constraints, clean, attack=attack)
    np.testing.assert_array_equal(rows[:, 2], clean[:, 2])
    assert (rows[:, 1] >= clean[:, 1]).all()
    assert (np.abs(rows[:, 0]) <= 2.5).all()
    assert ((rows[:, 3] >= 0) & (rows[:, 3] <= 8)).all()
    np.testing.assert_array_equal(rows[:, 3:5], np.round(rows[:, 3:5]))
    assert set(np.unique(rows[:, 5:])) == {0.0, 1.0}
    np.testing.assert_array_equal(rows[:, 5:].sum(axis=1), 1)
    assert (np.linalg.norm(rows - clean, ord=norm, axis=1) <= 2.5 * (1 + 1e-6)).all()


@pytest.mark.parametrize("mutable", [[0, 1], np.arange(8) < 2, ["a", "b"], pd.Index(["b", "a"])])
def test_features_are_named_by_index_mask_or_column_name(mutable, model):
    frame = pd.DataFrame(X, columns=NAMES)
    named = LogisticRegression().fit(frame, y)
    rows, found = attacked(named, ThreatModel(mutable=mutable), frame)
    assert isinstance(found.X, pd.DataFrame)
    np.testing.assert_array_equal(rows[:, 2:], X[:, 2:])
    assert (rows[:, :2] != X[:, :2]).any()


def test_categories_and_integers_are_really_changed(model):
    rows, _ = attacked(model, ThreatModel(mutable=[3, 4, 5, 6, 7], integer=[3, 4], one_hot=[[5, 6, 7]]))
    assert (rows[:, 3:5] != X[:, 3:5]).any()
    assert (rows[:, 5:] != X[:, 5:]).any()


def test_gradients_find_as_much_as_trying_every_combination(model):
    constraints = ThreatModel(mutable=[3, 4], integer=[3, 4])
    _, found = attacked(model, constraints, eps=2.0, attack="worst_case")
    right = model.predict(X) == y
    breakable = np.zeros(len(X), dtype=bool)
    for i in range(-2, 3):
        for j in range(-2, 3):
            moved = X.copy()
            moved[:, 3:5] += [i, j]
            breakable |= model.predict(moved) != y
    np.testing.assert_array_equal(found.outcome == "broken", breakable & right)


def test_trees_obey_too():
    forest = RandomForestClassifier(20, random_state=0).fit(X, y)
    constraints = ThreatModel(mutable=[0, 1, 2, 3], integer=[3], increasing=[0])
    rows, _ = attacked(forest, constraints)
    np.testing.assert_array_equal(rows[:, 4:], X[:, 4:])
    np.testing.assert_array_equal(rows[:, 3], np.round(rows[:, 3]))
    assert (rows[:, 0] >= X[:, 0]).all()


def test_critical_perturbations_obey(model):
    constraints = ThreatModel(integer=[3, 4], mutable=[0, 3, 4])
    found = critical_perturbations(model, X, y, threat=constraints, random_state=0, max_queries=40)
    np.testing.assert_array_equal(found.X[:, [1, 2, 5, 6, 7]], X[:, [1, 2, 5, 6, 7]])
    np.testing.assert_array_equal(found.X[:, 3:5], np.round(found.X[:, 3:5]))
    assert (model.predict(found.X) != y)[found.outcome == "broken"].all()


def test_a_custom_projection_has_the_last_word_and_is_checked_again(model):
    def sum_stays(rows, clean):
        rows[:, 1] = clean[:, :2].sum(axis=1) - rows[:, 0]
        return rows

    rows, _ = attacked(model, ThreatModel(mutable=[0, 1], project=sum_stays))
    np.testing.assert_allclose(rows[:, :2].sum(axis=1), X[:, :2].sum(axis=1), atol=1e-12)

    def cheat(rows, clean):
        return rows + 100

    found = adversarial_examples(
        model, X, y, threat=ThreatModel(project=cheat), eps=1.0, random_state=0, max_queries=20
    )
    assert not (found.outcome == "broken").any()
    np.testing.assert_array_equal(found.X, X)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"mutable": [8]},
            ValueError,
            r"'mutable' parameter of ThreatModel must be indices of features in \[0, 8\)",
        ),
        ({"mutable": ["a"]}, ValueError, r"'mutable' .* features of X; X has no column names. Got 'a'"),
        (
            {"mutable": [True]},
            ValueError,
            r"'mutable' .* a mask over the 8 features. Got 'a mask of shape \(1,\)'",
        ),
        (
            {"bounds": (0, 1)},
            ValueError,
            r"'bounds' parameter .* .* every clean row: the values lie between them. Got .* in row 0",
        ),
        ({"bounds": (1, 0)}, ValueError, r"'bounds' parameter .* low <= high"),
        ({"bounds": {9: (0, 1)}}, ValueError, r"'bounds' parameter .* indices of features"),
        (
            {"integer": [0]},
            ValueError,
            r"'integer' .* the features are whole numbers. Got .* \(120 of 120 rows",
        ),
        ({"one_hot": [[0, 1]]}, ValueError, r"'one_hot' .* exactly one feature of each group is 1"),
        ({"project": 3}, TypeError, r"'project' .* a callable or None. Got 3"),
    ],
)
def test_rules_that_cannot_hold_are_refused_with_the_feature_and_the_row(model, parameters, error, message):
    with pytest.raises(error, match=message):
        adversarial_examples(model, X, y, threat=ThreatModel(**parameters))
