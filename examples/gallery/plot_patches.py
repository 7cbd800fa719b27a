"""
Patches of digits, layer upon layer
===================================

`PatchEncoder` lets an encoder learn from patches of images, asks it at every place and pools what it answers.
Two of them in a Pipeline are a deep network that saw no label. A linear classifier reads the last one, and
the whole is attacked by its gradient like any other pipeline.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_brm import (
    DrivingPatchDisplay,
    PatchEncoder,
    ReceptiveFieldDisplay,
    RegularizedClassifier,
    ThreatModel,
    WTAEncoder,
    critical_perturbations,
)

X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
threat = ThreatModel(norm=2)


def head():
    """Return the classifier that reads the maps."""
    return RegularizedClassifier((), penalty="l2", alpha=1e-3, random_state=0)


def first(**kwargs):
    """Return the first layer: 30 units on patches of 3 x 3 pixels."""
    return PatchEncoder(WTAEncoder(30, norm=2), patch_size=3, n_patches=5000, random_state=0, **kwargs)


second = PatchEncoder(
    WTAEncoder(60, norm=2), image_shape=(4, 4), patch_size=2, n_patches=5000, grid=2, random_state=0
)
pipelines = {
    "pixels": make_pipeline(StandardScaler(), head()),
    "one layer": make_pipeline(first(), StandardScaler(), head()),
    "two layers": make_pipeline(
        first(padding="same", pool_size=2, grid=None), second, StandardScaler(), head()
    ),
}
for name, pipeline in pipelines.items():
    pipeline.fit(X_train, y_train)
    found = critical_perturbations(pipeline, X_test[:10], y_test[:10], threat=threat)
    accuracy, norm = pipeline.score(X_test, y_test), np.median(found.radius)
    print(f"{name:<12}accuracy {accuracy:.3f}, median critical norm {norm:.1f}")

# %%
# The units of the first layer, as filters of patches of pixels:

ReceptiveFieldDisplay.from_estimator(pipelines["one layer"][0])

# %%
# Units of the second layer have no filters that one could draw. What they look for is shown by the pieces of
# images that drive them most, one unit in each row:

DrivingPatchDisplay.from_estimator(pipelines["two layers"][:2], X_train, n_units=8)
