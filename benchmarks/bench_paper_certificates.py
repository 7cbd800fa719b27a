"""The paper's models from above and from below: critical norms that attacks reach, and radii that are proven.

KH, BP, L2 and JReg of 2000 units learn CIFAR-10 as `examples/reproduce_paper.py` has them, for a few epochs
on some of the images. Interrupted and called again, it goes on from what is done. The table goes to
``results/paper_certificates.md``.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _common import IMAGE_FOLDER, kept, write_table

from sklearn_brm import ThreatModel, critical_perturbations

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from paper.models import fit, load_images, make_model
from paper.settings import PRESETS

MODELS = ("KH", "BP", "L2", "JReg")
N_TRAIN, N_ATTACKED = 10_000, 100
SETTINGS = replace(PRESETS["laptop"], epochs=12, batch_size=100, encoder_epochs=20, head_epochs=40)
# How far attacks may go: farther than any row stands.
LARGEST = {np.inf: 0.1, 2.0: 2.0}
NOTES = [
    f"The first {N_TRAIN} training images, {SETTINGS.epochs} epochs of batches of {SETTINGS.batch_size} of",
    f"BP, L2 and JReg; {SETTINGS.encoder_epochs} epochs of local learning and {SETTINGS.head_epochs} of the",
    "classifier for KH: far fewer than the paper's 1000. Medians over those of the first",
    f"{N_ATTACKED} test images that are right when clean. Rows are divided by their 3-norm, and pixels",
    "stay in [0, 1]. Critical norm: the Euclidean norm of the smallest perturbation that an attack in the",
    "maximum norm finds, as in the paper. Attacked: the radius of the worst case of all attacks. Proven:",
    "that of linear bounds.",
]


def measured(model, X, y):
    """Return for each norm the radii of attacks, the Euclidean norms of these, and proven radii."""
    found = {}
    for norm, largest in LARGEST.items():
        threat = ThreatModel(norm=norm, bounds=(0, 1))
        result = critical_perturbations(
            model, X, y, threat=threat, max_eps=largest, n_steps=20, certify=True, random_state=0
        )
        found[norm] = result.radius, result.l2_norm, result.radius_lower
    return found


def line(name, train, test):
    """Return a line of the table."""
    X, y = (part[:N_ATTACKED] for part in test)
    model = kept(f"paper_certificates/{name}", lambda: fit(make_model(name, SETTINGS), *train))
    found = kept(f"paper_certificates/{name}_critical", lambda: measured(model, X, y))
    right = model.predict(X) == y
    medians = []
    for norm in LARGEST:
        radius, _, lower = found[norm]
        assert (lower <= radius).all()
        attacked, proven = np.median(radius[right]), np.median(lower[right])
        medians += [f"{attacked:.4f}", f"{proven:.4f}", f"{proven / attacked:.2f}"]
    critical = np.median(found[np.inf][1][right])
    return [name, f"{model.score(*test):.3f}", int(right.sum()), f"{critical:.3f}", *medians]


def main():
    X_train, y_train, X_test, y_test = load_images("cifar10", IMAGE_FOLDER)
    train, test = (X_train[:N_TRAIN], y_train[:N_TRAIN]), (X_test, y_test)
    rows = []
    for name in MODELS:
        rows.append(line(name, train, test))
        print(rows[-1], flush=True)
    kinds = [f"{what}, {norm}" for norm in ("L-inf", "L2") for what in ("attacked", "proven", "ratio")]
    write_table(
        "paper_certificates",
        "Critical norms of the paper's models: what attacks reach and what is proven, CIFAR-10, 2000 units",
        ["model", "test accuracy", "right rows", "critical norm", *kinds],
        rows,
        notes=NOTES,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
