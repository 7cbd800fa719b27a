"""What AdversarialScorer makes of what the attacks found: which rows stand, and the median of their radii."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_brm import AdversarialScorer

X, y = load_iris(return_X_y=True)


@pytest.mark.filterwarnings("ignore:.*accuracy rises with eps:sklearn_brm.RobustnessWarning")
def test_a_row_that_breaks_below_eps_does_not_stand_at_eps_where_radii_are_known():
    def miss_at_first(estimator, rows, labels):
        calls.append(len(rows))
        return (
            rows
            if len(calls) == 1
            else rows - 10 * np.sign(estimator.decision_function(rows))[:, None] * np.sign(estimator.coef_)
        )

    calls, (rows, labels) = [], (X[50:], y[50:])
    model = LogisticRegression().fit(rows, labels)
    radii = np.abs(model.decision_function(rows)) / np.abs(model.coef_).sum()
    right = np.sort(radii[model.predict(rows) == labels])
    # In the widest gap between radii the answer does not depend on how exactly they are found.
    gap = np.argmax(right[21:80] / right[20:79]) + 20
    eps = np.sqrt(right[gap] * right[gap + 1])
    values = AdversarialScorer(miss_at_first, eps=eps, metric="all", random_state=0)(model, rows, labels)
    assert values["robust_accuracy"] == (right > eps).sum() / 100
    assert 0.2 < values["attack_success_rate"] < 0.9


def test_the_median_radius_is_nan_where_no_row_that_is_right_has_a_weight():
    model = LogisticRegression(C=0.01).fit(X, y)
    wrong = model.predict(X) != y
    assert 0 < wrong.sum() < len(y)
    score = AdversarialScorer("fgsm", metric="median_critical_perturbation", random_state=0)
    assert np.isnan(score(model, X, y, sample_weight=wrong.astype(float)))
    assert score(model, X, y, sample_weight=(~wrong).astype(float)) > 0
