"""
Data larger than memory
=======================

All three estimators learn from chunks. Here the rows lie in a file that is read in pieces and never loaded as
a whole: digits, shifted and with noise, many times over.
"""

# %%
# A file
# ------
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "rows.npy"
n_rows, rng = 20_000, np.random.default_rng(0)
chosen = rng.integers(len(X_train), size=n_rows)
rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_rows, 64))
for start in range(0, n_rows, 1000):
    part = chosen[start : start + 1000]
    rows[start : start + 1000] = X_train[part] + rng.normal(0, 1, (len(part), 64))
rows.flush()
labels = y_train[chosen]
print(f"{path.stat().st_size / 1e6:.1f} MB in the file")

# %%
# Encoder first, then the classifier on what it makes of each chunk
# -----------------------------------------------------------------
# The spectrum is measured on the way.
from sklearn_brm import PowerLawSpectrum, RegularizedClassifier, WTAEncoder

stream = np.load(path, mmap_mode="r")
starts = range(0, n_rows, 500)
encoder = WTAEncoder(100, random_state=0)
for start in starts:
    encoder.partial_fit(stream[start : start + 500])

classifier = RegularizedClassifier((), penalty="l2", learning_rate=0.01, random_state=0)
spectrum, accuracy = PowerLawSpectrum(window=(1, 20)), []
for start in starts:
    features = encoder.transform(stream[start : start + 500])
    classifier.partial_fit(features, labels[start : start + 500], classes=np.unique(labels))
    spectrum.partial_fit(features)
    accuracy.append(classifier.score(encoder.transform(X_test), y_test))

# %%
import matplotlib.pyplot as plt

from sklearn_brm import SpectrumDisplay

figure, axes = plt.subplots(ncols=2, figsize=(10, 4), layout="constrained")
axes[0].plot(np.array(starts) + 500, accuracy)
axes[0].set(
    xlabel="rows seen by the classifier",
    ylabel="accuracy on test rows",
    ylim=(0.7, 1),
    xticks=[0, 10_000, 20_000],
)
SpectrumDisplay.from_estimator(spectrum.measure(), ax=axes[1])
folder.cleanup()
