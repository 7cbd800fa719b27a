"""AttackProfileDisplay shows what adversarial_examples changed, counted by a loop."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_brm import AttackProfileDisplay, ThreatModel, adversarial_examples

X, y = load_iris(return_X_y=True, as_frame=True)
X = X.assign(wide=pd.Categorical(np.where(X.iloc[:, 3] > 1.6, "yes", "no")))


class Encoded(LogisticRegression):
    """Takes the category as the number 0 or 1."""

    def _numbers(self, X):
        return X.assign(wide=(X["wide"] == "yes").astype(float)).to_numpy(dtype=float)

    def fit(self, X, y):
        return super().fit(self._numbers(X), y)

    def predict(self, X):
        return super().predict(self._numbers(X))

    def decision_function(self, X):
        return super().decision_function(self._numbers(X) if isinstance(X, pd.DataFrame) else X)


@pytest.fixture(scope="module")
def found():
    model = Encoded(max_iter=1000).fit(X, y)
    threat = ThreatModel.from_data(X, norm=1)
    options = {"attack": "black_box", "max_queries": 200, "random_state": 0}
    return adversarial_examples(model, X, y, eps=0.5, threat=threat, **options)


def test_shares_and_moves_are_those_of_a_loop_over_rows(found):
    display = AttackProfileDisplay.from_examples(found)
    broken = np.flatnonzero(found.outcome == "broken")
    assert display.n_broken == len(broken) > 10
    for name, share, distance in zip(display.names, display.share, display.distance):
        changed = [i for i in broken if found.X[name].iloc[i] != X[name].iloc[i]]
        assert share == pytest.approx(len(changed) / len(broken))
        if name == "wide" or not changed:
            assert np.isnan(distance)
            continue
        moves = [abs(found.X[name].iloc[i] - X[name].iloc[i]) / X[name].std(ddof=0) for i in changed]
        assert distance == pytest.approx(np.median(moves))
    assert (np.diff(display.share) <= 0).all()
    assert [bar.get_width() for bar in display.bars_] == display.share.tolist()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == display.names


def test_only_the_columns_changed_most_are_shown(found):
    everything = AttackProfileDisplay.from_examples(found)
    display = AttackProfileDisplay.from_examples(found, n_columns=2)
    assert display.names == everything.names[:2]


def test_an_estimator_is_attacked_first_and_nothing_broken_is_drawn_as_nothing():
    model = LogisticRegression(max_iter=1000).fit(X.iloc[:, :4], y)
    display = AttackProfileDisplay.from_estimator(
        model, X.iloc[:, :4], y, eps=0, attack="pgd", random_state=0
    )
    assert display.n_broken == 0
    assert (display.share == 0).all()


def test_other_things_are_refused(found):
    with pytest.raises(TypeError, match=r"'found' parameter .* what adversarial_examples returns. Got \[1\]"):
        AttackProfileDisplay.from_examples([1])
    with pytest.raises(ValueError, match=r"'n_columns' parameter .* an int in \[1, inf\). Got 0"):
        AttackProfileDisplay.from_examples(found, n_columns=0)
