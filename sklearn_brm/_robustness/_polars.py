"""DataFrames of polars, as pandas frames under attack and back; polars itself is never imported."""

from typing import Any

import numpy as np


def is_polars(X: Any) -> bool:
    """Tell whether `X` is a DataFrame of polars."""
    return type(X).__module__.partition(".")[0] == "polars" and hasattr(X, "get_columns")


def to_pandas(X: Any) -> Any:
    """Return a DataFrame of polars as one of pandas, which needs no pyarrow."""
    from pandas import DataFrame

    frame = DataFrame({j: _column(series) for j, series in enumerate(X.get_columns())})
    frame.columns = X.columns
    return frame


def to_polars(frame: Any, like: Any, rows: np.ndarray) -> Any:
    """Return a pandas frame, changed copies of the rows `rows` of `like`, with the types of `like`."""
    clean = like[rows]
    changed = [_series(frame.iloc[:, j], series) for j, series in enumerate(clean.get_columns())]
    return type(like)(changed)


def _column(series: Any) -> Any:
    import pandas as pd

    dtype = series.dtype
    is_plain = dtype.is_float() or dtype.is_temporal()
    if is_plain or (series.null_count() == 0 and (dtype.is_integer() or str(dtype) == "Boolean")):
        return series.to_numpy()
    if dtype.is_integer():
        return pd.array(series.to_list(), dtype="Int64")
    if str(dtype) == "Boolean":
        return pd.array(series.to_list(), dtype="boolean")
    if str(dtype).startswith("Enum"):
        return pd.Categorical(series.to_list(), categories=dtype.categories.to_list())
    return np.array(series.to_list(), dtype=object)


def _series(column: Any, clean: Any) -> Any:
    """Return a column as a series of the type of the clean one; dates do not change."""
    if clean.dtype.is_temporal():
        return clean
    if clean.dtype.is_float():
        numbers = type(clean)(clean.name, np.array(column))
        return numbers.fill_nan(None) if clean.null_count() else numbers
    values = [None if missing else value for value, missing in zip(column.tolist(), column.isna())]
    return type(clean)(clean.name, values, dtype=clean.dtype)
