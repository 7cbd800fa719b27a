"""Attacks on models of tensors: start, step, project. The caller tests what they return again."""

from . import noise
from .balls import Ball, shrink_l1, shrink_l2
from .black_box import random_search, ray_search
from .gradient import (
    Found,
    aim,
    apgd,
    linear_radius,
    pgd,
    probe,
    rounding_of_lead,
    rounding_share,
    slope_of_margin,
)
from .losses import best_wrong_classes, cross_entropy, margin, plain_cross_entropy, targeted_margin
from .minimum_norm import minimum_norm

__all__ = [
    "Ball",
    "Found",
    "aim",
    "apgd",
    "best_wrong_classes",
    "cross_entropy",
    "linear_radius",
    "margin",
    "minimum_norm",
    "noise",
    "pgd",
    "plain_cross_entropy",
    "probe",
    "random_search",
    "ray_search",
    "rounding_of_lead",
    "rounding_share",
    "shrink_l1",
    "shrink_l2",
    "slope_of_margin",
    "targeted_margin",
]
