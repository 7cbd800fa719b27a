"""An array that travels to workers as a reference to where it is stored, and not as its rows."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


class SharedArray:
    """An array that pickles as the call that loads it.

    joblib's engines send the data of a search in different ways, and some send it with every task. This array
    is a few hundred bytes under all of them: a worker calls `load` when it first needs the rows. Give it to a
    search in the place of `X` and `y`, or to `AdversarialScorer` as `reference_X`.

    Parameters
    ----------
    load : callable
        Returns the array, the same on every machine. It is pickled, so it must not hold the array itself:
        ``partial(np.load, path, mmap_mode="r")`` where all machines see the file, or ``partial(ray.get,
        ray.put(X))`` for Ray's object store.

    Attributes
    ----------
    shape, ndim, dtype
        Those of the array.

    Notes
    -----
    It can be indexed, measured and turned into an array; what is indexed is an ordinary array. Loading it
    read-only lets the workers of a machine share one copy in memory.

    Examples
    --------
    >>> import pickle, tempfile
    >>> from functools import partial
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sklearn_brm import SharedArray
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "X.npy"
    >>> np.save(path, np.zeros((10_000, 20)))
    >>> X = SharedArray(partial(np.load, path, mmap_mode="r"))
    >>> X.shape
    (10000, 20)
    >>> len(pickle.dumps(X)) < 1000
    True
    >>> folder.cleanup()
    """

    def __init__(self, load: Callable[[], ArrayLike]) -> None:
        if not callable(load):
            raise TypeError(
                "The 'load' parameter of SharedArray must be a callable that returns the array. "
                f"Got {load!r} instead."
            )
        self.load = load

    @cached_property
    def _array(self) -> np.ndarray:
        return np.asarray(self.load())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.load,)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy:
            return np.array(self._array, dtype=dtype)
        return np.asarray(self._array, dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        return self._array[key]

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.load!r})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions of the array."""
        return self._array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self._array.dtype
