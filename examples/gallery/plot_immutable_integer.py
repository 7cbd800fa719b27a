"""
Columns that do not move, and columns that stay whole
=====================================================

Nobody gets younger, a level that was measured in whole units stays whole, and what an attacker may not touch
cannot break a model. What such rules cost the attacker is one call away.
"""

# %%
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

data = load_diabetes(as_frame=True, scaled=False)
X = data.data.astype({"age": int, "s1": int})
y = np.where(data.target > data.target.median(), "worse", "better")
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), SVC()).fit(X_train, y_train)

# %%
# Four attackers of rising restraint. Integer columns, by their type, are attacked in whole steps under each
# of them: that is no rule that has to be given.
from sklearn_brm import ThreatModel, adversarial_examples

immutable = ["sex", "age"]
threats = {
    "everything moves": ThreatModel.from_data(X_train),
    "age only grows": ThreatModel.from_data(X_train, increasing=["age"]),
    "age and sex are fixed": ThreatModel.from_data(X_train, fixed=immutable),
    "and the body mass, too": ThreatModel.from_data(X_train, fixed=[*immutable, "bmi"]),
}
found = {
    name: adversarial_examples(model, X_test, y_test, eps=0.3, threat=threat, random_state=0)
    for name, threat in threats.items()
}

# %%
# Every row that comes back obeys every rule exactly.
moved = found["age and sex are fixed"].X
print("types:", *moved[["age", "s1"]].dtypes)
print("age moved:", (moved["age"] != X_test["age"]).any(), "- s1 moved:", (moved["s1"] != X_test["s1"]).any())

# %%
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
accuracy = np.array([result.robust_accuracy for result in found.values()])
low, high = np.transpose([result.interval() for result in found.values()])
ax.barh(list(found), accuracy, xerr=[accuracy - low, high - accuracy], color="tab:blue", alpha=0.7, capsize=3)
ax.axvline(model.score(X_test, y_test), color="black", linestyle=":", label="accuracy without attack")
ax.invert_yaxis()
ax.set_xlabel("accuracy under attack, eps = 0.3 standard deviations, with 95% intervals")
figure.legend(loc="outside upper right")
