"""Every penalty against its definition: full Jacobians, eigendecompositions, finite differences."""

from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from sklearn_brm._classifier.penalties import _jacobian
from sklearn_brm.functional import penalties
from sklearn_brm.functional.attacks import Ball
from sklearn_brm.functional.backpropagation import backpropagate
from sklearn_brm.functional.bounds import LinearBounds
from sklearn_brm.functional.layers import Affine, Rectifier
from sklearn_brm.functional.rectifier import rectifier_slope, rectify
from sklearn_brm.functional.schedules import SCHEDULES, ExponentialSchedule, StepSchedule
from sklearn_brm.functional.worst_case import box_around, relaxed_scores, worst_scores

SIZES = [(1, 3, 1, 2), (5, 4, 7, 3), (8, 10, 6, 10)]
POWERS = [1.0, 1.3, 2.0, 3.0, 4.5]


def random_network(n, d, h, c, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n * 1000 + d * 100 + h * 10 + c)
    X, W, V = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in [(n, d), (h, d), (c, h)])
    return X, W, V


def squared_norms_of_full_jacobians(function, X):
    return torch.stack([jacobian(function, x).square().sum() for x in X])


@pytest.mark.parametrize("power", POWERS)
def test_the_slope_of_the_rectifier_is_its_derivative(power):
    u = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(rectify(u, power).sum(), u)
    torch.testing.assert_close(rectifier_slope(u, power), expected)


@pytest.mark.parametrize("power", POWERS)
def test_the_slope_has_a_finite_gradient_where_the_unit_is_silent(power):
    u = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    slope = rectifier_slope(u, power)
    if slope.requires_grad:
        slope.square().sum().backward()
        assert torch.isfinite(u.grad).all()
        assert (u.grad[:2] == 0).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("sizes", SIZES)
def test_closed_form_jacobians_equal_autograd(sizes, power, dtype, tolerance):
    X, W, V = random_network(*sizes, dtype=dtype)
    slope = rectifier_slope(X @ W.T, power)
    hidden = squared_norms_of_full_jacobians(lambda x: rectify(W @ x, power), X).mean()
    logits = squared_norms_of_full_jacobians(lambda x: V @ rectify(W @ x, power), X).mean()
    preactivation = squared_norms_of_full_jacobians(lambda x: W @ x, X).mean()
    torch.testing.assert_close(penalties.jacobian_hidden(W, slope), hidden, rtol=tolerance, atol=0)
    torch.testing.assert_close(penalties.jacobian_logits(W, slope, V), logits, rtol=tolerance, atol=0)
    torch.testing.assert_close(penalties.l2([W]), preactivation, rtol=tolerance, atol=0)


@pytest.mark.parametrize("sizes", SIZES)
def test_row_weights_weigh_the_jacobians(sizes):
    X, W, V = random_network(*sizes)
    weight = torch.arange(1.0, len(X) + 1, dtype=torch.float64)
    slope = rectifier_slope(X @ W.T, 2.0)
    per_row = torch.stack([penalties.jacobian_logits(W, s[None], V) for s in slope])
    torch.testing.assert_close(
        penalties.jacobian_logits(W, slope, V, weight), (per_row * weight).mean(), rtol=1e-12, atol=0
    )
    per_row = torch.stack([penalties.jacobian_hidden(W, s[None]) for s in slope])
    torch.testing.assert_close(
        penalties.jacobian_hidden(W, slope, weight), (per_row * weight).mean(), rtol=1e-12, atol=0
    )


def central_differences(function, parameter, step=1e-6):
    gradient = torch.empty_like(parameter)
    flat, values = gradient.view(-1), parameter.data.view(-1)
    for i in range(len(values)):
        kept = values[i].item()
        values[i] = kept + step
        above = function().item()
        values[i] = kept - step
        below = function().item()
        values[i] = kept
        flat[i] = (above - below) / (2 * step)
    return gradient


def penalty_of_network(name, power):
    """Return a function of (X, W, V) whose gradient training uses."""
    eigenvectors = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]

    def compute(X, W, V):
        u = X @ W.T
        if name == "hidden":
            return penalties.jacobian_hidden(W, rectifier_slope(u, power))
        if name == "logits":
            return penalties.jacobian_logits(W, rectifier_slope(u, power), V)
        if name == "spectral":
            return penalties.spectral(rectify(u, power), eigenvectors, 1.0, 2)
        if name == "projected":
            generator = torch.Generator().manual_seed(0)
            X = X.clone().requires_grad_()
            return penalties.jacobian_projected(rectify(X @ W.T, power) @ V.T, X, 2, generator)
        X = X.clone().requires_grad_()
        losses = torch.nn.functional.cross_entropy(
            rectify(X @ W.T, power) @ V.T, torch.zeros(len(X), dtype=torch.int64), reduction="none"
        )
        return penalties.input_gradient(losses, X)

    return compute


@pytest.mark.parametrize("power", [1.0, 2.0, 4.5])
@pytest.mark.parametrize("name", ["hidden", "logits", "spectral", "projected", "input_gradient"])
def test_gradients_agree_with_finite_differences(name, power):
    X, W, V = random_network(5, 4, 6, 3)
    X, W, V = X / 2, W.div(2).requires_grad_(), V.div(2).requires_grad_()
    state = torch.get_rng_state()
    torch.manual_seed(0)
    compute = penalty_of_network(name, power)
    torch.set_rng_state(state)
    compute(X, W, V).backward()
    for parameter in (W, V):
        expected = central_differences(lambda: compute(X, W, V), parameter)
        found = torch.zeros_like(expected) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_projected_jacobian_is_unbiased(weighted):
    X, W, V = random_network(6, 5, 7, 4)
    weight = torch.linspace(0.5, 1.5, len(X), dtype=torch.float64) if weighted else None
    exact = penalties.jacobian_logits(W, rectifier_slope(X @ W.T, 2.0), V, weight).item()
    X.requires_grad_()
    logits = rectify(X @ W.T, 2.0) @ V.T
    generator = torch.Generator().manual_seed(0)
    draws = [penalties.jacobian_projected(logits, X, 1, generator, weight).item() for _ in range(2000)]
    standard_error = np.std(draws, ddof=1) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - exact) < 3 * standard_error
    assert standard_error < 0.02 * exact


def test_more_projections_vary_less():
    X, W, V = random_network(6, 5, 7, 4)
    X.requires_grad_()
    logits = rectify(X @ W.T, 2.0) @ V.T
    generator = torch.Generator().manual_seed(0)

    def variance(n_projections):
        return np.var(
            [penalties.jacobian_projected(logits, X, n_projections, generator).item() for _ in range(500)]
        )

    assert variance(4) == pytest.approx(variance(1) / 4, rel=0.4)


def spectral_by_formula(H, exponent, start):
    eigenvalues = np.linalg.eigh(np.cov(H, rowvar=False, bias=True))[0][::-1]
    first = max(start, 1) - 1
    total = 0.0
    for n in range(first + 1, len(eigenvalues) + 1):
        target = n**-exponent
        if start > 0:
            target *= eigenvalues[first] / (first + 1.0) ** -exponent
        ratio = eigenvalues[n - 1] / target
        total += (ratio - 1) ** 2 + max(0, ratio - 1)
    return total / len(eigenvalues)


@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_spectral_penalty_equals_the_direct_formula(exponent, start):
    H = np.random.RandomState(0).randn(40, 6) * [3, 1, 0.5, 2, 1, 0.1]
    eigenvectors = np.linalg.eigh(np.cov(H, rowvar=False))[1][:, ::-1].copy()
    found = penalties.spectral(torch.tensor(H), torch.tensor(eigenvectors), exponent, start).item()
    assert found == pytest.approx(spectral_by_formula(H, exponent, start), rel=1e-10)


@pytest.mark.parametrize("start", [0, 1, 4])
def test_the_spectral_penalty_vanishes_on_a_power_law(start):
    H = np.random.RandomState(0).randn(50, 8)
    H = np.linalg.qr(H - H.mean(axis=0))[0] * np.sqrt(50.0 * np.arange(1, 9.0) ** -1.5)
    assert penalties.spectral(torch.tensor(H), torch.eye(8).double(), 1.5, start).item() < 1e-14


@pytest.mark.parametrize("start", [0, 3])
def test_the_spectral_penalty_of_weighted_rows_is_that_of_repeated_rows_times_the_mean_weight(start):
    rng = np.random.RandomState(0)
    H, weight = torch.tensor(rng.randn(40, 6) * [3, 1, 0.5, 2, 1, 0.1]), torch.tensor(rng.randint(1, 5, 40))
    repeated = H.repeat_interleave(weight, dim=0)
    eigenvectors = torch.linalg.eigh(torch.cov(repeated.T)).eigenvectors.flip(1)
    expected = penalties.spectral(repeated, eigenvectors, 1.0, start).item()
    weight = weight.double()
    for factor in (1.0, 2.5):
        found = penalties.spectral(H, eigenvectors, 1.0, start, factor * weight / weight.mean()).item()
        assert found == pytest.approx(factor * expected, rel=1e-12)


def test_input_gradient_equals_the_gradient_of_each_row():
    X, W, _ = random_network(4, 3, 1, 1)
    X.requires_grad_()
    losses = (X @ W.T).squeeze(1).square()
    expected = np.mean([(2 * (x @ W[0]) * W[0]).square().sum().item() for x in X.detach()])
    assert penalties.input_gradient(losses, X).item() == pytest.approx(expected, rel=1e-12)
    losses = (X @ W.T).squeeze(1).square()
    expected = np.mean([(2 * (x @ W[0]) * W[0]).abs().sum().item() for x in X.detach()])
    assert penalties.input_gradient(losses, X, norm=1).item() == pytest.approx(expected, rel=1e-12)


def test_the_1_norm_of_the_input_gradient_is_what_a_small_adversarial_step_adds_to_the_loss():
    X, W, V = random_network(20, 5, 7, 4)
    y, eps = torch.arange(20) % 4, 1e-6

    def losses(rows):
        return torch.nn.functional.cross_entropy(rectify(rows @ W.T) @ V.T, y, reduction="none")

    rows = penalties.adversarial_rows(losses, X, eps, 1, torch.Generator())
    rise = (losses(rows) - losses(X)).mean().item() / eps
    X.requires_grad_()
    assert penalties.input_gradient(losses(X), X, norm=1).item() == pytest.approx(rise, rel=1e-4)


@pytest.mark.parametrize("n_steps", [1, 10])
def test_adversarial_rows_stay_in_the_ball_and_raise_the_loss(n_steps):
    X, W, V = random_network(20, 5, 7, 4)
    y = torch.arange(20) % 4

    def losses(rows):
        return torch.nn.functional.cross_entropy(rectify(rows @ W.T) @ V.T, y, reduction="none")

    generator = torch.Generator().manual_seed(0)
    rows = penalties.adversarial_rows(losses, X, 0.01, n_steps, generator)
    assert (rows - X).abs().max().item() <= 0.01 + 1e-12
    assert losses(rows).mean() > losses(X).mean()
    assert not rows.requires_grad


def test_one_adversarial_step_is_the_fast_gradient_sign_method():
    X, W, _ = random_network(6, 5, 1, 1)
    rows = penalties.adversarial_rows(lambda x: (x @ W.T).squeeze(1), X, 0.1, 1, torch.Generator())
    torch.testing.assert_close(rows, X + 0.1 * W.sign())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("sizes", [[4, 3], [4, 1], [4, 5, 3], [4, 5, 1], [4, 6, 5, 3]])
def test_backpropagation_in_closed_form_equals_autograd(sizes, power, weighted):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(s, generator=generator).double().requires_grad_() for s in pairwise(sizes)]
    biases = [torch.randn(n, generator=generator).double().requires_grad_() for n in sizes[1:]]
    X = torch.randn(7, 4, generator=generator).double()
    y = torch.arange(7) % max(sizes[-1], 2)
    weight = torch.rand(7, generator=generator).double() if weighted else None
    u, layers = X, []
    for i, (W, b) in enumerate(zip(weights, biases)):
        u = (rectify(u, power) if i else u) @ W + b
        layers.append(u.detach())
    scores = u if sizes[-1] > 1 else torch.cat([torch.zeros_like(u), u], dim=1)
    losses = torch.nn.functional.cross_entropy(scores, y, reduction="none")
    expected_loss = (losses * (1 if weight is None else weight)).mean()
    expected = torch.autograd.grad(expected_loss, [*weights, *biases])
    loss, found_scores, preactivations, *gradients = backpropagate(X, y, weights, biases, power, weight)
    torch.testing.assert_close(loss, expected_loss.detach())
    torch.testing.assert_close(found_scores, scores.detach())
    torch.testing.assert_close(preactivations, layers[:-1])
    for found, wanted in zip([*gradients[0], *gradients[1]], expected):
        torch.testing.assert_close(found, wanted)


def test_a_step_schedule_holds_each_factor_from_its_share_on():
    schedule = StepSchedule(shares=(0.2, 0.4), factors=(0.5, 0.1))
    assert [schedule(epoch / 10) for epoch in range(6)] == [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]


def test_an_exponential_schedule_falls_by_e_in_one_time_constant():
    schedule = ExponentialSchedule(time_constant=0.3, start=0.5)
    assert schedule(0.49) == schedule(0.5) == 1.0
    assert schedule(0.8) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize(
    ("word", "factors"),
    [("constant", [1, 1, 1]), ("linear", [1, 2 / 3, 1 / 3]), ("cosine", [1, 0.75, 0.25])],
)
def test_the_words_for_schedules_fall_from_one_towards_zero_or_stay(word, factors):
    assert [SCHEDULES[word](epoch / 3) for epoch in range(3)] == pytest.approx(factors)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StepSchedule(shares=(0.1, 0.2), factors=(0.5,)), "one factor per share"),
        (lambda: StepSchedule(shares=(0.2, 0.1), factors=(0.5, 0.1)), "rising shares"),
        (lambda: StepSchedule(shares=(30, 90), factors=(0.5, 0.1)), r"shares in \[0, 1\]. Got shares=\(30"),
        (lambda: ExponentialSchedule(time_constant=0), r"time_constant in \(0, 1\]"),
        (lambda: ExponentialSchedule(time_constant=30, start=90), "Got time_constant=30 and start=90"),
    ],
)
def test_impossible_schedules_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_several_adversarial_steps_are_projected_ascent_from_a_uniform_start(global_state_unchanged):
    X, W, _ = random_network(6, 5, 1, 1)
    asked = []

    def losses(rows):
        asked.append(rows.detach())
        return (rows @ W.T).squeeze(1)

    rows = penalties.adversarial_rows(losses, X, 0.1, 4, torch.Generator().manual_seed(0))
    noise = torch.rand(X.shape, generator=torch.Generator().manual_seed(0), dtype=X.dtype)
    delta = 0.1 * (2 * noise - 1)
    for seen in asked:
        torch.testing.assert_close(seen, X + delta)
        delta = (delta + 2.5 * 0.1 / 4 * W.sign()).clamp(-0.1, 0.1)
    torch.testing.assert_close(rows, X + delta)
    assert len(asked) == 4


def test_features_without_a_slope_stay_where_they_are_under_the_fast_gradient_sign_method():
    X, W, _ = random_network(6, 5, 1, 1)
    W[0, 2] = 0
    rows = penalties.adversarial_rows(lambda x: (x @ W.T).squeeze(1), X, 0.1, 1, torch.Generator())
    torch.testing.assert_close(rows, X + 0.1 * W.sign())


def test_projections_are_on_normal_directions_of_length_one_from_the_generator():
    X, W, V = random_network(6, 5, 7, 4)
    X.requires_grad_()
    jacobian_of_all = V @ W
    generator = torch.Generator().manual_seed(0)
    expected = 0.0
    for _ in range(3):
        directions = torch.randn(6, 4, generator=generator, dtype=torch.float64)
        shares = (directions @ jacobian_of_all).square().sum(dim=1) / directions.square().sum(dim=1)
        expected += 4 / 3 * shares.mean()
    found = penalties.jacobian_projected(X @ W.T @ V.T, X, 3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, expected)


def random_perceptron(sizes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(shape, generator=generator, dtype=dtype) for shape in pairwise(sizes)]
    return weights, [torch.randn(n, generator=generator, dtype=dtype) for n in sizes[1:]]


def scores_of(X, weights, biases, power):
    u = X @ weights[0] + biases[0]
    for weight, bias in zip(weights[1:], biases[1:]):
        u = rectify(u, power) @ weight + bias
    return u if u.shape[1] > 1 else torch.cat([torch.zeros_like(u), u], dim=1)


def worst_scores_by_loops(low, high, y, weights, biases, power):
    """Interval arithmetic on one row, number by number; the last layer is subtracted before it is bounded."""
    for layer, (W, b) in enumerate(zip(weights, biases)):
        if layer == len(weights) - 1:
            break
        lower, upper = [], []
        for unit in range(W.shape[1]):
            ends = [sorted((W[i, unit] * low[i], W[i, unit] * high[i])) for i in range(len(low))]
            lower.append(max(0, sum(end[0] for end in ends) + b[unit]) ** power)
            upper.append(max(0, sum(end[1] for end in ends) + b[unit]) ** power)
        low, high = lower, upper
    if W.shape[1] == 1:
        W, b = np.hstack([np.zeros_like(W), W]), np.concatenate([[0.0], b])
    found = []
    for other in range(W.shape[1]):
        gaps = W[:, other] - W[:, y]
        found.append(b[other] - b[y] + sum(max(g * lo, g * hi) for g, lo, hi in zip(gaps, low, high)))
    return found


@pytest.mark.parametrize("bounds", [(), (-0.5, 0.5)])
@pytest.mark.parametrize("power", [1.0, 1.3, 2.0, 4.5])
@pytest.mark.parametrize("sizes", [[4, 3], [4, 1], [4, 5, 3], [4, 5, 1], [4, 6, 5, 3]])
def test_scores_at_worst_are_those_of_interval_arithmetic_number_by_number(sizes, power, bounds):
    weights, biases = random_perceptron(sizes)
    X = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).clamp(-0.5, 0.5)
    y = torch.arange(7) % max(2, sizes[-1])
    found = worst_scores(*box_around(X, 0.2, *bounds), y, weights, biases, power)
    ends = bounds or (-np.inf, np.inf)
    low, high = (X - 0.2).clamp(*ends), (X + 0.2).clamp(*ends)
    arrays = [W.numpy() for W in weights], [b.numpy() for b in biases]
    expected = [
        worst_scores_by_loops(*row, *arrays, power) for row in zip(low.tolist(), high.tolist(), y.tolist())
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


ALL_CLASSES = partial(relaxed_scores, n_classes=9)
BOUNDS = pytest.mark.parametrize("bounded", [worst_scores, ALL_CLASSES], ids=["intervals", "lines"])


@BOUNDS
@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("sizes", [[4, 3], [4, 1], [4, 5, 3], [4, 6, 5, 1]])
def test_no_row_of_the_box_has_a_worse_score_and_a_linear_network_reaches_it_at_a_vertex(
    sizes, power, bounded
):
    weights, biases = random_perceptron(sizes)
    X = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.arange(7) % max(2, sizes[-1])
    centre, radius = box_around(X, 0.3, -1.0, 1.0)
    bound = bounded(centre, radius, y, weights, biases, power)
    inside = 2 * torch.rand(50, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 1
    vertices = torch.tensor(list(product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    worst = torch.full_like(bound, -torch.inf)
    for corner in torch.cat([vertices, inside]):
        scores = scores_of(centre + corner * radius, weights, biases, power)
        worst = torch.maximum(worst, scores - scores.gather(1, y[:, None]))
    assert (worst <= bound + 1e-9).all()
    assert (bound.gather(1, y[:, None]) == 0).all()
    if len(sizes) == 2:
        torch.testing.assert_close(worst, bound)


def test_a_box_ends_at_the_bounds_and_a_row_outside_moves_only_towards_them():
    X = torch.tensor([[0.0, 0.5, 0.95, -0.3, 1.05, 1.5]], dtype=torch.float64)
    centre, radius = box_around(X, 0.1, 0.0, 1.0)
    torch.testing.assert_close(centre - radius, X.new_tensor([[0.0, 0.4, 0.85, -0.3, 0.95, 1.4]]))
    torch.testing.assert_close(centre + radius, X.new_tensor([[0.1, 0.6, 1.0, -0.2, 1.05, 1.5]]))
    free_centre, free_radius = box_around(X, 0.1)
    assert free_centre is X
    assert free_radius.shape == (1, 6)
    assert (free_radius == 0.1).all()


def test_a_box_without_width_leaves_the_scores_and_float32_stays_float32():
    weights, biases = random_perceptron([4, 5, 3], dtype=torch.float32)
    X, y = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)), torch.arange(7) % 3
    found = worst_scores(*box_around(X, 0.0, -9.0, 9.0), y, weights, biases)
    scores = scores_of(X, weights, biases, 1.0)
    torch.testing.assert_close(found, scores - scores.gather(1, y[:, None]))
    assert found.dtype == torch.float32


def linear_bound_by_loops(low, high, y, other, weights, biases):
    """Linear bounds of one row through plain rectifiers, number by number, with parallel lines."""
    (W, V), (b, c) = weights, biases
    slopes, constant = np.zeros(len(low)), c[other] - c[y]
    for unit in range(W.shape[1]):
        ends = [sorted((W[i, unit] * low[i], W[i, unit] * high[i])) for i in range(len(low))]
        lower, upper = (sum(end[k] for end in ends) + b[unit] for k in (0, 1))
        gap = V[unit, other] - V[unit, y]
        if upper <= 0:
            slope, offset = 0.0, 0.0
        elif lower >= 0:
            slope, offset = 1.0, 0.0
        else:
            slope = upper / (upper - lower)
            offset = -slope * lower if gap > 0 else 0.0
        slopes += gap * slope * W[:, unit]
        constant += gap * (slope * b[unit] + offset)
    return constant + sum(max(s * lo, s * hi) for s, lo, hi in zip(slopes, low, high))


def test_lines_bound_the_classes_that_come_closest_and_the_others_keep_their_lead():
    weights, biases = random_perceptron([4, 6, 5])
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.arange(20) % 5
    box = box_around(X, 0.2, -1.0, 1.0)
    scores = scores_of(box[0], weights, biases, 1.0)
    expected = scores - scores.gather(1, y[:, None])
    arrays = [W.numpy() for W in weights], [b.numpy() for b in biases]
    low, high = (box[0] - box[1]).numpy(), (box[0] + box[1]).numpy()
    for row, label in enumerate(y.tolist()):
        others = [other for other in scores[row].argsort(descending=True).tolist() if other != label]
        for other in others[:2]:
            expected[row, other] = linear_bound_by_loops(low[row], high[row], label, other, *arrays)
    torch.testing.assert_close(relaxed_scores(*box, y, weights, biases, n_classes=2), expected)


@pytest.mark.parametrize("power", [2.0, 4.5])
def test_lines_of_powers_are_those_that_certificates_take(power):
    weights, biases = random_perceptron([4, 6, 3])
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, eps = torch.arange(20) % 3, torch.full((20,), 0.2, dtype=torch.float64)
    layers = Affine(weights[0], biases[0]), Rectifier(power), Affine(weights[1], biases[1])
    module, unit = torch.nn.Sequential(*layers), torch.eye(3, dtype=torch.float64)
    # Carried to the row alone, without the interval that the units give by themselves.
    bounds = LinearBounds(module, Ball(X, eps))
    carried, _ = bounds._carried_back(bounds.last, (unit[:, None] - unit)[y], {})
    found = relaxed_scores(*box_around(X, 0.2), y, weights, biases, power, n_classes=2)
    torch.testing.assert_close(found, -carried)


def test_the_share_mixes_the_bound_with_the_row_where_it_would_be_reached():
    weights, biases = random_perceptron([4, 6, 5])
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, box = torch.arange(20) % 5, box_around(X, 0.2, -1.0, 1.0)
    bound, mixed, attack = (
        relaxed_scores(*box, y, weights, biases, n_classes=2, share=share) for share in (1.0, 0.3, 0.0)
    )
    bounded = bound != relaxed_scores(*box, y, weights, biases, n_classes=1)
    changed = bounded | (attack == attack.gather(1, y[:, None]))
    torch.testing.assert_close(mixed[bounded], (0.3 * bound + 0.7 * attack)[bounded])
    assert (attack <= ALL_CLASSES(*box, y, weights, biases) + 1e-9).all()
    assert (attack[changed] <= bound[changed] + 1e-9).all()
    # Some row of the box has this lead: the corner that a linear function points to.
    corners = torch.tensor(list(product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
    scores = [scores_of(box[0] + corner * box[1], weights, biases, 1.0) for corner in corners]
    leads = torch.stack([one - one.gather(1, y[:, None]) for one in scores])
    assert ((leads - attack).abs().amin(dim=0) < 1e-9).all()


def test_lines_prove_more_than_intervals_do():
    weights, biases = random_perceptron([4, 16, 5])
    X = torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.arange(50) % 5
    by_intervals, by_lines = (f(*box_around(X, 0.1), y, weights, biases) for f in (worst_scores, ALL_CLASSES))
    assert (by_lines < by_intervals).double().mean() > 0.7
    assert by_lines.mean() < by_intervals.mean() - 0.5


@pytest.mark.parametrize("power", POWERS)
def test_linear_bounds_of_boxes_without_width_are_the_scores(power):
    weights, biases = random_perceptron([4, 6, 5, 3])
    parameters = [tensor.requires_grad_() for tensor in [*weights, *biases]]
    X, y = torch.eye(4, dtype=torch.float64), torch.arange(4) % 3
    found = relaxed_scores(*box_around(X, 0.0), y, weights, biases, power, n_classes=2)
    scores = scores_of(X, weights, biases, power)
    torch.testing.assert_close(found, scores - scores.gather(1, y[:, None]))
    found.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in parameters)


@BOUNDS
@pytest.mark.parametrize("bounds", [(), (-0.5, 0.5)])
@pytest.mark.parametrize("power", [1.0, 2.0, 4.5])
@pytest.mark.parametrize("sizes", [[4, 3], [4, 5, 1], [4, 6, 5, 3]])
def test_gradients_of_the_loss_at_worst_agree_with_finite_differences(sizes, power, bounds, bounded):
    weights, biases = random_perceptron(sizes)
    parameters = [tensor.mul_(0.3).requires_grad_() for tensor in [*weights, *biases]]
    X = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.arange(7) % max(2, sizes[-1])

    def loss():
        scores = bounded(*box_around(X, 0.2, *bounds), y, weights, biases, power)
        return torch.nn.functional.cross_entropy(scores, y)

    loss().backward()
    for parameter in parameters:
        expected = central_differences(loss, parameter)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("way", [_jacobian._of_paths, _jacobian._of_moment])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [(9, 2, 8, 1), (9, 2, 8, 3), (3, 8, 4, 5)])
def test_both_closed_forms_of_the_jacobian_of_the_logits_are_differentiated(way, weighted, sizes):
    n_rows, n_features, n_hidden, n_outputs = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = (4, n_features, n_hidden), (4, n_hidden, n_outputs), (4, n_rows, n_hidden), (n_rows,)
    W, V, u, w = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    slope, weight = (u > 0).double(), w.abs() if weighted else None
    values, gradients = way(W, V, slope, weight)
    for i in range(len(W)):
        w, v = W[i].clone().requires_grad_(), V[i].clone().requires_grad_()
        value = penalties.jacobian_logits(w.T, slope[i], v.T, weight)
        torch.testing.assert_close(values[i], value.detach())
        for found, expected in zip(gradients, torch.autograd.grad(value, [w, v]), strict=True):
            torch.testing.assert_close(found[i], expected)
        # And of one network alone.
        alone, slopes = way(W[i], V[i], slope[i], weight)
        torch.testing.assert_close(alone, values[i])
        torch.testing.assert_close(slopes, [gradient[i] for gradient in gradients])
