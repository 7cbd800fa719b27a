"""The same sweep on a laptop and on a cluster: only the line that sets ENGINE changes.

A pipeline of scaler, winner-take-all encoder and regularised classifier is searched by accuracy and by robust
accuracy. The rows lie in files, and workers get references to them, so that nothing large is sent and nothing
is lost with a worker; on a cluster, `--folder` must be one that all machines see.

    python examples/sweep_on_a_cluster.py
    python examples/sweep_on_a_cluster.py --engine dask --address tcp://scheduler:8786 --folder /shared
"""

import argparse
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    SharedArray,
    ThreatModel,
    WTAEncoder,
)


@contextmanager
def loky(address=None):
    """Processes of this machine, one per core and one thread each."""
    with parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
        yield


@contextmanager
def dask(address=None):
    """Workers of the Dask scheduler at `address`, or processes of this machine."""
    from dask.distributed import Client

    local = {} if address else {"threads_per_worker": 1, "dashboard_address": ":0"}
    with Client(address, **local), parallel_config("dask"):
        yield


@contextmanager
def ray(address=None):
    """Workers of the Ray cluster at `address`, or processes of this machine."""
    import ray as engine
    from ray.util.joblib import register_ray

    register_ray()
    with (
        engine.init(address, include_dashboard=False, log_to_driver=False),
        parallel_config("ray", n_jobs=-1),
    ):
        yield


ENGINE = loky


def store(folder, **arrays):
    """Write the arrays to files; return what workers load them by."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return [SharedArray(partial(np.load, folder / f"{name}.npy", mmap_mode="r")) for name in arrays]


def make_search(folds):
    """Return a search over 4 candidates, scored on clean and on attacked rows."""
    pipeline = Pipeline(
        [
            ("scale", MinMaxScaler()),
            ("encode", WTAEncoder(60, device="cpu", random_state=0)),
            ("classify", RegularizedClassifier((), penalty="l2", device="cpu", random_state=0)),
        ]
    )
    robust = AdversarialScorer(
        eps=1.0, threat=ThreatModel(bounds=(0, 16)), max_samples=60, device="cpu", random_state=0
    )
    grid = {"classify__alpha": [1e-6, 1e-5, 1e-4, 1e-3]}
    scoring = {"accuracy": "accuracy", "robust": robust}
    return GridSearchCV(
        pipeline, grid, scoring=scoring, refit=False, cv=folds, error_score="raise", verbose=1
    )


def sweep(folder, n_rows):
    """Search on files in `folder`; return the fitted search."""
    X, y = load_digits(return_X_y=True)
    X, y = store(folder, X=X[:n_rows], y=y[:n_rows])
    # Dask keeps arrays of indices on one worker only; lists travel with each task, and nothing can be lost.
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(X, y)
    return make_search([(train.tolist(), test.tolist()) for train, test in folds]).fit(X, y)


def table(search):
    """Return the lines of the table of results."""
    results = search.cv_results_
    columns = results["param_classify__alpha"], results["mean_test_accuracy"], results["mean_test_robust"]
    lines = [f"{'alpha':>8} {'accuracy':>9} {'robust':>9}"]
    return lines + [f"{alpha:>8.0e} {clean:>9.3f} {robust:>9.3f}" for alpha, clean, robust in zip(*columns)]


def main():
    """Run the sweep and print its table."""
    engines = {engine.__name__: engine for engine in (loky, dask, ray)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=engines, default=ENGINE.__name__)
    parser.add_argument("--address", help="of the Dask scheduler or the Ray cluster")
    parser.add_argument("--folder", type=Path, help="where to put the data; a temporary folder without it")
    parser.add_argument("--rows", type=int, default=900, help="use so many rows only")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary, engines[options.engine](options.address):
        search = sweep(options.folder or Path(temporary), options.rows)
    n_fits = search.n_splits_ * len(search.cv_results_["params"])
    print("\n".join(table(search)))
    print(f"{n_fits} fits under {options.engine} in {time.perf_counter() - start:.0f} s")


# Engines that start processes import this file in each of them.
if __name__ == "__main__":
    main()
