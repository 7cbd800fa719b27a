"""Estimators that hand their work to others: Pipelines, column-wise and side-by-side steps, searches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline

from ...functional.layers import Concat, Select, Stretch, sequence
from .._registry import converts, passes_inputs_on

if TYPE_CHECKING:
    from .._registry import Target


@converts(Pipeline)
@passes_inputs_on
def convert_pipeline(pipeline: BaseEstimator, target: Target) -> torch.nn.Module:
    """Every step after the one before it."""
    modules, inputs = [], target.inputs
    for name, step in pipeline.steps:
        if not _is_passthrough(step):
            response = target.response if name == pipeline.steps[-1][0] else "transform"
            modules.append(target.convert(step, name, response=response, inputs=inputs))
            inputs = None
    return sequence(*modules)


@converts(ColumnTransformer)
@passes_inputs_on
def convert_column_transformer(transformer: BaseEstimator, target: Target) -> torch.nn.Module:
    """Each part on its columns, side by side."""
    weights = transformer.transformer_weights or {}
    parts = {}
    for name, part, columns in transformer.transformers_:
        columns = _column_indices(transformer, columns)
        if len(columns) and part != "drop":
            inputs = None if target.inputs is None else target.inputs.select(columns)
            select = Select(torch.as_tensor(columns, device=target.device))
            parts[name] = sequence(select, *_convert_part(part, name, target, inputs, weights))
    return Concat(parts)


@converts(FeatureUnion)
@passes_inputs_on
def convert_feature_union(union: BaseEstimator, target: Target) -> torch.nn.Module:
    """Each part on all columns, side by side."""
    weights = union.transformer_weights or {}
    return Concat(
        {
            name: sequence(*_convert_part(part, name, target, target.inputs, weights))
            for name, part in union.transformer_list
            if part != "drop"
        }
    )


@converts("sklearn.BaseSearchCV")
@passes_inputs_on
def convert_search(search: BaseEstimator, target: Target) -> torch.nn.Module:
    """The estimator that the search chose."""
    return target.convert(search.best_estimator_, response=target.response)


@converts(FrozenEstimator)
@passes_inputs_on
def convert_frozen(frozen: BaseEstimator, target: Target) -> torch.nn.Module:
    """The estimator inside."""
    return target.convert(frozen.estimator, response=target.response)


def _is_passthrough(step: BaseEstimator) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _convert_part(
    part: BaseEstimator, name: str, target: Target, inputs: Any, weights: dict[str, float]
) -> Iterator[torch.nn.Module]:
    """Yield the module of a part that stands beside others, and what multiplies its output."""
    if not _is_passthrough(part):
        yield target.convert(part, name, response="transform", inputs=inputs)
    elif inputs is not None and inputs.has_words:
        raise target.refuse(part, "it passes categories on as they are")
    if weights.get(name, 1.0) != 1.0:
        yield Stretch(target.tensor(weights[name]))


def _column_indices(transformer: BaseEstimator, columns: Any) -> np.ndarray:
    """Columns given by position, mask, slice or name, as an array of positions."""
    positions = np.arange(transformer.n_features_in_)
    if isinstance(columns, slice) and isinstance(columns.start or columns.stop, str):
        # A slice of names includes its end, as in pandas.
        where = {name: i for i, name in enumerate(transformer.feature_names_in_)}
        stop = None if columns.stop is None else where[columns.stop] + 1
        return positions[slice(where.get(columns.start), stop, columns.step)]
    if isinstance(columns, slice):
        return positions[columns]
    with warnings.catch_warnings():
        # scikit-learn 1.6 warns whoever looks at the columns of a remainder, whose form was to change.
        warnings.simplefilter("ignore", FutureWarning)
        columns = np.atleast_1d(np.asarray(columns))
    if columns.dtype.kind in "OUT":
        where = {name: i for i, name in enumerate(transformer.feature_names_in_)}
        return np.array([where[name] for name in columns], dtype=int)
    return positions[columns] if len(columns) else positions[:0]
