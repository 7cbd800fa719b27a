"""Write `docs/api.md`, the reference of every public name, from the docstrings."""

import inspect
import re
from pathlib import Path

from numpy.typing import ArrayLike

import sklearn_brm
from sklearn_brm import attacks, datasets, functional, penalties

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Reference

Every public name with its signature and docstring. This page is written by `python docs/build_api.py`:
edit the docstrings, not the page. The methods `set_..._request` are in the reference of scikit-learn.
"""


def reference():
    """Return the text of the page."""
    names = [name for name in sklearn_brm.__all__ if name != "functional"]
    parts = [HEAD, "## sklearn_brm", *(entry(sklearn_brm, name) for name in names)]
    for module in (penalties, attacks, datasets):
        name = module.__name__
        parts += [f'## <a id="{name.split(".")[-1]}"></a>{name}', inspect.getdoc(module)]
        parts += [entry(module, name) for name in module.__all__]
    parts += ['## <a id="functional"></a>sklearn_brm.functional', inspect.getdoc(functional)]
    for module_name in functional.__all__:
        module = getattr(functional, module_name)
        parts += [f"### functional.{module_name}", inspect.getdoc(module)]
        parts += [entry(module, name, anchor=f"{module_name}.{name}") for name in module.__all__]
    return "\n\n".join(parts) + "\n"


def entry(module, name, anchor=None):
    """Return the section of one class or function, with the public methods of a class."""
    thing = getattr(module, name)
    text = [f'#### <a id="{anchor or name}"></a>{name}', "```text", signature(name, thing), "", doc(thing)]
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            # The request methods and their text are scikit-learn's, and differ between its versions.
            if inspect.isroutine(function) and not method.startswith("_") and not method.endswith("_request"):
                text += ["", "", signature(f"{name}.{method}", getattr(thing, method)), "", doc(function)]
    return "\n".join([*text, "```"])


def signature(name, thing):
    """Return the call as one line; what has no signature is shown by its name."""
    try:
        # What ArrayLike stands for differs between versions of NumPy.
        line = f"{name}{inspect.signature(thing)}".replace(inspect.formatannotation(ArrayLike), "ArrayLike")
    except (TypeError, ValueError):
        return name
    # A function as a default is shown by its name: its address changes with every run.
    return re.sub(r"<function (\w+) at 0x\w+>", r"\1", line)


def doc(thing):
    """Return the docstring without its indentation, or nothing."""
    return inspect.getdoc(thing) or ""


if __name__ == "__main__":
    PAGE.write_text(reference())
    print(f"Wrote {PAGE}")
