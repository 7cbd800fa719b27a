"""What every penalty is."""

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

from sklearn.base import BaseEstimator
from torch import Tensor

from ..._base import DocLinkMixin, check_parameters, number
from .._network import Perceptron
from ._batch import Batch

# From the cheapest on: each allows what those before it do.
NEEDS = ("weights", "activations", "input")


class Penalty(DocLinkMixin, BaseEstimator):
    """What may be added to the loss of a `RegularizedClassifier`: derive from it and write `value`.

    As in any estimator of scikit-learn, `__init__` only stores its parameters, of which one is `alpha`, the
    strength. Training leaves the object as it is; random numbers come from the batch.

    See Also
    --------
    Batch : What `value` may look at.

    Examples
    --------
    Weights of the first layer that are far apart:

    >>> from sklearn_brm.penalties import Penalty
    >>> class LargestWeight(Penalty):
    ...     def __init__(self, alpha=0.1):
    ...         self.alpha = alpha
    ...
    ...     def needs(self, network):
    ...         return "weights"
    ...
    ...     def value(self, batch):
    ...         return batch.weights[0].abs().max()
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_brm import RegularizedClassifier
    >>> classifier = RegularizedClassifier((20,), penalty=[LargestWeight(), "l2"], tol=None, random_state=0)
    >>> sorted(classifier.fit(*load_iris(return_X_y=True)).penalties_)
    ['l2', 'largest_weight']
    """

    _doc_link_place = "sklearn_brm.penalties"
    _parameter_rules = MappingProxyType({"alpha": number("[0, inf)")})

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Inherited gradients are those of the inherited value.
        if "gradients" not in vars(cls) and {"value", "start_epoch"} & vars(cls).keys():
            cls.gradients = Penalty.gradients  # type: ignore[method-assign]
        if "gradients" in vars(cls) and "_stacks" not in vars(cls):
            cls._stacks = Penalty._stacks  # type: ignore[method-assign]

    def check(self, hidden_layer_sizes: list[int]) -> None:
        """Raise TypeError or ValueError where a parameter is not what it may be, before any work.

        Parameters
        ----------
        hidden_layer_sizes : list of int
            Units of the hidden layers of the classifier.
        """
        check_parameters(self)

    def needs(self, network: Perceptron) -> str:
        """Return what the value is differentiated by, which decides how the network is trained.

        Parameters
        ----------
        network : torch.nn.Module
            With `n_hidden`, the number of hidden layers, and `power`, the exponent of the rectifier.

        Returns
        -------
        needs : {"weights", "activations", "input"}
            "weights" where the gradient reaches the weights without passing through `batch.scores` or
            `batch.preactivations`, which may then be constants: this is the fastest. "input" where `value`
            itself differentiates by `batch.X`. "activations", the default, for all else.
        """
        return "activations"

    def start_epoch(self, batches: Iterator[Batch]) -> Callable[[Batch], Tensor]:
        """Return the function of a batch that is the penalty in the coming epoch: `value`, if not overridden.

        Parameters
        ----------
        batches : iterator of Batch
            All rows, without gradients, as the network sees them in prediction. Rows that nobody asks for
            cost nothing.

        Returns
        -------
        value : callable
            As `value`; what was found out about all rows it knows from here, not from attributes.
        """
        return self.value

    def is_settled(self, share: float) -> bool:
        """Return whether the penalty has ceased to change by itself: True, if not overridden.

        While it does, the loss may rise though nothing goes wrong. So `tol` and `early_stopping` judge only
        epochs that all penalties are settled in.

        Parameters
        ----------
        share : float
            As in `Batch`.
        """
        return True

    def value(self, batch: Batch) -> Tensor:
        """Return the penalty on a batch, without its strength.

        Parameters
        ----------
        batch : Batch

        Returns
        -------
        value : tensor without dimensions
            That torch can differentiate.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method `value`.")

    def gradients(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor | None]] | None:
        """Return the value and its gradients in closed form, or None, if not overridden: torch finds them.

        Small networks learn up to twice as fast by them. They are asked for only where `needs` is "weights",
        and a class that overrides `value` or `start_epoch` does not inherit them.

        Parameters
        ----------
        batch : Batch

        Returns
        -------
        value : tensor without dimensions
            As `value` returns it.
        gradients : sequence of tensors or None
            By each of `batch.weights`, or None where a layer has none.
        """
        return None

    def _stacks(self, network: Perceptron) -> bool:
        """Return whether `gradients` also serves several networks such as this one at once.

        Weights, scores and pre-activations then have one more axis in front, and the value one entry for each
        network.
        """
        return False
