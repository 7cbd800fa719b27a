"""Results and models on disk, so that an interrupted run goes on from what is done."""

import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import skops.io

import sklearn_brm
from sklearn_brm._checkpoints import Checkpoints

# What a saved model may hold besides NumPy arrays and scikit-learn's estimators. Nothing else is loaded.
TRUSTED = [
    "sklearn_brm._classifier._estimator.RegularizedClassifier",
    "sklearn_brm._classifier.penalties._jacobian.Jacobian",
    "sklearn_brm._classifier.penalties._spectral.Spectral",
    "sklearn_brm._classifier.penalties._weights.L2",
    "sklearn_brm._encoder._estimator.WTAEncoder",
    "sklearn_brm.functional.schedules.ExponentialSchedule",
    "sklearn_brm.functional.schedules.StepSchedule",
]


class Store:
    """A folder of results, each computed once for the same settings.

    Parameters
    ----------
    folder : Path
        Created where it is missing.
    settings : Settings
        Results that were computed with other settings, or by another version, are computed anew.
    checkpoint_minutes : float
        How often a model in training leaves its state, from which an interrupted run goes on.
    """

    def __init__(self, folder, settings, checkpoint_minutes=5.0):
        self.folder = Path(folder)
        self.settings = settings
        self.checkpoint_minutes = checkpoint_minutes
        self.folder.mkdir(parents=True, exist_ok=True)

    def arrays(self, name, compute, *, depends_on, also=None):
        """Return a dict of arrays from disk, or compute and save it.

        Parameters
        ----------
        name : str
            Of the file.
        compute : callable
            Returns a dict of arrays, numbers or strings.
        depends_on : tuple of str
            Names of the settings that the result depends on.
        also : dict or None
            What it depends on besides the settings; anything that JSON can say.
        """
        path = self._path(name, depends_on, "npz", also)
        if not path.exists():
            found = {key: np.asarray(value) for key, value in compute().items()}
            _write(path, lambda file: np.savez_compressed(file, **found))
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def model(self, name, train, *, depends_on):
        """Return a fitted estimator from disk, or train and save it; loading runs no code from the file.

        An interrupted training goes on from its last checkpoint. How long it took, all pieces together, is
        kept beside the model, see `seconds`.
        """
        path = self._path(name, depends_on, "skops")
        if not path.exists():
            self._train(path, name, train, depends_on)
        return skops.io.load(path, trusted=TRUSTED)

    def _train(self, path, name, train, depends_on):
        start, every = time.perf_counter(), 60 * self.checkpoint_minutes
        with Checkpoints(path.with_suffix(".checkpoints"), every=every) as kept:
            model = train()
            seconds = kept.seconds + time.perf_counter() - start
            self.arrays(f"{name}-seconds", lambda: {"seconds": seconds}, depends_on=depends_on)
            _write(path, lambda file: file.write(skops.io.dumps(model)))

    def seconds(self, name, *, depends_on):
        """Return how long the training of a model took, as `arrays` does; NaN where that is not known."""
        return self.arrays(f"{name}-seconds", lambda: {"seconds": np.nan}, depends_on=depends_on)

    def _path(self, name, depends_on, suffix, also=None):
        settings = asdict(self.settings)
        state = {key: settings[key] for key in sorted({"data", "n_units", "seed", *depends_on})}
        state |= also or {}
        state["version"] = sklearn_brm.__version__
        digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:10]
        return self.folder / f"{name}-{digest}.{suffix}"


def _write(path, write):
    """Write a file that is either whole or not there."""
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
