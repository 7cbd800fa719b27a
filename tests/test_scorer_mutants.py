"""What single errors in the attacks and in AdversarialScorer would change, against closed forms."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_brm import AdversarialScorer
from sklearn_brm.functional.attacks import Ball, apgd, cross_entropy, margin, minimum_norm, pgd, random_search
from sklearn_brm.functional.attacks.black_box import _some
from sklearn_brm.functional.attacks.gradient import _Climb, _halve
from sklearn_brm.functional.attacks.noise import _GOLDEN, _mix

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
    score = AdversarialScorer(attack="fgsm", metric="median_critical_perturbation", random_state=0)
    assert np.isnan(score(model, X, y, sample_weight=wrong.astype(float)))
    assert score(model, X, y, sample_weight=(~wrong).astype(float)) > 0


# The attacks as formulas


def two_classes(n=40, d=5):
    """Return a linear model, rows that it answers rightly, their labels and gradients of their margins."""
    random = np.random.RandomState(0)
    W, x = torch.from_numpy(random.randn(2, d)), torch.from_numpy(random.randn(n, d))
    y = (x @ W.T).argmax(dim=1)
    return (lambda points: points @ W.T), x, y, W[1 - y] - W[y]


def balls(x, eps, norm=np.inf):
    return Ball(x, torch.full((len(x),), eps).double(), norm)


class Spy:
    """A model that keeps what it is asked."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __call__(self, x):
        self.asked.append(x.detach().clone())
        return self.model(x)


def test_rows_leave_apgd_as_soon_as_they_are_broken():
    model, x, y, _ = two_classes()
    spy = Spy(model)
    found = apgd(spy, balls(x, 0.3), y, n_steps=10)
    assert 0 < found.broken.sum() < 40
    assert [len(points) for points in spy.asked] == [40, 40] + [int((~found.broken).sum())] * 9


def test_rows_leave_a_random_search_as_soon_as_they_are_broken():
    model, x, y, _ = two_classes()
    sizes = []

    def ask(points, index):
        sizes.append(len(points))
        lead = margin(model(points), y[index])
        return lead, lead > 0

    found = random_search(ask, balls(x, 0.3), n_queries=200, seed=0)
    assert 0 < found.broken.sum() < 40
    assert sizes[-1] == 4 * (~found.broken).sum()
    sizes.clear()
    assert random_search(ask, balls(x, 100.0), n_queries=200, seed=0).broken.all()
    assert len(sizes) < 50
    assert 0 not in sizes


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_apgd_counts_its_last_point_and_stays_where_a_linear_model_is_worst_off(norm):
    model, x, y, gradient = two_classes()
    gap = -margin(model(x), y)
    ball = Ball(x, gap, norm)
    radius = gap / ball.dual_length(gradient)
    assert apgd(model, ball.with_eps(1.001 * radius), y, loss=margin, n_steps=1).broken.all()
    spy = Spy(model)
    ball = ball.with_eps(0.9 * radius)
    apgd(spy, ball, y, loss=margin, n_steps=8)
    torch.testing.assert_close(spy.asked[1], ball.furthest(gradient))
    for points in spy.asked[2:]:
        torch.testing.assert_close(points, spy.asked[1], rtol=0, atol=1e-12)


def test_apgd_halves_a_step_by_the_two_conditions_of_its_checkpoints():
    n = 8
    few, same_step, no_gain = (torch.tensor([bool(i >> bit & 1) for i in range(n)]) for bit in range(3))
    x, best = torch.zeros(n, 2).double(), torch.ones(n, 2).double()
    one = torch.ones(n).double()
    climb = _Climb(
        index=torch.arange(n),
        x=x,
        previous=x,
        best_x=best,
        best_value=one,
        best_gradient=3 * best,
        gradient=2 * best,
        value=0 * one,
        step=0.5 * one,
        rises=torch.where(few, 7.0, 8.0),
        checked_value=torch.where(no_gain, 1.0, 0.5),
        checked_step=torch.where(same_step, 0.5, 1.0),
    )
    _halve(climb, n_since=10)
    halved = [bool(few[i]) or (bool(same_step[i]) and bool(no_gain[i])) for i in range(n)]
    assert climb.step.tolist() == [0.25 if half else 0.5 for half in halved]
    for field, back, stay in (("x", 1, 0), ("previous", 1, 0), ("gradient", 3, 2)):
        assert getattr(climb, field)[:, 0].tolist() == [back if half else stay for half in halved]
    assert climb.value.tolist() == [1 if half else 0 for half in halved]
    assert (climb.rises.tolist(), climb.checked_value.tolist()) == ([0] * n, [1] * n)
    assert climb.checked_step.tolist() == [0.5] * n


def test_a_tie_is_not_broken():
    x, y = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    assert not pgd(
        lambda points: torch.zeros(len(points), 2) * points, balls(x.double(), 1.0), y
    ).broken.any()


@pytest.mark.parametrize("attack", [pgd, apgd, minimum_norm])
def test_every_gradient_attack_tells_at_which_rows_the_gradient_is_zero(attack):
    def dead(x):
        return torch.stack([torch.ones(len(x)).double(), x.clamp(min=0).sum(dim=1)], dim=1)

    x = torch.tensor([[-1.0, -1.0], [0.5, -1.0], [-0.3, -2.0]]).double()
    found = attack(dead, balls(x, 0.1), torch.zeros(3, dtype=torch.int64))
    assert found.flat.tolist() == [True, False, True]


def test_cross_entropy_rescales_a_lead_of_more_than_eight_to_eight():
    scores = torch.tensor([[100.0, 0.0], [3.0, 20.0], [8.0, 0.0], [-5.0, 4.0]])
    expected = np.log1p(np.exp([-8.0, -8.0, -8.0, 9.0]))
    torch.testing.assert_close(
        cross_entropy(scores, torch.tensor([0, 1, 0, 0])), torch.tensor(expected).float()
    )


def test_the_share_of_coordinates_that_change_is_never_less_than_one_coordinate():
    u, one = torch.full((5, 5), 0.5), (torch.arange(5.0) + 0.5) / 5
    assert _some(u, 0.0, one).tolist() == torch.eye(5).bool().tolist()
    assert _some(u, 0.6, one).all()


def test_random_numbers_are_those_of_splitmix64():
    # The first numbers of the published generator from the state 1234567.
    bits = _mix(np.uint64(1234567) + _GOLDEN * np.arange(1, 6, dtype=np.uint64))
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert bits.tolist() == [*published, 16408922859458223821]


def test_the_furthest_point_of_a_row_does_not_depend_on_gradients_beside_it():
    x = torch.zeros(2, 3)
    found = balls(x, 1.0, 2).furthest(torch.tensor([[3e-30, 0.0, 4e-30], [2e10, 0, 0]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0, 0.8], [1, 0, 0]]), check_dtype=False)
