"""Lower bounds hold wherever one looks, and are reached where they say so."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC
from test_bridge import ALL, fitted, name_of, table

from sklearn_brm import to_torch
from sklearn_brm.functional.attacks import Ball
from sklearn_brm.functional.bounds import LinearBounds, margin_bounds
from sklearn_brm.functional.layers import (
    Affine,
    Append,
    Clamp,
    Power,
    Rectifier,
    RowNorm,
    SShaped,
    TwoColumns,
    UnboundedError,
    layers_of,
    sequence,
)
from sklearn_brm.functional.mixed_integer import ReluNetwork, least_margin

NORMS = [np.inf, 2.0, 1.0]


def balls(X, eps, norm=np.inf, **kwargs):
    X = torch.as_tensor(X, dtype=torch.float64)
    return Ball(X, torch.full((len(X),), float(eps), dtype=torch.float64), norm, **kwargs)


def points_inside(ball, n_draws, seed=0):
    """Yield points of the balls: spread ones, and corners."""
    generator = torch.Generator().manual_seed(seed)
    for draw in range(n_draws):
        u = torch.rand(ball.centre.shape, generator=generator, dtype=torch.float64)
        if ball.norm == np.inf:
            yield ball.spread(u.round() if draw % 2 else u)
        else:
            yield ball.spread(torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)))


def margins(module, x, y):
    """The lead of class y over each class, as `margin_bounds` counts it."""
    layers = list(layers_of(module))
    if hasattr(layers[-1], "contests"):
        pairs = torch.nn.Sequential(*layers[:-1])(x)
        lead = (layers[-1].contests(y, x) @ pairs[..., None])[..., 0]
    else:
        scores = module(x)
        lead = scores.gather(1, y[:, None]) - scores
    return lead.scatter(1, y[:, None], torch.inf)


def assert_never_above(module, ball, y, n_draws=40):
    bound = margin_bounds(module, ball, y)
    for x in points_inside(ball, n_draws):
        lead = margins(module, x, y)
        slack = 1e-9 * (1 + lead.abs().nan_to_num(posinf=0))
        assert (lead >= bound - slack).all()
    return bound


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("estimator", ALL, ids=name_of)
def test_no_point_of_the_ball_lies_below_the_bounds_of_anything_that_converts(estimator, norm):
    X, y = table(3)
    estimator = fitted(estimator, X, y)
    module = to_torch(estimator)
    ball = balls(X[:12], 0.15, norm)
    try:
        if hasattr(estimator, "classes_") and hasattr(estimator, "predict"):
            assert_never_above(module, ball, torch.tensor(estimator.classes_.searchsorted(y[:12])))
            return
        bounds = LinearBounds(module, ball)
        low, high = bounds.interval()
    except UnboundedError:
        pytest.skip("becomes a layer of which no bounds are known")
    A = torch.randn(12, 3, low.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    least = bounds.lower(A)
    for x in points_inside(ball, 40):
        output = module(x)
        slack = 1e-9 * (1 + output.abs())
        assert (output >= low - slack).all()
        assert (output <= high + slack).all()
        assert ((A @ output[..., None])[..., 0] >= least - 1e-9 * (1 + least.abs())).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [None, [0.5, 1.0, 2.0, 3.0]])
def test_a_linear_classifier_is_exact_in_every_norm_with_scale_and_bounds(norm, scale):
    X, y = load_iris(return_X_y=True)
    module, labels = to_torch(LogisticRegression(max_iter=500).fit(X, y)), torch.tensor(y)
    scale = None if scale is None else torch.tensor(scale, dtype=torch.float64)
    low, high = (torch.tensor(end(X, axis=0)[None]) for end in (np.min, np.max))
    ball = balls(X, 0.4, norm, scale=scale, lower=low, upper=high)
    bound = assert_never_above(module, ball, labels)
    coef = module.weight.T
    for other in range(3):
        rows = torch.nonzero(labels != other)[:, 0]
        there = ball.select(rows)
        x = there.furthest(coef[other] - coef[labels[rows]])
        lead = margins(module, x, labels[rows])[:, other]
        torch.testing.assert_close(bound[rows, other], lead, rtol=1e-9, atol=1e-9)


def test_gaussian_naive_bayes_is_exact_in_a_box():
    X, y = load_iris(return_X_y=True)
    X = X[:, :2]
    model = GaussianNB().fit(X, y)
    bound = margin_bounds(to_torch(model), balls(X, 0.7), torch.tensor(y))
    steps = np.linspace(-0.7, 0.7, 201)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    for row in range(0, 150, 15):
        scores = model.predict_joint_log_proba(X[row] + grid)
        lead = (scores[:, [y[row]]] - scores).min(axis=0)
        lead[y[row]] = np.inf
        assert (bound[row].numpy() <= lead + 1e-9).all()
        np.testing.assert_allclose(bound[row].numpy(), lead, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    "layer",
    [
        Rectifier(1),
        Rectifier(1.5),
        Rectifier(4.5),
        SShaped("tanh"),
        SShaped("logistic"),
        Power(1),
        Power(2),
        Power(3),
        Power(4),
    ],
    ids=repr,
)
def test_lines_hold_a_bent_function_between_them_on_any_interval(layer):
    ends = torch.tensor([-3.0, -1.2, -0.3, 0.0, 0.2, 1.0, 2.5], dtype=torch.float64)
    for low, high in itertools.combinations_with_replacement(ends, 2):
        lower, upper = low.reshape(1, 1), high.reshape(1, 1)
        x = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None] * (high - low) + low
        for sign in (1.0, -1.0):
            A = torch.full((1, 1, 1), sign, dtype=torch.float64)
            slope, constant = layer.relax(A, lower, upper)
            assert (sign * layer(x) >= x * slope[0] + constant - 1e-9).all(), (low, high, sign)
        bottom, top = layer.interval(lower, upper)
        torch.testing.assert_close(bottom[0, 0], layer(x).min(), rtol=0, atol=1e-3)
        torch.testing.assert_close(top[0, 0], layer(x).max(), rtol=0, atol=1e-3)


def network(sizes, power=1.0, seed=0, normalize=None, constant=0.0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / shape[0] ** 0.5

    layers = [] if normalize is None else [RowNorm(normalize)]
    layers = [Append(constant), *layers] if constant else layers
    n_in = sizes[0] + bool(constant)
    for n_out in sizes[1:-1]:
        bias = None if normalize is not None else draw(n_out)
        layers += [Affine(draw(n_in, n_out), bias), Rectifier(power)]
        n_in = n_out
    return sequence(*layers, Affine(draw(n_in, sizes[-1]), draw(sizes[-1])), TwoColumns())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("power", [1.0, 2.0, 4.5])
@pytest.mark.parametrize("sizes", [(4, 10, 1), (4, 10, 3), (4, 8, 8, 3)])
def test_networks_of_any_depth_and_power_are_bounded(sizes, power, norm):
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    module = network(sizes, power)
    y = module(X).argmax(dim=1)
    bound = assert_never_above(module, balls(X, 0.05, norm), y)
    # Tight enough to prove something where little moves.
    assert (bound.amin(dim=1) > 0).double().mean() > 0.5


@pytest.mark.parametrize("constant", [0.0, 1.5])
@pytest.mark.parametrize("order", [2.0, 3.0])
@pytest.mark.parametrize("norm", NORMS)
def test_what_the_norm_of_a_row_does_to_all_units_alike_costs_no_certificates(norm, order, constant):
    X = torch.rand(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.2
    module = network((6, 12, 3), 4.5, normalize=order, constant=constant)
    y = module(X).argmax(dim=1)
    unit = torch.eye(3, dtype=torch.float64)
    n_certified = np.zeros(2)
    for eps in np.linspace(0.02, 0.2, 7) * {np.inf: 1, 2: 2, 1: 3}[norm]:
        ball = balls(X, eps, norm)
        bound = assert_never_above(module, ball, y, n_draws=10)
        plain = LinearBounds(module, ball).lower((unit[:, None] - unit)[y])
        assert (bound >= plain).all()
        plain = plain.scatter(1, y[:, None], torch.inf)
        n_certified += [(lower > 0).all(dim=1).sum() for lower in (bound, plain)]
    # The longer the constant, the less the norm of a row changes.
    assert n_certified[0] >= n_certified[1] + (not constant)


def test_bounds_are_no_looser_than_intervals_whichever_layer_these_start_at():
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    module = network((4, 12, 12, 1))
    bounds = LinearBounds(module, balls(X, 0.3))
    for sign in (1.0, -1.0):
        A = torch.tensor([[[0.0, sign]]], dtype=torch.float64)
        lower, upper = bounds.box
        for layer in layers_of(module):
            lower, upper = layer.interval(lower, upper)
        interval = lower[:, 1:] if sign > 0 else -upper[:, 1:]
        assert (bounds.lower(A) >= interval - 1e-9).all()
    assert (bounds.lower(A) > interval + 1e-3).all()


def test_a_row_of_zeros_under_a_norm_is_not_certified():
    module = network((6, 12, 3), 4.5, normalize=2.0)
    X = torch.zeros(1, 6, dtype=torch.float64)
    assert (margin_bounds(module, balls(X, 0.1), torch.tensor([0]))[0, 1:] < 0).all()


def test_at_radius_zero_the_bounds_are_the_margins():
    X, y = table(3)
    for estimator in [MLPClassifier((9, 7), max_iter=20, random_state=0), SVC(), GaussianNB()]:
        estimator = fitted(estimator, X, y)
        module, labels = to_torch(estimator), torch.tensor(estimator.classes_.searchsorted(y))
        bound = margin_bounds(module, balls(X, 0.0), labels)
        torch.testing.assert_close(bound, margins(module, torch.tensor(X), labels), rtol=1e-7, atol=1e-7)


def test_missing_values_do_not_move():
    X, y = table(2)
    X = X.copy()
    X[::3, 1] = np.nan
    from sklearn.impute import SimpleImputer

    pipeline = make_pipeline(
        StandardScaler(), SimpleImputer(add_indicator=True), MLPClassifier((8,), max_iter=30, random_state=0)
    )
    pipeline = fitted(pipeline, X, y)
    module, labels = to_torch(pipeline), torch.tensor(pipeline.classes_.searchsorted(y))
    missing = torch.tensor(np.isnan(X))
    low = torch.where(missing, torch.nan, -torch.inf).double()
    ball = balls(
        X, 0.1, lower=low, upper=torch.where(missing, torch.nan, torch.inf).double(), missing=missing
    )
    bound = margin_bounds(module, ball, labels)
    assert torch.isfinite(bound[bound < torch.inf]).all()
    for x in points_inside(ball, 30):
        x = torch.where(missing, torch.nan, x)
        assert (margins(module, x, labels) >= bound - 1e-9).all()


def test_a_layer_without_bounds_is_named_with_its_step():
    X, y = table(2)
    pipeline = make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()).fit(X, y)
    message = "step 'functiontransformer' becomes the layer Function, of which no bounds are known"
    with pytest.raises(UnboundedError, match=message):
        margin_bounds(to_torch(pipeline), balls(X, 0.1), torch.zeros(len(X), dtype=torch.int64))


class TestMixedInteger:
    """The programme against all patterns of a small network, and against a grid."""

    def brute_force(self, net, direction, lower, upper):
        from scipy.optimize import linprog

        best, n_units = np.inf, [len(b) for b in net.biases[:-1]]
        for pattern in itertools.product([False, True], repeat=sum(n_units)):
            # Inside a pattern the network is linear, and the pattern a polytope.
            matrix, offset, rows, sides = np.eye(len(lower)), np.zeros(len(lower)), [], []
            for on, W, b in zip(
                np.split(np.array(pattern), np.cumsum(n_units)[:-1]), net.weights, net.biases
            ):
                matrix, offset = W @ matrix, W @ offset + b
                rows.append(np.where(on[:, None], -matrix, matrix))
                sides.append(np.where(on, offset, -offset))
                matrix, offset = matrix * on[:, None], offset * on
            weights = direction @ net.weights[-1]
            rows, sides = np.concatenate(rows), np.concatenate(sides)
            found = linprog(weights @ matrix, A_ub=rows, b_ub=sides, bounds=list(zip(lower, upper)))
            if found.status == 0:
                best = min(best, found.fun + weights @ offset + direction @ net.biases[-1])
        return best

    @pytest.mark.parametrize("sizes", [(3, 7, 3), (3, 4, 4, 3), (2, 3, 3, 2, 3)])
    @pytest.mark.parametrize("seed", range(3))
    def test_it_finds_the_least_margin(self, sizes, seed):
        module = network(sizes, seed=seed)
        net = ReluNetwork.of(module, sizes[0])
        direction, x = np.array([1.0, -1.0, 0.0]), np.random.default_rng(seed).normal(size=sizes[0])
        bound, point = least_margin(net, direction, x - 0.5, x + 0.5)
        expected = self.brute_force(net, direction, x - 0.5, x + 0.5)
        assert bound == pytest.approx(expected, abs=1e-6)
        assert (direction @ module(torch.tensor(point[None]))[0].numpy()) == pytest.approx(bound, abs=1e-5)

    def test_two_hidden_layers_are_decided_as_a_fine_grid_decides_them(self):
        module = network((2, 12, 12, 3), seed=5)
        net, direction = ReluNetwork.of(module, 2), np.array([0.0, 1.0, -1.0])
        steps = np.linspace(-1, 1, 401)
        grid = torch.tensor(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2))
        scores = module(grid).numpy() @ direction
        bound, point = least_margin(net, direction, np.full(2, -1.0), np.full(2, 1.0))
        assert bound <= scores.min() + 1e-6
        assert bound == pytest.approx(scores.min(), abs=0.05)
        assert module(torch.tensor(point[None]))[0].numpy() @ direction == pytest.approx(bound, abs=1e-5)

    def test_what_is_not_below_is_not_searched(self):
        net = ReluNetwork.of(network((3, 7, 3)), 3)
        direction, x = np.array([1.0, -1.0, 0.0]), np.zeros(3)
        least = self.brute_force(net, direction, x - 0.5, x + 0.5)
        assert least_margin(net, direction, x - 0.5, x + 0.5, below=least - 0.1) == (least - 0.1, None)

    @pytest.mark.parametrize("sizes", [(3, 7, 3), (3, 5, 6, 3)])
    def test_a_network_on_its_linear_side_needs_no_bit(self, sizes):
        module = network(sizes)
        x = np.full(3, 0.3)
        bound, _ = least_margin(ReluNetwork.of(module, 3), np.array([1.0, 0.0, -1.0]), x, x)
        scores = module(torch.tensor(x[None]))[0].numpy()
        assert bound == pytest.approx(scores[0] - scores[2], abs=1e-9)

    def test_it_ends_in_time_with_a_bound_that_holds(self):
        module = network((8, 40, 40, 3))
        net, direction = ReluNetwork.of(module, 8), np.array([1.0, -1.0, 0.0])
        bound, _ = least_margin(net, direction, np.full(8, -2.0), np.full(8, 2.0), time_limit=0.3)
        X = 4 * torch.rand(500, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 2
        assert np.isfinite(bound)
        assert bound < (module(X).numpy() @ direction).min()

    @pytest.mark.parametrize("n_steps", [0, 5])
    def test_what_units_take_in_lies_between_its_bounds(self, n_steps):
        net = ReluNetwork.of(network((4, 8, 8, 3)), 4)
        lower, upper = np.full(4, -0.4), np.full(4, 0.6)
        X = np.random.default_rng(0).uniform(lower, upper, (500, 4))
        for (low, high), W, b in zip(net.intervals(lower, upper, n_steps), net.weights, net.biases):
            u = X @ W.T + b
            assert (u >= low - 1e-9).all()
            assert (u <= high + 1e-9).all()
            X = np.maximum(u, 0)

    def test_steps_in_front_are_part_of_the_network(self):
        X, y = make_classification(n_samples=80, n_features=5, n_informative=3, random_state=0)
        pipeline = make_pipeline(
            StandardScaler(), MinMaxScaler(), MLPClassifier((6, 4), max_iter=20, random_state=0)
        )
        module = to_torch(fitted(pipeline, X, y))
        net = ReluNetwork.of(module, 5)
        hidden = X
        for W, b in zip(net.weights[:-1], net.biases):
            hidden = np.maximum(hidden @ W.T + b, 0)
        scores = hidden @ net.weights[-1].T + net.biases[-1]
        np.testing.assert_allclose(scores, module(torch.tensor(X)).numpy(), atol=1e-9)

    @pytest.mark.parametrize(
        "module",
        [network((3, 3)), network((3, 4, 2), 2.0), network((3, 4, 2), normalize=2.0), SShaped("tanh")],
    )
    def test_other_networks_are_not_of_this_kind(self, module):
        assert ReluNetwork.of(module, 3) is None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("sizes", "power"), [((4, 10, 3), 1.0), ((4, 8, 8, 3), 1.0), ((4, 8, 8, 1), 2.5)])
def test_tangents_that_are_moved_never_loosen_a_bound_nor_break_it(sizes, power, norm):
    X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    module = network(sizes, power)
    y, ball = module(X).argmax(dim=1), balls(X, 0.4, norm)
    plain, closer = margin_bounds(module, ball, y), margin_bounds(module, ball, y, n_steps=5)
    assert (closer >= plain - 1e-12).all()
    assert (closer > plain + 1e-4).double().mean() > 0.1
    for x in points_inside(ball, 60):
        assert (margins(module, x, y) >= closer - 1e-9).all()


def test_tangents_behind_which_nothing_is_carried_stay_where_they_are():
    layers = list(layers_of(network((4, 6, 3))))
    module, X = sequence(*layers[:2], Clamp(0, 2), *layers[2:]), torch.eye(4, dtype=torch.float64)
    y, ball = torch.arange(4) % 3, balls(X, 0.3)
    torch.testing.assert_close(margin_bounds(module, ball, y, n_steps=5), margin_bounds(module, ball, y))


@pytest.mark.parametrize("norm", NORMS)
def test_tangents_are_moved_where_a_norm_scales_all_units_alike(norm):
    X = torch.rand(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.2
    module = network((6, 12, 3), 4.5, normalize=2.0)
    y, ball = module(X).argmax(dim=1), balls(X, 0.15, norm)
    plain, closer = margin_bounds(module, ball, y), margin_bounds(module, ball, y, n_steps=5)
    assert (closer >= plain).all()
    assert (closer > plain + 1e-6).any()
    for x in points_inside(ball, 40):
        assert (margins(module, x, y) >= closer - 1e-9).all()


def test_moved_tangents_come_close_to_what_the_best_of_all_tangents_prove():
    # Two units under one sum: of all tangents a grid knows the best.
    module = network((2, 2, 1), seed=3)
    X = torch.randn(30, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ball, A = balls(X, 0.7), torch.tensor([[[0.0, 1.0]]], dtype=torch.float64)
    (affine, _, head, _), best = layers_of(module), torch.full((30,), -torch.inf, dtype=torch.float64)
    low, high = LinearBounds(affine, ball).interval()
    for shares in itertools.product(torch.linspace(0, 1, 31, dtype=torch.float64), repeat=2):
        touch = torch.stack(shares).expand(30, 1, 2)
        slopes, constant = Rectifier().relax(head.weight.T[None], low, high, touch)
        bound = LinearBounds(affine, ball).lower(slopes) + constant + head.bias
        best = torch.maximum(best, bound[:, 0])
    found = LinearBounds(module, ball, 20).lower(A)[:, 0]
    plain = LinearBounds(module, ball).lower(A)[:, 0]
    assert (found >= best - 0.05).all()
    assert (plain < best - 0.01).sum() > 3
    assert (found - plain).sum() > 0.8 * (best - plain).sum()


def test_a_normalizer_alone_is_bounded():
    X, y = table(2)
    pipeline = make_pipeline(Normalizer(), LogisticRegression()).fit(X, y)
    labels = torch.tensor(pipeline.classes_.searchsorted(y))
    bound = assert_never_above(to_torch(pipeline), balls(X, 0.05), labels)
    assert (bound.amin(dim=1) > 0).double().mean() > 0.3
