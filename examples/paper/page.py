"""The report: `results.json`, tables in `results.csv`, `results.md` and `numbers.md`, and one page of all."""

import base64
import csv
import platform
from dataclasses import asdict
from html import escape

import numpy as np
import torch

import sklearn_brm

from . import measure
from . import numbers as paper_numbers
from .figures import TITLES
from .models import SCHEDULED_EPOCHS, TITLE
from .settings import ATTACKS, COLUMNS, MODELS, PAPER

STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #5a5a5a; --line: #d8d8d8;
  --good: #0a6b3d; --bad: #a33a00; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { line-height: 1.2; font-size: 1.7rem; }
h2 { margin-top: 2.4rem; line-height: 1.25; font-size: 1.3rem; }
p, li { max-width: 46rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td small { color: var(--soft); display: block; }
td.good small b { color: var(--good); }
td.bad small b { color: var(--bad); }
td.wrap, th.wrap { white-space: normal; text-align: left; min-width: 14rem; }
figure { margin: 1.4rem 0; }
figcaption { color: var(--soft); font-size: .93rem; max-width: 46rem; }
img { max-width: 100%; height: auto; }
code { background: #f3f3f3; padding: .05em .3em; overflow-wrap: anywhere; }
.note { border-left: 4px solid var(--line); padding: .2rem 0 .2rem 1rem; color: var(--soft); }
"""


def write(results, past, reproduction, preset, command, beside=()):
    """Write all of them into the folder of the figures; `command` is how the page says that it was made.

    `beside` are the results of runs with other settings, for the table of numbers.
    """
    folder, settings = reproduction.folder, reproduction.settings
    numbers = collect(results)
    everything = {
        "settings": asdict(settings) | {"preset": preset},
        "versions": versions(),
        "models": numbers,
        "intervals": intervals(results, settings.seed),
        "paper": PAPER if settings.data == "cifar10" else None,
        "past": summary(past),
    }
    judged = paper_numbers.write(everything, folder, beside)
    with open(folder / "results.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", *COLUMNS, *(f"paper_{column}" for column in COLUMNS), "training_seconds"])
        for name, row in numbers.items():
            paper = PAPER[name] if settings.data == "cifar10" else {}
            cells = [row.get(column) for column in COLUMNS] + [paper.get(column) for column in COLUMNS]
            writer.writerow([name, *("" if cell is None else cell for cell in cells), row.get("seconds", "")])
    (folder / "results.md").write_text(markdown(numbers, settings, preset, command))
    (folder / "report.html").write_text(html(numbers, judged, past, reproduction, command))


def markdown(numbers, settings, preset, command):
    """Return the main table with the paper's numbers in brackets."""
    lines = ["| model | " + " | ".join(COLUMNS.values()) + " |", "| --- " * (1 + len(COLUMNS)) + "|"]
    for name, row in numbers.items():
        paper = PAPER[name] if settings.data == "cifar10" else {}
        cells = []
        for column in COLUMNS:
            value, published = row.get(column), paper.get(column)
            text = "" if value is None else f"{value:.3f}"
            if value is not None and published is not None:
                mark = "✓" if is_near(name, column, value) else "✗"
                text += f" ({published:g}, {value - published:+.3f} {mark})"
            cells.append(text)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    made = ", ".join(f"{key} {value}" for key, value in asdict(settings).items())
    said = "In brackets the paper's number, the difference, and whether it is as near as was aimed at.\n"
    return "\n".join(
        [
            f"# {TITLE[settings.data]}, preset {preset}",
            "",
            *lines,
            "",
            said if settings.data == "cifar10" else "",
            f"Command: `{command}`",
            "",
            f"Settings: {made}.",
            "",
        ]
    )


def versions():
    """Return what the numbers were computed with."""
    return {
        "sklearn_brm": sklearn_brm.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def collect(results):
    """Return the numbers of the table by model."""
    numbers = {}
    for name in MODELS:
        found = results[name]
        numbers[name] = {
            "accuracy": float(found["accuracy"]["accuracy"]),
            "train_accuracy": float(found["accuracy"]["train_accuracy"]),
            **{attack: measure.median_norm(found["critical"][f"{attack}_norm"]) for attack in ATTACKS},
            **_exponents(found["spectra"]),
            "jacobian_low": float(found["plane"]["jacobian_norm"].min()),
            "jacobian_high": float(found["plane"]["jacobian_norm"].max()),
            "seconds": float(found["seconds"]["seconds"]),
        }
    initial = results["BP at initialisation"]["spectra"]
    numbers["raw pixels"] = _exponents(initial, "input")
    numbers["BP at initialisation"] = _exponents(initial)
    return numbers


def intervals(results, seed):
    """Return the intervals of the median critical norms by model."""
    return {
        name: {
            attack: paper_numbers.median_interval(results[name]["critical"][f"{attack}_norm"], seed)
            for attack in ATTACKS
        }
        for name in MODELS
    }


def _exponents(found, layer="pre-activation"):
    return {
        "exponent": measure.exponent(found, "data", layer),
        "noise_exponent": measure.exponent(found, "noise", layer),
    }


def summary(past):
    """Return the numbers past the paper, without the arrays of single rows."""
    if not past:
        return None
    worst = {
        name: {
            "pgd": measure.median_norm(found["pgd_norm"]),
            "worst_case": measure.median_norm(found["norm"]),
            **{key: float(found[key]) for key in found if key.startswith("accuracy")},
            "warnings": found["warnings"].tolist(),
        }
        for name, found in past["worst"].items()
    }
    others = {key: past[key] for key in ("search", "chosen", "goals", "correlation", "tables") if key in past}
    return {"worst_case": worst} | others


def is_near(name, column, value):
    """Whether a number is as near to the paper's as was asked for."""
    return abs(value - PAPER[name][column]) <= paper_numbers.allowed(name, column)


def html(numbers, judged, past, reproduction, command):
    """Return the page; `judged` are the numbers of the paper, none on digits."""
    settings = reproduction.settings
    parts = [
        f"<h1>Biologically inspired robustness on {escape(TITLE[settings.data])}</h1>",
        introduction(settings),
        "<h2>The five models</h2>",
        main_table(numbers, settings.data == "cifar10"),
        order_note(numbers) if settings.data == "cifar10" else "",
        numbers_table(judged) if judged else "",
        *(figure(reproduction.folder, name) for name in TITLES if name.startswith("figure")),
    ]
    if past:
        parts += beyond(past, reproduction.folder, settings)
    parts += ["<h2>How this was made</h2>", how(settings, command)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sklearn-brm: report</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def introduction(settings):
    """Say what the reader looks at."""
    text = (
        "Five models of Holzhausen et al., <em>Exploring Biologically Inspired Mechanisms of Adversarial "
        "Robustness</em> (2025): local winner-take-all learning (KH), a back-propagated perceptron (BP), and "
        "the same under weight decay (L2), a Jacobian penalty (JReg) and a spectral penalty (SpecReg)."
    )
    if settings.data == "digits":
        text += (
            " <strong>This run is on digits, to show the whole in minutes: none of its numbers are the "
            "paper's.</strong>"
        )
    elif settings.epochs < 1000:
        text += (
            f" The paper trains for 1000 epochs, this run for {settings.epochs} (SpecReg "
            f"{settings.spectral_epochs}, local learning {settings.encoder_epochs}). "
            f"Critical norms are of the first {settings.n_attacked} test images."
        )
        if min(settings.epochs, settings.spectral_epochs) < SCHEDULED_EPOCHS:
            text += f" The schedule of the paper's first {SCHEDULED_EPOCHS} epochs is squeezed into fewer."
    return f"<p>{text}</p>"


def html_table(header, rows, *, wide=()):
    """Return a table that scrolls sideways on narrow screens.

    Cells are text, which is escaped, or pairs of the attributes of the cell and HTML. The columns at the
    places `wide` hold text that wraps.
    """
    marks = ['class="wrap"' if place in wide else "" for place in range(len(header))]
    lines = ["".join(f"<th {mark}>{escape(title)}</th>" for mark, title in zip(marks, header))]
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (mark, escape(cell)) for mark, cell in zip(marks, row)]
        lines.append("".join(f"<td {attributes}>{content}</td>" for attributes, content in cells))
    return '<div class="scroll"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def main_table(numbers, has_paper):
    """Return the table of section 4, with the paper's numbers below ours."""
    rows = []
    for name, row in numbers.items():
        paper = PAPER[name] if has_paper else {}
        cells = [beside_paper(name, column, row.get(column), paper.get(column)) for column in COLUMNS]
        seconds = f"{row['seconds']:.1f}" if np.isfinite(row.get("seconds", np.nan)) else ""
        rows.append([name, *cells, seconds])
    table = html_table(["model", *COLUMNS.values(), "training (s)"], rows)
    if not has_paper:
        return table
    return (
        f'{table}<p class="note">✓ within 0.02 of the accuracy, 15% (KH, L2) or 25% of the critical norm, '
        "0.3 of the exponent.</p>"
    )


def beside_paper(name, column, value, paper):
    """Return the cell of a number, with the paper's below it and whether it is near."""
    if value is None or paper is None:
        return "" if value is None else f"{value:.3f}"
    state, mark = ("good", "✓") if is_near(name, column, value) else ("bad", "✗")
    note = f"<small>paper {paper:g}, <b>{mark} {value - paper:+.3f}</b></small>"
    return f'class="{state}"', f"{value:.3f}{note}"


def order_note(numbers):
    """Say whether the models come in the paper's order."""
    lines = []
    for column in ("accuracy", "gaussian", "pgd"):
        ours, paper = (by_size({n: of[n][column] for n in MODELS}) for of in (numbers, PAPER))
        verdict = "as in the paper" if ours == paper else f"the paper has {paper}"
        lines.append(f"<li>{COLUMNS[column]}: {ours} ({verdict})</li>")
    return f"<p>Order of the models:</p><ul>{''.join(lines)}</ul>"


def numbers_table(judged):
    """Return every number of the paper with its verdict."""
    header, *rows = paper_numbers.rows(judged)
    place = header.index("verdict")
    for number, row in zip(judged, rows):
        state, mark = ("good", "✓") if number.is_within else ("bad", "✗")
        row[place] = f'class="{state}"', f"<small><b>{mark} {escape(row[place])}</b></small>"
    notes = "".join(f"<p>{escape(note).replace('*', '')}</p>" for note in paper_numbers.notes(judged))
    table = html_table(header, rows, wide=[len(header) - 1])
    return f"<h2>All numbers of the paper</h2><p>{paper_numbers.count(judged)}</p>{table}{notes}"


def by_size(values):
    """Write names in the order of their values, largest first."""
    return " &gt; ".join(sorted(values, key=lambda name: -values[name]))


def figure(folder, name):
    """Return a picture inside the page; the PDF lies beside it."""
    path = folder / f"{name}.png"
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    label = name.replace("figure", "<strong>Figure ") + ".</strong> " if name.startswith("figure") else ""
    image = f'<img alt="{escape(TITLES[name])}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{label}{TITLES[name]}.</figcaption></figure>"


def beyond(past, folder, settings):
    """Return the sections past the paper."""
    parts = ["<h2>Is the robustness real?</h2>", worst_text(past["worst"]), figure(folder, "beyond1")]
    if "search" in past:
        parts += ["<h2>A better point</h2>", search_text(settings), goals_table(past["goals"])]
        parts += [chosen_table(past["chosen"]), figure(folder, "beyond2"), search_table(past["search"])]
    parts += ["<h2>Does a spectrum near 1 help?</h2>", correlation_text(past["correlation"])]
    parts.append(figure(folder, "beyond3"))
    return [*parts, "<h2>On tables</h2>", tables_html(past["tables"])]


def worst_text(worst):
    """Return the table of the worst case and what was warned about."""
    norms = {name: measure.median_norm(found["norm"]) for name, found in worst.items()}
    pgd = {name: measure.median_norm(found["pgd_norm"]) for name, found in worst.items()}
    keys = [key for key in next(iter(worst.values())) if key.startswith("accuracy")]
    header = ["model", "norm, paper's PGD", "norm, worst case", "share"]
    header += [f"accuracy at {key.split('-', 1)[1]}" for key in keys]
    rows = [
        [name, f"{pgd[name]:.3f}", f"{norms[name]:.3f}", f"{norms[name] / pgd[name]:.0%}"]
        + [f"{float(found[key]):.3f}" for key in keys]
        for name, found in worst.items()
    ]
    before, after, n_rows = by_size(pgd), by_size(norms), len(next(iter(worst.values()))["norm"])
    same = f"The order of the models is the same under both: {after}."
    changed = f"The order changes: {before} under the paper's PGD, {after} under the worst case."
    said = [
        f"<li>{name}: {escape(text)}</li>" for name, f in worst.items() for text in f["warnings"].tolist()
    ]
    return (
        f"<p>Median critical norms of the same {n_rows} test images under the paper's attack (PGD, 20 "
        "steps, cross-entropy) and under the worst of adaptive attacks on "
        "cross-entropy, margin and targets, a minimum-norm attack and a black box, and accuracies under the "
        f"latter at fixed sizes in the maximum norm. {same if before == after else changed}</p>"
        + html_table(header, rows)
        + (f"<p>What the scorer warned about:</p><ul>{''.join(said)}</ul>" if said else "")
        + ("" if said else "<p>The scorer had nothing to warn about.</p>")
    )


MEASURED = {
    "test_accuracy": "test accuracy",
    "test_pgd": "norm, PGD",
    "test_worst": "norm, worst case",
    "exponent": "exponent",
    "seconds": "training (s)",
}


def measured(found):
    """Return the cells of a candidate of the search, by `MEASURED`."""
    return [f"{float(found[key]):.{1 if key == 'seconds' else 3}f}" for key in MEASURED]


def search_text(settings):
    """Say what was searched, and on which images the candidates were measured."""
    return (
        f"<p>Every candidate trained for {settings.search_epochs} epochs (local learning for "
        f"{settings.encoder_epochs}) on {settings.n_search_rows - settings.n_validation} training images, "
        f"or on these and their mirror images where it says so; {settings.n_validation} others chose among "
        f"them. Critical norms under PGD are those of the first {settings.n_attacked} test images, under the "
        f"worst case of the first {settings.n_worst_case}: they are not of the same images, and the smaller "
        "number of the two is no measure of the attacks.</p>"
    )


def goals_table(goals):
    """Return what was aimed at past the paper's models, and the candidate chosen for each."""
    if not goals:
        return ""
    rows = []
    for name, found in goals.items():
        is_met = found["test_accuracy"] >= found["goal_accuracy"] and found["test_pgd"] >= found["goal_norm"]
        aim = f"{found['goal_accuracy']:g} at {found['goal_norm']:g}"
        verdict = 'class="good"', "<small><b>✓ reached</b></small>"
        if not is_met:
            verdict = 'class="bad"', "<small><b>✗ not reached</b></small>"
        title = f"({name}) {found['says']}"
        rows.append([title, aim, verdict, *measured(found), f"{found['title']}: {found['parameters']}"])
    header = ["goal", "accuracy and norm aimed at", "", *MEASURED.values(), "candidate"]
    return (
        "<p>Three points were aimed at. The candidate that most likely meets each was chosen on the "
        "validation split and is measured here on the test images.</p>"
        + html_table(header, rows, wide=[0, len(header) - 1])
    )


def chosen_table(chosen):
    """Return the table of the models that the search chose, measured on the test images."""
    rows = [[found["title"], *measured(found), found["parameters"]] for found in chosen.values()]
    header = ["mechanism", *MEASURED.values(), "parameters"]
    return (
        "<p>The best candidate of every mechanism by the validation split, measured on test images: the most "
        "robust one among those within two points of the mechanism's best accuracy.</p>"
        + html_table(header, rows, wide=[0, len(header) - 1])
    )


def search_table(found):
    """Return all candidates of the search, on the validation split and on the test images."""
    rows = [
        [f"{found['mechanism'][i]}: {found['parameters'][i]}"]
        + [f"{found[key][i]:.3f}" for key in ("accuracy", "pgd")]
        + measured({key: found[key][i] for key in MEASURED})
        for i in range(len(found["mechanism"]))
    ]
    header = ["candidate", "accuracy, validation", "norm, PGD, validation", *MEASURED.values()]
    return "<p>All candidates:</p>" + html_table(header, rows, wide=[0])


def correlation_text(found):
    """Say how exponent and critical norm go together."""
    return (
        f"<p>Over {len(found['norms'])} trained models the rank correlation of the exponent with the median "
        f"critical norm is {found['rho']:.2f} (p = {found['p_value']:.2g}), and that of the exponent's "
        f"distance from 1 is {found['rho_distance_from_1']:.2f} "
        f"(p = {found['p_value_distance_from_1']:.2g}). "
        "If a spectrum near 1 helped, the second would be clearly negative. Both are the same number where "
        "all exponents are above 1, and models of one mechanism share nearly one exponent, so that few "
        "independent points stand behind them.</p>"
    )


def tables_html(found):
    """Return accuracy and worst-case accuracy on the tables."""
    names, models = (list(dict.fromkeys(found[column].tolist())) for column in ("table", "model"))
    pairs = {
        (model, name): f"{accuracy:.3f} / {robust:.3f}"
        for model, name, accuracy, robust in zip(
            *(found[c] for c in ("model", "table", "accuracy", "robust"))
        )
    }
    says = sorted(set(found["says"].tolist()) - {"all columns"})
    return (
        "<p>Mean over 3 folds. The attacker moves every column by up to 0.3 of its standard deviation, "
        f"inside the range that the data have; {escape('; '.join(says))}.</p>"
    ) + html_table(
        ["accuracy / worst case", *names],
        [[model, *(pairs[model, name] for name in names)] for model in models],
    )


def how(settings, command):
    """Say how to make this page again."""
    pairs = ", ".join(f"{key} {value}" for key, value in asdict(settings).items())
    made = ", ".join(f"{key} {value}" for key, value in versions().items() if value)
    return f"<p><code>{escape(command)}</code></p><p>Settings: {escape(pairs)}.</p><p>{escape(made)}.</p>"
