"""Linear maps of the features, and choices among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn import decomposition, feature_selection, random_projection
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from torch import Tensor

from ...functional.layers import Affine, Layer, Select, sequence
from .._registry import converts

if TYPE_CHECKING:
    from .._registry import Target


class Impute(Layer):
    """Statistics in the place of missing values, and beside them which values were missing.

    Parameters
    ----------
    statistics : Tensor of shape (n_kept,)
    kept, indicated : Tensors of int64
        The columns that are handed on, and those whose missing values are told.
    missing : float or None
        What stands for a missing value, beside NaN for None.
    """

    def __init__(
        self, statistics: Tensor, kept: Tensor, indicated: Tensor, missing: int | None = None
    ) -> None:
        super().__init__(statistics=statistics, kept=kept, indicated=indicated)
        self.missing = missing

    def forward(self, X: Tensor) -> Tensor:
        """Return the completed columns, then those of 0 and 1."""
        is_missing = X.isnan() if self.missing is None else torch.eq(X, self.missing)
        filled = torch.where(is_missing[:, self.kept], self.statistics, X[:, self.kept])
        return torch.cat([filled, is_missing[:, self.indicated].to(X.dtype)], dim=1)

    def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return both ends completed; what is missing does not move."""
        return self(lower), self(upper)

    def relax(self, A: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients of the columns that are handed on, and what the others are."""
        missing = lower.isnan() if self.missing is None else lower == self.missing
        n_kept = len(self.kept)
        is_filled = missing[:, self.kept].to(A.dtype)
        constants = torch.cat([is_filled * self.statistics, missing[:, self.indicated].to(A.dtype)], dim=1)
        A_in = A.new_zeros(len(lower), A.shape[1], lower.shape[1])
        A_in[..., self.kept] = A[..., :n_kept] * (1 - is_filled)[:, None]
        return A_in, (A @ constants[..., None])[..., 0]


@converts(decomposition.PCA, decomposition.IncrementalPCA)
def convert_pca(pca: BaseEstimator, target: Target) -> torch.nn.Module:
    """Project the centred rows on the principal components, and divide by their spread."""
    components = pca.components_
    if pca.whiten:
        spread = np.sqrt(pca.explained_variance_)
        # scikit-learn's floor for components without variance.
        components = components / np.maximum(spread, np.finfo(spread.dtype).eps)[:, None]
    return Affine(target.tensor(components.T), shift=target.tensor(pca.mean_))


@converts(
    decomposition.TruncatedSVD,
    NeighborhoodComponentsAnalysis,
    random_projection.GaussianRandomProjection,
    random_projection.SparseRandomProjection,
)
def convert_projection(projection: BaseEstimator, target: Target) -> torch.nn.Module:
    """Project on the components."""
    return Affine(target.tensor(projection.components_).T.contiguous())


@converts(decomposition.FastICA)
def convert_ica(ica: BaseEstimator, target: Target) -> torch.nn.Module:
    """Unmix the rows, centred where they were whitened."""
    shift = target.tensor(ica.mean_) if ica.whiten else None
    return Affine(target.tensor(ica.components_.T), shift=shift)


@converts(decomposition.FactorAnalysis)
def convert_factor_analysis(analysis: BaseEstimator, target: Target) -> torch.nn.Module:
    """Expected factors given the row (Bishop 2006, equation 12.66)."""
    loadings = analysis.components_ / analysis.noise_variance_
    precision = np.eye(len(loadings)) + loadings @ analysis.components_.T
    weight = target.tensor(np.linalg.solve(precision, loadings).T)
    return Affine(weight, shift=target.tensor(analysis.mean_))


@converts(feature_selection.SelectorMixin)
def convert_selector(selector: BaseEstimator, target: Target) -> torch.nn.Module:
    """Keep the chosen columns."""
    return Select(torch.as_tensor(selector.get_support(indices=True), device=target.device))


@converts(feature_selection.RFE, feature_selection.RFECV)
def convert_recursive_elimination(elimination: BaseEstimator, target: Target) -> torch.nn.Module:
    """Keep the chosen columns and, unless another step follows, classify by them."""
    select = convert_selector(elimination, target)
    if target.response == "transform":
        return select
    return sequence(select, target.convert(elimination.estimator_, "estimator", response=target.response))


@converts(SimpleImputer)
def convert_imputer(imputer: BaseEstimator, target: Target) -> torch.nn.Module:
    """Put the statistic where a value is missing; finite rows pass, without the columns never seen."""
    try:
        kept = np.flatnonzero(~np.isnan(np.asarray(imputer.statistics_, dtype=float)))
    except ValueError as error:
        raise target.refuse(imputer, "it fills in values that are no numbers") from error
    statistics = target.tensor(np.asarray(imputer.statistics_, dtype=float)[kept])
    columns = torch.as_tensor(kept, device=target.device)
    indicated = [] if imputer.indicator_ is None else imputer.indicator_.features_
    indicated = torch.as_tensor(np.asarray(indicated, dtype=int), device=target.device)
    missing = imputer.missing_values
    return Impute(statistics, columns, indicated, None if missing is None or np.isnan(missing) else missing)
