"""
The spectrum of a representation
================================

How fast do the eigenvalues of a representation's covariance fall? In the visual cortex of mice about as 1/n,
which is thought to balance detail and smoothness.
"""

# %%
# One representation
# ------------------
# `PowerLawSpectrum` fits the power law and says how sure it is.
import numpy as np

from sklearn_brm import PowerLawSpectrum, SpectrumDisplay

rng = np.random.default_rng(0)
scales = np.arange(1, 101)
samples = {f"1 / n^{alpha}": rng.normal(size=(1000, 100)) * scales ** (-alpha / 2) for alpha in (0.5, 1, 2)}
spectra = {
    name: PowerLawSpectrum(window=(1, 30), n_bootstrap=50, random_state=0).fit(X)
    for name, X in samples.items()
}
for name, spectrum in spectra.items():
    low, high = spectrum.exponent_interval_
    print(f"{name:<9} exponent {spectrum.exponent_:.2f}, in [{low:.2f}, {high:.2f}]")
SpectrumDisplay.from_estimator(spectra)

# %%
# Every layer of a pipeline
# -------------------------
# The same rows and white noise are passed through all steps, and each layer is cut to its first units.
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_brm import WTAEncoder, pipeline_spectra

X = load_digits().data
model = make_pipeline(MinMaxScaler(), WTAEncoder(200, random_state=0)).fit(X)
table = pipeline_spectra(model, X, widths=[20, 50, 100], window=(1, 15), noise_window=(1, 15), random_state=0)
SpectrumDisplay.from_table(table, step="wtaencoder", layer="pre-activation")
