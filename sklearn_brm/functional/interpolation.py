"""Piecewise linear interpolation with gradients."""

import torch
from torch import Tensor


def interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Interpolate as `numpy.interp` does, differentiably in `x`.

    `x` is (n_features, n) and `knots`, which never fall, are (n_features, n_knots). `values` are
    (n_knots,). Beyond the outer knots the outer values hold. Of equal knots the last one counts, as
    in NumPy.
    """
    last = knots.shape[1] - 1
    left = torch.searchsorted(knots, x.detach().contiguous(), right=True) - 1
    left = left.clamp(0, max(last - 1, 0))
    right = (left + 1).clamp(max=last)
    start, width = knots.gather(1, left), knots.gather(1, right) - knots.gather(1, left)
    # An interval without width is only met at the outer end, where its share is not used.
    share = (x - start) / width.masked_fill(width == 0, 1.0)
    inside = values[left] + share * (values[right] - values[left])
    inside = torch.where(x < knots[:, :1], values[0], inside)
    return torch.where(x >= knots[:, -1:], values[-1], inside)
