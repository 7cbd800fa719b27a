"""Attacks that a user writes, with nothing but what is public."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_brm import AdversarialScorer, ThreatModel, adversarial_examples
from sklearn_brm.attacks import Attack, Found, margin


@pytest.fixture(scope="module")
def rows():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X[:300], y[:300], X[300:400], y[300:400]


def to_the_corner(context, ball, y, trial):
    """Follow the gradient at the clean row as far as the ball goes."""
    x = ball.centre.clone().requires_grad_()
    (slope,) = torch.autograd.grad(margin(context.model(x), y).sum(), x)
    return Found.points(ball, ball.furthest(slope))


def along(sign):
    """Attack that moves the first column alone, one way."""

    def run(context, ball, y, trial):
        moved = ball.centre.clone()
        moved[:, 0] += sign * ball.eps
        return Found.points(ball, moved)

    return run


@pytest.mark.parametrize("norm", [np.inf, 2.0, 1.0])
def test_an_attack_of_a_user_along_the_gradient_is_exact_on_a_linear_model(rows, norm):
    model, threat = LogisticRegression().fit(*rows[:2]), ThreatModel(norm=norm)
    eps = {np.inf: 0.2, 2: 0.6, 1: 1.5}[norm]
    options = {"eps": eps, "threat": threat, "random_state": 0}
    found = adversarial_examples(model, *rows[2:], attack=Attack("corner", to_the_corner), **options)
    worst = adversarial_examples(model, *rows[2:], **options)
    np.testing.assert_array_equal(found.outcome, worst.outcome)
    assert set(found.attack) == {"", "corner"}


def test_two_attacks_of_one_label_that_each_break_other_rows_both_count(rows):
    model = SVC(gamma=0.5).fit(rows[0][:, :1], rows[1])
    X, y = rows[2][:, :1], rows[3]
    up, down = Attack("step", along(1)), Attack("step", along(-1))
    options = {"eps": 0.6, "random_state": 0}
    broken = [
        adversarial_examples(model, X, y, attack=attack, **options).outcome == "broken"
        for attack in (up, down)
    ]
    both = adversarial_examples(model, X, y, attack=[up, down], **options)
    assert (broken[0] & ~broken[1]).any()
    assert (broken[1] & ~broken[0]).any()
    np.testing.assert_array_equal(both.outcome == "broken", broken[0] | broken[1])
    assert set(both.attack) == {"", "step", "step (2)"}


def test_an_attack_that_only_asks_gets_answers_and_is_counted(rows):
    asked = []

    def try_the_opposite(context, ball, y, trial):
        assert context.model is None
        found, index = Found.nothing(ball), torch.arange(len(ball))
        x = ball.project(-ball.centre)
        lead, hits = context.ask(ball)(x, index)
        asked.append(len(lead))
        found.record(index, x, hits)
        return found

    model = RandomForestClassifier(20, random_state=0).fit(*rows[:2])
    attack = Attack("opposite", try_the_opposite, kind="black_box")
    found = adversarial_examples(model, *rows[2:], eps=1.0, attack=attack, random_state=0)
    assert sum(asked) == (found.outcome != "wrong_when_clean").sum() == found.n_queries.sum()
    assert (found.attack == "opposite").any()
    assert (np.abs(found.X - rows[2]) <= 1.0 + 1e-12).all()


def test_points_outside_the_ball_or_that_break_nothing_do_not_count(rows):
    def lie(context, ball, y, trial):
        return Found.points(ball, ball.centre + 100)

    model = LogisticRegression().fit(*rows[:2])
    found = adversarial_examples(model, *rows[2:], eps=0.1, attack=Attack("lie", lie), random_state=0)
    assert (np.abs(found.X - rows[2]) <= 0.1 + 1e-12).all()
    wrong = model.predict(found.X) != rows[3]
    np.testing.assert_array_equal(found.outcome == "standing", ~wrong)


def test_a_scorer_takes_attacks_beside_names(rows):
    model = LogisticRegression().fit(*rows[:2])
    alone = AdversarialScorer(0.2, attack="random", random_state=0)(model, *rows[2:])
    both = AdversarialScorer(0.2, attack=["random", Attack("corner", to_the_corner)], random_state=0)
    assert both(model, *rows[2:]) < alone
