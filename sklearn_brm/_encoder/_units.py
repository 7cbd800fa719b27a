"""What the units of an encoder answer to a patch, as layers: known of some encoders, asked of all others."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, IncrementalPCA
from torch import Tensor, nn

from .._base import as_tensor
from ..functional.convolutions import AgainstMean, Cast, Distances
from ..functional.layers import Affine, Function, Rescale, layers_of
from ._estimator import WTAEncoder

_CENTRES = (KMeans, MiniBatchKMeans, BisectingKMeans)


def measures_distances(encoder: object) -> bool:
    """Return whether the smallest output of an encoder, and not the largest, tells the nearest unit."""
    return isinstance(encoder, _CENTRES)


def unit_layers(
    encoder: Any, *, bare: bool, device: torch.device, dtype: torch.dtype
) -> Sequence[nn.Module] | None:
    """Return the layers from a patch to what `encoder.transform` answers, or None where they are not known.

    Parameters
    ----------
    encoder : transformer
        Fitted.
    bare : bool
        Whether another activation follows: a `WTAEncoder` then gives its overlaps.
    device : torch.device
    dtype : torch.dtype
    """

    def tensor(array: np.ndarray) -> Tensor:
        return as_tensor(array, dtype=dtype, device=device)

    # Subclasses may answer otherwise.
    kind = type(encoder)
    if kind is WTAEncoder:
        encoder = copy.copy(encoder)
        encoder.power = None if bare else encoder.power
        return list(layers_of(encoder._as_torch(device=device, dtype=dtype)))
    if kind in _CENTRES:
        return [Distances(tensor(encoder.cluster_centers_))]
    if kind in (PCA, IncrementalPCA) and not encoder.whiten:
        return [Affine(tensor(encoder.components_.T), shift=tensor(encoder.mean_))]
    return None


def asked(encoder: Any) -> Function:
    """Return the layer that hands patches to any encoder, batch by batch."""

    def answers(patches: Tensor) -> Tensor:
        output = encoder.transform(patches.cpu().numpy())
        output = output.toarray() if sparse.issparse(output) else np.asarray(output)
        return as_tensor(output, dtype=patches.dtype, device=patches.device)

    return Function(answers)


def against_mean(layers: Sequence[nn.Module], sign: float) -> Sequence[nn.Module]:
    """Return the layers followed by ``sign * (answer - mean of all units)``.

    A product takes this into its weights, and no pass over the maps is needed.
    """
    *before, last = layers
    if not isinstance(last, Affine):
        return [*layers, AgainstMean(sign)]
    weight = sign * (last.weight - last.weight.mean(dim=1, keepdim=True))
    bias = None if last.bias is None else sign * (last.bias - last.bias.mean())
    return [*before, Affine(weight, bias, shift=last.shift)]


def shortened(layers: Sequence[nn.Module], dtype: torch.dtype) -> Sequence[nn.Module]:
    """Return the layers with the last product, which costs most, in a shorter floating type."""
    *before, last = layers
    if not isinstance(last, Affine) or dtype == last.weight.dtype:
        return layers
    shift = [] if last.shift is None else [Rescale(last.shift, None)]
    bias = None if last.bias is None else last.bias.to(dtype)
    return [*before, *shift, Cast(dtype), Affine(last.weight.to(dtype), bias)]
