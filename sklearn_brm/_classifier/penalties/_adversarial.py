"""The loss at adversarial rows as a penalty."""

from types import MappingProxyType

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._base import integer, number
from ...functional import penalties
from ._base import Penalty
from ._batch import Batch


class Adversarial(Penalty):
    """The mean cross-entropy at adversarial rows.

    Parameters
    ----------
    eps : float, default=0.1
        How far rows may move in the maximum norm, in the units of the features.
    n_steps : int, default=1
        Steps to an adversarial row. 1 is the fast gradient sign method, more are projected gradient ascent
        from a random start.
    alpha : float, default=1.0
        Strength.
    """

    _parameter_rules = MappingProxyType(
        {"eps": number("[0, inf)"), "n_steps": integer("[1, inf)"), "alpha": number("[0, inf)")}
    )

    def __init__(self, eps: float = 0.1, *, n_steps: int = 1, alpha: float = 1.0) -> None:
        self.eps = eps
        self.n_steps = n_steps
        self.alpha = alpha

    def value(self, batch: Batch) -> Tensor:
        """Return the mean loss at the rows found."""
        network = batch.network

        def losses(rows: Tensor) -> Tensor:
            return cross_entropy(network(rows)[0], batch.y, reduction="none")

        # The attack sees the network as it predicts, and leaves the running statistics alone.
        network.eval()
        rows = penalties.adversarial_rows(losses, batch.X, self.eps, self.n_steps, batch.generator)
        network.train()
        return batch.mean(losses(rows))
