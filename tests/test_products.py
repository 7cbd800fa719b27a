"""Products with few columns: the same numbers in either order of factors, however rows lie in memory."""

import pytest
import torch

from sklearn_brm.functional import products

SHAPES = [(200, 64, 8), (193, 100, 10), (1797, 64, 3), (50, 64, 1), (40, 600, 20), (30, 5, 4), (1, 64, 10)]


def draw(shape, n_networks, dtype):
    n, n_in, n_out = shape
    stack = () if n_networks is None else (n_networks,)
    generator = torch.Generator().manual_seed(0)
    sizes = {"X": (n, n_in), "weight": (n_in, n_out), "bias": (n_out,), "delta": (n, n_out)}
    if stack:
        sizes["bias"] = (1, n_out)
    return [torch.randn(*stack, *size, dtype=dtype, generator=generator) for size in sizes.values()]


@pytest.mark.parametrize("n_networks", [None, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_those_of_the_formula(shape, n_networks):
    X, weight, bias, delta = draw(shape, n_networks, torch.float64)
    torch.testing.assert_close(products.affine(X, weight, bias), X @ weight + bias, rtol=1e-12, atol=1e-12)
    out = torch.full_like(weight, torch.nan)
    products.sum_of_outer(X, delta, out)
    torch.testing.assert_close(out, X.mT @ delta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_give_the_same_bits_however_they_lie_in_memory(shape, dtype):
    X, weight, bias, delta = draw(shape, None, dtype)
    wide = torch.cat([X, X[:, :1]], dim=1)[:, :-1]
    scores, gradients = [], []
    for rows in (X, wide):
        scores.append(products.affine(rows, weight, bias))
        gradients.append(torch.empty_like(weight))
        products.sum_of_outer(rows, delta, gradients[-1])
    assert torch.equal(*scores)
    assert torch.equal(*gradients)
