"""Sweep a regularisation strength and look at accuracy, robustness and spectrum together.

On images (digits) and on a table (breast cancer), both shipped with scikit-learn, a scaler, a winner-take-all
encoder and a regularised classifier are searched over the regularisation strength, and a plain `MLPClassifier`
and a `LogisticRegression` are scored by the same scorer on the same folds. Prints a table, writes a picture.

    python examples/robustness_sweep.py --output demo
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from tqdm.auto import tqdm

from sklearn_brm import (
    AdversarialScorer,
    PowerLawSpectrum,
    RegularizedClassifier,
    TradeOffDisplay,
    WTAEncoder,
)

ALPHAS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


def problems():
    """Return name -> (X, y, scaler, the scorer that says what an attacker may do)."""
    digits, labels = load_digits(return_X_y=True)
    table, diagnosis = load_breast_cancer(return_X_y=True)
    common = {"norm": np.inf, "max_samples": 200, "random_state": 0}
    on_digits = AdversarialScorer(eps=1.0, bounds=(0, 16), **common)
    on_table = AdversarialScorer(eps=0.2, scale="std", reference_X=table, **common)
    return {
        "digits, every pixel by 1 of 16 grey levels": (digits, labels, MinMaxScaler(), on_digits),
        "breast cancer, every column by 0.2 of its standard deviation": (
            table,
            diagnosis,
            StandardScaler(),
            on_table,
        ),
    }


def candidates(scaler, alphas):
    """Return name -> (pipeline, grid); the step "spectrum" only watches what passes."""
    probe = ("spectrum", PowerLawSpectrum())
    encoder = ("encode", WTAEncoder(100, random_state=0))
    head = RegularizedClassifier((), penalty="l2", random_state=0)
    network = RegularizedClassifier((100,), penalty="jacobian", jacobian_of="logits", random_state=0)
    strengths = {"classify__alpha": alphas}
    steps = {
        "WTAEncoder, L2 head": ([encoder, probe, ("classify", head)], strengths),
        "network, logit Jacobian": ([probe, ("classify", network)], strengths),
        "MLPClassifier": ([probe, ("classify", MLPClassifier(max_iter=1000, random_state=0))], {}),
        "LogisticRegression": ([probe, ("classify", LogisticRegression(max_iter=1000))], {}),
    }
    return {name: (Pipeline([("scale", scaler), *rest]), grid) for name, (rest, grid) in steps.items()}


def exponent(pipeline, X, y):
    """Power-law exponent of what the last layer sees, on the rows of the fold."""
    features = pipeline[:-1].transform(X)
    ...
