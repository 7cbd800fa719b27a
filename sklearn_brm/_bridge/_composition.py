"""Estimators made of others."""

from sklearn.pipeline import Pipeline

from ._registry import converts


@converts(Pipeline)
def convert_pipeline(pipeline, target):
    """Every step after the one before it."""
    steps = [(name, step) for name, step in pipeline.steps if step is not None and step != "passthrough"]
    # A classifier in front of another step, or last in a Pipeline that is itself in front, transforms.
    n_in_front = len(steps) if target.transforms else len(steps) - 1
    return compose(
        [target.convert(step, name, transforms=i < n_in_front) for i, (name, step) in enumerate(steps)]
    )


def compose(functions):
    """Return the function that applies `functions` one after the other."""

    def composed(X):
        for function in functions:
            X = function(X)
        return X

    return composed
