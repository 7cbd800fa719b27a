"""CIFAR-10 and MNIST, from OpenML through scikit-learn's cache or from local files."""

import dataclasses
import hashlib
import importlib.util
import io
import numbers
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, get_data_home

from ._base import check_choice, check_number, parameter_error, progress

# What NumPy raises for files that are no archive, or not a whole one; the last two for a plain array.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, AttributeError, TypeError)

__all__ = ["fetch_cifar10", "fetch_mnist"]


@dataclasses.dataclass(frozen=True)
class _ImageSet:
    """Where a data set is, and what its rows look like."""

    owner: str
    title: str
    data_id: int
    n_train: int
    shape: tuple[int, ...]
    names: tuple[str, ...]
    download: str


_CIFAR10 = _ImageSet(
    owner="fetch_cifar10",
    title="CIFAR-10",
    data_id=40927,
    n_train=50_000,
    shape=(32, 32, 3),
    names=("cifar10_jpeg_{}.npz", "cifar10_{}.npz"),
    download="about 650 MB",
)
_MNIST = _ImageSet(
    owner="fetch_mnist",
    title="MNIST",
    data_id=554,
    n_train=60_000,
    shape=(28, 28),
    names=("mnist_{}.npz",),
    download="about 15 MB",
)


def fetch_cifar10(
    path: str | os.PathLike[str] | None = None,
    *,
    split: str = "train",
    n_samples: int | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = False,
    sha256: str | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load CIFAR-10: 32 x 32 colour images of ten classes, 50,000 for training and 10,000 for testing.

    Parameters
    ----------
    path : str or path-like, default=None
        A ``.npz`` file, or a folder that holds ``cifar10_jpeg_train.npz`` or ``cifar10_train.npz`` and their
        ``test`` counterparts. None takes the data set 40927 of OpenML from scikit-learn's cache.
    split : {"train", "test"}, default="train"
        Which part.
    n_samples : int, default=None
        How many rows, from the beginning; None for all.
    data_home : str or path-like, default=None
        scikit-learn's data folder, if not the usual one.
    download_if_missing : bool, default=False
        Whether to download what is not in the cache, about 650 MB. Nothing is downloaded otherwise.
    sha256 : str, default=None
        Digest that the file at `path` must have.
    verbose : int, default=0
        Whether to show progress while images are decoded.

    Returns
    -------
    X : ndarray of shape (n_samples, 3072), dtype=float32
        Images in [0, 1]; row, column, colour, in C order.
    y : ndarray of shape (n_samples,), dtype=int64
        Classes from 0 to 9.

    Raises
    ------
    OSError
        If there is no such file, the cache does not hold the data, or OpenML cannot be reached.
    ValueError
        If a file is truncated, has another digest, or holds something else.
    ImportError
        If images are stored as JPEG and Pillow is not installed.

    See Also
    --------
    fetch_mnist : The same for MNIST.

    Notes
    -----
    A ``.npz`` file holds `y` and either `X`, uint8 of shape (n, 32, 32, 3), or `jpeg`, the bytes of all
    JPEG files end to end, with `offsets`, where each begins and the last one ends. zip files carry a
    checksum of each array, which is compared when they are read.

    Examples
    --------
    >>> from sklearn_brm.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10("images", split="test", n_samples=1000)  # doctest: +SKIP
    """
    return _fetch(_CIFAR10, path, split, n_samples, data_home, download_if_missing, sha256, verbose)


def fetch_mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    split: str = "train",
    n_samples: int | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = False,
    sha256: str | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load MNIST: 28 x 28 grey images of ten digits, 60,000 for training and 10,000 for testing.

    Parameters
    ----------
    path : str or path-like, default=None
        A ``.npz`` file, or a folder that holds ``mnist_train.npz`` and ``mnist_test.npz``, with `X`, uint8
        of shape (n, 28, 28), and `y`. None takes the data set 554 of OpenML from scikit-learn's cache.
    split, n_samples, data_home, download_if_missing, sha256, verbose : see fetch_cifar10
        The download is about 15 MB.

    Returns
    -------
    X : ndarray of shape (n_samples, 784), dtype=float32
        Images in [0, 1].
    y : ndarray of shape (n_samples,), dtype=int64
        Digits.

    Raises
    ------
    OSError, ValueError
        As `fetch_cifar10`.

    See Also
    --------
    fetch_cifar10 : The same for CIFAR-10.

    Examples
    --------
    >>> from sklearn_brm.datasets import fetch_mnist
    >>> X, y = fetch_mnist(download_if_missing=True)  # doctest: +SKIP
    """
    return _fetch(_MNIST, path, split, n_samples, data_home, download_if_missing, sha256, verbose)


def _fetch(
    images: _ImageSet,
    path: str | os.PathLike[str] | None,
    split: str,
    n_samples: int | None,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    sha256: str | None,
    verbose: int,
) -> Any:
    check_choice(images.owner, "split", split, ("train", "test"))
    check_number(images.owner, "n_samples", n_samples, "[1, inf)", kind=numbers.Integral, also=(None,))
    check_choice(images.owner, "download_if_missing", download_if_missing, (True, False))
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise parameter_error(images.owner, "path", "a str, a path or None", path)
    if path is None:
        X, y = _from_openml(images, split, data_home, download_if_missing)
        X, y = X[:n_samples], y[:n_samples]
    else:
        X, y = _from_file(images, _find(images, path, split), n_samples, sha256, verbose)
    return X.reshape(len(X), -1).astype(np.float32) / 255, y.astype(np.int64)


def _from_openml(
    images: _ImageSet, split: str, data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    folder = Path(get_data_home(data_home)) / "openml" / "openml.org"
    if not download_if_missing and not list(folder.glob(f"**/data/{images.data_id}.gz")):
        raise OSError(
            f"{images.title} is not in scikit-learn's cache at {folder}. Pass download_if_missing=True to "
            f"{images.owner} to download it ({images.download}), or path= to read a local copy."
        )
    # The faster parser needs pandas, which is optional.
    parser = "auto" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        bunch = fetch_openml(data_id=images.data_id, data_home=data_home, as_frame=False, parser=parser)
    except OSError as error:
        raise OSError(
            f"OpenML could not be reached for {images.title}: {error}. Pass path= to {images.owner} to read "
            "a local copy, or try again later."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"The copy of {images.title} in scikit-learn's cache at {folder} cannot be used: {error}. Delete "
            f"it and call {images.owner} with download_if_missing=True."
        ) from error
    X, y = np.asarray(bunch.data, dtype=np.uint8), np.asarray(bunch.target, dtype=np.int64)
    if len(images.shape) == 3:
        # OpenML keeps the three colours of an image one after the other.
        height, width, n_colours = images.shape
        X = X.reshape(-1, n_colours, height, width).transpose(0, 2, 3, 1)
    rows = slice(None, images.n_train) if split == "train" else slice(images.n_train, None)
    return X[rows], y[rows]


def _find(images: _ImageSet, path: str | os.PathLike[str], split: str) -> Path:
    """The file that `path` names, or the one for this split in the folder that it names."""
    path = Path(path)
    candidates = [path / name.format(split) for name in images.names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = " or ".join(candidate.name for candidate in candidates)
    where = f"The folder {path} holds no {names}" if path.is_dir() else f"There is no file or folder {path}"
    raise FileNotFoundError(f"{where}, where {images.owner} looked for {images.title}.")


def _from_file(
    images: _ImageSet, path: Path, n_samples: int | None, sha256: str | None, verbose: int
) -> tuple[np.ndarray, np.ndarray]:
    if sha256 is not None:
        _check_digest(images, path, sha256)
    try:
        # Opened here, since NumPy leaves a broken archive open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} is not a whole .npz archive ({path.stat().st_size} bytes): {error}. It may be truncated "
            "or another kind of file; copy or download it again."
        ) from error
    if "y" not in arrays or not ({"jpeg", "offsets"} <= set(arrays) or "X" in arrays):
        raise ValueError(
            f"{path} must hold the arrays 'y' and 'X', or 'y', 'jpeg' and 'offsets'. "
            f"It holds {sorted(arrays)}."
        )
    n_rows = len(arrays["y"])
    X = arrays["X"] if "X" in arrays else _Jpegs(path, arrays["jpeg"], arrays["offsets"])
    if len(X) != n_rows:
        raise ValueError(f"{path} holds {len(X)} images and {n_rows} labels: it is not whole.")
    X, y = X[:n_samples], arrays["y"][:n_samples]
    X = X if isinstance(X, np.ndarray) else X.decode(images, verbose)
    if X.size != len(y) * int(np.prod(images.shape)) or X.dtype != np.uint8:
        raise ValueError(
            f"{path} is not {images.title}: its images must be uint8 of shape {images.shape}. Got {X.dtype} "
            f"of shape {X.shape[1:]}."
        )
    return X, y


class _Jpegs:
    """Images stored as JPEG files end to end."""

    def __init__(self, path: Path, jpeg: np.ndarray, offsets: np.ndarray) -> None:
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(jpeg) or (np.diff(offsets) <= 0).any():
            raise ValueError(f"{path} is not whole: its offsets do not fit its {len(jpeg)} bytes of images.")
        self.path = path
        self.jpeg = jpeg
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> "_Jpegs":
        end = len(self) if rows.stop is None else min(rows.stop, len(self))
        return _Jpegs(self.path, self.jpeg[: self.offsets[end]], self.offsets[: end + 1])

    def decode(self, images: _ImageSet, verbose: int) -> NDArray[np.uint8]:
        """Return the pixels, uint8 of shape (n, height, width, 3)."""
        try:
            from PIL import Image, UnidentifiedImageError
        except ImportError as error:
            raise ImportError(
                f"{self.path} holds JPEG images, which take Pillow: pip install pillow"
            ) from error
        X = np.empty((len(self), *images.shape), dtype=np.uint8)
        for i in progress(range(len(self)), verbose=verbose, description=f"decoding {images.title}"):
            content = self.jpeg[self.offsets[i] : self.offsets[i + 1]].tobytes()
            try:
                X[i] = np.asarray(Image.open(io.BytesIO(content)))
            except (UnidentifiedImageError, OSError, ValueError) as error:
                raise ValueError(
                    f"Image {i} of {self.path} is damaged or of another shape: {error}."
                ) from error
        return X


def _check_digest(images: _ImageSet, path: Path, sha256: str) -> None:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != sha256:
        rule = f"the digest of {path}, which is {digest.hexdigest()}; the file is truncated or another one"
        raise parameter_error(images.owner, "sha256", rule, sha256, ValueError)
