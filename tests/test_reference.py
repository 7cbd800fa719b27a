"""The reference lists every public name, and no other."""

import importlib
import re
from pathlib import Path

import pytest

API = Path(__file__).resolve().parents[1] / "docs" / "api"
# Documented where users import them from.
ELSEWHERE = {"sklearn_brm.functional.attacks": {"Ball", "Found", "cross_entropy", "margin", "noise"}}


def listed():
    """Return the names that the pages list, by module."""
    found = {}
    for page in API.glob("*.rst"):
        module = None
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. (?:current)?module:: (\S+)", line):
                module = match[1]
            elif line.startswith(".. toctree"):
                module = None
            elif match := re.fullmatch(r"   (\w+)", line):
                found.setdefault(module, []).append(match[1])
    return found


MODULES = ["sklearn_brm"]
MODULES += [f"sklearn_brm.{name}" for name in ("attacks", "datasets", "penalties")]
MODULES += [
    f"sklearn_brm.functional.{name}" for name in importlib.import_module("sklearn_brm.functional").__all__
]


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_lists_every_public_name_once(module):
    names = set(importlib.import_module(module).__all__) - ELSEWHERE.get(module, set()) - {"functional"}
    assert sorted(listed()[module]) == sorted(names)
