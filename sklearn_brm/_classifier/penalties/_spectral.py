"""The penalty on the spectrum of a representation."""

from collections.abc import Callable, Iterator
from functools import partial
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from ..._base import integer, number, one_of, parameter_error
from ..._device import float64_device
from ...functional import penalties
from ...functional.spectra import StreamingCovariance
from ._base import Penalty
from ._batch import Batch


class Spectral(Penalty):
    """How far the spectrum of the last hidden layer is from a power law [1]_.

    The value is the mean over n of (l_n/g_n - 1)^2 + max(0, l_n/g_n - 1), with the eigenvalues l_n of the
    covariance (divisor n) along eigenvectors that are found over all rows at the start of every epoch, and
    the power law g_n.

    Parameters
    ----------
    of : {"hidden", "preactivation"}, default="hidden"
        Whose spectrum: that of the activations or the pre-activations.
    alpha : float, default=1.0
        Strength, as published.
    exponent : float, default=1.0
        Of the power law that the eigenvalues shall follow.
    start : int, default=0
        Rank, counted from 1 and below the number of units, from which the eigenvalues count; the power law
        then passes through that eigenvalue. 0 counts all, against the plain power law that starts at an
        eigenvalue of 1.

    References
    ----------
    .. [1] Nassar et al., "On 1/n neural representation and robustness", 2020. arXiv:2012.04729
    """

    _parameter_rules = MappingProxyType(
        {
            "of": one_of("hidden", "preactivation"),
            "alpha": number("[0, inf)"),
            "exponent": number("[0, inf)"),
            "start": integer("[0, inf)"),
        }
    )

    def __init__(
        self, of: str = "hidden", *, alpha: float = 1.0, exponent: float = 1.0, start: int = 0
    ) -> None:
        self.of = of
        self.alpha = alpha
        self.exponent = exponent
        self.start = start

    def check(self, hidden_layer_sizes: list[int]) -> None:
        """Raise ValueError, too, where there is no eigenvalue to act on."""
        super().check(hidden_layer_sizes)
        if not hidden_layer_sizes:
            raise ValueError(
                f"{type(self).__name__} shapes the spectrum of the last hidden layer, and there is no hidden "
                "layer: give hidden_layer_sizes one, or take this penalty away."
            )
        n_units = hidden_layer_sizes[-1]
        if self.start >= n_units:
            rule = f"below the {n_units} units of the last hidden layer, so that eigenvalues follow it"
            raise parameter_error(self, "start", rule, self.start, ValueError)

    def start_epoch(self, batches: Iterator[Batch]) -> Callable[[Batch], Tensor]:
        """Return `value` along the directions of all rows, which stay in this epoch."""
        return partial(self.value, eigenvectors=covariance_eigenvectors(batches, self.of))

    # Only `start_epoch` knows the directions: of a batch alone there is no value.
    def value(self, batch: Batch, eigenvectors: Tensor) -> Tensor:  # type: ignore[override]
        """Return the distance from the power law along the columns of `eigenvectors`, largest first."""
        rows = batch.representation(self.of)
        return penalties.spectral(rows, eigenvectors, self.exponent, self.start, batch.weight)


def covariance_eigenvectors(batches: Iterator[Batch], of: str) -> Tensor:
    """Return the eigenvectors of a representation's (weighted) covariance over `batches`, largest first.

    LinAlgError where it has none, since training diverged.
    """
    covariance: StreamingCovariance | None = None
    for batch in batches:
        rows = batch.representation(of)
        if not torch.isfinite(rows).all():
            raise torch.linalg.LinAlgError("The representation is not finite.")  # type: ignore[attr-defined]
        if covariance is None:
            covariance = StreamingCovariance(rows.shape[1], device=float64_device(rows.device))
        covariance.update(rows, batch.weight)
    matrix = cast(StreamingCovariance, covariance).covariance(correction=0)
    return torch.linalg.eigh(matrix).eigenvectors.flip(dims=[1]).to(rows)
