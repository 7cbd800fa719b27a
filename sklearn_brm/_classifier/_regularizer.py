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
            value = self.penalties[label].alpha * _scalar(self.penalties[label], term(batch))
            self._sums[label] += value.detach() * len(batch.rows)
            total = total + value
        self._n_rows += len(batch.rows)
        return total

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
