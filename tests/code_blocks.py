"""The python blocks of a Markdown page: run them, and compare what they print with what the page says.

A block marked ``python`` may be followed by one marked ``output``. The blocks of a page share their names.
Blocks that import a neighbour of which this project does not depend are left out where it is not installed.
``python tests/code_blocks.py README.md docs/guide/*.md`` writes what the blocks print into the pages.
"""

import contextlib
import doctest
import io
import re
import sys
from importlib.util import find_spec
from pathlib import Path

BLOCK = re.compile(
    r"^(?P<fence>```python\n(?P<code>.*?)^```\n)(?:\n?```output\n(?P<output>.*?)^```\n)?", re.S | re.M
)
# Not among the requirements of the tests: too large, or at odds with other requirements.
NEIGHBOURS = ("art", "foolbox", "ray")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\w)")


def run_page(path):
    """Run the blocks from top to bottom; yield the match of each and what it printed."""
    text, names = path.read_text(), {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        if any(_imports(block["code"], name) and not find_spec(name) for name in NEIGHBOURS):
            continue
        # Empty lines in front of the block give its lines the numbers that they have on the page.
        code = "\n" * (text[: block.start("code")].count("\n")) + block["code"]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, str(path), "exec"), names)
        yield block, printed.getvalue()


def _imports(code, name):
    return re.search(rf"^\s*(import|from) {name}\b", code, flags=re.M)


def same(written, printed):
    """Tell whether a block printed what the page says: numbers with a point to one unit of their last digit.

    Processors round differently, and what is fitted by many steps differs in more than the last bit. Three
    dots stand for anything, as in doctests.
    """
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if doctest.OutputChecker().check_output(written, printed, flags):
        return True
    words = [NUMBER.sub("#", " ".join(text.split())) for text in (written, printed)]
    numbers = zip(NUMBER.findall(written), NUMBER.findall(printed))
    return words[0] == words[1] and all(_close(*pair) for pair in numbers)


def _close(written, printed):
    digits, _, power = written.partition("e")
    unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2])) if "." in digits else 0.0
    return abs(float(written) - float(printed)) <= 1.001 * unit


def write_outputs(path):
    """Replace what a page says by what its blocks print."""
    text = path.read_text()
    for block, printed in reversed(list(run_page(path))):
        said = f"{block['fence']}\n```output\n{printed}```\n" if printed else block["fence"]
        if not same(block["output"] or "", printed):
            text = text[: block.start()] + said + text[block.end() :]
    path.write_text(text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write_outputs(Path(name))
