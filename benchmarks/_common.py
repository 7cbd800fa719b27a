"""Shared by the benchmarks: interleaved timing, tables on disk, and the images where they are present."""

import os
import platform
import statistics
import time
from pathlib import Path

import joblib
import numpy as np
import torch

from sklearn_brm.datasets import fetch_cifar10, fetch_mnist

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
IMAGE_FOLDER = Path(os.environ.get("SKLEARN_BRM_IMAGES", HERE.parents[1] / "shared" / "data"))


def median_times(contestants, *, n_rounds=5, warm_up=1):
    """Median seconds of each callable in the dict `contestants`, measured turn by turn.

    Interleaving spreads the noise of a shared machine evenly, so that ratios stay meaningful.
    """
    for _ in range(warm_up):
        for run in contestants.values():
            run()
    seconds = {name: [] for name in contestants}
    for _ in range(n_rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def processor():
    """Return the name of the processor, and those of its instruction sets that products depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", facts.get("Features", "")).split()
    kinds = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "sve")
    sets = ", ".join(kind for kind in kinds if kind in flags)
    return f"{facts.get('model name', 'unknown processor')} ({sets or 'no known instruction sets'})"


def machine():
    """One line that says where the numbers come from."""
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return (
        f"{gpu}{processor()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}, NumPy {np.__version__}"
    )


def write_table(name, title, header, rows, *, notes=()):
    """Print a Markdown table and save it as ``results/<name>.md``; return its path."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [_table_line(row, widths) for row in cells]
    lines.insert(1, _table_line(["-" * width for width in widths], widths))
    text = "\n".join([f"# {title}", "", *lines, "", *notes, "", f"Machine: {machine()}.", ""])
    print(text)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(text)
    return path


def kept(name, compute):
    """Return what an earlier run has computed under this name, or compute and keep it.

    So that a long run which was interrupted goes on where it was: what is kept lies in ``benchmarks/report``,
    which may be deleted, and must be, after a change of the code.
    """
    path = HERE / "report" / f"{name}.joblib"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        joblib.dump(compute(), part)
        part.rename(path)
    return joblib.load(path)


def _table_line(row, widths):
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"


def have_images():
    """Whether the image archives are present."""
    return (IMAGE_FOLDER / "cifar10_jpeg_train.npz").exists()


def load_cifar10(split, n_samples=None):
    """CIFAR-10 from the image archives."""
    return fetch_cifar10(IMAGE_FOLDER, split=split, n_samples=n_samples)


def load_mnist(split, n_samples=None):
    """MNIST from the image archives."""
    return fetch_mnist(IMAGE_FOLDER, split=split, n_samples=n_samples)
