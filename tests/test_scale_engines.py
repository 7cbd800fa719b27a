"""Sweeps under joblib's engines: the same scores, data sent once, workers that die, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from itertools import chain, combinations
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_brm import (
    AdversarialScorer,
    RegularizedClassifier,
    SharedArray,
    ThreatModel,
    WTAEncoder,
)

pytestmark = [
    pytest.mark.timeout(120),
    # The engines' own: event loops and sockets that are still closing when a test is over.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    # Short trainings are meant to be short.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture(scope="module")
def dask_client():
    distributed = pytest.importorskip("dask.distributed", reason="needs the extra sklearn-brm[dask]")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ray_engine():
    ray = pytest.importorskip("ray", reason="needs the extra sklearn-brm[ray]")
    register_ray = pytest.importorskip("ray.util.joblib").register_ray
    register_ray()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Ray's workers cannot import this file.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        # Ray believes in GPUs that are not there, which is all that assigning them takes.
        ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(params=["loky", "dask", "ray"])
def engine(request):
    """Return the keywords of `joblib.parallel_config` for an engine with two workers."""
    if request.param == "dask":
        request.getfixturevalue("dask_client")
        return {"backend": "dask"}
    if request.param == "ray":
        request.getfixturevalue("ray_engine")
        return {"backend": "ray", "n_jobs": 2}
    return {"backend": "loky", "n_jobs": 2, "max_nbytes": 1000}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:240], y[:240]


def pipeline():
    encoder = WTAEncoder(15, max_iter=2, device="cpu", random_state=0)
    return make_pipeline(
        MinMaxScaler(), encoder, RegularizedClassifier((), max_iter=5, tol=None, random_state=0)
    )


GRID = {"wtaencoder__rank": [2, 3], "regularizedclassifier__penalty": [None, "l2"]}
ROBUST = AdversarialScorer(
    attack="pgd", eps=1, threat=ThreatModel(bounds=(0, 16)), n_steps=3, max_samples=20, random_state=0
)
BOTH = {"accuracy": "accuracy", "robust": ROBUST}
FOLDS = StratifiedKFold(2, shuffle=True, random_state=0)
SEARCHES = {
    "grid": lambda: GridSearchCV(pipeline(), GRID, scoring=BOTH, refit=False, cv=FOLDS),
    "randomized": lambda: RandomizedSearchCV(
        pipeline(), GRID, n_iter=3, scoring=BOTH, refit="robust", cv=FOLDS, random_state=0
    ),
    "halving": lambda: HalvingGridSearchCV(
        pipeline(), GRID, scoring=ROBUST, cv=FOLDS, factor=2, min_resources=120, random_state=0
    ),
}


def scores(search):
    return {name: values for name, values in search.cv_results_.items() if "_test_" in name}


@pytest.fixture(scope="module")
def sequential_scores(digits):
    """Scores of every search in this process, on one thread as in the workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return {name: scores(search().fit(*digits)) for name, search in SEARCHES.items()}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.usefixtures("global_state_unchanged")
def test_scores_are_the_same_bits_under_every_engine(name, engine, digits, sequential_scores):
    with joblib.parallel_config(**engine):
        found = scores(SEARCHES[name]().fit(*digits))
    assert found.keys() == sequential_scores[name].keys()
    for key, values in sequential_scores[name].items():
        np.testing.assert_array_equal(found[key], values, err_msg=key)
    robust = sequential_scores[name].get("mean_test_robust", sequential_scores[name].get("mean_test_score"))
    assert 0 < np.max(robust) < 1, "scores of 0 or 1 would be equal by accident"


class ThreadCount(TransformerMixin, BaseEstimator):
    """Passes rows on, and notes how many torch threads the process has before and after."""

    def __init__(self, folder, step=0):
        self.folder = folder
        self.step = step

    def fit(self, X, y=None):
        note = {"pid": os.getpid(), "threads": torch.get_num_threads()}
        (Path(self.folder) / f"{time.monotonic_ns()}-{os.getpid()}.json").write_text(json.dumps(note))
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


def notes(folder):
    return [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]


def test_workers_together_have_no_more_torch_threads_than_cores(engine, digits, tmp_path):
    counted = make_pipeline(ThreadCount(str(tmp_path)), pipeline())
    with joblib.parallel_config(**engine):
        GridSearchCV(counted, {"threadcount__step": range(4)}, cv=FOLDS, refit=False).fit(*digits)
    found = {note["pid"]: note["threads"] for note in notes(tmp_path)}
    assert os.getpid() not in found
    assert sum(found.values()) <= max(joblib.cpu_count(), len(found))


def test_torch_follows_the_inner_limit_of_loky(digits, tmp_path):
    search = GridSearchCV(
        make_pipeline(ThreadCount(str(tmp_path)), DummyClassifier()), {}, cv=FOLDS, refit=False
    )
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=2):
        search.fit(*digits)
    assert {note["threads"] for note in notes(tmp_path)} == {2}


def cheap_search():
    """Return a search of 20 fits that cost nothing, so that only what is sent counts."""
    return GridSearchCV(DummyClassifier(), {"random_state": range(10)}, cv=FOLDS, refit=False)


@pytest.fixture
def large_data():
    X = np.random.RandomState(0).normal(size=(2000, 100))
    return X, np.arange(len(X)) % 2


def store(folder, *arrays):
    """Return arrays that are read from files in `folder`."""
    for i, array in enumerate(arrays):
        np.save(folder / f"{i}.npy", array)
    return [SharedArray(partial(np.load, folder / f"{i}.npy", mmap_mode="r")) for i in range(len(arrays))]


@pytest.fixture
def stored_data(large_data, tmp_path):
    return store(tmp_path, *large_data)


def bytes_of_tasks(client):
    """Return how many bytes of messages went from the client to the scheduler, and from there on."""
    workers = client.cluster.scheduler.stream_comms.values()
    return client.scheduler_comm.byte_count, sum(worker.byte_count for worker in workers)


def count_scattered(client, monkeypatch):
    """Return a list that fills with the size of every array that is handed to `Client.scatter`."""
    scatter, sizes = type(client).scatter, []

    def counting(self, data, *args, **kwargs):
        arrays = data if isinstance(data, (list, tuple)) else [data]
        sizes.extend(np.asarray(array).nbytes for array in arrays)
        return scatter(self, data, *args, **kwargs)

    monkeypatch.setattr(type(client), "scatter", counting)
    return sizes


@pytest.mark.parametrize("config", ["plain", "scatter", "shared"])
def test_dask_sends_the_data_once_or_not_at_all(config, large_data, stored_data, dask_client, monkeypatch):
    X, y = stored_data if config == "shared" else large_data
    sizes, before = count_scattered(dask_client, monkeypatch), bytes_of_tasks(dask_client)
    with joblib.parallel_config("dask", **({"scatter": [X, y]} if config == "scatter" else {})):
        cheap_search().fit(X, y)
    assert sizes.count(large_data[0].nbytes) == (config != "shared")
    assert sum(sizes) < 1.1 * large_data[0].nbytes
    for after, start in zip(bytes_of_tasks(dask_client), before):
        assert 0 < after - start < large_data[0].nbytes / 2


def count_sent_by_ray(monkeypatch):
    """Return a list that fills with the size of every task that is handed to a Ray actor."""
    pool = pytest.importorskip("ray.util.multiprocessing.pool").Pool
    ray, run, sizes = pytest.importorskip("ray"), pool._run_batch, []

    def counting(self, actor_index, func, batch):
        sizes.append(len(ray.cloudpickle.dumps((func, batch))))
        return run(self, actor_index, func, batch)

    monkeypatch.setattr(pool, "_run_batch", counting)
    return sizes


def test_ray_sends_a_shared_array_not_at_all_or_once(large_data, stored_data, ray_engine, monkeypatch):
    ray = pytest.importorskip("ray")
    sizes = count_sent_by_ray(monkeypatch)
    in_store = [SharedArray(partial(ray.get, ray.put(array))) for array in large_data]
    found = []
    for data in (stored_data, in_store):
        with joblib.parallel_config("ray", n_jobs=2):
            found.append(scores(cheap_search().fit(*data)))
    assert len(sizes) > 2
    # Half of the rows are training, half are test: what is left are their indices.
    assert max(sizes) < 2 * large_data[1].nbytes
    np.testing.assert_equal(found[0], found[1])


def test_shared_arrays_give_the_scores_of_the_arrays(engine, digits, sequential_scores, tmp_path):
    shared = store(tmp_path, *digits)
    with joblib.parallel_config(**engine):
        found = scores(SEARCHES["grid"]().fit(*shared))
    for key, values in sequential_scores["grid"].items():
        np.testing.assert_array_equal(found[key], values, err_msg=key)


class DiesOnce(TransformerMixin, BaseEstimator):
    """Kills its process in the first of all fits, as a machine that is taken away does."""

    def __init__(self, marker, step=0):
        self.marker = marker
        self.step = step

    def fit(self, X, y=None):
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return self
        os.kill(os.getpid(), signal.SIGKILL)

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


@pytest.fixture
def mortal_cluster():
    """Start two Dask workers that no other test needs; copies of data are not tidied away."""
    dask = pytest.importorskip("dask", reason="needs the extra sklearn-brm[dask]")
    distributed = pytest.importorskip("dask.distributed", reason="needs the extra sklearn-brm[dask]")
    with (
        dask.config.set({"distributed.scheduler.active-memory-manager.start": False}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
    ):
        yield


def mortal_search(kind, marker, folds):
    model = make_pipeline(DiesOnce(str(marker)), DummyClassifier(strategy="stratified", random_state=0))
    options = {"cv": folds, "refit": False, "error_score": "raise"}
    grid = {"diesonce__step": range(4)}
    if kind == "grid":
        return GridSearchCV(model, grid, **options)
    return HalvingGridSearchCV(model, grid, factor=2, min_resources=120, random_state=0, **options)


@pytest.mark.parametrize("kind", ["grid", "halving"])
@pytest.mark.usefixtures("mortal_cluster")
def test_a_killed_dask_worker_costs_a_retry_and_not_the_search(kind, digits, tmp_path):
    X, y = digits
    folds, marker, scatter = list(FOLDS.split(X, y)), tmp_path / "died", None
    if kind == "grid":
        # Every worker gets a copy of all arrays, so that any one of them may go.
        scatter = [X, y, *chain(*folds)]
    else:
        # Halving draws new folds on its way: as lists they travel with the tasks, and so does a reference.
        X, y = store(tmp_path, X, y)
        folds = [(train.tolist(), test.tolist()) for train, test in folds]
    search = mortal_search(kind, marker, folds)
    with joblib.parallel_config("dask", scatter=scatter):
        found = scores(search.fit(X, y))
    assert marker.exists()
    expected = scores(search.fit(X, y))
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values)


class Occupied(TransformerMixin, BaseEstimator):
    """Notes when it holds which device."""

    def __init__(self, folder, step=0):
        self.folder = folder
        self.step = step

    def fit(self, X, y=None):
        start = time.monotonic()
        time.sleep(0.2)
        note = {"device": os.environ["CUDA_VISIBLE_DEVICES"], "start": start, "end": time.monotonic()}
        (Path(self.folder) / f"{time.monotonic_ns()}-{os.getpid()}.json").write_text(json.dumps(note))
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


@pytest.fixture
def dask_with_gpus():
    """Start two workers with two threads each and one simulated GPU."""
    distributed = pytest.importorskip("dask.distributed", reason="needs the extra sklearn-brm[dask]")
    workers = {
        i: {
            "cls": distributed.Nanny,
            "options": {
                "nthreads": 2,
                "resources": {"GPU": 1},
                "env": {"CUDA_VISIBLE_DEVICES": str(i)},
                "dashboard": False,
            },
        }
        for i in range(2)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"port": 0, "dashboard_address": ":0"}}
    with (
        distributed.SpecCluster(workers, scheduler=scheduler) as cluster,
        distributed.Client(cluster),
    ):
        yield


@pytest.mark.parametrize(
    ("fixture", "config"),
    [
        ("dask_with_gpus", {"backend": "dask", "resources": {"GPU": 1}}),
        ("ray_engine", {"backend": "ray", "n_jobs": 2, "ray_remote_args": {"num_gpus": 1}}),
    ],
)
def test_engines_run_one_fit_per_device_at_a_time(fixture, config, digits, tmp_path, request):
    request.getfixturevalue(fixture)
    search = GridSearchCV(
        make_pipeline(Occupied(str(tmp_path)), DummyClassifier()),
        {"occupied__step": range(4)},
        cv=FOLDS,
        refit=False,
        error_score="raise",
    )
    with joblib.parallel_config(**config):
        search.fit(*digits)
    found = notes(tmp_path)
    assert len(found) == 8
    assert {note["device"] for note in found} == {"0", "1"}
    for first, second in combinations(found, 2):
        apart = first["end"] <= second["start"] or second["end"] <= first["start"]
        assert apart or first["device"] != second["device"]


SLEEPY_SWEEP = """
import os, signal, sys, time
import joblib, numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV

class Sleepy(ClassifierMixin, BaseEstimator):
    def __init__(self, step=0):
        self.step = step
    def fit(self, X, y):
        # One call of the system per line: lines of two workers do not mix.
        os.write(1, b"fitting\\n")
        time.sleep(100)

def sweep():
    GridSearchCV(Sleepy(), {"step": range(8)}, cv=2).fit(np.zeros((8, 1)), np.arange(8) % 2)

if __name__ == "__main__":
    # A shell that runs the tests in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "dask":
        from dask.distributed import Client, LocalCluster
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
            with Client(cluster), joblib.parallel_config("dask"):
                sweep()
    else:
        with joblib.parallel_config("loky", n_jobs=2):
            sweep()
"""


def living_members(group):
    """Return the processes of a process group that run, zombies not counted."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the name, which may hold anything: state, parent, group.
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            members.append(int(path.parent.name))
    return members


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process table from /proc")
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_ctrl_c_ends_a_search_with_all_its_workers(backend, tmp_path):
    if backend == "dask":
        pytest.importorskip("dask.distributed", reason="needs the extra sklearn-brm[dask]")
    script = tmp_path / "sweep.py"
    script.write_text(SLEEPY_SWEEP)
    sweep = subprocess.Popen(
        [sys.executable, str(script), backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert sweep.stdout.readline() == "fitting\n"
        # The terminal sends Ctrl-C to the whole group.
        os.killpg(sweep.pid, signal.SIGINT)
        _, errors = sweep.communicate(timeout=60)
        assert "KeyboardInterrupt" in errors
        assert sweep.returncode not in (0, None)
        deadline = time.monotonic() + 20
        while living_members(sweep.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert living_members(sweep.pid) == []
    finally:
        for process in living_members(sweep.pid):
            os.kill(process, signal.SIGKILL)


def test_the_example_runs():
    example = Path(__file__).resolve().parents[1] / "examples" / "sweep_on_a_cluster.py"
    run = subprocess.run(
        [sys.executable, str(example), "--rows", "150"], capture_output=True, text=True, timeout=110
    )
    assert run.returncode == 0, run.stderr
    *_, header, first, _, _, _, last = run.stdout.splitlines()
    assert header.split() == ["alpha", "accuracy", "robust"]
    alpha, accuracy, robust = map(float, first.split())
    assert alpha == 1e-6
    assert 0 < robust < accuracy <= 1
    assert last.startswith("12 fits under loky in")
