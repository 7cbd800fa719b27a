"""Every error and warning has its line in the guide, with what to do."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "guide" / "messages.md").read_text()
PHRASES = re.findall(r"^\| `(.+?)` \|", PAGE, flags=re.M) + re.findall(r"^`(.+?)`", PAGE, flags=re.M)
# What says something to the user: exceptions, warnings, and the helpers that build them.
SPEAKERS = re.compile(r"(Error|warn|_warn|refuse|_refusal)$")


def words_of(node):
    """Return a string of the source with dots for what is filled in, or "" for what is none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(words_of(value) or "…" for value in node.values)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return words_of(node.func.value).replace("{}", "…")
    return ""


def strings_of(node):
    """Return the expressions of a node that become a message."""
    if isinstance(node, ast.Call) and SPEAKERS.search(ast.unparse(node.func)):
        return [part for arg in node.args for part in (arg.values if isinstance(arg, ast.Dict) else [arg])]
    is_noted = isinstance(node, ast.Assign) and re.match(r"found\[|reason$", ast.unparse(node.targets[0]))
    is_returned = isinstance(node, ast.Return) and "no bounds" in words_of(node.value)
    return [node.value] if is_noted or is_returned or isinstance(node, ast.Yield) else []


def said(tree):
    """Yield every message of a module."""
    for node in ast.walk(tree):
        # Shorter strings are names.
        yield from (text for text in map(words_of, strings_of(node)) if len(text.split()) > 2)


MESSAGES = sorted(
    {text for path in (ROOT / "sklearn_brm").rglob("*.py") for text in said(ast.parse(path.read_text()))}
)


def holds(message, phrase):
    """Tell whether a message says the phrase; dots stand for anything on both sides."""
    pattern = r".*?".join(map(re.escape, phrase.split("…")))
    return re.search(pattern, message) is not None


@pytest.mark.parametrize("message", MESSAGES)
def test_what_to_do_about_a_message_is_in_the_guide(message):
    assert any(holds(message, phrase) for phrase in PHRASES), message


@pytest.mark.parametrize("phrase", PHRASES)
def test_the_guide_knows_no_message_that_is_never_said(phrase):
    assert any(holds(message, phrase) for message in MESSAGES)


def test_enough_messages_are_found_to_mean_something():
    assert len(MESSAGES) > 90
