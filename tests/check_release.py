"""Everything about a release that needs no account; `make release-check TAG=v0.2.0` runs it.

Builds the source archive, and the wheel from it; looks at what is in them and at what the metadata say;
installs the wheel in an empty environment outside of the checkout, runs the README's main example there, and
measures how long the import takes beside torch, scikit-learn and skorch together.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST_IMPORT_RATIO = 1.15
N_IMPORTS = 9
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def main(arguments=None):
    """Run all checks, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", default="", help="the tag of the release, such as v0.2.0 or v0.2.0rc1")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the archives")
    options = parser.parse_args(arguments)
    wrong = [*wrong_versions(options.tag)]
    sdist, wheel = build(options.dist)
    wrong += [*wrong_in_wheel(wheel), *wrong_in_sdist(sdist)]
    with tempfile.TemporaryDirectory() as folder:
        wrong += [*wrong_when_installed(wheel, Path(folder))]
    print("\n".join(f"WRONG: {line}" for line in wrong) or "All is well: the release can be made.")
    return len(wrong)


def wrong_versions(tag=""):
    """Yield what the version, the changelog, the citation and the recipe do not agree about.

    Before a release all speak of the version to come; at a tag the version is that of the tag, and the
    changelog has the day.
    """
    version = re.search(r'__version__ = "(.+)"', (ROOT / "sklearn_brm/__init__.py").read_text())[1]
    final = re.match(r"[\d.]+\d", version)[0]
    heading = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    if heading[1] != final:
        yield f"the changelog begins with {heading[1]}, and the version is {version}"
    for name, pattern in {
        "CITATION.cff": r"^version: (.+)$",
        "conda/recipe.yaml": r'^  version: "(.+)"$',
    }.items():
        said = re.search(pattern, (ROOT / name).read_text(), flags=re.M)[1]
        if said != final:
            yield f"{name} speaks of {said}, and the version is {version}"
    if tag and tag != f"v{version}":
        yield f"the tag is {tag}, and the version is {version}"
    if tag and "rc" not in tag and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", heading[2]):
        yield f"the changelog says ({heading[2]}) in place of the day of the release"


def build(folder):
    """Build the source archive, and the wheel from it; return both paths."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


def wrong_in_wheel(wheel):
    """Yield what a wheel must hold and does not, or the other way around, and addresses that lead nowhere."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (path,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(path))
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sklearn_brm").rglob("*.py")}
    for name in sorted((expected | {"sklearn_brm/py.typed"}) - names):
        yield f"{wheel.name} lacks {name}"
    for name in sorted(names):
        if not name.startswith(("sklearn_brm/", "sklearn_brm-")) or "test" in name:
            yield f"{wheel.name} holds {name}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = dict(url.split(", ", 1) for url in metadata.get_all("Project-URL"))
    if said != project["urls"]:
        yield f"the metadata name {said}, and pyproject.toml {project['urls']}"
    for target in LINK.findall(metadata.get_payload()):
        if "://" not in target:
            yield f"the description on the index links to {target}, which is there only in a checkout"


def wrong_in_sdist(sdist):
    """Yield the targets of links in README and guide that the source archive does not hold."""
    with tarfile.open(sdist) as archive, tempfile.TemporaryDirectory() as folder:
        archive.extractall(folder, filter="data")
        (top,) = Path(folder).iterdir()
        for page in [*top.glob("*.md"), *top.glob("docs/**/*.md")]:
            for target in LINK.findall(page.read_text(encoding="utf-8")):
                if "://" not in target and not (page.parent / target).exists():
                    yield f"{sdist.name} lacks {target}, which {page.relative_to(top)} refers to"


def wrong_when_installed(wheel, folder):
    """Yield what goes wrong with the wheel in an environment of its own, outside of the checkout."""
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    example = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), flags=re.S | re.M)[1]
    (folder / "example.py").write_text(f"{example}\nimport sklearn_brm\nprint(sklearn_brm.__file__)\n")
    printed = run(python, "example.py", cwd=folder)
    print(printed)
    if str(folder / "env") not in printed.splitlines()[-1]:
        yield f"the example imported {printed.splitlines()[-1]}"
    ratio = import_ratio(python, folder)
    print(f"import sklearn_brm takes {ratio:.2f} times what torch, scikit-learn and skorch take together")
    if ratio > LARGEST_IMPORT_RATIO:
        yield f"the import takes {ratio:.2f} times that, and {LARGEST_IMPORT_RATIO} at most is allowed"


def import_ratio(python, folder):
    """Return our processor time over that of what we import, the least of several turns each."""
    turns = {"import torch, sklearn, skorch": [], "import sklearn_brm": []}
    for _ in range(N_IMPORTS):
        for code, seconds in turns.items():
            timed = f"import time; {code}; print(time.process_time())"
            seconds.append(float(run(python, "-c", timed, cwd=folder)))
    theirs, ours = map(min, turns.values())
    return ours / theirs


def run(*command, cwd=None):
    """Run a command without the checkout on its path; return what it prints, or stop with what it says."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(bool(main()))
