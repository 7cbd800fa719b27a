"""
A table with categories and missing values
==========================================

Rows are attacked as the pipeline takes them: a DataFrame with numbers, words and holes, in front of the
encoders.
"""

# %%
# The table
# ---------
# The diabetes data, with the sex in words, the blood pressure in three grades, and one in twenty values of
# the body mass lost.
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

data = load_diabetes(as_frame=True, scaled=False)
X = data.data[["age", "sex", "bmi", "bp", "s5"]].rename(columns={"s5": "log triglycerides"})
X["sex"] = X["sex"].map({1.0: "one", 2.0: "other"})
X["bp"] = pd.cut(X["bp"], [0, 85, 105, 200], labels=["low", "normal", "high"]).astype(object)
rng = np.random.default_rng(0)
X["bmi"] = X["bmi"].mask(rng.random(len(X)) < 0.05)
y = np.where(data.target > data.target.median(), "worse", "better")
print(X.head(3))

# %%
# A pipeline that takes it
# ------------------------
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

numbers = make_pipeline(SimpleImputer(), StandardScaler())
encode = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["sex", "bp"]), (numbers, ["age", "bmi", "log triglycerides"])
)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(encode, LogisticRegression()).fit(X_train, y_train)

# %%
# What is attacked
# ----------------
# What each column is was inferred. Look at it before you believe a number: here the sex is held fixed, and
# blood pressure becomes the grade beside it only.
from sklearn_brm import ThreatModel, adversarial_examples

threat = ThreatModel.from_data(X_train, fixed=["sex"], transitions={"bp": ["low", "normal", "high"]})
threat.describe()

# %%
# What the attack did
# -------------------
# The bars on the left say in which share of the broken rows a column was changed, those on the right how far.
from sklearn_brm import AttackProfileDisplay

found = adversarial_examples(model, X_test, y_test, eps=0.3, threat=threat, random_state=0)
low, high = found.interval()
print(
    f"accuracy {found.clean_accuracy:.2f}, under attack {found.robust_accuracy:.2f} ({low:.2f} to {high:.2f})"
)
AttackProfileDisplay.from_examples(found)

# %%
# The rows come back as a table with the same types, to be looked at beside the clean ones.
found.X[found.outcome == "broken"].compare(X_test[found.outcome == "broken"]).head(3)
