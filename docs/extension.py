"""What Sphinx does not do by itself: pages of tables, links into the repository, soft references."""

import builtins
import re
from pathlib import Path
from pydoc import locate

from docutils import nodes
from sphinx.domains.python import PyXRefRole

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Tables of measurements are written by scripts, and become pages of the site.
TABLES = ROOT / "benchmarks" / "results"
TABLE_LINK = re.compile(r"\]\((?:\.\./)+benchmarks/results/(\w+(?:/\w+)?)\.md")


def setup(app):
    """Register all of it."""
    app.add_config_value("unreached_neighbours", [], "env")
    app.add_role("link_or_literal", LinkOrLiteral(innernodeclass=nodes.literal))
    app.connect("builder-inited", write_pages_of_tables, priority=1)
    app.connect("source-read", lead_to_pages)
    # After intersphinx, which has the same event.
    app.connect("missing-reference", settle, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages_of_tables(app):
    """Write a page for each table in benchmarks/results."""
    folder = HERE / "benchmarks"
    folder.mkdir(exist_ok=True)
    for path in TABLES.rglob("*.md"):
        name = path.relative_to(TABLES).with_suffix("").as_posix()
        write_if_changed(folder / f"{page_of(name)}.md", path.read_text())


def page_of(table):
    """Return the name of the page of a table: that of its folder where it is called results."""
    return table.removesuffix("/results").replace("/", "_")


def write_if_changed(path, text):
    """Leave a page alone that says what it said, so that it is not built again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def lead_to_pages(app, name, source):
    """Turn links to tables, which work where the repository is browsed, into links to their pages."""
    source[0] = TABLE_LINK.sub(lambda match: f"](/benchmarks/{page_of(match[1])}.md", source[0])


class LinkOrLiteral(PyXRefRole):
    """The role of plain `backticks` in docstrings: a link where the name is documented, else code."""

    def run(self):
        """Read the text as the role ``:py:obj:`` does."""
        self.name = "py:obj"
        return super().run()

    def result_nodes(self, document, env, node, is_ref):
        """Mark the reference as one that may lead nowhere."""
        node["may_lead_nowhere"] = True
        return [node], []


def settle(app, env, node, contnode):
    """Let a reference pass that is not one, or that only a network could resolve."""
    if node.get("may_lead_nowhere"):
        return contnode
    away = app.config.unreached_neighbours
    if node.get("refdomain") == "py":
        name = node["reftarget"]
        is_theirs = name.split(".")[0] in away or ("python" in away and hasattr(builtins, name))
        return contnode if is_theirs and locate(name) is not None else None
    # Methods inherited from scikit-learn refer to labels and terms of its site.
    return contnode if "sklearn" in away and "docstring of sklearn." in source_of(node) else None


def source_of(node):
    """Return where the text around a node comes from, as Sphinx names it."""
    while node is not None and not node.source:
        node = node.parent
    return node.source if node is not None else ""


def reset_matplotlib(gallery_conf, name):
    """Give every example the same canvas, white in light and in dark."""
    import matplotlib as mpl

    mpl.rcdefaults()
    mpl.rcParams.update({"figure.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 100})


# The order in which one meets the package; what is not named comes last, by name.
ORDER = [
    "how_robust",
    "mixed_table",
    "immutable_integer",
    "trade_off",
    "certificates",
    "smoothing",
    "decision_plane",
    "penalties",
    "receptive_fields",
    "patches",
    "spectrum",
    "partial_fit",
    "custom_attack",
    "custom_penalty",
    "custom_converter",
]


def in_order_of_the_guide(name):
    """Return the key by which examples are sorted."""
    stem = Path(name).stem.removeprefix("plot_")
    return (ORDER.index(stem) if stem in ORDER else len(ORDER), stem)
