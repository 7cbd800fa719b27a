"""Products of many rows with a few columns, in the order of factors that processors are fast at.

Libraries of matrix products are made for wide results. Where a result has few columns, its transpose, which
has few rows, takes a fraction of the time: on a processor with AVX2 a half to a tenth for ten classes.
"""

import torch
from torch import Tensor

# With fewer columns than this, but more than one.
_FEW_COLUMNS = 16
# The rows then have at least so many numbers each, or for a sum over rows so many in all.
_MANY_INPUTS, _MANY_NUMBERS = 64, 2**14
# Sums over rows gain by it with more columns, too, where the rows have at least so many numbers each.
_FEWER_COLUMNS, _LONG_ROWS = 32, 512


def affine(X: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``X @ weight + bias``.

    The order of factors is that of the weights' shape, so that the answer for a row does not hang on how many
    rows are asked about with it. Nor does it hang on how they lie in memory, as it would where rows are the
    second factor, or where there is one column: they are laid one after another first.

    Parameters
    ----------
    X : tensor of shape (n, n_in) or (n_networks, n, n_in)
    weight : tensor of shape (n_in, n_out) or (n_networks, n_in, n_out)
    bias : tensor of shape (n_out,) or (n_networks, 1, n_out)
    """
    X = _one_after_another(X)
    multiply = torch.addmm if weight.ndim == 2 else torch.baddbmm
    if _has_few_columns(weight) and weight.shape[-2] >= _MANY_INPUTS:
        column = bias[:, None] if bias.ndim == 1 else bias.mT
        return multiply(column, weight.mT, X.mT).mT
    return multiply(bias, X, weight)


def sum_of_outer(X: Tensor, delta: Tensor, out: Tensor) -> None:
    """Write ``X.T @ delta`` into `out`: the gradient of weights, from inputs and slopes of the outputs.

    Parameters
    ----------
    X : tensor of shape (n, n_in) or (n_networks, n, n_in)
    delta : tensor of shape (n, n_out) or (n_networks, n, n_out)
    out : tensor of shape (n_in, n_out) or (n_networks, n_in, n_out)
    """
    X = _one_after_another(X)
    is_narrow = _has_few_columns(delta) and X.numel() >= _MANY_NUMBERS
    if is_narrow or (delta.shape[-1] < _FEWER_COLUMNS and X.shape[-1] >= _LONG_ROWS):
        out.copy_((delta.mT @ X).mT)
    else:
        torch.matmul(X.mT, delta, out=out)


def _has_few_columns(matrix: Tensor) -> bool:
    return 1 < matrix.shape[-1] < _FEW_COLUMNS


def _one_after_another(X: Tensor) -> Tensor:
    """Return rows without gaps between them or between their numbers; networks may share them."""
    return X if X.stride()[-2:] == (X.shape[-1], 1) else X.contiguous()
