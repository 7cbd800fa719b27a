"""What an attack of your own is made of: see `Attack`."""

from ._robustness import Attack, AttackContext
from .functional.attacks import Ball, Found, cross_entropy, margin

__all__ = ["Attack", "AttackContext", "Ball", "Found", "cross_entropy", "margin"]
