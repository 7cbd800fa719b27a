"""Time RegularizedClassifier against MLPClassifier, default skorch and a hand-written loop; save two tables.

Run ``python benchmarks/bench_classifier.py [tabular] [images] [grid]``; without arguments it runs all parts.
"""

import sys
import time
import warnings

import numpy as np
import torch
from _common import median_times, write_table
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier

from sklearn_brm import RegularizedClassifier, paper_recipe
from sklearn_brm._classifier._network import Perceptron
from sklearn_brm._classifier._regularizers import covariance_eigenvectors

N_EPOCHS = 5


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


def tabular():
    """Wall time per epoch on 20,000 x 30, and of a whole fit with default settings on digits."""
    X, y = make_classification(22_000, 30, n_informative=15, n_classes=5, random_state=0)
    X, X_test, y, y_test = X[:20_000], X[20_000:], y[:20_000], y[20_000:]
    settings = {"batch_size": 128, "max_iter": N_EPOCHS, "learning_rate_init": 1e-3, "random_state": 0}
    fitted = {}

    def contestant(name, fit):
        def run():
            fitted[name] = fit()

        return run

    contestants = {}
    for dtype in (np.float64, np.float32):
        rows = X.astype(dtype)
        for name, model in {
            "MLPClassifier": MLPClassifier((256,), n_iter_no_change=N_EPOCHS + 1, **settings),
            "RegularizedClassifier": RegularizedClassifier((256,), tol=None, **settings),
        }.items():
            key = f"{name}, {np.dtype(dtype).name}"
            contestants[key] = contestant(key, lambda model=model, rows=rows: model.fit(rows, y))
    contestants["default skorch, float32"] = contestant(
        "default skorch, float32", lambda: default_skorch(X, y)
    )
    digits = load_digits(return_X_y=True)
    for name, model in {
        "MLPClassifier, digits": MLPClassifier(random_state=0),
        "RegularizedClassifier, digits": RegularizedClassifier(random_state=0),
    }.items():
        contestants[name] = contestant(name, lambda model=model: model.fit(*digits))
    seconds = median_times(contestants, n_rounds=5)
    rows = []
    for name, value in seconds.items():
        _, kind = name.split(", ")
        reference = seconds[f"MLPClassifier, {kind}"]
        if kind == "digits":
            accuracy = fitted[name].score(*digits)
        else:
            accuracy = np.mean(fitted[name].predict(X_test.astype(np.float32)) == y_test)
        n_epochs = getattr(fitted[name], "n_iter_", N_EPOCHS)
        rows.append([name, n_epochs, f"{value:.2f}", f"{value / reference:.2f}", f"{accuracy:.4f}"])
    write_table(
        "classifier_tabular",
        "RegularizedClassifier on tables",
        ["contestant", "epochs", "seconds", "times MLPClassifier", "accuracy"],
        rows,
        notes=[
            "20,000 x 30, 5 classes, 256 hidden units, batch 128, Adam at 1e-3, accuracy on 2,000 others.",
            "Digits with default settings until convergence, accuracy on the same rows. Medians of 5 rounds.",
        ],
    )


def hand_written(X, y, n_epochs):
    network = perceptron(3072, 2000, 10, bias=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X)).split(1000):
            loss = torch.nn.functional.cross_entropy(network(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def images():
    """Wall time of training at the CIFAR-10 shape, penalty by penalty, against a hand-written loop."""
    n_batches = 4
    rng = np.random.RandomState(0)
    X, y = rng.rand(1000 * n_batches, 3072).astype(np.float32), rng.randint(10, size=1000 * n_batches)
    models = {
        "no penalty": paper_recipe("BP"),
        "l2": paper_recipe("L2"),
        "jacobian of hidden": paper_recipe("BP", penalty="jacobian"),
        "jacobian of preactivation": paper_recipe("JReg"),
        "jacobian of logits": paper_recipe("BP", penalty="jacobian", jacobian_of="logits"),
        "jacobian of hidden, 3 projections": paper_recipe("BP", penalty="jacobian", jacobian_projections=3),
        "adversarial, 1 step": paper_recipe("BP", penalty="adversarial", adversarial_eps=0.003),
    }
    contestants = {"hand-written loop": lambda: hand_written(X, y, 1)}
    for name, model in models.items():
        model.set_params(max_iter=1, random_state=0)
        contestants[name] = lambda model=model: model.fit(X, y)
    seconds = median_times(contestants, n_rounds=3)
    seconds.update(spectral_times(X, n_batches))
    plain, loop = seconds["no penalty"], seconds["hand-written loop"]
    rows = [
        [name, f"{value:.2f}", f"{value / loop:.2f}", f"{value / plain:.2f}"]
        for name, value in seconds.items()
    ]
    write_table(
        "classifier_images",
        "RegularizedClassifier at the CIFAR-10 shape",
        ["training", "seconds", "times loop", "times no penalty"],
        rows,
        notes=[
            f"3072-2000-10, {n_batches} batches of 1000, float32, building and storing the model included.",
            "The eigenvectors are found once per epoch from all rows; 'spectral, the batches' is the rest.",
        ],
    )


def spectral_times(X, n_batches):
    """Return the seconds of an epoch under the spectral penalty, split into its two parts."""
    rows = torch.as_tensor(X)
    network = Perceptron(
        [3072, 2000, 10], power=1.0, hidden_bias=False, batch_norm=False, mean=None, scale=None,
        dtype=torch.float32,
    )  # fmt: skip
    network.initialize(torch.Generator().manual_seed(0))
    batches = [(part, None) for part in rows.split(1000)]
    y = np.random.RandomState(0).randint(10, size=len(X))
    model = paper_recipe("SpecReg", batch_norm=False, max_iter=1, random_state=0)
    seconds = median_times(
        {
            "spectral, the epoch": lambda: model.fit(X, y),
            "spectral, its eigenvectors": lambda: covariance_eigenvectors(network, batches, "preactivation"),
        },
        n_rounds=3,
    )
    seconds["spectral, the batches"] = seconds["spectral, the epoch"] - seconds["spectral, its eigenvectors"]
    return seconds


def grid():
    """Wall time of a grid search over 8 strengths on digits, in one and in two processes."""
    X, y = load_digits(return_X_y=True)
    base = RegularizedClassifier(penalty="jacobian", jacobian_of="logits", random_state=0)
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
