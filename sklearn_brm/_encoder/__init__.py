"""The learning room: winner-take-all encoder."""

from ._estimator import WTAEncoder

__all__ = ["WTAEncoder"]
