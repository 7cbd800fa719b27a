"""What a sweep costs under joblib's engines: speed-up of two workers, overhead and bytes of a task.

Writes ``results/scale.md`` and ``results/scale_model.md``: the measured numbers, and a model of 64 and 1,024
workers computed from them. Engines that are not installed are left out.

    python benchmarks/bench_scale.py
"""

import argparse
import importlib.util
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# One thread per process, so that two workers are compared with one and not with one that has both cores.
os.environ["OMP_NUM_THREADS"] = "1"

import joblib
import numpy as np
import psutil
import torch
from _common import write_table
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    SharedArray,
    ThreatModel,
    WTAEncoder,
)

# Large arrays come from memory that is kept, and not from fresh pages each time. Dask's nanny asks for the
# opposite, which costs a fifth of the time of these fits. All engines get the same, this process included.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
N_CANDIDATES, N_CHEAP_CANDIDATES = 8, 100
N_ROUNDS = 3
N_FITS = N_CANDIDATES * FOLDS.n_splits
CHEAP_SHAPE = (20_000, 50)

# The model: a sweep of this many fits, data of this size, a network of 10 Gbit/s.
MODEL_FITS = 10_000
MODEL_BYTES = 1e9
BANDWIDTH = 1.25e9

MEASURED_NOTE = """In one process without an engine: {:.1f} s on one thread, {:.1f} s with torch on all cores.
Medians of {} sweeps. Efficiency: the seconds on one thread, over seconds times workers.
With one job every engine stays in this process.

Overhead and bytes: fits of a DummyClassifier under two workers on {:,} bytes of rows and labels. Everything
sent is counted and divided by the number of tasks: what workers read from their pipes (loky), messages of the
scheduler and scattered arrays (Dask), pickled tasks (Ray)."""

MODEL_NOTE = f"""Start + {MODEL_BYTES / 1e9:.0f} GB of data down a tree at {8 * BANDWIDTH / 1e9:.0f} Gbit/s
+ the larger of (rounds of fits) and (fits x handing out a task: overhead + bytes with SharedArray over the
network). Start, overhead, bytes and the shorter fit are measured on this machine. The model knows nothing of
stragglers, of networks and file servers shared with others, or of machines of another speed. loky stays on
one machine: its rows say what one with that many cores would do."""


@dataclass
class Measured:
    """What sweeps took under one engine; `n_different` candidates scored otherwise than in one process."""

    start: float
    seconds: dict  # by number of workers
    overhead: float
    array_bytes: float
    shared_bytes: float
    n_different: int


class LokyMeter:
    """What the workers read from their pipe; memory maps are not read."""

    def __init__(self):
        self.before = self._read()

    def _read(self):
        return {child.pid: child.io_counters().read_chars for child in psutil.Process().children(True)}

    def stop(self):
        """Return the bytes read since the start."""
        return sum(count - self.before.get(pid, 0) for pid, count in self._read().items())


class DaskMeter:
    """What the scheduler sends to the workers as tasks, and what the client scatters."""

    def __init__(self, client):
        self.client, self.scattered, self.scatter = client, [], type(client).scatter
        self.before = self._sent()

        def counting(client, data, *args, **kwargs):
            self.scattered += [getattr(x, "nbytes", 0) for x in (data if isinstance(data, list) else [data])]
            return self.scatter(client, data, *args, **kwargs)

        type(client).scatter = counting

    def _sent(self):
        return sum(comm.byte_count for comm in self.client.cluster.scheduler.stream_comms.values())

    def stop(self):
        """Return the bytes of all messages and of all scattered arrays."""
        type(self.client).scatter = self.scatter
        return self._sent() - self.before + sum(self.scattered)


class RayMeter:
    """The pickled size of what is handed to the actors."""

    def __init__(self):
        from ray import cloudpickle
        from ray.util.multiprocessing.pool import Pool

        self.pool, self.run, self.sent = Pool, Pool._run_batch, 0

        def counting(pool, actor_index, func, batch):
            self.sent += len(cloudpickle.dumps((func, batch)))
            return self.run(pool, actor_index, func, batch)

        Pool._run_batch = counting

    def stop(self):
        """Return the bytes of all tasks."""
        self.pool._run_batch = self.run
        return self.sent


@contextmanager
def loky(n_workers):
    with joblib.parallel_config("loky", n_jobs=n_workers, inner_max_num_threads=1):
        yield LokyMeter


@contextmanager
def dask(n_workers):
    import dask.config
    from dask.distributed import Client, LocalCluster

    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": threads | ALLOCATOR}),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        yield partial(DaskMeter, client)


@contextmanager
def ray(n_workers):
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False)
    try:
        with joblib.parallel_config("ray", n_jobs=n_workers):
            yield RayMeter
    finally:
        ray.shutdown()


ENGINES = {"loky": loky, "dask": dask, "ray": ray}


def sweep(n_units, n_candidates=N_CANDIDATES):
    """Search on 3 folds, with an attack after each fit; return seconds and robust accuracies."""
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(
        MinMaxScaler(),
        WTAEncoder(n_units, max_iter=20, device="cpu", random_state=0),
        RegularizedClassifier((), penalty="l2", max_iter=40, tol=None, device="cpu", random_state=0),
    )
    robust = AdversarialScorer(
        eps=1,
        threat=ThreatModel(bounds=(0, 16)),
        attack=["apgd", "apgd_margin"],
        n_steps=20,
        max_samples=100,
        device="cpu",
        random_state=0,
    )
    grid = {"regularizedclassifier__alpha": np.logspace(-5, 0, n_candidates)}
    scoring = {"accuracy": "accuracy", "robust": robust}
    search = GridSearchCV(pipeline, grid, scoring=scoring, cv=FOLDS, refit=False)
    return seconds_of(lambda: search.fit(X, y)), search.cv_results_["mean_test_robust"]


def cheap_sweep(X, y):
    """Search over fits that cost nothing; return seconds and the number of tasks."""
    search = GridSearchCV(
        DummyClassifier(), {"random_state": range(N_CHEAP_CANDIDATES)}, cv=FOLDS, refit=False
    )
    return seconds_of(lambda: search.fit(X, y)), N_CHEAP_CANDIDATES * FOLDS.n_splits


def seconds_of(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(engine, n_units, expected, data, shared):
    """Run all sweeps under one engine and return what they cost."""
    seconds, n_different = {}, 0
    for n_workers in (1, 2):
        start = time.perf_counter()
        with engine(n_workers) as meter:
            sweep(5, n_candidates=1)
            started = time.perf_counter() - start
            sweeps = [sweep(n_units) for _ in range(N_ROUNDS)]
            seconds[n_workers] = statistics.median(length for length, _ in sweeps)
            n_different = max(n_different, *(int((scores != expected).sum()) for _, scores in sweeps))
            if n_workers == 2:
                array_bytes, _ = cost_of_task(meter, data)
                shared_bytes, overhead = cost_of_task(meter, shared)
    return Measured(started, seconds, overhead, array_bytes, shared_bytes, n_different)


def cost_of_task(meter, data):
    """Return the bytes and the seconds of a task whose fit costs nothing, the second time it is run."""
    cheap_sweep(*data)
    running = meter()
    seconds, n_tasks = cheap_sweep(*data)
    return running.stop() / n_tasks, seconds / n_tasks


def modelled(measured, n_workers, fit_seconds):
    """Return the seconds of the model sweep, and which share of the workers' time goes into fits.

    Tasks are handed out one after the other and done in rounds; the data reach the workers along a tree.
    """
    rounds = math.ceil(MODEL_FITS / n_workers)
    data = MODEL_BYTES / BANDWIDTH * math.ceil(math.log2(n_workers))
    seconds = measured.start + data + max(rounds * fit_seconds, MODEL_FITS * seconds_to_hand_out(measured))
    return seconds, MODEL_FITS * fit_seconds / (n_workers * seconds)


def seconds_to_hand_out(measured):
    return measured.overhead + measured.shared_bytes / BANDWIDTH


def measured_rows(results, sequential):
    for name, m in results.items():
        task = sequential / N_FITS
        yield (
            name,
            f"{m.seconds[1]:.1f}",
            f"{m.seconds[2]:.1f}",
            f"{m.seconds[1] / m.seconds[2]:.2f}",
            f"{sequential / m.seconds[1]:.2f}",
            f"{sequential / 2 / m.seconds[2]:.2f}",
            f"{task:.2f}",
            f"{1000 * m.overhead:.1f}",
            f"{m.array_bytes:,.0f}",
            f"{m.shared_bytes:,.0f}",
            f"{m.start:.1f}",
            m.n_different,
        )


def model_rows(results, fit_seconds):
    for name, m in results.items():
        for length in (fit_seconds, 30 * fit_seconds):
            cells = [modelled(m, n_workers, length) for n_workers in (64, 1024)]
            yield (
                name,
                f"{length:.1f}",
                *(f"{seconds / 60:.1f} min at {share:.0%}" for seconds, share in cells),
                f"{length / seconds_to_hand_out(m):,.0f}",
            )


def write_results(results, sequential, with_all_threads):
    n_bytes = math.prod(CHEAP_SHAPE) * 8 + CHEAP_SHAPE[0] * 8
    write_table(
        "scale",
        "A sweep of 24 fits under joblib's engines",
        [
            *("engine", "1 worker (s)", "2 workers (s)", "speed-up", "efficiency of 1", "efficiency of 2"),
            *("task (s)", "overhead per task (ms)", "bytes per task", "bytes per task, SharedArray"),
            *("start with imports (s)", "candidates whose score differs"),
        ],
        measured_rows(results, sequential),
        notes=[MEASURED_NOTE.format(sequential, with_all_threads, N_ROUNDS, n_bytes)],
    )
    fit_seconds = sequential / N_FITS
    write_table(
        "scale_model",
        f"Model, not measurement: {MODEL_FITS:,} fits on 64 and 1,024 workers",
        ["engine", "one fit (s)", "64 workers", "1,024 workers", "workers at which handing out saturates"],
        model_rows(results, fit_seconds),
        notes=[MODEL_NOTE],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-units", type=int, default=1500)
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=list(ENGINES))
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with_all_threads, _ = sweep_with_threads(os.cpu_count(), options.n_units)
    sequential, expected = sweep_with_threads(1, options.n_units)
    with tempfile.TemporaryDirectory() as folder:
        data = np.random.default_rng(0).normal(size=CHEAP_SHAPE), np.arange(CHEAP_SHAPE[0]) % 2
        shared = []
        for name, array in zip("Xy", data):
            np.save(Path(folder) / name, array)
            shared.append(SharedArray(partial(np.load, Path(folder) / f"{name}.npy", mmap_mode="r")))
        results = {
            name: measure(ENGINES[name], options.n_units, expected, data, shared)
            for name in options.engines
            if name == "loky" or importlib.util.find_spec(name)
        }
    write_results(results, sequential, with_all_threads)


def sweep_with_threads(n_threads, n_units):
    """Run the sweep in this process, on so many torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    found = sweep(n_units)
    torch.set_num_threads(before)
    return found


if __name__ == "__main__":
    if not ALLOCATOR.items() <= os.environ.items():
        # The C library reads them when a process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    main()
