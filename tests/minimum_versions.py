"""The lower bounds of pyproject.toml as constraints for pip; `make test-minimum` runs the tests on them."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def minimum_versions():
    """Return `name==version` for every requirement of the package and of its extras."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return sorted({as_constraint(text) for texts in lists for text in texts if "sklearn-brm" not in text})


def as_constraint(requirement):
    """Turn `name[extras]>=version` into `name==version`."""
    name, version = re.fullmatch(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", requirement).groups()
    return f"{name}=={version}"


if __name__ == "__main__":
    print("\n".join(minimum_versions()))
