"""The formulas of winner-take-all learning against index loops, closed forms and finite differences."""

import math

import numpy as np
import pytest
import torch

from sklearn_brm.functional.plasticity import (
    PlasticLayer,
    Rule,
    _changed_rows,
    converged_units,
    diverged_units,
    forward,
    lebesgue_norms,
    minibatch_step,
    power_weights,
    row_scales,
    sample_step,
    soft_step,
)

CPU = torch.device("cpu")
RULES = [
    Rule(),
    Rule(R=2.5, k=3, delta=0.3),
    Rule(R=0.5, k=4, delta=0.7, all_ranks=True),
    Rule(k=50),
    Rule(k=50, all_ranks=True),
]


def draw(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def overlap(w, v, p):
    return sum(math.copysign(abs(w[i]) ** (p - 1), w[i]) * v[i] for i in range(len(v)))


def strength(rank, n_units, rule):
    """Return g for a rank counted from 1."""
    k = min(rule.k, n_units)
    if rank == 1:
        return 1.0
    return -rule.delta if rank == k or (rule.all_ranks and rank <= k) else 0.0


def ranking(scores):
    return sorted(range(len(scores)), key=lambda unit: -scores[unit])


def loop_minibatch(W, X, p, rule, rate):
    """Apply the minibatch rule of paper section 1 with nothing but scalars."""
    n_units, n_features = W.shape
    total = [[0.0] * n_features for _ in range(n_units)]
    for v in X:
        h = [overlap(w, v, p) for w in W]
        for place, unit in enumerate(ranking(h)):
            g = strength(place + 1, n_units, rule)
            for i in range(n_features):
                total[unit][i] += g * (rule.R**p * v[i] - h[unit] * W[unit][i])
    largest = max(abs(value) for row in total for value in row)
    return W + rate * rule.R * np.array(total) / largest


def loop_sample(W, X, p, rule, rate):
    """Apply eq. 3, one row after the other, with tau = R^(p-1) / rate."""
    W = W.copy()
    tau = rule.R ** (p - 1) / rate
    for v in X:
        h = [overlap(w, v, p) for w in W]
        Q = [h[unit] / sum(abs(x) ** p for x in w) ** ((p - 1) / p) for unit, w in enumerate(W)]
        increments = np.zeros_like(W)
        for place, unit in enumerate(ranking(Q)):
            g = strength(place + 1, len(W), rule)
            for i in range(len(v)):
                increments[unit, i] = g * (rule.R**p * v[i] - h[unit] * W[unit, i]) / tau
        W += increments
    return W


def loop_soft(W, X, p, rule, rate):
    """Apply the soft rule of Journé et al. with nothing but scalars."""
    n_units, n_features = W.shape
    total = [[0.0] * n_features for _ in range(n_units)]
    for v in X:
        h = [overlap(w, v, p) for w in W]
        exponentials = [math.exp(rule.t * (value - max(h))) for value in h]
        for unit in range(n_units):
            y = exponentials[unit] / sum(exponentials)
            y = y if h[unit] == max(h) else -y
            for i in range(n_features):
                total[unit][i] += y * (rule.R**p * v[i] - h[unit] * W[unit][i])
    largest = max(abs(value) for row in total for value in row)
    moved = W.copy()
    for unit in range(n_units):
        norm = sum(abs(value) ** p for value in W[unit]) ** (1 / p)
        step = rate * rule.R * math.sqrt(abs(norm / rule.R - 1)) / largest
        for i in range(n_features):
            moved[unit, i] += step * total[unit][i]
    return moved


@pytest.mark.parametrize("p", [2, 3])
@pytest.mark.parametrize("rule", [Rule(), Rule(R=2.5, t=0.3), Rule(R=0.5, t=4.0)])
def test_three_soft_steps_equal_the_index_loop_to_the_last_digits(rule, p):
    W, X = rule.R * draw(0, 7, 5), draw(1, 3, 11, 5) / 3
    layer, expected = PlasticLayer(W.clone(), p), W.numpy()
    for batch in X:
        overlaps, winners = soft_step(layer, batch, rule, 0.05)
        h = np.array([[overlap(w, v, p) for w in expected] for v in batch.numpy()])
        np.testing.assert_allclose(overlaps.numpy(), h.max(axis=1))
        np.testing.assert_array_equal(winners.numpy(), h.argmax(axis=1))
        expected = loop_soft(expected, batch.numpy(), p, rule, 0.05)
    np.testing.assert_allclose(layer.W.numpy(), expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(layer.A, power_weights(layer.W, p), rtol=0, atol=0)


def test_a_soft_step_in_bfloat16_agrees_to_its_digits_and_keeps_the_weights_in_theirs():
    W, X = 3 * draw(0, 20, 30).float(), draw(1, 50, 30).float()
    exact, short = PlasticLayer(W.clone(), 2), PlasticLayer(W.clone(), 2, product_dtype=torch.bfloat16)
    for layer in (exact, short):
        soft_step(layer, X, Rule(t=0.2), 0.05)
    assert short.W.dtype == torch.float32
    change = exact.W - W
    assert 0 < (short.W - exact.W).abs().max() < 0.2 * change.abs().max()


@pytest.mark.parametrize("t", [1e-3, 1.0])
def test_a_unit_at_the_radius_stands_still_under_the_soft_rule_and_all_others_move(t):
    W = draw(0, 4, 6)
    W /= W.norm(dim=1, keepdim=True)
    W[1:] *= torch.tensor([2.0, 5.0, 0.5], dtype=torch.float64)[:, None]
    layer = PlasticLayer(W.clone(), 2)
    soft_step(layer, draw(1, 30, 6), Rule(t=t), 0.05)
    moved = (layer.W - W).abs().amax(dim=1)
    assert moved[0] < 1e-7
    assert (moved[1:] > 1e-5).all()
    assert moved.max() <= 0.05 * (5 - 1) ** 0.5 + 1e-12


@pytest.mark.parametrize("p", [2, 3, 2.5])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("step", "oracle"), [(minibatch_step, loop_minibatch), (sample_step, loop_sample)])
def test_three_steps_equal_the_index_loop_to_the_last_digits(step, oracle, rule, p):
    W, X = rule.R * draw(0, 7, 5) / 2, draw(1, 3, 11, 5) / 3
    layer = PlasticLayer(W.clone(), p)
    expected = W.numpy()
    for batch in X:
        step(layer, batch, rule, 0.05)
        expected = oracle(expected, batch.numpy(), p, rule, 0.05)
    np.testing.assert_allclose(layer.W.numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("step", [minibatch_step, sample_step])
@pytest.mark.parametrize("p", [2, 3])
def test_the_powers_and_norms_stay_in_step_with_the_weights(step, p):
    layer = PlasticLayer(draw(0, 700, 5), p)
    step(layer, draw(1, 400, 5), Rule(), 0.1)
    torch.testing.assert_close(layer.A, power_weights(layer.W, p), rtol=0, atol=0)
    torch.testing.assert_close(layer.inverse_norms, row_scales(layer.W, p), rtol=1e-15, atol=0)


@pytest.mark.parametrize("n_rows", [1, 3, 9])
def test_an_accelerator_that_updates_all_rows_gets_the_same_weights_however_few_rows_come(
    monkeypatch, n_rows
):
    W, X, rule = draw(0, 20, 5), draw(1, n_rows, 5), Rule(k=3, all_ranks=True)
    sparse, dense = PlasticLayer(W.clone(), 3), PlasticLayer(W.clone(), 3)
    minibatch_step(sparse, X, rule, 0.1)
    everything = torch.arange(20)
    monkeypatch.setattr(
        "sklearn_brm.functional.plasticity._changed_rows", lambda units, n_units: (everything, units)
    )
    minibatch_step(dense, X, rule, 0.1)
    torch.testing.assert_close(dense.W, sparse.W, rtol=1e-14, atol=0)
    torch.testing.assert_close(dense.A, sparse.A, rtol=1e-14, atol=0)


def test_the_largest_change_is_the_rate_times_the_radius_and_losers_stay():
    W = draw(0, 30, 4)
    layer = PlasticLayer(W.clone(), 3)
    h, winner = minibatch_step(layer, draw(1, 2, 4), Rule(R=2.0), 0.01)
    change = (layer.W - W).abs()
    assert float(change.max()) == pytest.approx(0.02)
    assert int((change.amax(dim=1) > 0).sum()) <= 4
    expected = draw(1, 2, 4) @ power_weights(W, 3).T
    torch.testing.assert_close(h, expected.max(dim=1).values)
    torch.testing.assert_close(winner, expected.argmax(dim=1))


def test_a_unit_at_its_only_row_stays_there_instead_of_stepping_on_rounding_noise():
    row = draw(0, 1, 6)
    row *= row_scales(row, 3)
    layer = PlasticLayer(row.clone(), 3)
    minibatch_step(layer, row, Rule(), 0.02)
    torch.testing.assert_close(layer.W, row, rtol=0, atol=1e-3 * 0.02)


def test_a_lone_unit_is_not_inhibited():
    assert Rule(k=2).strengths(1) == [1.0]
    assert Rule(k=3).strengths(2) == [1.0, -0.4]


@pytest.mark.parametrize("p", [2, 3, 4.5])
def test_the_fixed_point_of_a_lone_unit_has_the_radius_as_its_norm(p):
    layer = PlasticLayer(draw(0, 1, 5).abs(), p)
    rows = draw(1, 1, 5).abs().repeat(500, 1)
    sample_step(layer, rows * row_scales(rows, p), Rule(R=1.7), 0.1)
    assert float(lebesgue_norms(layer.W, p)) == pytest.approx(1.7, rel=1e-6)


def test_bfloat16_products_keep_the_weights_in_float32():
    W, X = draw(0, 40, 30).float(), draw(1, 25, 30).float()
    exact, coarse = PlasticLayer(W.clone(), 3), PlasticLayer(W.clone(), 3, product_dtype=torch.bfloat16)
    minibatch_step(exact, X, Rule(), 0.1)
    minibatch_step(coarse, X, Rule(), 0.1)
    assert coarse.W.dtype == torch.float32
    assert coarse.A.dtype == torch.bfloat16
    torch.testing.assert_close(coarse.W, exact.W, rtol=0, atol=0.01)


@pytest.mark.parametrize("p", [2, 3, 5.5])
@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e200])
def test_norms_equal_numpy_and_neither_overflow_nor_underflow(p, size):
    X = draw(0, 600, 5)
    expected = size * np.linalg.norm(X.numpy(), ord=p, axis=1)
    np.testing.assert_allclose(lebesgue_norms(X * size, p)[:, 0].numpy(), expected, rtol=1e-13)


def test_rows_of_zeros_have_norm_zero_and_are_not_scaled():
    zeros = torch.zeros(2, 3)
    assert lebesgue_norms(zeros, 3).tolist() == [[0.0], [0.0]]
    assert row_scales(zeros, 3).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("power", [None, 1, 4.5])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_forward_map_equals_the_index_loop_and_finite_differences(power, normalize):
    X, W, p = draw(0, 4, 6), draw(1, 5, 6), 3
    encode = lambda rows: forward(rows, power_weights(W, p), p=p, power=power, normalize=normalize)  # noqa: E731
    for v, encoded in zip(X, encode(X)):
        scaled = v / sum(abs(x) ** p for x in v) ** (1 / p) if normalize else v
        h = [float(overlap(w, scaled, p)) for w in W]
        expected = h if power is None else [max(x, 0.0) ** power for x in h]
        np.testing.assert_allclose(encoded.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(encode, X.clone().requires_grad_())


def test_the_gradient_at_a_row_of_zeros_is_finite():
    X = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    forward(X, draw(0, 4, 3), p=3, power=4.5, normalize=True).sum().backward()
    assert X.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_convergence_is_relative_to_the_radius():
    W = torch.tensor([[2.0, 0.0], [2.01, 0.0], [2.03, 0.0], [float("nan"), 0.0]])
    assert converged_units(W, p=3, R=2.0, tol=0.01).tolist() == [True, True, False, False]


def test_the_wrong_attractor_is_far_below_zero_and_off_the_radius():
    W = torch.tensor([[-0.6, -0.6], [-(0.5 ** (1 / 3)), -(0.5 ** (1 / 3))], [0.6, 0.6]])
    assert diverged_units(W, p=3, R=1.0, tol=0.01).tolist() == [True, False, False]


@pytest.mark.parametrize("R", [0.5, 1.0, 4.0])
def test_the_wrong_attractor_begins_at_a_mean_of_minus_half_the_radius(R):
    W = torch.tensor([[-0.51] * 4, [-0.49] * 4, [-0.3] * 4, [-2.0, 0.1, 0.1, 0.1]]) * R
    assert diverged_units(W, p=3, R=R, tol=0.01).tolist() == [True, False, False, False]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_accelerator_changes_all_rows_and_the_processor_the_distinct_ones(device):
    units = torch.tensor([[3, 1], [1, 5]], device=device)
    rows, slots = _changed_rows(units, 20)
    if device == "cpu":
        assert rows.tolist() == [1, 3, 5]
        assert rows[slots].tolist() == units.tolist()
    else:
        assert rows.shape == (20,)
        assert slots is units
