"""The training loop of a winner-take-all layer: epochs, their history, and the revival of dead units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from ..functional.plasticity import PlasticLayer, Rule, converged_units, lebesgue_norms, scale_to_radius

if TYPE_CHECKING:
    from ._feeds import Feed

# The largest change per epoch is measured on at most this many units, to spare a second copy of the weights.
_WATCHED_UNITS = 256
# Of a learner, besides tensors: what the next epoch depends on.
_KEPT = ("n_updates", "history", "n_quiet_epochs", "is_over")


class Step(Protocol):
    """One update of a layer: it returns the overlap of each row with its winner, and the winners."""

    def __call__(
        self, layer: PlasticLayer, X: Tensor, rule: Rule, rate: float, /
    ) -> tuple[Tensor, Tensor]: ...


class Learner:
    """Apply a rule to a layer, batch by batch, and keep count.

    Parameters
    ----------
    layer : PlasticLayer
    rule : Rule
    step : callable
        `minibatch_step` or `sample_step`.
    rate : callable
        Maps the number of updates done so far to the learning rate.
    batch_size : int

    Attributes
    ----------
    n_updates : int
    wins : Tensor of shape (n_units,)
        Examples won by each unit in the last epoch; those of zeros have no winner.
    history : dict of list
        Per epoch of `train`: the share of units that are converged, the largest change of a unit and the
        number of units that won an example.
    n_quiet_epochs : int
        For how many epochs in a row no live unit has changed any more.
    is_over : bool
        Whether `train` has ended by that.
    """

    def __init__(
        self,
        layer: PlasticLayer,
        rule: Rule,
        *,
        step: Step,
        rate: Callable[[int], float],
        batch_size: int,
    ) -> None:
        self.layer = layer
        self.rule = rule
        self.step = step
        self.rate = rate
        self.batch_size = batch_size
        self.n_updates = 0
        self.wins = torch.zeros(len(layer.W), dtype=torch.int64, device=layer.W.device)
        self.history: dict[str, list[Any]] = {"converged": [], "largest_change": [], "winners": []}
        self.n_quiet_epochs = 0
        self.is_over = False

    @property
    def n_epochs(self) -> int:
        """Number of epochs that `train` has gone through."""
        return len(self.history["converged"])

    def state(self) -> dict[str, Any]:
        """Return what another learner like this one goes on from, not copied."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return kept | {"layer": self.layer.state(), "wins": self.wins}

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.layer.go_on_from(state["layer"])
        self.wins.copy_(state["wins"])
        for name in _KEPT:
            setattr(self, name, state[name])

    def learn(self, feed: Feed, order: np.ndarray) -> Tensor:
        """Learn once from the examples of `feed` in `order`; return the overlap of each with its winner.

        Raises
        ------
        ValueError
            If the weights overflow.
        """
        overlaps = []
        for batch in feed.batches(order, self.batch_size):
            overlap, winner = self.step(self.layer, batch, self.rule, self.rate(self.n_updates))
            self.wins.index_add_(0, winner, (overlap != 0).to(self.wins.dtype))
            self.n_updates += 1
            overlaps.append(overlap)
        if not math.isfinite(self.layer.W.sum()):
            raise ValueError(
                "The weights of the units are no longer finite. Lower learning_rate or inhibition, "
                "use init='rows', or scale the data."
            )
        return torch.cat(overlaps)

    def train(
        self,
        feed: Feed,
        orders: Iterable[np.ndarray],
        *,
        tol: float,
        patience: int | None = None,
        last_revival: int = 0,
        random_state: np.random.RandomState | None = None,
        after_epoch: Callable[[], object] = lambda: None,
    ) -> None:
        """Let `learn` pass over the examples in each of `orders`, until no live unit changes any more.

        Parameters
        ----------
        feed : Feed
        orders : iterable of ndarray
            The indices of the examples of each epoch, asked for when it begins.
        tol : float
            Relative to the radius: how far a norm may be from it, and a unit move in an epoch, p-norm for
            both.
        patience : int or None
            Stop when all live units kept within `tol` for so many epochs in a row; None never stops.
        last_revival : int
            Units that won nothing in an epoch before this one start anew from poorly represented examples.
        random_state : RandomState or None
            Draws these; needed where there are any.
        after_epoch : callable
            Called when an epoch is over.
        """
        watched = slice(None, None, -(-len(self.layer.W) // _WATCHED_UNITS))
        for epoch, order in enumerate(orders, start=self.n_epochs):
            moves = self.layer.W[watched].clone()
            self.wins.zero_()
            overlaps = self.learn(feed, order)
            moves -= self.layer.W[watched]
            self.n_quiet_epochs = self.n_quiet_epochs + 1 if self._close_epoch(moves, tol) else 0
            self.is_over = patience is not None and self.n_quiet_epochs >= patience
            if epoch < last_revival and not self.is_over:
                self._revive(feed, order, overlaps, cast(np.random.RandomState, random_state))
            after_epoch()
            if self.is_over:
                break

    def _close_epoch(self, moves: Tensor, tol: float) -> bool:
        """Add to the history; return whether all live units have come to rest."""
        W, p, R = self.layer.W, self.layer.p, self.rule.R
        change = float(lebesgue_norms(moves, p).max()) / R
        converged = converged_units(W, p=p, R=R, tol=tol)
        self.history["converged"].append(float(converged.double().mean()))
        self.history["largest_change"].append(change)
        self.history["winners"].append(int((self.wins > 0).sum()))
        return change < tol and bool((converged | (self.wins == 0)).all())

    def _revive(
        self, feed: Feed, order: np.ndarray, overlaps: Tensor, random_state: np.random.RandomState
    ) -> None:
        """Start dead units anew from examples, likelier the farther these are from their winner."""
        dead = torch.nonzero(self.wins == 0)[:, 0]
        # An example that is its winner has the overlap R^(p-1).
        misfit = (1 - overlaps / self.rule.R ** (self.layer.p - 1)).clamp(min=0, max=1)
        misfit = misfit.masked_fill(overlaps == 0, 0).double().cpu().numpy()
        n_revived = min(len(dead), int(np.count_nonzero(misfit)))
        if n_revived == 0:
            return
        chosen = random_state.choice(len(order), n_revived, replace=False, p=misfit / misfit.sum())
        examples = scale_to_radius(feed.take(order[chosen]), self.layer.p, self.rule.R)
        self.layer.W[dead[:n_revived]] = examples
        self.layer.refresh()
