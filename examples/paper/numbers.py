"""The 29 numbers of the paper in one table: ours, how near they shall be, whether they are, and why not."""

import json
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.stats import binomtest

from .models import TITLE
from .settings import ALLOWED, ALLOWED_SHARE, ATTACKED, COLUMNS, N_TEST, PAPER, TRAINING

N_RESAMPLES = 1000
NORMS = ("gaussian", "pgd")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Number:
    """A number of the paper beside ours.

    Attributes
    ----------
    model, quantity : str
        Whose number, and which, by the names in `PAPER`.
    paper, ours : float
    interval : list of two floats, or None
        What 95% of other samples of test images would give; None where that is not known.
    bar : float
        How far ours may be from the paper's.
    reason : str
        For a number that is missed: which other settings come nearer; else empty.
    is_explained : bool
        Whether with one of these it is within.
    """

    model: str
    quantity: str
    paper: float
    ours: float
    interval: list | None
    bar: float
    reason: str = ""
    is_explained: bool = False

    @property
    def excess(self):
        """How far past the bar the number is; negative if it is within."""
        return abs(self.ours - self.paper) - self.bar

    @property
    def is_within(self):
        """Whether the number is as near as it shall be."""
        return self.excess <= 0

    @property
    def verdict(self):
        """Say whether it is near, or by how much it is not."""
        return "within" if self.is_within else f"missed by {self.excess:.3f}"


def allowed(model, quantity):
    """Return how far a number may be from the paper's."""
    return ALLOWED.get(quantity) or ALLOWED_SHARE[model] * PAPER[model][quantity]


def table(found, beside=()):
    """Return every `Number` of a run.

    Parameters
    ----------
    found : dict
        What `results.json` holds.
    beside : list of dicts
        The same of runs with other settings. Where such a run has a "variant", it says what else is changed.
    """
    numbers = [number(found, model, quantity) for model in PAPER for quantity in PAPER[model]]
    return [with_reason(each, found["settings"], beside) for each in numbers]


def number(found, model, quantity):
    """Return a `Number` without its reason."""
    ours = found["models"][model][quantity]
    known = found.get("intervals", {}).get(model, {}).get(quantity)
    interval = share_interval(ours) if quantity == "accuracy" else known
    return Number(model, quantity, PAPER[model][quantity], ours, interval, allowed(model, quantity))


def share_interval(share, n=N_TEST):
    """Return the interval of Clopper and Pearson for a share of `n` images, by default the test images."""
    return list(binomtest(round(share * n), n).proportion_ci())


def median_interval(norms, seed=0):
    """Return the percentile interval of the median over bootstrap samples of the rows right when clean."""
    right, random = norms[norms > 0], np.random.default_rng(seed)
    if not len(right):
        return [np.nan, np.nan]
    medians = [np.median(random.choice(right, len(right))) for _ in range(N_RESAMPLES)]
    return np.quantile(medians, [0.025, 0.975], method="nearest").tolist()


def with_reason(missed, settings, beside):
    """Return a number with the runs beside it that come nearer to the paper, and the settings they differ in.

    Nothing else is a measured reason. Where the number is within in some of these runs, only they are named,
    the nearest first; where it is in none, the nearest is.
    """
    if missed.is_within:
        return missed
    nearer = []
    for run in beside:
        changed = changes(missed, settings, run)
        value = run["models"].get(missed.model, {}).get(missed.quantity)
        if not changed or value is None:
            continue
        there = Number(missed.model, missed.quantity, missed.paper, value, None, missed.bar)
        if there.excess < missed.excess:
            nearer.append((there, f"with {changed}: {value:.3f}, {there.verdict}"))
    nearer.sort(key=lambda pair: pair[0].excess)
    within = [text for there, text in nearer if there.is_within]
    texts = within or [text for _, text in nearer[:1]] or [NOT_MEASURED]
    return replace(missed, reason="; ".join(texts), is_explained=bool(within))


def changes(of, settings, run):
    """Write those settings of another run that a number depends on and that are different there."""
    others = run["settings"]
    names = ["n_units", "seed", *TRAINING.get(of.model, ()), *(ATTACKED if of.quantity in NORMS else ())]
    changed = [f"{name} {others[name]}" for name in names if others[name] != settings[name]]
    return ", ".join([run["variant"], *changed] if "variant" in run else changed)


def rows(numbers):
    """Return the table as text, a list of cells in each row; the header first."""
    header = ["model", "quantity", "paper", "ours", "95% interval", "bar", "verdict", "reason, as measured"]
    return [header, *map(cells, numbers)]


def cells(of):
    """Return the row of a number."""
    interval = "" if of.interval is None else "{:.3f} to {:.3f}".format(*of.interval)
    share = "" if of.quantity in ALLOWED else f" ({ALLOWED_SHARE[of.model]:.0%})"
    bar = f"±{of.bar:.3f}{share}"
    ours = f"{of.ours:.3f}"
    return [of.model, COLUMNS[of.quantity], f"{of.paper:g}", ours, interval, bar, of.verdict, of.reason]


def count(numbers):
    """Say how many are within, and how many of the others are so in a run that is named."""
    n_explained = sum(each.is_explained for each in numbers)
    said = f"{sum(each.is_within for each in numbers)} of {len(numbers)} numbers are within their bar."
    return f"{said} Of the others, {n_explained} are in a run that its reason names." if n_explained else said


def notes(numbers):
    """Say what the columns mean."""
    bars = (
        "The bar is how far a number may be from the paper's: absolute, or as the share in brackets. *Missed "
        "by* is what is left of the difference beyond it."
    )
    intervals = (
        "Intervals say what other test images would give, not other seeds: Clopper and Pearson's for the "
        f"accuracy on {N_TEST} images, and for median norms that of {N_RESAMPLES} bootstrap samples of the "
        "images that are right when clean. Exponents have none."
    )
    if any(each.quantity in NORMS and each.interval is None for each in numbers):
        intervals += " The norms of single images are not kept for this run: its medians have none either."
    reasons = (
        "A reason is given where another run, with what it names changed, came nearer to the paper: every "
        "run where the number is within, or else the nearest; *not measured* where none did. All are single "
        "runs of one seed."
    )
    return [bars, intervals, reasons]


def markdown(numbers, preset):
    """Return the table as a page."""
    header, *lines = ["| " + " | ".join(row) + " |" for row in rows(numbers)]
    title = f"# The {len(numbers)} numbers of the paper: {TITLE['cifar10']}, preset {preset}"
    rule = "| --- " * len(rows(numbers)[0]) + "|"
    text = "\n\n".join([title, count(numbers), "\n".join([header, rule, *lines]), *notes(numbers)])
    return f"{text}\n"


def write(found, folder, beside=()):
    """Write `numbers.md` and, with the table in it, `results.json`; return the numbers, none on digits."""
    numbers = table(found, beside) if found["settings"]["data"] == "cifar10" else []
    if numbers:
        said = [asdict(each) | {"verdict": each.verdict} for each in numbers]
        found = found | {"numbers": said}
        (folder / "numbers.md").write_text(markdown(numbers, found["settings"]["preset"]))
    (folder / "results.json").write_text(json.dumps(found, indent=1, default=_plain))
    return numbers


def read(path):
    """Return what a `results.json` of CIFAR-10 holds; ValueError for another file."""
    found = json.loads(path.read_text())
    if found.get("settings", {}).get("data") != "cifar10":
        raise ValueError(f"{path} holds no results on {TITLE['cifar10']}, which the paper's numbers are of.")
    return found


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else str(value)
