"""Attacks on models of tensors: start, step, project; each returns its points for the caller to test again."""

from .balls import Ball, shrink_l1, shrink_l2
from .gradient import Found, apgd, pgd, probe
from .losses import best_wrong_classes, cross_entropy, margin, targeted_margin
from .minimum_norm import minimum_norm

__all__ = [
    "Ball",
    "Found",
    "apgd",
    "best_wrong_classes",
    "cross_entropy",
    "margin",
    "minimum_norm",
    "pgd",
    "probe",
    "shrink_l1",
    "shrink_l2",
    "targeted_margin",
]
