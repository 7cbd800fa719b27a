"""The learning room: winner-take-all encoder, and encoders on patches of images."""

from ._estimator import WTAEncoder
from ._patches import PatchEncoder

__all__ = ["PatchEncoder", "WTAEncoder"]
