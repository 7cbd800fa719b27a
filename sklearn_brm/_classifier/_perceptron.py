"""What a fitted perceptron answers: labels, probabilities, scores, and what its layers hold."""

from __future__ import annotations

import copy
import numbers
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from .._base import DocLinkMixin, SparseMatrix, as_tensor, check_choice, check_number, resolve_device
from .._device import compute_dtype
from .._memory import apply_in_batches, with_smaller_batches
from ..functional.layers import Affine, Rectifier, TwoColumns, sequence

_PREDICTION_ROWS = 8192


class PerceptronClassifier(ClassifierMixin, DocLinkMixin, BaseEstimator):
    """A classifier with fitted layers and labels, and with the parameters `power` and `device`."""

    power: float
    device: str | torch.device
    classes_: np.ndarray
    coefs_: list[NDArray[np.floating]]
    intercepts_: list[NDArray[np.floating]]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def decision_function(self, X: ArrayLike | SparseMatrix) -> NDArray[np.floating]:
        """Return the scores of the classes before the softmax (logits).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the score of ``classes_[1]`` against ``classes_[0]``.
        """
        scores = self._apply(X)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: ArrayLike | SparseMatrix) -> NDArray[np.floating]:
        """Return the probabilities of the classes, in float64.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; every row sums to one.
        """
        return softmax(self._scores(X), axis=1)

    def predict_log_proba(self, X: ArrayLike | SparseMatrix) -> NDArray[np.floating]:
        """Return the logarithms of the probabilities of the classes, in float64.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; finite, however small a probability is.
        """
        return log_softmax(self._scores(X), axis=1)

    def predict(self, X: ArrayLike | SparseMatrix) -> np.ndarray:
        """Return the most probable label of every row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to label.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Members of `classes_`.
        """
        scores = self._apply(X)
        codes = (scores[:, 0] > 0).astype(int) if scores.shape[1] == 1 else scores.argmax(axis=1)
        return self.classes_[codes]

    def hidden(
        self, X: ArrayLike | SparseMatrix, layer: int = -1, *, activation: bool = True
    ) -> NDArray[np.floating]:
        """Return what a hidden layer makes of the rows, for a look at its spectrum.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to pass through the network.
        layer : int, default=-1
            Which hidden layer, counted from 0, or from the end if negative.
        activation : bool, default=True
            Whether to return ``max(0, u) ** power`` or the pre-activation ``u``.

        Returns
        -------
        representation : ndarray of shape (n_samples, n_units)

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        check_is_fitted(self)
        n_hidden = len(self.coefs_) - 1
        if n_hidden == 0:
            raise ValueError(f"This {type(self).__name__} is linear: it has no hidden layer.")
        check_choice(self, "activation", activation, (True, False))
        check_number(self, "layer", layer, f"[{-n_hidden}, {n_hidden - 1}]", kind=numbers.Integral)
        return self._apply(X, n_layers=layer % n_hidden + 1, activation=activation)

    def _as_torch(self, *, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Return the network as a module of its own weights, with one column of scores per class."""
        check_is_fitted(self)
        return copy.deepcopy(sequence(*self._layers(device, dtype), TwoColumns()))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _scores(self, X: ArrayLike | SparseMatrix) -> NDArray[np.float64]:
        """Return the scores in float64, a column for each class."""
        scores = self._apply(X).astype(np.float64)
        return scores if scores.shape[1] > 1 else np.hstack([np.zeros_like(scores), scores])

    def _linear(self, name: str) -> NDArray[np.floating]:
        """Return the attribute of the only layer, for what asks linear models for it."""
        arrays = getattr(self, name)
        if len(arrays) > 1:
            raise AttributeError(
                f"This {type(self).__name__} has hidden layers: see `coefs_` and `intercepts_`."
            )
        return arrays[0]

    @property
    def coef_(self) -> NDArray[np.floating]:
        """Weights of a linear classifier, (1, n_features) for two classes, else (n_classes, n_features)."""
        return self._linear("coefs_").T

    @property
    def intercept_(self) -> NDArray[np.floating]:
        """Intercepts of a linear classifier, of shape (1,) or (n_classes,)."""
        return self._linear("intercepts_")

    def _apply(
        self, X: ArrayLike | SparseMatrix, n_layers: int | None = None, activation: bool = False
    ) -> np.ndarray:
        check_is_fitted(self)
        n_layers = len(self.coefs_) if n_layers is None else n_layers
        rows: Any = validate_data(self, X, dtype=[np.float64, np.float32], accept_sparse="csr", reset=False)
        device = resolve_device(self, self.device)
        dtype = compute_dtype(rows.dtype, device)
        network = sequence(*self._layers(device, dtype)[: 2 * n_layers - 1 + activation])
        n_columns = len(self.intercepts_[n_layers - 1])

        def write(batch: Tensor, out: Tensor) -> None:
            out.copy_(network(batch))

        in_batches = partial(apply_in_batches, write, rows, n_columns, device=device, dtype=dtype)
        return with_smaller_batches(self, in_batches, _PREDICTION_ROWS)

    def _layers(self, device: torch.device, dtype: torch.dtype) -> list[nn.Module]:
        """Return layers on the fitted weights, which they may share, with rectifiers between them."""
        layers: list[nn.Module] = []
        for arrays in zip(self.coefs_, self.intercepts_):
            weight, bias = (as_tensor(a, device=device, dtype=dtype) for a in arrays)
            layers += [Affine(weight, bias), Rectifier(float(self.power))]
        return layers[:-1]
