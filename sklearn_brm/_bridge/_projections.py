"""Linear maps of the features, and choices among them."""

import numpy as np
import torch
from sklearn import decomposition, feature_selection, random_projection
from sklearn.impute import SimpleImputer
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from ._registry import compose, converts


@converts(decomposition.PCA, decomposition.IncrementalPCA)
def convert_pca(pca, target):
    """Project the centred rows on the principal components, and divide by their spread."""
    components = pca.components_
    if pca.whiten:
        spread = np.sqrt(pca.explained_variance_)
        # scikit-learn's floor for components without variance.
        components = components / np.maximum(spread, np.finfo(spread.dtype).eps)[:, None]
    return affine(target.tensor(components.T), target.tensor(pca.mean_))


@converts(
    decomposition.TruncatedSVD,
    NeighborhoodComponentsAnalysis,
    random_projection.GaussianRandomProjection,
    random_projection.SparseRandomProjection,
)
def convert_projection(projection, target):
    """Project on the components."""
    return affine(target.tensor(projection.components_).T)


@converts(decomposition.FastICA)
def convert_ica(ica, target):
    """Unmix the rows, centred where they were whitened."""
    return affine(target.tensor(ica.components_.T), target.tensor(ica.mean_) if ica.whiten else None)


@converts(decomposition.FactorAnalysis)
def convert_factor_analysis(analysis, target):
    """Expected factors given the row (Bishop 2006, equation 12.66)."""
    loadings = analysis.components_ / analysis.noise_variance_
    precision = np.eye(len(loadings)) + loadings @ analysis.components_.T
    return affine(target.tensor(np.linalg.solve(precision, loadings).T), target.tensor(analysis.mean_))


@converts(feature_selection.SelectorMixin)
def convert_selector(selector, target):
    """Keep the chosen columns."""
    columns = torch.as_tensor(selector.get_support(indices=True), device=target.device)
    return lambda X: X[:, columns]


@converts(feature_selection.RFE, feature_selection.RFECV)
def convert_recursive_elimination(elimination, target):
    """Keep the chosen columns and, unless another step follows, classify by them."""
    select = convert_selector(elimination, target)
    if target.response == "transform":
        return select
    return compose([select, target.convert(elimination.estimator_, "estimator", response=target.response)])


@converts(SimpleImputer)
def convert_imputer(imputer, target):
    """Put the statistic where a value is missing; finite rows pass, without the columns never seen."""
    try:
        kept = np.flatnonzero(~np.isnan(np.asarray(imputer.statistics_, dtype=float)))
    except ValueError as error:
        raise target.refuse(imputer, "it fills in values that are no numbers") from error
    statistics = target.tensor(np.asarray(imputer.statistics_, dtype=float)[kept])
    kept = torch.as_tensor(kept, device=target.device)
    indicated = [] if imputer.indicator_ is None else imputer.indicator_.features_
    indicated = torch.as_tensor(np.asarray(indicated, dtype=int), device=target.device)

    def impute(X):
        is_missing = _is_missing(X, imputer.missing_values)
        filled = torch.where(is_missing[:, kept], statistics, X[:, kept])
        return torch.cat([filled, is_missing[:, indicated].to(X.dtype)], dim=1)

    return impute


def affine(matrix, shift=None):
    """Return the function ``(X - shift) @ matrix``."""
    if shift is None:
        return lambda X: X @ matrix
    return lambda X: (X - shift) @ matrix


def _is_missing(X, missing):
    return X.isnan() if missing is None or np.isnan(missing) else torch.eq(X, missing)
