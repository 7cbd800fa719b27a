"""Long trainings in pieces: each leaves its state in a file, and goes on from it, to the same bits."""

import copy
import hashlib
import io
import json
import os
import pickle
import time
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import joblib
import numpy as np
import torch

_SUFFIX = ".checkpoint"
_DIGEST_BYTES = hashlib.sha256().digest_size


class Checkpoints:
    """A block in which every training leaves checkpoints in a folder, and goes on from those it finds there.

    A training is known by its settings, its rows, its first weights and its random numbers: called again with
    the same, it goes on where it was; a checkpoint of any other is left alone, with a warning that says what
    is different. Those that are over are kept, too, for as long as another one may follow in the block. Once
    it ends without an exception, all are removed: the folder should be the block's own.

    What draws other random numbers each time (``random_state=None``) is never the same training. Trainings by
    L-BFGS, by skorch for callbacks, and `partial_fit` leave no checkpoints.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    every : float
        Seconds between two checkpoints, which are written at the end of an epoch; also after Ctrl-C.

    Attributes
    ----------
    seconds : float
        That the trainings in the block had taken before they were interrupted.
    """

    _token: Token["Checkpoints | None"]

    def __init__(self, folder: str | os.PathLike[str], *, every: float = 300.0) -> None:
        self.folder = Path(folder)
        self.every = every
        self.seconds = 0.0
        self._used: set[Path] = set()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._token = _ACTIVE.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _ACTIVE.reset(self._token)
        if kind is None:
            for path in self.folder.glob(f"*{_SUFFIX}*"):
                path.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()

    def checkpoint(self, name: str, identity: Mapping[str, Any]) -> "Checkpoint":
        """Return the checkpoint of the training of `name` that is told from others by `identity`."""
        hashes = {key: _hash(name, key, value) for key, value in identity.items()}
        path = self.folder / f"{name}-{joblib.hash(hashes)[:16]}{_SUFFIX}"
        self._used.add(path)
        found = _read(path) if path.exists() else None
        if found is not None:
            self.seconds += found["seconds"]
        elif not path.exists():
            self._warn_of_others(name, hashes)
        return _File(path, hashes, found, self.every)

    def _warn_of_others(self, name: str, hashes: dict[str, str]) -> None:
        """Say of checkpoints that nobody asked for why they are not gone on from."""
        for path in sorted(set(self.folder.glob(f"{name}-*{_SUFFIX}")) - self._used):
            found = _read(path)
            if found is not None:
                theirs = found["identity"]
                other = [key for key in hashes | theirs if hashes.get(key) != theirs.get(key)]
                warnings.warn(
                    f"{path} is a checkpoint of {name} with another {', '.join(other)}: it is not used, and "
                    "training starts anew.",
                    RuntimeWarning,
                    stacklevel=2,
                )


_ACTIVE: ContextVar[Checkpoints | None] = ContextVar("_ACTIVE", default=None)


class Checkpoint:
    """What a training goes on from, and where it leaves its state; as it is, nothing and nowhere.

    Used as a context manager around the epochs.

    Attributes
    ----------
    state : dict or None
        To go on from.
    """

    state: dict[str, Any] | None = None

    def keep(self, state: Callable[[], dict[str, Any]]) -> None:
        """Take note of the state after an epoch: tensors and Python's own types, in dicts and lists."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state behind, unless something went wrong."""


def checkpoint_of(name: str, identity: Callable[[], Mapping[str, Any]]) -> Checkpoint:
    """Return the checkpoint of a training, which writes nothing outside of a block of `Checkpoints`.

    Parameters
    ----------
    name : str
        Of the estimator.
    identity : callable
        Returns, by what the user calls it, everything that the training depends on: arrays, and what joblib
        can hash.
    """
    active = _ACTIVE.get()
    return Checkpoint() if active is None else active.checkpoint(name, identity())


def state_of(random_state: np.random.RandomState) -> dict[str, Any]:
    """Return the state of a generator of random numbers in Python's own types, which `set_state` takes."""
    return json.loads(json.dumps(random_state.get_state(legacy=False), default=lambda value: value.tolist()))


class _File(Checkpoint):
    """A checkpoint in a file, which is replaced as a whole."""

    def __init__(
        self, path: Path, identity: dict[str, str], found: dict[str, Any] | None, every: float
    ) -> None:
        self.path = path
        self.identity = identity
        self.every = every
        self.state = None if found is None else found["state"]
        seconds = 0.0 if found is None else found["seconds"]
        self._start = time.monotonic() - seconds
        self._written = time.monotonic()
        self._latest: dict[str, Any] | None = None

    def keep(self, state: Callable[[], dict[str, Any]]) -> None:
        """Copy the state, so that Ctrl-C in the next epoch finds it, and write it if it is time."""
        seconds = time.monotonic() - self._start
        self._latest = {"identity": self.identity, "state": copy.deepcopy(state()), "seconds": seconds}
        if time.monotonic() - self._written >= self.every:
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._write()

    def _write(self) -> None:
        if self._latest is None:
            return
        _write(self.path, self._latest)
        self._latest, self._written = None, time.monotonic()


def _hash(name: str, key: str, value: Any) -> str:
    try:
        return joblib.hash(value, coerce_mmap=True)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"The {key} of {name} cannot be told from another, so that no checkpoint is safe to go on from. "
            f"A function must be one that a module defines by its name. Got {value!r}."
        ) from error


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either whole or not there, behind the digest of what it holds."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    part = path.with_suffix(f"{_SUFFIX}-{os.getpid()}")
    with open(part, "wb") as file:
        file.write(hashlib.sha256(buffer.getbuffer()).digest())
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a file holds, running no code from it, or None with a warning."""
    with open(path, "rb") as file:
        digest, content = file.read(_DIGEST_BYTES), file.read()
    try:
        if hashlib.sha256(content).digest() == digest:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass
    warnings.warn(
        f"The checkpoint {path} is damaged: it is not used, and training starts anew.",
        RuntimeWarning,
        stacklevel=3,
    )
    return None
