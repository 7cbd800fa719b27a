"""The report: `results.json`, `results.csv`, and one self-contained page."""

import base64
import csv
import json
import platform
from dataclasses import asdict
from html import escape

import numpy as np
import torch

import sklearn_brm

from . import measure
from .figures import TITLES
from .models import TITLE
from .settings import ALLOWED, ALLOWED_SHARE, ATTACKS, MODELS, PAPER

COLUMNS = {
    "accuracy": "test accuracy",
    "gaussian": "critical norm, random",
    "pgd": "critical norm, PGD",
    "exponent": "exponent, images",
    "noise_exponent": "exponent, white noise",
}

STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #5a5a5a; --line: #d8d8d8; --good: #0a6b3d; --bad: #a33a00; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; background: #fff; color: var(--ink);
       font: 16px/1.55 system-ui, sans-serif; }
h1 { line-height: 1.2; font-size: 1.7rem; } h2 { margin-top: 2.4rem; line-height: 1.25; font-size: 1.3rem; }
p, li { max-width: 46rem; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td small { color: var(--soft); display: block; } td.good small b { color: var(--good); } td.bad small b { color: var(--bad); }
td.wrap, th.wrap { white-space: normal; text-align: left; min-width: 14rem; }
figure { margin: 1.4rem 0; } figcaption { color: var(--soft); font-size: .93rem; max-width: 46rem; }
img { max-width: 100%; height: auto; } code { background: #f3f3f3; padding: .05em .3em; overflow-wrap: anywhere; }
.note { border-left: 4px solid var(--line); padding: .2rem 0 .2rem 1rem; color: var(--soft); }
"""


def write(results, past, reproduction, preset):
    """Write the three files into the folder of the figures."""
    folder, settings = reproduction.folder, reproduction.settings
    numbers = collect(results)
    everything = {
        "settings": asdict(settings) | {"preset": preset},
        "versions": versions(),
        "models": numbers,
        "paper": PAPER if settings.data == "cifar10" else None,
        "past": summary(past),
    }
    (folder / "results.json").write_text(json.dumps(everything, indent=1, default=_plain))
    with open(folder / "results.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", *COLUMNS, *(f"paper_{column}" for column in COLUMNS), "training_seconds"])
        for name, row in numbers.items():
            paper = PAPER[name] if settings.data == "cifar10" else {}
            cells = [row.get(column) for column in COLUMNS] + [paper.get(column) for column in COLUMNS]
            writer.writerow([name, *("" if cell is None else cell for cell in cells), row.get("seconds", "")])
    (folder / "report.html").write_text(html(numbers, past, reproduction, preset))


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
    others = {key: past[key] for key in ("search", "chosen", "correlation", "tables") if key in past}
    return {"worst_case": worst} | others


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else str(value)


def is_near(name, column, value):
    """Whether a number is as near to the paper's as was asked for."""
    paper = PAPER[name][column]
    if column in ALLOWED:
        return abs(value - paper) <= ALLOWED[column]
    return abs(value / paper - 1) <= ALLOWED_SHARE[name]


def html(numbers, past, reproduction, preset):
    """Return the page."""
    settings = reproduction.settings
    parts = [
        f"<h1>Biologically inspired robustness on {escape(TITLE[settings.data])}</h1>",
        introduction(settings, preset),
        "<h2>The five models</h2>",
        main_table(numbers, settings.data == "cifar10"),
        order_note(numbers) if settings.data == "cifar10" else "",
        *(figure(reproduction.folder, name) for name in TITLES if name.startswith("figure")),
    ]
    if past:
        parts += beyond(past, reproduction)
    parts += ["<h2>How this was made</h2>", how(settings, preset)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sklearn-brm: report</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def introduction(settings, preset):
    """Say what the reader looks at."""
    text = (
        "Five models of Holzhausen et al., <em>Exploring Biologically Inspired Mechanisms of Adversarial Robustness</em> "
        "(2025): local winner-take-all learning (KH), a back-propagated perceptron (BP), and the same under weight decay "
        "(L2), a Jacobian penalty (JReg) and a spectral penalty (SpecReg)."
    )
    if settings.data == "digits":
        text += " <strong>This run is on digits, to show the whole in minutes: none of its numbers are the paper's.</strong>"
    elif settings.epochs < 1000:
        text += (
            f" The paper trains for 1000 epochs, this run for {settings.epochs} (local learning {settings.encoder_epochs}); "
            f"schedules are squeezed. Critical norms are of the first {settings.n_attacked} test images."
        )
    return f"<p>{text}</p>"


def main_table(numbers, has_paper):
    """Return the table of section 4, with the paper's numbers below ours."""
    head = "".join(f"<th>{escape(title)}</th>" for title in COLUMNS.values())
    lines = [f"<tr><th>model</th>{head}<th>training (s)</th></tr>"]
    for name, row in numbers.items():
        cells = []
        for column in COLUMNS:
            value = row.get(column)
            if value is None:
                cells.append("<td></td>")
            elif has_paper and column in PAPER[name]:
                paper = PAPER[name][column]
                state = "good" if is_near(name, column, value) else "bad"
                mark = "✓" if state == "good" else "✗"
                cells.append(
                    f'<td class="{state}">{value:.3f}<small>paper {paper:g}, <b>{mark} {value - paper:+.3f}</b></small></td>'
                )
            else:
                cells.append(f"<td>{value:.3f}</td>")
        seconds = f"{row['seconds']:.0f}" if np.isfinite(row.get("seconds", np.nan)) else ""
        lines.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}<td>{seconds}</td></tr>")
    note = (
        '<p class="note">✓ within 0.02 of the accuracy, 15% (KH, L2) or 25% of the critical norm, 0.3 of the exponent.</p>'
        if has_paper
        else ""
    )
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>{note}'


def order_note(numbers):
    """Say whether the models come in the paper's order."""
    lines = []
    for column in ("accuracy", "gaussian", "pgd"):
        ours = sorted(MODELS, key=lambda name: -numbers[name][column])
        paper = sorted(MODELS, key=lambda name: -PAPER[name][column])
        verdict = "as in the paper" if ours == paper else f"the paper has {' &gt; '.join(paper)}"
        lines.append(f"<li>{COLUMNS[column]}: {' &gt; '.join(ours)} ({verdict})</li>")
    return f"<p>Order of the models:</p><ul>{''.join(lines)}</ul>"


def figure(folder, name):
    """Return a picture inside the page; the PDF lies beside it."""
    path = folder / f"{name}.png"
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    label = name.replace("figure", "Figure ") if name.startswith("figure") else ""
    caption = f"<strong>{label}.</strong> {TITLES[name]}." if label else f"{TITLES[name]}."
    alt = escape(TITLES[name])
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'


def beyond(past, reproduction):
    """Return the sections past the paper."""
    folder = reproduction.folder
    parts = ["<h2>Is the robustness real?</h2>", worst_text(past["worst"]), figure(folder, "beyond1")]
    if "search" in past:
        parts += [
            "<h2>A better point</h2>",
            chosen_table(past["chosen"]),
            figure(folder, "beyond2"),
            search_table(past),
        ]
    parts += [
        "<h2>Does a spectrum near 1 help?</h2>",
        correlation_text(past["correlation"]),
        figure(folder, "beyond3"),
    ]
    parts += ["<h2>On tables</h2>", tables_html(past["tables"])]
    return parts


def worst_text(worst):
    """Return the table of the worst case and what was warned about."""
    keys = [key for key in next(iter(worst.values())) if key.startswith("accuracy")]
    head = "".join(f"<th>accuracy at {key.split('-', 1)[1]}</th>" for key in keys)
    lines = [
        f"<tr><th>model</th><th>norm, paper's PGD</th><th>norm, worst case</th><th>share</th>{head}</tr>"
    ]
    said = []
    for name, found in worst.items():
        ours, theirs = measure.median_norm(found["norm"]), measure.median_norm(found["pgd_norm"])
        cells = "".join(f"<td>{float(found[key]):.3f}</td>" for key in keys)
        lines.append(
            f"<tr><td>{name}</td><td>{theirs:.3f}</td><td>{ours:.3f}</td><td>{ours / theirs:.0%}</td>{cells}</tr>"
        )
        said += [f"<li>{name}: {escape(text)}</li>" for text in found["warnings"].tolist()]
    by_pgd = sorted(worst, key=lambda name: -measure.median_norm(worst[name]["pgd_norm"]))
    by_worst = sorted(worst, key=lambda name: -measure.median_norm(worst[name]["norm"]))
    verdict = (
        "The order of the models is the same under both."
        if by_pgd == by_worst
        else f"The order changes: {' &gt; '.join(by_pgd)} under the paper's PGD, {' &gt; '.join(by_worst)} under the worst case."
    )
    n_rows = len(next(iter(worst.values()))["norm"])
    return (
        f"<p>Median critical norms of the same {n_rows} test images under the paper's attack (PGD, 20 steps, cross-entropy) "
        "and under the worst of adaptive attacks on cross-entropy, margin and targets, a minimum-norm attack and a black box, "
        f"and accuracies under the latter at fixed sizes in the maximum norm. {verdict}</p>"
        f'<div class="scroll"><table>{"".join(lines)}</table></div>'
        + (
            f"<p>What the scorer warned about:</p><ul>{''.join(said)}</ul>"
            if said
            else "<p>The scorer had nothing to warn about.</p>"
        )
    )


def chosen_table(chosen):
    """Return the table of the models that the search chose, measured on the test images."""
    columns = {
        "accuracy": "test accuracy",
        "pgd": "norm, PGD",
        "worst": "norm, worst case",
        "exponent": "exponent",
        "seconds": "training (s)",
    }
    head = "".join(f"<th>{title}</th>" for title in columns.values())
    lines = [f'<tr><th>mechanism</th>{head}<th class="wrap">parameters</th></tr>']
    for found in chosen.values():
        cells = "".join(f"<td>{float(found[key]):.{0 if key == 'seconds' else 3}f}</td>" for key in columns)
        lines.append(
            f'<tr><td>{escape(found["title"])}</td>{cells}<td class="wrap">{escape(found["parameters"])}</td></tr>'
        )
    return (
        "<p>The best candidate of every mechanism by the validation split, trained on all training images and measured on "
        f'test images.</p><div class="scroll"><table>{"".join(lines)}</table></div>'
    )


def search_table(past):
    """Return all candidates of the search on the validation split."""
    found = past["search"]
    lines = [
        "<tr><th>candidate</th><th>accuracy</th><th>norm, PGD</th><th>exponent</th><th>fit (s)</th></tr>"
    ]
    for i in range(len(found["mechanism"])):
        numbers = "".join(f"<td>{found[key][i]:.3f}</td>" for key in ("accuracy", "pgd", "exponent"))
        name = f"{found['mechanism'][i]}: {found['parameters'][i]}"
        lines.append(f"<tr><td>{escape(name)}</td>{numbers}<td>{found['seconds'][i]:.0f}</td></tr>")
    return f'<p>All candidates, on the validation split:</p><div class="scroll"><table>{"".join(lines)}</table></div>'


def correlation_text(found):
    """Say how exponent and critical norm go together."""
    return (
        f"<p>Over {len(found['norms'])} trained models the rank correlation of the exponent with the median critical norm is "
        f"{found['rho']:.2f} (p = {found['p_value']:.2g}), and that of the exponent's distance from 1 is "
        f"{found['rho_distance_from_1']:.2f} (p = {found['p_value_distance_from_1']:.2g}). If a spectrum near 1 made models "
        "robust, the second would be clearly negative.</p>"
    )


def tables_html(found):
    """Return accuracy and worst-case accuracy on the tables."""
    names = list(dict.fromkeys(found["table"].tolist()))
    models = list(dict.fromkeys(found["model"].tolist()))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f"<tr><th>accuracy / worst case</th>{head}</tr>"]
    for model in models:
        cells = []
        for name in names:
            at = (found["table"] == name) & (found["model"] == model)
            cells.append(f"<td>{found['accuracy'][at][0]:.3f} / {found['robust'][at][0]:.3f}</td>")
        lines.append(f"<tr><td>{escape(model)}</td>{''.join(cells)}</tr>")
    says = sorted(set(found["says"].tolist()) - {"all columns"})
    return (
        "<p>Mean over 3 folds. The attacker moves every column by up to 0.3 of its standard deviation, inside the range that "
        f"the data have; {escape('; '.join(says))}.</p>"
        f'<div class="scroll"><table>{"".join(lines)}</table></div>'
    )


def how(settings, preset):
    """Say how to make this page again."""
    command = f"python examples/reproduce_paper.py --preset {preset}"
    pairs = ", ".join(f"{key} {value}" for key, value in asdict(settings).items())
    made = ", ".join(f"{key} {value}" for key, value in versions().items() if value)
    return f"<p><code>{escape(command)}</code></p><p>Settings: {escape(pairs)}.</p><p>{escape(made)}.</p>"
