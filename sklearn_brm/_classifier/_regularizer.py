"""The sum of the penalties, with a ledger of what each contributed."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ._network import Perceptron
from ._rows import Tensors
from .penalties import Batch, Penalty
from .penalties._base import NEEDS


class Regularizer:
    """The sum of penalties, each times its strength, with a ledger per epoch.

    Parameters
    ----------
    penalties : dict of Penalty
        By label. They are read only: what they find out about an epoch is kept here. Those of strength 0 are
        left out.
    network : Perceptron
    generator : torch.Generator
        On the CPU, for projections and random starts.

    Attributes
    ----------
    penalties : dict of Penalty
        Those that count.
    looks_inside : bool
        Whether a gradient passes through the activations, and not only through the weights.
    differentiates_input : bool
        Whether the rows of a batch must require a gradient before the forward pass.
    is_settled : bool
        Whether no penalty will change by itself after the present epoch.
    """

    def __init__(
        self, penalties: Mapping[str, Penalty], network: Perceptron, generator: torch.Generator
    ) -> None:
        self.penalties = {label: penalty for label, penalty in penalties.items() if penalty.alpha > 0}
        self.network = network
        self.generator = generator
        needs = {_needs(penalty, network) for penalty in self.penalties.values()}
        self.looks_inside = not needs <= {"weights"}
        self.differentiates_input = "input" in needs
        self.is_settled = True
        self._share = 1.0
        self._terms: dict[str, Callable[[Batch], Tensor]] = {}
        self._sums: defaultdict[str, Any] = defaultdict(float)
        self._n_rows = 0

    def batch(
        self,
        rows: Tensor,
        y: Tensor,
        weight: Tensor | None,
        scores: Tensor,
        preactivations: Sequence[Tensor],
        *,
        scaled: bool = False,
    ) -> Batch:
        """Return what the penalties may look at."""
        seen = rows, y, weight, scores, preactivations
        return Batch(self.network, *seen, self.generator, share=self._share, rows_are_scaled=scaled)

    @torch.no_grad()
    def start_epoch(self, batches: Iterable[Tensors], share: float) -> None:
        """Let each penalty look at all rows as the network, in evaluation mode, sees them.

        `share` is the share of the training that is done.
        """
        self._share = share
        self.is_settled = all(penalty.is_settled(share) for penalty in self.penalties.values())
        self._terms = {
            label: penalty.start_epoch(self._seen(batches)) for label, penalty in self.penalties.items()
        }

    def __call__(self, batch: Batch) -> Tensor:
        """Return the weighted sum of all penalties on `batch`, and note down what each contributed."""
        total: Any = 0.0
        for label, term in self._terms.items():
            total = total + self._noted(label, term(batch), batch)
        self._n_rows += len(batch.rows)
        return total

    def add_gradients(self, batch: Batch, slopes: Sequence[Tensor]) -> Tensor:
        """Add those of the weighted sum to the gradients of the weights, and return the sum.

        In closed form where a penalty knows it, and by torch for all others, none of which looks inside.

        Parameters
        ----------
        batch : Batch
        slopes : sequence of tensors
            The gradients of the weights of each layer, which are those of the network's parameters.
        """
        total: Any = 0.0
        others: Any = 0.0
        for label, term in self._terms.items():
            value = self._add_closed_form(label, batch, slopes)
            if value is None:
                others = others + self._noted(label, term(batch), batch)
            else:
                total = total + value
        if isinstance(others, Tensor):
            others.backward()
            total = total + others.detach()
        self._n_rows += len(batch.rows)
        return total

    @torch.no_grad()
    def _add_closed_form(self, label: str, batch: Batch, slopes: Sequence[Tensor]) -> Tensor | None:
        """Add the gradients of a penalty that knows them, and return its share in the sum; else None."""
        penalty = self.penalties[label]
        found = penalty.gradients(batch)
        if found is None:
            return None
        value, gradients = found
        _check_gradients(penalty, gradients, slopes)
        for i, (slope, gradient) in enumerate(zip(slopes, gradients)):
            if gradient is not None:
                self._add(slope, gradient, penalty.alpha, is_first=i == 0)
        return self._noted(label, value, batch)

    def _add(self, slope: Tensor, gradient: Tensor, alpha: float, *, is_first: bool) -> None:
        """Add a gradient by the weights for features in the user's units to that by the network's."""
        scale = self.network.inverse_scale if is_first else None
        if scale is None:
            slope.add_(gradient, alpha=alpha)
        else:
            slope.addcmul_(gradient, scale[:, None], value=alpha)

    def _noted(self, label: str, value: object, batch: Batch) -> Tensor:
        """Return a value times its strength, and write it down."""
        found = self.penalties[label].alpha * _scalar(self.penalties[label], value)
        self._sums[label] += found.detach() * len(batch.rows)
        return found

    def end_epoch(self) -> dict[str, float]:
        """Return each penalty's mean contribution to the loss since the last call."""
        means = {label: float(value) / self._n_rows for label, value in self._sums.items()}
        self._sums, self._n_rows = defaultdict(float), 0
        return means

    def _seen(self, batches: Iterable[Tensors]) -> Iterator[Batch]:
        for rows, y, weight in batches:
            yield self.batch(rows, y, weight, *self.network(rows))


def _needs(penalty: Penalty, network: Perceptron) -> str:
    needs = penalty.needs(network)
    if needs not in NEEDS:
        raise ValueError(
            f"{type(penalty).__name__}.needs must return 'weights', 'activations' or 'input'. Got {needs!r}."
        )
    return needs


def _scalar(penalty: Penalty, value: object) -> Tensor:
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        return value
    raise TypeError(f"{type(penalty).__name__}.value must return a tensor without dimensions. Got {value!r}.")


def _check_gradients(penalty: Penalty, gradients: Sequence[Tensor | None], slopes: Sequence[Tensor]) -> None:
    pairs = zip(gradients, slopes)
    fit = all(gradient is None or gradient.shape == slope.shape for gradient, slope in pairs)
    if len(gradients) != len(slopes) or not fit:
        expected = [tuple(slope.shape) for slope in slopes]
        found = [None if gradient is None else tuple(gradient.shape) for gradient in gradients]
        raise ValueError(
            f"{type(penalty).__name__}.gradients must return, beside the value, a tensor or None for each of "
            f"batch.weights, of shapes {expected}. Got {found}."
        )
