"""Speed and memory of PowerLawSpectrum beside NumPy and scikit-learn, and how far its answers are right.

python benchmarks/bench_spectrum.py            # all tables, about five minutes on two cores
python benchmarks/bench_spectrum.py --small    # a minute, to see that it runs
"""

import argparse
import resource
import subprocess
import sys
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from _common import have_images, load_cifar10, median_times, write_table
from sklearn.decomposition import PCA

from sklearn_brm import PowerLawSpectrum, SpectrumWarning

STREAM_FEATURES = 512
STREAM_ROWS = 20_000
WINDOW = (11, 100)
BYTES_PER_MB = 2**20


def one_shot_table(n_samples, n_features):
    X = np.random.default_rng(0).normal(size=(n_samples, n_features))
    X *= np.arange(1, n_features + 1) ** -0.5
    window = (11, n_features // 6)
    eigenvalues = {}

    def run(name, compute):
        def timed():
            eigenvalues[name] = compute()

        return timed

    contestants = {
        "PowerLawSpectrum.fit": lambda: PowerLawSpectrum(window, device="cpu").fit(X).eigenvalues_,
        "numpy eigvalsh(cov(X.T))": lambda: np.linalg.eigvalsh(np.cov(X.T))[::-1],
        'PCA(svd_solver="covariance_eigh")': lambda: pca(X, "covariance_eigh"),
        'PCA(svd_solver="full")': lambda: pca(X, "full"),
    }
    contestants = {name: run(name, compute) for name, compute in contestants.items()}
    full = contestants.pop('PCA(svd_solver="full")')
    seconds = median_times(contestants, n_rounds=5)
    # Half a minute a run: once is enough to see by how much it is slower.
    seconds |= median_times({'PCA(svd_solver="full")': full}, n_rounds=1, warm_up=0)
    numpy_seconds = seconds["numpy eigvalsh(cov(X.T))"]
    exact = eigenvalues['PCA(svd_solver="full")']
    rows = [
        (
            name,
            f"{value:.2f}",
            f"{value / numpy_seconds:.2f}",
            f"{np.abs(eigenvalues[name] - exact).max() / exact[0]:.0e}",
        )
        for name, value in seconds.items()
    ]
    write_table(
        "spectrum_one_shot",
        f"Eigenvalues of the covariance of {n_samples} x {n_features} float64",
        ["contestant", "seconds", "times numpy", "largest difference from the full SVD / largest eigenvalue"],
        rows,
        notes=[
            "Medians of 5 interleaved rounds (full SVD: one). Ours validates and fits the exponent besides."
        ],
    )


def pca(X, solver):
    return PCA(svd_solver=solver).fit(X).explained_variance_


def streaming_table(n_samples, chunk_sizes):
    """Every way of measuring in a process of its own, for its peak of resident memory."""
    runs = [("fit, one array", "fit", n_samples)]
    runs += [(f"partial_fit, chunks of {size}", "partial_fit", size) for size in chunk_sizes]
    results = {name: measured_alone(call, n_samples, size) for name, call, size in runs}
    base = results["fit, one array"][0]
    rows = [
        (name, f"{seconds:.1f}", f"{base / seconds:.2f}", f"{megabytes:.0f}", f"{exponent:.9f}")
        for name, (seconds, megabytes, exponent) in results.items()
    ]
    write_table(
        "spectrum_streaming",
        f"{n_samples} x {STREAM_FEATURES} float32, in one array and streamed",
        ["call", "seconds", "speed of one array", "peak MB beyond the data held", "exponent"],
        rows,
        notes=[
            "Each in a process of its own. Memory: peak resident size, less that when the imports are done,",
            "a small measurement has warmed the libraries, and the rows are there.",
        ],
    )


def measured_alone(call, n_samples, chunk_size):
    command = [sys.executable, __file__, "--child", call, str(n_samples), str(chunk_size)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(number) for number in output.split()]


def child(call, n_samples, chunk_size):
    """Print seconds, megabytes beyond the data, and the exponent."""
    rng = np.random.default_rng(0)
    PowerLawSpectrum(WINDOW, device="cpu").fit(rng.normal(size=(4 * STREAM_FEATURES, STREAM_FEATURES)))
    # Drawing a million rows is not what is measured: the same ones come again and again.
    X = rng.standard_normal((STREAM_ROWS, STREAM_FEATURES), dtype=np.float32)
    X *= np.arange(1, STREAM_FEATURES + 1, dtype=np.float32) ** -0.5
    X = np.tile(X, (n_samples // STREAM_ROWS, 1)) if call == "fit" else X
    spectrum = PowerLawSpectrum(WINDOW, device="cpu")
    before = resident_megabytes()
    start = time.perf_counter()
    if call == "fit":
        spectrum.fit(X)
    else:
        for first in range(0, n_samples, chunk_size):
            row = first % STREAM_ROWS
            spectrum.partial_fit(X[row : row + chunk_size])
        spectrum.measure()
    exponent = spectrum.exponent_
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_PER_MB
    print(time.perf_counter() - start, peak - before, exponent)


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / BYTES_PER_MB


def coverage_table(n_draws, n_features, n_bootstrap=200):
    n_samples = 3 * n_features
    rows = []
    for exponent in (0.5, 1.0, 2.0, 3.0):
        fits = []
        for seed in range(n_draws):
            X = np.random.default_rng(seed).normal(size=(n_samples, n_features))
            X *= np.arange(1, n_features + 1) ** (-exponent / 2)
            fits.append(PowerLawSpectrum(n_bootstrap=n_bootstrap, random_state=seed, device="cpu").fit(X))
        errors = np.array([fit.exponent_ for fit in fits]) - exponent
        corrected = errors - [fit.exponent_bias_ for fit in fits]
        covered = sum(fit.exponent_interval_[0] <= exponent <= fit.exponent_interval_[1] for fit in fits)
        half = np.mean([np.diff(fit.exponent_interval_)[0] / 2 for fit in fits])
        windows, counts = np.unique([fit.window_ for fit in fits], axis=0, return_counts=True)
        rows.append(
            (
                exponent,
                tuple(windows[counts.argmax()].tolist()),
                f"{errors.mean():+.3f} +- {errors.std():.3f}",
                f"{np.abs(errors).max():.3f}",
                f"{corrected.mean():+.3f} +- {corrected.std():.3f}",
                f"{half:.3f}",
                f"{covered} of {n_draws}",
            )
        )
    write_table(
        f"spectrum_coverage_{n_features}",
        f"Exponents of Gaussian data, {n_samples} x {n_features}, automatic window",
        ["true", "usual window", "error", "largest", "error less estimated bias", "half interval", "covered"],
        rows,
        notes=[f"Nominal 95%, {n_bootstrap} resamples."],
    )


def laws_table(n_draws, n_features):
    ranks = np.arange(1, n_features + 1)
    spectra = {
        "power_law": 1 / ranks,
        "exponential": np.exp(-ranks / 20),
        "broken_power_law": np.where(ranks < 15, ranks**-0.5, 15**1.5 * ranks**-2.0),
    }
    rows = []
    for law, per_feature, window in product(spectra, (3, 10, 100), ("auto", (1, 30))):
        best, leads = [], []
        for seed in range(n_draws):
            X = np.random.default_rng(seed).normal(size=(per_feature * n_features, n_features))
            comparison = PowerLawSpectrum(window, device="cpu").fit(X * spectra[law] ** 0.5).compare_laws()
            best.append(comparison.best)
            others = min(value for name, value in comparison.criteria.items() if name != law)
            leads.append(others - comparison.criteria[law])
        counts = [best.count(name) for name in spectra]
        lead = f"{np.median(leads):+.0f} ({min(leads):+.0f} to {max(leads):+.0f})"
        rows.append((law, per_feature, window, *counts, lead))
    write_table(
        "spectrum_laws",
        f"The law that is named best, for Gaussian data with {n_features} features, {n_draws} draws",
        ["true law", "samples per feature", "window", *spectra, "lead of the true law"],
        rows,
        notes=["Lead: the smallest criterion of the other laws less that of the true one, median and range."],
    )


def images_table():
    X, _ = load_cifar10("test")
    X /= np.linalg.norm(X, ord=3, axis=1, keepdims=True)
    noise = np.random.default_rng(0).normal(size=X.shape)
    rows = []
    for name, data, window, expected in [
        ("CIFAR-10 test pixels (JPEG copy)", X, (11, 500), "1.49 (1.47 on the originals)"),
        ("standard normal rows", noise, (11, 100), "0.05"),
    ]:
        for method in ("ols", "weighted", "robust"):
            fit = PowerLawSpectrum(window, method=method, device="cpu").fit(data)
            rows.append((name, window, method, f"{fit.exponent_:.3f}", expected if method == "ols" else ""))
    write_table("spectrum_images", "Exponents of raw pixels and of white noise", HEADER_IMAGES, rows)


HEADER_IMAGES = ["rows", "window", "method", "exponent", "asked for"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small arrays, to see that it runs")
    parser.add_argument("--only", choices=["one_shot", "streaming", "coverage", "laws", "images"])
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        call, n_samples, chunk_size = arguments.child
        child(call, int(n_samples), int(chunk_size))
        return
    small = arguments.small
    tables = {
        "one_shot": lambda: one_shot_table(*((1000, 300) if small else (10_000, 3072))),
        "streaming": lambda: streaming_table(20_000 if small else 1_000_000, [100, 1000, 10_000]),
        "coverage": lambda: coverage_table(5 if small else 100, 60),
        "laws": lambda: laws_table(5 if small else 50, 100),
    }
    if have_images():
        tables["images"] = images_table
    for name, make in tables.items():
        if arguments.only in (None, name):
            make()


if __name__ == "__main__":
    warnings.simplefilter("error", SpectrumWarning)
    main()
