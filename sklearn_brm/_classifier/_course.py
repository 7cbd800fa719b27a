"""How a training goes: the curves of its epochs, whether anything improves any more, and what comes out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ._network import Perceptron
from ._plan import Settings

_KEPT = ("losses", "penalties", "validation_scores", "finished", "best_score", "n_stale")


class Course:
    """The epochs of a training so far, and whether nothing improves any more.

    Parameters
    ----------
    settings : Settings
        Of which `tol` and `n_iter_no_change` count.
    first_epoch : int
        Number of epochs before this training.

    Attributes
    ----------
    losses, penalties, validation_scores : lists
        Of each epoch: the mean loss, a dict of what each penalty contributed to it, and the accuracy on the
        rows to watch.
    finished : bool
        Whether nothing improves any more.
    """

    def __init__(self, settings: Settings, first_epoch: int = 0) -> None:
        self.settings = settings
        self.first_epoch = first_epoch
        self.losses: list[float] = []
        self.penalties: list[dict[str, float]] = []
        self.validation_scores: list[float] = []
        self.finished = False
        self.best_score, self.n_stale = -math.inf, 0

    @property
    def epoch(self) -> int:
        """Number of epochs trained so far."""
        return self.first_epoch + len(self.losses)

    def end_epoch(
        self, loss: float, penalties: dict[str, float], accuracy: float | None, *, settled: bool
    ) -> bool:
        """Note an epoch, and return whether it is the best so far on the rows to watch.

        Parameters
        ----------
        loss : float
        penalties : dict of float
        accuracy : float or None
            On the rows to watch, if any.
        settled : bool
            Whether the penalties have ceased to change by themselves. While one grows, the loss rises though
            the training does what it shall, and epochs are not judged.

        Raises
        ------
        DivergedError
            If the loss is not finite.
        """
        if not np.isfinite(loss):
            raise diverged(self.settings.name, self.epoch + 1)
        self.losses.append(loss)
        self.penalties.append(penalties)
        if accuracy is not None:
            self.validation_scores.append(accuracy)
        if not settled:
            return False
        is_best = self._judge(-loss if accuracy is None else accuracy)
        return is_best and accuracy is not None

    def _judge(self, score: float) -> bool:
        if self.settings.tol is not None:
            self.n_stale = self.n_stale + 1 if score < self.best_score + self.settings.tol else 0
            self.finished = self.n_stale > self.settings.n_iter_no_change
        is_best = score > self.best_score
        self.best_score = max(score, self.best_score)
        return is_best

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, not copied."""
        return {name: getattr(self, name) for name in _KEPT}

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        for name in _KEPT:
            setattr(self, name, state[name])


@dataclass(frozen=True)
class Outcome:
    """What a training leaves.

    Attributes
    ----------
    settings : Settings
    network : Perceptron
    course : Course
    optimizer : torch.optim.Optimizer or None
        None where a solver, or a batch of networks, did the work.
    stopped, interrupted : bool
        Whether the training ended before its last epoch: by itself or a callback, or by Ctrl-C.
    """

    settings: Settings
    network: Perceptron
    course: Course
    optimizer: torch.optim.Optimizer | None = None
    stopped: bool = False
    interrupted: bool = False


class DivergedError(ValueError):
    """A training whose loss or weights ceased to be finite."""


def diverged(owner: str, epoch: int) -> DivergedError:
    """Build the error of a training that diverged in `epoch`, counted from 1."""
    return DivergedError(
        f"The loss of {owner} is not finite in epoch {epoch}: training diverged. Try a smaller "
        "learning_rate, weaker penalties (alpha), a smaller power, or features of unit scale "
        "(standardize=True, or a StandardScaler before)."
    )


def joined_penalties(
    before: dict[str, list[float]], n_before: int, epochs: Sequence[dict[str, float]]
) -> dict[str, list[float]]:
    """Return the curve of each penalty over `n_before` epochs and, in a dict each, further `epochs`.

    A penalty that was not there in an epoch counts as zero in it.
    """
    names = dict.fromkeys([*before, *(name for epoch in epochs for name in epoch)])
    return {
        name: before.get(name, [0.0] * n_before) + [epoch.get(name, 0.0) for epoch in epochs]
        for name in names
    }
