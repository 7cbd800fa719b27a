"""The learning room: winner-take-all encoder."""

from sklearn_brm._encoder.estimator import WTAEncoder

__all__ = ["WTAEncoder"]
