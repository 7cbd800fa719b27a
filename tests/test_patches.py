"""Cutting, whitening and pooling of images, and the layers that see rows as images, against index loops."""

import itertools

import numpy as np
import pytest
import torch

from sklearn_brm.functional.convolutions import (
    AgainstMean,
    Cast,
    Contrast,
    Cut,
    Distances,
    Grid,
    MaxPool,
    MeanPool,
    PerPatch,
    per_patch,
)
from sklearn_brm.functional.layers import Affine, Rectifier, RowNorm, sequence
from sklearn_brm.functional.patches import cut, grid_weights, places, pool_padding, pooling_weights, zca


def draw(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def mirrored(index, length):
    """Return the pixel that stands for `index`, which may lie outside of a side of `length`."""
    return abs(index) if index < length else 2 * (length - 1) - index


def loop_patches(image, size, stride, padding):
    """Return patches row by row, with nothing but indices."""
    height, width, channels = image.shape
    found = []
    for top in range(-padding[0], height + padding[0] - size[0] + 1, stride):
        for left in range(-padding[1], width + padding[1] - size[1] + 1, stride):
            patch = []
            for row, column, channel in itertools.product(
                range(top, top + size[0]), range(left, left + size[1]), range(channels)
            ):
                patch.append(image[mirrored(row, height), mirrored(column, width), channel])
            found.append(patch)
    return np.array(found)


def loop_pool(image, size, stride, average):
    """Pool windows that may stick out, with nothing but indices."""
    height, width, channels = image.shape
    padding = [max(side - stride, 0) // 2 for side in size]
    tops = range(-padding[0], height + padding[0] - size[0] + 1, stride)
    lefts = range(-padding[1], width + padding[1] - size[1] + 1, stride)
    pooled = np.zeros((len(tops), len(lefts), channels))
    for (i, top), (j, left), channel in itertools.product(enumerate(tops), enumerate(lefts), range(channels)):
        inside = [
            image[row, column, channel]
            for row in range(top, top + size[0])
            for column in range(left, left + size[1])
            if 0 <= row < height and 0 <= column < width
        ]
        pooled[i, j, channel] = sum(inside) / len(inside) if average else max(inside)
    return pooled


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("size", "padding"), [((3, 3), (0, 0)), ((2, 4), (1, 2)), ((5, 1), (2, 0))])
def test_patches_are_those_of_the_index_loop(size, stride, padding):
    images = draw(0, 2, 6, 7, 3)
    layer = Cut((6, 7, 3), size, stride, padding)
    expected = np.stack([loop_patches(image.numpy(), size, stride, padding) for image in images])
    found = layer(images.flatten(1))
    assert layer.n_places == expected.shape[1]
    np.testing.assert_array_equal(found.reshape(expected.shape).numpy(), expected)
    np.testing.assert_array_equal(images.flatten(1)[:, layer.columns].numpy(), found.numpy())


def test_the_number_of_places_is_that_of_the_patches():
    for length, size, stride, padding in itertools.product((5, 8), (1, 3, 5), (1, 2, 3), (0, 1, 2)):
        expected = len(range(-padding, length + padding - size + 1, stride))
        assert places(length, size, stride, padding) == expected


def test_whitening_divides_each_direction_by_its_spread_and_turns_none():
    patches = draw(0, 500, 6) @ draw(1, 6, 6) + 3
    mean, matrix = zca(patches, 0.1)
    centred = patches - patches.mean(dim=0)
    covariance = centred.T @ centred / 500
    offset = 0.1 * covariance.trace() / 6 * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(mean, patches.mean(dim=0))
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix @ (covariance + offset) @ matrix, torch.eye(6, dtype=torch.float64))
    assert (torch.linalg.eigvalsh(matrix) > 0).all()


def test_full_whitening_leaves_out_directions_that_do_not_vary():
    patches = draw(0, 200, 4)
    patches = patches - patches.mean(dim=1, keepdim=True)
    mean, matrix = zca(patches, 0.0)
    white = (patches - mean) @ matrix
    variances = torch.linalg.eigvalsh(white.T @ white / 200)
    torch.testing.assert_close(variances, torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    assert not zca(torch.ones(5, 3), 0.0)[1].any()


@pytest.mark.parametrize("size_and_stride", ["222", "442", "331", "323", "132"])
def test_pooling_is_that_of_the_index_loop_where_windows_stick_out_too(size_and_stride):
    *size, stride = map(int, size_and_stride)
    size = tuple(size)
    maps = draw(0, 3, 6, 7, 2)
    for layer, average in (
        (MaxPool((6, 7, 2), size, stride), False),
        (MeanPool((6, 7, 2), size, stride, dtype=torch.float64), True),
    ):
        expected = np.stack([loop_pool(image.numpy(), size, stride, average) for image in maps])
        found = layer(maps.flatten(1)).reshape(expected.shape)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_windows_of_four_every_two_halve_a_map_as_in_softhebb():
    assert pool_padding(4, 2) == 1
    assert pooling_weights(32, 4, 2).shape == (16, 32)
    assert pooling_weights(16, 2, 2).shape == (8, 16)


@pytest.mark.parametrize(("length", "n_cells"), [(8, 2), (27, 2), (7, 3), (3, 3), (5, 1)])
def test_cells_of_a_grid_cover_the_map_in_equal_parts(length, n_cells):
    weights = grid_weights(length, n_cells)
    sizes = (weights > 0).sum(dim=1)
    assert (weights > 0).any(dim=0).all()
    assert sizes.max() == sizes.min() == -(-length // n_cells) or length % n_cells
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(n_cells, dtype=torch.float64))
    assert (sizes - sizes[0]).abs().max() <= 1


def test_quadrants_are_the_means_of_the_four_corners():
    maps = draw(0, 2, 27, 27, 3)
    layer = Grid((27, 27, 3), (2, 2), dtype=torch.float64)
    found = layer(maps.flatten(1)).reshape(2, 2, 2, 3)
    parts = (slice(0, 14), slice(13, 27))
    for i, j in itertools.product((0, 1), (0, 1)):
        torch.testing.assert_close(found[:, i, j], maps[:, parts[i], parts[j]].mean(dim=(1, 2)))


def test_contrast_and_the_distance_from_the_mean_are_their_formulas():
    patches = draw(0, 5, 8) + 2
    centred = AgainstMean()(patches)
    torch.testing.assert_close(centred, patches - patches.mean(dim=1, keepdim=True))
    torch.testing.assert_close(AgainstMean(-1)(patches), -centred)
    expected = centred / (patches.var(dim=1, correction=0, keepdim=True) + 0.3).sqrt()
    torch.testing.assert_close(Contrast(0.3)(centred), expected)
    assert not Contrast(0.3)(torch.zeros(1, 8)).any()


def test_distances_are_those_between_points_with_a_gradient_of_zero_at_a_centre():
    X, centres = draw(0, 6, 4), draw(1, 3, 4)
    X[0] = centres[1] = 2.0
    X.requires_grad_()
    distances = Distances(centres)(X)
    expected = (X[:, None] - centres).square().sum(dim=2).sqrt()
    torch.testing.assert_close(distances, expected)
    (gradient,) = torch.autograd.grad(distances[0, 1], X)
    assert not gradient.any()


def test_a_layer_per_patch_answers_each_patch_by_itself():
    layer, patches = Affine(draw(0, 4, 3), draw(1, 3)), draw(2, 5, 6, 4)
    found = PerPatch(layer, 6)(patches.flatten(1)).reshape(5, 6, 3)
    for image, place in itertools.product(range(5), range(6)):
        torch.testing.assert_close(found[image, place], layer(patches[image, place][None])[0])


def layers_on_images():
    """Return layers with the number of columns that they take."""
    return [
        (Cut((4, 5, 2), (3, 2), 1, (1, 0)), 40),
        (PerPatch(Affine(draw(0, 4, 3), draw(1, 3), shift=draw(2, 4)), 5), 20),
        (PerPatch(Rectifier(2.0), 5), 20),
        (PerPatch(RowNorm(3), 5), 20),
        (PerPatch(Contrast(0.3), 5), 20),
        (PerPatch(Distances(draw(3, 6, 4)), 5), 20),
        (AgainstMean(), 7),
        (AgainstMean(-1.0), 7),
        (MeanPool((4, 5, 2), (3, 3), 2, dtype=torch.float64), 40),
        (Grid((4, 5, 2), (2, 3), dtype=torch.float64), 40),
        (MaxPool((4, 5, 2), (3, 3), 2), 40),
        (Rectifier(0.7), 7),
    ]


@pytest.mark.parametrize(("layer", "n_columns"), layers_on_images(), ids=lambda case: str(case)[:40])
@pytest.mark.parametrize("width", [0.01, 0.5, 3.0])
def test_bounds_hold_at_random_points_and_corners_of_a_box(layer, n_columns, width):
    centre = draw(5, 3, n_columns)
    lower, upper = centre - width * draw(6, 3, n_columns).abs(), centre + width * draw(7, 3, n_columns).abs()
    low, high = layer.interval(lower, upper)
    for A in (draw(8, 3, 4, low.shape[1]), draw(8, 1, 4, low.shape[1])):
        A_in, constant = layer.relax(A, lower, upper)
        for seed in range(20):
            share = torch.from_numpy(np.random.default_rng(seed).random((3, n_columns)))
            x = lower + (upper - lower) * (share.round() if seed % 2 else share)
            output = layer(x)
            assert (output >= low - 1e-9).all()
            assert (output <= high + 1e-9).all()
            bound = constant if A_in is None else constant + (A_in @ x[..., None])[..., 0]
            assert ((A @ output[..., None])[..., 0] >= bound - 1e-9).all()


@pytest.mark.parametrize(("layer", "n_columns"), layers_on_images()[:10], ids=lambda case: str(case)[:40])
def test_bounds_of_a_point_are_its_value(layer, n_columns):
    x = draw(5, 2, n_columns)
    for end in layer.interval(x, x):
        torch.testing.assert_close(end, layer(x))


@pytest.mark.parametrize(("layer", "n_columns"), layers_on_images(), ids=lambda case: str(case)[:40])
def test_gradients_are_finite_differences(layer, n_columns):
    assert torch.autograd.gradcheck(layer, draw(9, 2, n_columns).requires_grad_())


@pytest.mark.parametrize("power", [0.5, 0.7, 1.0, 1.4])
def test_a_rectifier_of_any_power_has_a_finite_gradient_at_zero(power):
    u = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    Rectifier(power)(u).sum().backward()
    torch.testing.assert_close(u.grad, torch.tensor([0.0, 0.0, power * 2 ** (power - 1)]))


def test_layers_apply_patch_by_patch_one_after_the_other():
    network = sequence(Affine(draw(0, 4, 3)), Rectifier(), Cast(torch.float32))
    patches = draw(1, 2, 5, 4)
    found = per_patch(network, 5)(patches.flatten(1))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network(patches.reshape(10, 4)).reshape(2, -1))


def test_cutting_leaves_the_images_alone():
    images = draw(0, 1, 4, 4, 1)
    patches = cut(images, (2, 2))
    before = images.clone()
    patches.zero_()
    torch.testing.assert_close(images, before)
