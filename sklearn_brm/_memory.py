"""Work that is done in batches, and in smaller ones where memory runs out."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ._base import as_tensor, owner_name

_Result = TypeVar("_Result")
# What the allocators say that have no exception class of their own: Apple's, the processor's, cuBLAS'.
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "STATUS_ALLOC_FAILED")


def with_smaller_batches(owner: object, run: Callable[[int], _Result], batch_size: int) -> _Result:
    """Return ``run(batch_size)``, or where memory runs out that of half the batch size, and so on down to 1.

    Parameters
    ----------
    owner : object or str
        The estimator, or the name of the function, for the warning.
    run : callable
        Takes a batch size. It is called from the start each time, so it must leave nothing half done.
    batch_size : int
        The batch size to try first.

    Warns
    -----
    RuntimeWarning
        Each time that memory runs out.
    """
    while True:
        try:
            return run(batch_size)
        except (RuntimeError, MemoryError) as error:
            if batch_size == 1 or not is_out_of_memory(error):
                raise
        # Past the handler: the traceback, which keeps the tensors of the failed try, is gone.
        batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"{owner_name(owner)} ran out of memory and starts again with {batch_size} rows at a time; "
            f"training then gives what batch_size={batch_size} gives. Fewer fits at a time on the "
            "device, or a device with more free memory, would avoid this.",
            RuntimeWarning,
            stacklevel=3,
        )


@torch.no_grad()
def apply_in_batches(
    function: Callable[[Tensor, Tensor], object],
    X: Any,
    n_columns: int,
    batch_size: int,
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    result_dtype: Any = None,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> np.ndarray:
    """Return what `function` makes of the rows of `X`, of which it sees `batch_size` at a time.

    Parameters
    ----------
    function : callable
        Called as ``function(rows, out)`` with rows on `device` in `dtype`. It writes their results into
        `out`, a tensor on the processor.
    X : ndarray or sparse matrix of shape (n, n_features)
        Of a floating type.
    n_columns : int
        Of the result.
    batch_size : int
        Last of the positional parameters, for `with_smaller_batches`.
    device : torch.device
    dtype : torch.dtype
    result_dtype : NumPy dtype, optional
        Of the result; by default that of `X`.
    watch : callable
        Wraps the range of batches, such as in a progress bar.

    Returns
    -------
    ndarray of shape (n, n_columns)
    """
    results = np.empty((X.shape[0], n_columns), dtype=result_dtype or X.dtype)
    for start in watch(range(0, X.shape[0], batch_size)):
        part = slice(start, start + batch_size)
        function(as_tensor(dense(X[part]), device=device, dtype=dtype), torch.from_numpy(results[part]))
    return results


def dense(X: Any) -> np.ndarray:
    """Return rows as an ndarray; sparse ones take the memory of dense ones for as long as it is used."""
    return X.toarray() if sparse.issparse(X) else X


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator says that there is no room."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)
