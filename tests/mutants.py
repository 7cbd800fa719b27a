"""Small errors put into the package, one at a time: a good suite notices each.

``python tests/mutants.py`` makes them from the syntax trees, runs for each the tests that run its lines, the
quickest first, in a copy of the tree in a temporary folder, and writes ``benchmarks/results/mutants.md``. It
goes on where it was stopped, and keeps the reasons in the table. It needs a system that can fork.
"""

import argparse
import ast
import copy
import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

# Imported here, third parties need not be imported for each mutant.
import pandas  # noqa: F401
import pytest
import skorch  # noqa: F401
import torch
from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "results" / "mutants.md"
FOLDER = Path(tempfile.gettempdir()) / "sklearn_brm_mutants"
TREE = FOLDER / "tree"
TARGETS = ("functional", "_encoder", "_robustness")
TESTS = ("plasticity", "penalties", "attacks", "constraints", "spectra", "scorer", "robustness", "encoder")
TESTS += ("scorer_mutants", "spectrum", "mistakes", "rounding", "threat_model", "table_mistakes")
TESTS += ("encoder_learning", "smoothing")

COMPARISONS = {"Lt": "LtE GtE", "LtE": "Lt Gt", "Gt": "GtE LtE", "GtE": "Gt Lt", "Eq": "NotEq", "NotEq": "Eq"}
COMPARISONS |= {"Is": "IsNot", "IsNot": "Is", "In": "NotIn", "NotIn": "In"}
OPERATORS = {"Add": "Sub", "Sub": "Add", "Mult": "Div", "Div": "Mult", "Pow": "Mult", "FloorDiv": "Mult"}
OPERATORS |= {"BitAnd": "BitOr", "BitOr": "BitAnd", "And": "Or", "Or": "And"}
NAMES = {"min": "max", "minimum": "maximum", "amin": "amax", "argmin": "argmax"}
NAMES |= {"any": "all", "floor": "ceil"}
NAMES |= {new: old for old, new in NAMES.items()}
# These change where, how fast or how talkatively the same numbers come, not which numbers.
SAME_ARGUMENTS = {"device", "pin_memory", "non_blocking", "verbose", "description", "stacklevel"}
SAME_CALLS = {"cpu", "contiguous", "detach", "numpy", "to", "astype", "tolist", "asarray", "as_tensor"}
SILENT_FUNCTIONS = {"__repr__", "_warn"}


@dataclass(frozen=True)
class Mutant:
    """One error: bytes `start` to `end` of a file replaced by `text`, in a statement on the lines `lines`."""

    file: str
    digest: str
    kind: str
    start: int
    end: int
    text: str
    lines: tuple

    def sources(self):
        """Return the file without and with the error."""
        source = (ROOT / self.file).read_bytes()
        return source.decode(), (source[: self.start] + self.text.encode() + source[self.end :]).decode()

    def change(self):
        """Return the number of the line, and the lines before and after as they stand in the table."""
        source = (ROOT / self.file).read_bytes()
        first, last = (source[:end].count(b"\n") for end in (self.start, self.end))
        before, after = (text.splitlines()[first:] for text in self.sources())
        parts = before[: last + 1 - first], after[: last + 1 - first + len(after) - len(before)]
        words = [" ".join(" ".join(part).split()).replace("|", "\\|") for part in parts]
        return first + 1, f"`{words[0]}` → `{words[1]}`"


def changed(node, **fields):
    """Return a shallow copy of a node with other fields."""
    node = copy.copy(node)
    vars(node).update(fields)
    return node


def errors_at(node, modules):
    """Yield (kind, node to replace, replacement or None) for every error one can make at `node`."""
    match node:
        case ast.Compare(ops=[*ops]):
            for i, operator in enumerate(ops):
                for other in COMPARISONS[type(operator).__name__].split():
                    yield (
                        "comparison",
                        node,
                        changed(node, ops=[*ops[:i], getattr(ast, other)(), *ops[i + 1 :]]),
                    )
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op) if type(op).__name__ in OPERATORS:
            yield "operator", node, changed(node, op=getattr(ast, OPERATORS[type(op).__name__])())
        case ast.Constant(value=bool(value)):
            yield "constant", node, ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield "constant", node, ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield "constant", node, ast.Constant(2 * value or 1.0)
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
            yield "negation removed", node, operand
        case ast.If(test=test) | ast.IfExp(test=test):
            yield from (("condition forced", test, ast.Constant(answer)) for answer in (True, False))
        case ast.Return(value=ast.expr() as value):
            yield "return value", value, ast.Constant(None)
        case ast.Attribute(attr=word) if word in NAMES:
            yield "name swapped", node, changed(node, attr=NAMES[word])
        case ast.Name(id=word) if word in NAMES:
            yield "name swapped", node, changed(node, id=NAMES[word])
        case ast.Call(keywords=words):
            for word in words:
                if word.arg not in SAME_ARGUMENTS | {None}:
                    rest = [other for other in words if other is not word]
                    yield "argument removed", node, changed(node, keywords=rest)
            if isinstance(node.func, ast.Attribute) and node.func.attr not in SAME_CALLS:
                of_module = re.match(r"\w*", ast.unparse(node.func.value)).group() in modules
                inner = node.args[:1] if of_module else [node.func.value]
                words = (
                    ast.Name,
                    ast.Attribute,
                    ast.Subscript,
                    ast.Call,
                    ast.BinOp,
                    ast.UnaryOp,
                    ast.Compare,
                )
                yield from (("call removed", node, new) for new in inner if isinstance(new, words))
    match node:
        case (
            ast.Expr(value=ast.Call())
            | ast.AugAssign()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield "statement dropped", node, None


def is_silent(node):
    """Whether errors at `node` change nothing but words, or leave an attribute unset, which any use tells."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Expr(value=ast.Constant()):
            return True
        case ast.FunctionDef(name=name) | ast.Call(func=ast.Name(id=name)):
            return name in SILENT_FUNCTIONS
        case ast.keyword(arg=name):
            return name in SAME_ARGUMENTS
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"))], value=ast.Name()):
            return True
    return False


def visit(node, parent=None, lines=(0, 0)):
    """Yield (node, parent, lines of its statement) for all nodes but hints, decorators and silent ones."""
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None)
        lines = node.lineno, body[0].lineno - 1 if body else node.end_lineno
    yield node, parent, lines
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            hint = field in ("annotation", "returns", "decorator_list")
            if isinstance(child, ast.AST) and not hint and not is_silent(child):
                yield from visit(child, node, lines)


def mutants_of(path):
    """Yield every mutant of a file."""
    source = path.read_bytes()
    tree = ast.parse(source)
    offsets = [0, *(match.end() for match in re.finditer(rb"\n", source))]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {"self", ""} | {
        (alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names
    }
    for node, parent, lines in visit(tree):
        for kind, old, new in errors_at(node, modules):
            start, end = (
                offsets[old.lineno - 1] + old.col_offset,
                offsets[old.end_lineno - 1] + old.end_col_offset,
            )
            text = "pass" if new is None else ast.unparse(new)
            around = parent if old is node else node
            atom = isinstance(new, ast.Name | ast.Call | ast.Attribute | ast.Subscript | ast.Constant)
            if isinstance(around, ast.expr) and not isinstance(around, ast.Call) and not atom:
                text = f"({text})"
            yield Mutant(str(path.relative_to(ROOT)), digest(path), kind, start, end, text, lines)


def draw_mutants(number, seed, only):
    """Draw mutants: in each file spread over the kinds, among the files by the square root of their size."""
    rank = {}
    paths = sorted(path for target in TARGETS for path in (ROOT / "sklearn_brm" / target).rglob("*.py"))
    for path in (path for path in paths if only in str(path.relative_to(ROOT))):
        found, seen = list(mutants_of(path)), Counter()
        random.Random(f"{seed} {path.relative_to(ROOT)}").shuffle(found)
        for mutant in found:
            seen[mutant.kind] += 1
            rank[mutant] = seen[mutant.kind]
        for place, mutant in enumerate(sorted(found, key=rank.get)):
            rank[mutant] = (place + 0.5) / len(found) ** 0.5
    return sorted(sorted(rank, key=rank.get)[:number], key=lambda mutant: (mutant.file, mutant.start))


class Watcher:
    """Plugin of pytest that runs the tests in `wanted`, quickest first, and tells seconds and failures."""

    def __init__(self, wanted):
        self.wanted, self.seconds, self.failed = wanted, Counter(), []

    def pytest_collection_modifyitems(self, items):
        if self.wanted:
            items[:] = sorted(
                (i for i in items if i.nodeid in self.wanted), key=lambda i: self.wanted[i.nodeid]
            )

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        self.failed += [report.nodeid] * report.failed

    def pytest_unconfigure(self):
        (FOLDER / "report.json").write_text(json.dumps([self.seconds, self.failed]))


def run_tests(files, *options, wanted=None, limit=1800):
    """Run test files of the copy in a fork; return exit status, the seconds of each test, and failures."""

    def work():
        import resource

        # In a session of its own, so that signals to a test's process group do not reach this program.
        os.setsid()
        log = os.open(FOLDER / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        # Time on the processor, since other work on the machine must not count as a kill.
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
        os.chdir(TREE)
        sys.path.insert(0, str(TREE))
        common = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        # Not by sys.exit, which waits for what joblib has started.
        os._exit(int(pytest.main([*common, *options, *files], plugins=[Watcher(wanted)])))

    (FOLDER / "report.json").write_text("[{}, []]")
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(5 * limit)
    process.kill()
    process.join()
    return process.exitcode, *json.loads((FOLDER / "report.json").read_text())


def digest(path):
    """Return what tells two contents of a file apart."""
    return hashlib.sha1(path.read_bytes()).hexdigest()[:10] if path.exists() else ""


def trace(file):
    """Return the seconds of each test of a file, and by file and line of the package who runs it."""
    kept, covered = (FOLDER / f"{Path(file).stem}.{end}" for end in ("json", "coverage"))
    if kept.exists():
        digests, seconds, lines = json.loads(kept.read_text())
        if all(digest(TREE / path) == old for path, old in digests.items()):
            return seconds, lines
    os.environ["COVERAGE_FILE"] = str(covered)
    _, seconds, failed = run_tests([file], "--cov=sklearn_brm", "--cov-context=test", "--cov-report=")
    if failed or not seconds:
        print(f"{file}: {failed or 'everything'} fails without any mutant and is left out")
    seconds = {test: taken for test, taken in seconds.items() if test not in failed}
    data, lines = CoverageData(covered), {}
    data.read()
    for path in data.measured_files():
        # What is run to set up a test may be shared by every test of the file; "" is an import.
        here = {
            line: sorted(
                {c.split("::")[0] if c.endswith("|setup") else c.rsplit("|", 1)[0] for c in contexts}
            )
            for line, contexts in data.contexts_by_lineno(path).items()
        }
        if any(names != [""] for names in here.values()):
            lines[os.path.relpath(path, TREE)] = here
    digests = {path: digest(TREE / path) for path in [file, *lines]}
    kept.write_text(json.dumps([digests, seconds, lines]))
    return trace(file)


def decide(mutant, seconds, lines, budget):
    """Run the tests that run the lines of a mutant; return what became of it, and which test failed."""
    here = lines[mutant.file]
    names = set().union(*(here[str(line)] for line in range(mutant.lines[0], mutant.lines[1] + 1)))
    # What is run only when the module is imported matters to all who use it.
    names = set().union(*here.values()) if names == {""} else names
    tests = [t for t in sorted(seconds, key=seconds.get) if {t, t.split("::")[0]} & names]
    totals = accumulate(seconds[test] for test in tests)
    wanted = {test: seconds[test] for test, total in zip(tests, totals) if total <= budget}
    if not wanted:
        return "survived", "no test runs the line"
    place, (before, after) = TREE / mutant.file, mutant.sources()
    place.write_text(after)
    files = sorted({test.split("::")[0] for test in wanted})
    status, _, failed = run_tests(files, "-x", wanted=wanted, limit=20 + 5 * sum(wanted.values()))
    place.write_text(before)
    return "survived" if status == 0 else "killed", *(failed or [f"exit status {status}"])[:1]


def write_table(decided):
    """Write what became of the mutants of each file, and every survivor with its reason, into the table."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rows = [row for row in rows if row and row[0].startswith("sklearn_brm/")]
    totals = {row[0]: [int(row[1]), int(row[2])] for row in rows if ":" not in row[0]}
    survivors = [row for row in rows if ":" in row[0]]
    reasons = {(where.split(":")[0], change): reason for where, change, reason in survivors}
    totals |= {mutant.file: [0, 0] for mutant in decided}
    survivors = [row for row in survivors if row[0].split(":")[0] not in {mutant.file for mutant in decided}]
    for mutant, outcome in decided.items():
        totals[mutant.file][outcome == "survived"] += 1
        if outcome == "survived":
            line, change = mutant.change()
            survivors.append([f"{mutant.file}:{line}", change, reasons.get((mutant.file, change), "")])
    killed, survived = (sum(total[i] for total in totals.values()) for i in (0, 1))
    text = ["# Small errors that the tests notice", ""]
    places = ", ".join(f"`{target}/`" for target in TARGETS)
    text += [f"{killed} of {killed + survived} in {places} are killed, by `python tests/mutants.py`.", ""]
    text += ["| file | killed | survived |", "| --- | --- | --- |"]
    text += [f"| {file} | {total[0]} | {total[1]} |" for file, total in sorted(totals.items())]
    text += ["", "| survivor | change | reason |", "| --- | --- | --- |"]
    text += [f"| {' | '.join(row)} |" for row in sorted(survivors)]
    TABLE.write_text("\n".join([*text, ""]))
    print(f"{killed} of {killed + survived} are killed: see {TABLE}")


def main():
    """Decide the mutants that are not decided yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=250, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the paths of files")
    parser.add_argument("--seconds", type=float, default=30, help="of tests for a mutant, the quickest first")
    parser.add_argument("--again", action="store_true", help="try survivors once more")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(TREE)}
    torch.set_num_threads(1)
    shutil.rmtree(TREE, ignore_errors=True)
    for part in ("sklearn_brm", "tests"):
        shutil.copytree(ROOT / part, TREE / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", TREE)
    results = FOLDER / "results.jsonl"
    known = dict(map(json.loads, results.read_text().splitlines())) if results.exists() else {}
    seconds, lines, decided = {}, defaultdict(lambda: defaultdict(set)), {}
    for name in TESTS:
        taken, found = trace(f"tests/test_{name}.py")
        seconds |= taken
        for path, here in found.items():
            for line, tests in here.items():
                lines[path][line].update(tests)
    for mutant in draw_mutants(options.number, options.seed, options.only):
        outcome = known.get(repr(mutant))
        if outcome is None or (options.again and outcome == "survived"):
            outcome, reason = decide(mutant, seconds, lines, options.seconds)
            with results.open("a") as file:
                file.write(json.dumps([repr(mutant), outcome]) + "\n")
            print("{}:{} {} {} {}".format(mutant.file, *mutant.change(), outcome, reason), flush=True)
        decided[mutant] = outcome
    write_table(decided)


if __name__ == "__main__":
    main()
