"""Time RegularizedClassifier against MLPClassifier, default skorch and a hand-written loop; save two tables.

Run ``python benchmarks/bench_classifier.py [tabular] [images] [grid]``; without arguments it runs all parts.
"""

import sys
import time
import warnings
from functools import partial
from statistics import median

import numpy as np
import torch
from _common import median_times, write_table
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits

from sklearn_brm import RegularizedClassifier, paper_recipe
from sklearn_brm.penalties import Adversarial, Jacobian

N_EPOCHS, N_ROUNDS = 20, 9


def perceptron(n_features, n_hidden, n_classes, bias=True):
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, n_hidden, bias=bias),
        torch.nn.ReLU(),
        torch.nn.Linear(n_hidden, n_classes),
    )


def default_skorch(X, y):
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        perceptron(30, 256, 5), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3,
        max_epochs=N_EPOCHS, batch_size=128, train_split=None, verbose=0, iterator_train__shuffle=True,
    )  # fmt: skip
    return net.fit(X.astype(np.float32), y)


def train_epoch(network, optimizer, X, y, batch_size):
    for rows in torch.randperm(len(X)).split(batch_size):
        loss = torch.nn.functional.cross_entropy(network(X[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def hand_written(X, y):
    """Train as one would without a library: autograd, fused Adam, slices of shuffled rows."""
    torch.manual_seed(0)
    network = perceptron(30, 256, 5)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    X, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
    for _ in range(N_EPOCHS):
        train_epoch(network, optimizer, X, y, 128)
    return NetworkClassifier(network)


class NetworkClassifier:
    """The answers of a hand-trained network."""

    def __init__(self, network):
        self.network = network

    def predict(self, X):
        """Return the class of the largest score."""
        with torch.no_grad():
            return self.network(torch.as_tensor(X)).argmax(dim=1).numpy()


def tabular():
    """Wall time of as many epochs and as large batches on three tables, and of fits with default settings.

    On one thread: those of torch and those of NumPy, which spin while they wait, take the cores from each
    other in one process, and small networks gain nothing from a second one.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        compare_on_tables()
    torch.set_num_threads(n_threads)


def compare_on_tables():
    """Measure, and write the table."""
    X, y = make_classification(40_000, 30, n_informative=15, n_classes=5, random_state=0)
    large = X[:20_000], y[:20_000], X[20_000:], y[20_000:]
    small = {"digits": load_digits, "breast cancer": load_breast_cancer}
    rows = equal_work("20,000 x 30", *large, extra=True)
    for name, load in small.items():
        rows += equal_work(name, *halves(*load(return_X_y=True)))
    for name, load in small.items():
        rows += at_defaults(name, *halves(*load(return_X_y=True)))
    write_table(
        "classifier_tabular",
        "RegularizedClassifier on tables",
        ["table", "units", "precision", "contestant", "epochs", "seconds", "times MLPClassifier", "accuracy"],
        rows,
        notes=[
            f"{N_EPOCHS} epochs, batch 128, Adam at 1e-3, or all defaults of each; digits and breast cancer",
            f"scaled; accuracy on other rows. One thread. Medians of {N_ROUNDS} rounds, turn by turn.",
        ],
    )


def halves(X, y):
    """Return scaled rows to learn from, their labels, and others to judge by."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_test), y_test


def equal_work(table, X, y, X_test, y_test, *, extra=False):
    """Return the lines of the table for one set of rows, with others of torch beside it if asked for."""
    settings = {"batch_size": 128, "max_iter": N_EPOCHS, "random_state": 0}
    rows = []
    for n_units in (100, 256):
        for dtype in (np.float64, np.float32):
            contestants = {
                "MLPClassifier": MLPClassifier((n_units,), n_iter_no_change=N_EPOCHS + 1, **settings).fit,
                "RegularizedClassifier": RegularizedClassifier(
                    (n_units,), tol=None, learning_rate=1e-3, **settings
                ).fit,
            }
            if extra and n_units == 256 and dtype == np.float32:
                contestants |= {"default skorch": default_skorch, "hand-written loop": hand_written}
            cells = table, n_units, np.dtype(dtype).name
            data = X.astype(dtype), y, X_test.astype(dtype), y_test
            rows += [[*cells, *line] for line in compared(contestants, *data)]
    return rows


def at_defaults(table, *data):
    """Return the lines of the table for fits that are given nothing but a seed."""
    contestants = {kind.__name__: kind(random_state=0).fit for kind in (MLPClassifier, RegularizedClassifier)}
    return [[table, "default", "float64", *line] for line in compared(contestants, *data)]


def compared(contestants, X, y, X_test, y_test):
    """Return of each contestant its name, epochs, seconds, share of the first one's, and accuracy."""
    fitted = {}

    def run(name, fit):
        fitted[name] = fit(X, y)

    runs = {name: partial(run, name, fit) for name, fit in contestants.items()}
    seconds = median_times(runs, n_rounds=N_ROUNDS)
    reference = next(iter(seconds.values()))
    return [
        [
            name,
            getattr(fitted[name], "n_iter_", N_EPOCHS),
            f"{value:.3f}",
            f"{value / reference:.2f}",
            f"{np.mean(fitted[name].predict(X_test) == y_test):.4f}",
        ]
        for name, value in seconds.items()
    ]


class EpochClock(Callback):
    """Note how long the batches of an epoch took: what happens before and after them is left out."""

    def on_epoch_begin(self, net, **kwargs):
        """Start the clock, after everything that looks at all rows."""
        self.start = time.perf_counter()

    def on_epoch_end(self, net, **kwargs):
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.start


def epoch_of_loop(X, y):
    network = perceptron(3072, 2000, 10, bias=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    start = time.perf_counter()
    train_epoch(network, optimizer, X, y, 1000)
    return time.perf_counter() - start


def epoch_of(model, X, y):
    clock = EpochClock()
    model.set_params(max_iter=1, random_state=0, callbacks=[clock]).fit(X, y)
    return clock.seconds


def images():
    """Seconds of an epoch at the CIFAR-10 shape, penalty by penalty, against a hand-written loop."""
    n_batches = 5
    rng = np.random.RandomState(0)
    X, y = rng.rand(1000 * n_batches, 3072).astype(np.float32), rng.randint(10, size=1000 * n_batches)
    models = {
        "no penalty": paper_recipe("BP"),
        "l2": paper_recipe("L2"),
        "jacobian of hidden": paper_recipe("BP", penalty="jacobian"),
        "jacobian of preactivation": paper_recipe("JReg"),
        "jacobian of logits": paper_recipe("BP", penalty=Jacobian(of="logits")),
        "jacobian of hidden, 3 projections": paper_recipe("BP", penalty=Jacobian(n_projections=3)),
        "spectral": paper_recipe("SpecReg", batch_norm=False),
        "adversarial, 1 step": paper_recipe("BP", penalty=Adversarial(eps=0.003)),
    }
    contestants = {"hand-written loop": lambda: epoch_of_loop(X, y)}
    contestants.update({name: partial(epoch_of, model, X, y) for name, model in models.items()})
    epoch_of_loop(X, y)
    rounds = [{name: run() for name, run in contestants.items()} for _ in range(3)]
    seconds = {name: median(times[name] for times in rounds) for name in contestants}
    plain, loop = seconds["no penalty"], seconds["hand-written loop"]
    write_table(
        "classifier_images",
        "RegularizedClassifier at the CIFAR-10 shape",
        ["training", "seconds per batch", "times loop", "times no penalty"],
        [
            [name, f"{value / n_batches:.3f}", f"{value / loop:.2f}", f"{value / plain:.2f}"]
            for name, value in seconds.items()
        ],
        notes=[
            f"3072-2000-10, float32, {n_batches} batches of 1000; medians of 3 rounds. Once per epoch the",
            f"spectral penalty needs eigenvectors besides: {seconds_for_eigenvectors():.1f} seconds for the",
            "decomposition of the covariance, and the covariance itself, which grows with the rows.",
        ],
    )


def seconds_for_eigenvectors():
    rows = torch.rand(4000, 2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = rows.T @ rows
    return median_times({"eigh": lambda: torch.linalg.eigh(matrix)}, n_rounds=2)["eigh"]


def grid():
    """Wall time of a grid search over 8 strengths on digits, in one and in two processes."""
    X, y = load_digits(return_X_y=True)
    base = RegularizedClassifier(penalty=Jacobian(of="logits"), random_state=0)
    search = GridSearchCV(base, {"alpha": np.logspace(-5, -1, 8)}, cv=3, refit=False)
    seconds, scores = {}, {}
    for n_jobs in (2, 1):
        search.set_params(n_jobs=n_jobs).fit(X[:300], y[:300])  # the processes start and import
        start = time.perf_counter()
        scores[n_jobs] = search.fit(X, y).cv_results_["mean_test_score"]
        seconds[n_jobs] = time.perf_counter() - start
    same = bool((scores[1] == scores[2]).all())
    write_table(
        "classifier_grid",
        "GridSearchCV over 8 strengths on digits",
        ["n_jobs", "seconds", "times faster"],
        [[n, f"{seconds[n]:.1f}", f"{seconds[1] / seconds[n]:.2f}"] for n in (1, 2)],
        notes=[f"3 folds; the scores are {'identical' if same else 'DIFFERENT'}."],
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for part in sys.argv[1:] or ("tabular", "images", "grid"):
        {"tabular": tabular, "images": images, "grid": grid}[part]()
