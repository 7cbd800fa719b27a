"""
What each penalty buys
======================

One network under every penalty of the package, at or near its default strength: what it costs in accuracy,
and what it buys under attack.
"""

# %%
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_brm import RegularizedClassifier, ThreatModel, adversarial_examples
from sklearn_brm.penalties import Adversarial, InputGradient, Interval, Jacobian

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
penalties = {
    "none": None,
    "l1": "l1",
    "l2": "l2",
    "spectral": "spectral",
    "Jacobian, hidden": "jacobian",
    "Jacobian, logits": Jacobian(of="logits"),
    "input gradient, 1-norm": InputGradient(norm=1, alpha=0.05),
    "adversarial": Adversarial(eps=0.05),
    "interval": Interval(eps=0.05, bounds=(0, 1)),
}

# %%
# Every pixel may move by a tenth of its range.
threat, scores = ThreatModel(bounds=(0, 1)), {}
for name, penalty in penalties.items():
    model = RegularizedClassifier((50,), penalty=penalty, max_iter=40, tol=None, random_state=0)
    model.fit(X_train, y_train)
    found = adversarial_examples(
        model, X_test[:100], y_test[:100], eps=0.1, threat=threat, attack="pgd", random_state=0
    )
    scores[name] = model.score(X_test, y_test), found.robust_accuracy
    print(f"{name:<23} accuracy {scores[name][0]:.3f}, under attack {scores[name][1]:.2f}")

# %%
# The spectral penalty asks for a spectrum, not for robustness; as in the paper, it buys none.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
clean, robust = zip(*scores.values())
ax.barh(list(scores), clean, color="lightgray", label="accuracy")
ax.barh(list(scores), robust, color="tab:blue", height=0.5, label="accuracy under attack")
ax.invert_yaxis()
ax.set_xlim(0, 1)
ax.set_xlabel("share of test rows")
figure.legend(loc="outside lower center", ncols=2)
