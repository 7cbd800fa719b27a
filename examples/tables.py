"""Three tables of the kind people have, made with a seed or shipped with scikit-learn; no downloads."""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

GRADES = ["low", "middle", "high"]


def measurements(seed=0):
    """Numbers with missing values: breast cancer, 5% of whose entries are removed at random.

    Returns
    -------
    X : DataFrame of shape (569, 30)
    y : ndarray of str of shape (569,)
    """
    rng = np.random.default_rng(seed)
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X.mask(rng.random(X.shape) < 0.05), np.where(y == 1, "benign", "malignant")


def credit(n_samples=2000, seed=0):
    """Numbers, words, an order and booleans, some of them missing, of people who repay a loan or do not.

    Returns
    -------
    X : DataFrame of shape (n_samples, 7)
        A heavy-tailed and a whole number, one of 40 cities, a grade in order, two booleans and a share.
    y : ndarray of str of shape (n_samples,)
        Depends on all columns.
    """
    rng = np.random.default_rng(seed)
    cities = np.array([f"city {i:02d}" for i in range(40)], dtype=object)
    # A few cities are large and most are small, and some are better off than others.
    city = rng.choice(40, n_samples, p=np.arange(40, 0, -1) / 820)
    wealth = rng.normal(size=40)
    X = pd.DataFrame(
        {
            "income": np.exp(rng.normal(8 + 0.2 * wealth[city], 0.8)).round(2),
            "age": rng.integers(18, 80, n_samples),
            "debt_share": rng.beta(2, 5, n_samples),
            "city": cities[city],
            "grade": pd.Categorical.from_codes(rng.choice(3, n_samples), GRADES, ordered=True),
            "owner": rng.random(n_samples) < 0.4,
            "defaulted_before": rng.random(n_samples) < 0.15,
        }
    )
    score = (
        np.log(X["income"])
        - 8
        + 0.02 * (X["age"] - 45)
        - 3 * (X["debt_share"] - 0.3)
        + 0.7 * wealth[city]
        + 0.6 * (X["grade"].cat.codes - 1)
        + 0.8 * (X["owner"] - 0.4)
        - 1.2 * (X["defaulted_before"] - 0.15)
    )
    y = np.where(score + rng.normal(0, 0.5, n_samples) > 0, "repaid", "lost")
    for name in ("income", "debt_share", "city"):
        X.loc[rng.random(n_samples) < 0.05, name] = None
    return X, y


def logins(n_samples=20_000, seed=0):
    """Counts and booleans of logins, of which 1 in 200 is an intrusion.

    Returns
    -------
    X : DataFrame of shape (n_samples, 6)
    y : ndarray of str of shape (n_samples,)
    """
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "failed_before": rng.poisson(0.7, n_samples),
            "hosts": 1 + rng.poisson(3, n_samples),
            "files": rng.negative_binomial(1, 0.02, n_samples),
            "at_night": rng.random(n_samples) < 0.2,
            "new_device": rng.random(n_samples) < 0.1,
            "admin": rng.random(n_samples) < 0.05,
        }
    )
    score = (
        X["failed_before"]
        + 0.4 * X["hosts"]
        + np.log1p(X["files"])
        + 1.5 * X["at_night"]
        + 2 * X["new_device"]
        + 1.5 * X["admin"]
        + rng.normal(0, 0.7, n_samples)
    )
    is_intrusion = score >= np.sort(score)[-(n_samples // 200)]
    return X, np.where(is_intrusion, "intrusion", "normal")
