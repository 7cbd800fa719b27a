"""The attacks as formulas: balls, losses, gradient steps, minimum norms and searches on tensors."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog

from sklearn_brm.functional.attacks import (
    Ball,
    aim,
    apgd,
    best_wrong_classes,
    cross_entropy,
    linear_radius,
    margin,
    minimum_norm,
    noise,
    pgd,
    plain_cross_entropy,
    probe,
    random_search,
    ray_search,
    shrink_l1,
    shrink_l2,
    targeted_margin,
)

NORMS = [math.inf, 2, 1]


def random_rows(n=6, d=5, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randn(n, d))


def ball_around(centre, eps, norm, **kwargs):
    return Ball(centre, torch.full((len(centre),), float(eps), dtype=centre.dtype), norm, **kwargs)


def linear_model(n_features=5, n_classes=3, seed=1):
    random = np.random.RandomState(seed)
    W = torch.from_numpy(random.randn(n_classes, n_features))
    b = torch.from_numpy(random.randn(n_classes))
    return (lambda x: x @ W.T + b), W, b


def exact_radius(W, b, x, y, norm):
    """Distance to the nearest boundary of a linear model: lead over dual norm, smallest over classes."""
    dual = {math.inf: 1, 2: 2, 1: math.inf}[norm]
    scores = W @ x + b
    return min(
        float((scores[y] - scores[j]) / torch.linalg.vector_norm(W[y] - W[j], ord=dual))
        for j in range(len(W))
        if j != y
    )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scaled", [False, True])
def test_projection_lands_in_ball_and_box_and_leaves_inner_points_alone(norm, scaled):
    centre = random_rows() / 4
    scale = torch.linspace(0.5, 2, 5, dtype=torch.float64) if scaled else None
    lower, upper = (torch.full((1, 5), end, dtype=torch.float64) for end in (-0.9, 0.9))
    ball = ball_around(centre, 0.3, norm, scale=scale, lower=lower, upper=upper)
    x = ball.project(centre + 3 * random_rows(seed=1))
    assert (ball.distance(x) <= 0.3 * (1 + 1e-12)).all()
    assert ((x >= lower) & (x <= upper)).all()
    inner = centre + 1e-3 * random_rows(seed=2)
    torch.testing.assert_close(ball.project(inner), inner)


@pytest.mark.parametrize(("shrink", "norm"), [(shrink_l2, 2), (shrink_l1, 1)])
def test_projection_is_the_nearest_point_of_the_ball(shrink, norm):
    delta = random_rows(20, 3)
    projected = shrink(delta, torch.full((20,), 0.7, dtype=torch.float64))
    others = random_rows(4000, 3, seed=3)
    others = 0.7 * others / torch.linalg.vector_norm(others, ord=norm, dim=1, keepdim=True)
    far = torch.linalg.vector_norm(delta, ord=norm, dim=1) > 0.7
    nearest = torch.cdist(delta, others).amin(dim=1)
    assert far.any()
    assert (torch.linalg.vector_norm(delta - projected, dim=1) <= nearest)[far].all()
    torch.testing.assert_close(projected[~far], delta[~far])


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_step_gains_the_dual_norm_of_the_gradient(norm):
    gradient, scale = random_rows(4, 12, seed=4), torch.linspace(0.5, 2, 12, dtype=torch.float64)
    ball = ball_around(torch.zeros(4, 12, dtype=torch.float64), 1.0, norm, scale=scale)
    step = ball.steepest(ball.centre, gradient)
    torch.testing.assert_close(ball.distance(step), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close((step * gradient).sum(dim=1), ball.dual_length(gradient))


def test_steepest_step_survives_gradients_whose_squares_underflow():
    ball = ball_around(torch.zeros(1, 3), 1.0, 2)
    step = ball.steepest(ball.centre, torch.tensor([[3e-30, 0.0, 4e-30]]))
    torch.testing.assert_close(step, torch.tensor([[0.6, 0.0, 0.8]]))


@pytest.mark.parametrize("norm", NORMS)
def test_the_extent_is_as_far_as_one_feature_alone_can_go(norm):
    x, scale = random_rows(), torch.rand(5, dtype=torch.float64) + 0.5
    ball = ball_around(x, 0.3, norm, scale=scale, lower=x - 0.2, upper=x + 1)
    for sign, edge in zip((-1, 1), ball.extent()):
        for j in range(5):
            far = x.clone()
            far[:, j] += sign * 100
            torch.testing.assert_close(ball.project(far)[:, j], edge[:, j])


def test_steepest_step_wastes_nothing_on_features_at_the_edge_of_the_box():
    one = torch.ones(1, 2, dtype=torch.float64)
    ball = ball_around(one, 1.0, 2, lower=0 * one, upper=one)
    torch.testing.assert_close(ball.steepest(one, torch.tensor([[5.0, -1.0]]).double())[0, 1].item(), -1.0)


def most_gained(slope, low, high, eps, norm):
    """Largest slope @ delta for ||delta||_norm <= eps and low <= delta <= high, by a solver of its own."""
    if norm == 2:

        def length_beyond(stretch):
            return np.linalg.norm(np.clip(stretch * slope, low, high)) - eps

        stretch = 1e9 if length_beyond(1e9) <= 0 else brentq(length_beyond, 0, 1e9, xtol=1e-15)
        return slope @ np.clip(stretch * slope, low, high)
    ends = np.minimum(high, eps), np.minimum(-low, eps)
    budget = {} if norm == math.inf else {"A_ub": np.ones((1, 2 * len(slope))), "b_ub": [eps]}
    both = linprog(
        np.concatenate([-slope, slope]), bounds=[(0, end) for end in np.concatenate(ends)], **budget
    )
    return -both.fun


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_furthest_point_gains_what_a_solver_says_is_possible(norm, scaled, boxed):
    centre = random_rows(20, 6).clamp(-1, 1)
    gradient = random_rows(20, 6, seed=1)
    gradient[:, 2] = 0
    scale = torch.linspace(0.5, 2, 6, dtype=torch.float64) if scaled else None
    box = {"lower": -torch.ones(1, 6).double(), "upper": torch.ones(1, 6).double()} if boxed else {}
    ball = ball_around(centre, 0.7, norm, scale=scale, **box)
    x = ball.furthest(gradient)
    assert (ball.distance(x) <= 0.7 * (1 + 1e-12)).all()
    torch.testing.assert_close(ball.clip(x), x, rtol=0, atol=0)
    unit = np.ones(6) if scale is None else scale.numpy()
    for i in range(20):
        reach = (1 - centre[i].numpy()) / unit, (-1 - centre[i].numpy()) / unit
        high, low = reach if boxed else (np.full(6, np.inf), np.full(6, -np.inf))
        best = most_gained(gradient[i].numpy() * unit, low, high, 0.7, norm)
        assert (gradient[i] @ (x - centre)[i]).item() == pytest.approx(best, rel=1e-7)


def test_projection_onto_a_euclidean_ball_in_a_box_is_the_nearest_point_of_both():
    centre = random_rows(30, 4).clamp(-1, 1)
    one = torch.ones(1, 4).double()
    ball = ball_around(centre, 0.7, 2, lower=-one, upper=one)
    x = centre + 2 * random_rows(30, 4, seed=1)
    nearest = ball.project(x)
    assert (ball.distance(nearest) <= 0.7 * (1 + 1e-12)).all()
    # No feasible direction leads from a projection towards the point that was projected.
    for seed in range(200):
        other = ball.project(centre + random_rows(30, 4, seed=2 + seed))
        assert (((x - nearest) * (other - nearest)).sum(dim=1) <= 1e-9).all()


@pytest.mark.parametrize("norm", NORMS)
def test_features_at_the_edge_of_the_box_start_inside_it(norm):
    u = (
        noise.uniform(0, torch.arange(50), 0, 6)
        if norm == math.inf
        else noise.normal(0, torch.arange(50), 0, 6)
    )
    edge, one = torch.zeros(50, 6).double(), torch.ones(1, 6).double()
    ball = ball_around(edge, 0.5, norm, lower=0 * one, upper=one)
    assert (ball.spread(u, inward=True) > 0).all()
    assert (ball.spread(u) == 0).any()


@pytest.mark.parametrize("norm", NORMS)
def test_aiming_at_every_wrong_class_breaks_a_linear_model_exactly_beyond_its_radius(norm):
    model, W, b = linear_model(n_features=9, n_classes=7)
    x = random_rows(40, 9)
    y = model(x).argmax(dim=1)
    radius = torch.tensor([exact_radius(W, b, x[i], y[i], norm) for i in range(40)], dtype=torch.float64)
    for share, broken in [(1 - 1e-9, False), (1 + 1e-9, True)]:
        found, targets = aim(model, Ball(x, share * radius, norm), y, n_classes=6)
        assert (found.broken == broken).all()
    assert (model(found.x).argmax(dim=1) == targets[:, 0]).all()
    assert [sorted([label, *row]) for label, row in zip(y.tolist(), targets.tolist())] == [
        list(range(7))
    ] * 40


def test_margin_and_targets_agree_with_a_loop_over_classes():
    scores, y = random_rows(7, 4), torch.arange(7) % 4
    targets = best_wrong_classes(scores, y, 2)
    for i in range(7):
        wrong = sorted((scores[i, j].item(), j) for j in range(4) if j != y[i])
        assert margin(scores, y)[i].item() == pytest.approx(wrong[-1][0] - scores[i, y[i]].item())
        assert targets[i].tolist() == [wrong[-1][1], wrong[-2][1]]
    goal = torch.stack([y, targets[:, 0]], dim=1)
    torch.testing.assert_close(targeted_margin(scores, goal), margin(scores, y))


def test_rescaled_cross_entropy_equals_the_plain_one_until_it_saturates():
    y = torch.tensor([0, 0])
    mild = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 5.0]])
    torch.testing.assert_close(cross_entropy(mild, y), plain_cross_entropy(mild, y))


@pytest.mark.parametrize(
    ("loss", "alive"), [(plain_cross_entropy, False), (cross_entropy, True), (margin, True)]
)
def test_saturated_scores_in_float32_leave_a_gradient_only_where_they_are_rescaled(loss, alive):
    x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    scores = 500 * x @ torch.eye(2)
    (gradient,) = torch.autograd.grad(loss(scores, torch.tensor([0])).sum(), x)
    assert bool((gradient != 0).any()) is alive


def test_random_numbers_of_a_row_do_not_depend_on_its_batch():
    rows = torch.arange(50)
    together = noise.uniform(7, rows, 3, 11)
    alone = torch.cat([noise.uniform(7, rows[i : i + 1], 3, 11) for i in range(50)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    assert (noise.uniform(8, rows, 3, 11) != together).all()
    assert (noise.uniform(7, rows, 4, 11) != together).all()


def test_random_numbers_are_uniform_and_normal_and_uncorrelated():
    u = noise.uniform(0, torch.arange(400), 0, 300).numpy()
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert ((counts - u.size / 20) ** 2 / (u.size / 20)).sum() < 45.3  # 0.999 quantile of chi2, 19 degrees
    correlations = np.corrcoef(u)[np.triu_indices(400, 1)]
    assert np.abs(correlations).max() < 5.5 / math.sqrt(300)
    z = noise.normal(0, torch.arange(400), 0, 301).numpy()
    assert abs(z.mean()) < 0.012
    assert abs(z.std() - 1) < 0.009
    assert abs((z**4).mean() - 3) < 0.12


@pytest.mark.parametrize("norm", NORMS)
def test_one_step_of_fgsm_on_a_linear_model_is_the_closed_form(norm):
    model, W, _ = linear_model(n_classes=2)
    x = random_rows()
    y = model(x).argmax(dim=1)
    ball = ball_around(x, 1e-3, norm)
    direction = torch.stack([W[1 - label] - W[label] for label in y])
    step = 1e-3 * ball.steepest(x, direction)
    seen = []

    def spy(points):
        seen.append(points.detach().clone())
        return model(points)

    pgd(spy, ball, y, n_steps=1, step=1.0)
    torch.testing.assert_close(seen[-1], x + step)


@pytest.mark.parametrize(
    ("attack", "norm"), [(pgd, math.inf), (pgd, 2), (apgd, math.inf), (apgd, 2), (apgd, 1)]
)
@pytest.mark.parametrize("loss", [cross_entropy, margin])
def test_gradient_attacks_break_a_linear_model_exactly_beyond_its_radius(attack, loss, norm):
    model, W, b = linear_model(n_classes=2)
    x = random_rows(12)
    y = model(x).argmax(dim=1)
    radius = torch.tensor([exact_radius(W, b, x[i], y[i], norm) for i in range(12)], dtype=torch.float64)
    for share, broken in [(0.999, False), (1.001, True)]:
        found = attack(model, Ball(x, share * radius, norm), y, loss=loss, n_steps=30)
        assert (found.broken == broken).all()
    assert (model(found.x).argmax(dim=1) != y).all()


@pytest.mark.parametrize("norm", NORMS)
def test_minimum_norm_finds_the_radius_of_a_linear_model_within_a_percent(norm):
    model, W, b = linear_model()
    x = random_rows(20)
    y = model(x).argmax(dim=1)
    ball = ball_around(x, 100.0, norm)
    found = minimum_norm(model, ball, y, n_steps=100)
    radius = torch.tensor([exact_radius(W, b, x[i], y[i], norm) for i in range(20)], dtype=torch.float64)
    assert found.broken.all()
    assert (ball.distance(found.x) / radius).median() < 1.01
    assert (ball.distance(found.x) > radius).all()


def test_linear_radius_is_exact_for_two_classes():
    model, W, b = linear_model(n_classes=2)
    x = random_rows()
    y = model(x).argmax(dim=1)
    exact = torch.tensor([exact_radius(W, b, x[i], y[i], 2) for i in range(6)], dtype=torch.float64)
    torch.testing.assert_close(linear_radius(model, ball_around(x, 1.0, 2), y), exact, rtol=1e-9, atol=1e-9)


def curved_model(x):
    """Scores of three classes whose boundaries are not straight."""
    return torch.stack([x.sin().sum(dim=1), (x**2).mean(dim=1), 0.7 * x.cos().sum(dim=1)], dim=1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [False, True])
def test_pgd_never_ends_with_a_lower_loss_than_it_started_with(norm, momentum, decay):
    x = random_rows(30, 4)
    y = curved_model(x).argmax(dim=1)
    ball = ball_around(x, 0.02, norm)
    last = {}

    def spy(points):
        if len(points) == len(x):  # Fewer are asked about to find out how much they may be rounded.
            last["x"] = points.detach()
        return curved_model(points)

    pgd(spy, ball, y, n_steps=10, momentum=momentum, decay=decay, stop_early=False)
    assert (ball.distance(last["x"]) <= 0.02 + 1e-12).all()
    assert (margin(curved_model(last["x"]), y) > margin(curved_model(x), y)).all()


def test_apgd_beats_plain_pgd_where_a_constant_step_jumps_over_the_target():
    # Wrong only on a thin shell that steps of 2.5 eps / n leap over.
    def model(x):
        distance = ((x - 0.613) ** 2).sum(dim=1)
        return torch.stack([torch.full_like(distance, 0.0), 1e-4 - distance], dim=1)

    x, y = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([0])
    ball = ball_around(x, 1.0, math.inf)
    assert not pgd(model, ball, y, loss=margin, n_steps=20).broken.any()
    assert apgd(model, ball, y, loss=margin, n_steps=60).broken.all()


def test_broken_rows_leave_the_batch():
    model, _, _ = linear_model(n_classes=2)
    x = random_rows(40)
    y = model(x).argmax(dim=1)
    sizes = []

    def spy(points):
        sizes.append(len(points))
        return model(points)

    found = pgd(spy, ball_around(x, 0.3, math.inf), y, n_steps=10)
    assert found.broken.any()
    assert not found.broken.all()
    assert sizes[0] == 40
    assert sizes[-1] == (~found.broken).sum()


def test_zero_gradients_are_counted():
    def dead(x):
        return torch.stack([torch.ones(len(x)), x.clamp(min=0).sum(dim=1)], dim=1)

    x = torch.tensor([[-1.0, -1.0], [0.5, -1.0]])
    found = pgd(dead, ball_around(x, 0.1, math.inf), torch.tensor([0, 0]))
    assert found.flat.tolist() == [True, False]


@pytest.mark.parametrize("attack", [pgd, apgd, minimum_norm])
def test_attacks_do_not_write_to_the_clean_rows_nor_to_global_generators(attack, global_state_unchanged):
    model, _, _ = linear_model()
    x = random_rows()
    before = x.clone()
    attack(model, ball_around(x, 0.5, 2), model(x).argmax(dim=1))
    assert torch.equal(x, before)


def test_probe_reports_the_gradient_that_finite_differences_see():
    x = random_rows(3, 4)
    y = curved_model(x).argmax(dim=1)
    now = probe(curved_model, ball_around(x, 1.0, 2), x, y, margin, y)
    for i, j in itertools.product(range(3), range(4)):
        step = torch.zeros_like(x)
        step[i, j] = 1e-6
        slope = (margin(curved_model(x + step), y) - margin(curved_model(x - step), y))[i] / 2e-6
        assert now.gradient[i, j].item() == pytest.approx(slope.item(), abs=1e-6)


def asker(model, y, *, labels_only=False):
    def ask(x, index):
        asked.append(len(x))
        lead = margin(model(x), y[index])
        return (lead.sign() if labels_only else lead), lead > 0

    asked = []
    ask.asked = asked
    return ask


@pytest.mark.parametrize("norm", NORMS)
def test_random_search_breaks_a_linear_model_a_little_beyond_its_radius(norm):
    model, W, b = linear_model(n_classes=2)
    x = random_rows(30)
    y = model(x).argmax(dim=1)
    radius = torch.tensor([exact_radius(W, b, x[i], y[i], norm) for i in range(30)], dtype=torch.float64)
    for share, least, most in [(0.999, 0, 0), (1.3, 27, 30)]:
        ball = Ball(x, share * radius, norm)
        found = random_search(asker(model, y), ball, n_queries=800, seed=0)
        assert least <= found.broken.sum() <= most
        assert (ball.distance(found.x) <= ball.eps * (1 + 1e-9)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_ray_search_comes_close_to_the_radius_by_answers_alone(norm):
    model, W, b = linear_model(n_classes=2)
    x = random_rows(30)
    y = model(x).argmax(dim=1)
    radius = torch.tensor([exact_radius(W, b, x[i], y[i], norm) for i in range(30)], dtype=torch.float64)
    starts = torch.stack([x[y != label][0] for label in y])[None]
    ball = ball_around(x, 1e3, norm)
    ask = asker(model, y, labels_only=True)
    found = ray_search(ask, ball, starts, n_queries=800, seed=0, goal=torch.zeros(30).double())
    assert found.broken.all()
    assert (ball.distance(found.x) > radius).all()
    assert (ball.distance(found.x) / radius).median() < 1.25
    assert sum(ask.asked) <= 800 * 30


@pytest.mark.parametrize("search", ["random", "ray"])
def test_searches_do_not_depend_on_the_rows_attacked_beside(search):
    x = random_rows(8, 4)
    y = curved_model(x).argmax(dim=1)
    ball = ball_around(x, 0.5, math.inf)

    def run(ball, y):
        ask = asker(curved_model, y)
        if search == "random":
            return random_search(ask, ball, n_queries=40, seed=3).x
        starts = torch.stack([ball.centre + 2, ball.centre - 2])
        return ray_search(ask, ball, starts, n_queries=40, seed=3).x

    some = torch.tensor([1, 4, 6])
    torch.testing.assert_close(run(ball, y)[some], run(ball.select(some), y[some]), rtol=0, atol=1e-12)
