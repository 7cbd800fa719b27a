"""How the site is built: `make docs`, strictly, from the docstrings, the guide and the examples."""

import os
import sys
import tomllib
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]
os.environ.setdefault("MPLBACKEND", "Agg")

import sklearn_brm

# The address of the project is set in one place; until then there is none. See CONTRIBUTING.md.
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"].get("Source")

project = "sklearn-brm"
author = "The sklearn-brm developers"
copyright = f"{author}, BSD-3-Clause"
release = version = sklearn_brm.__version__

extensions = [
    "extension",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
]
nitpicky = True
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
default_role = "link_or_literal"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
extlinks = {"doi": ("https://doi.org/%s", "doi:%s"), "arxiv": ("https://arxiv.org/abs/%s", "arXiv %s")}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.highlight-output) > div.highlight > pre"

autosummary_generate = True
# The docstrings say what is taken and returned, in words; annotations would say it twice.
autodoc_typehints = "none"
numpydoc_show_class_members = False

# References to other projects. Where there is a network, their inventories are fetched, and a reference that
# they do not hold is an error. Where there is none, nothing can be fetched, and nothing of theirs is kept
# here: a reference then passes if what it names can be imported (`extension.settle`).
NEIGHBOURS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "matplotlib": "https://matplotlib.org/stable/",
}


def reachable(name):
    """Tell whether the inventory of a neighbour can be fetched."""
    try:
        with urllib.request.urlopen(NEIGHBOURS[name] + "objects.inv", timeout=5):
            return True
    except (OSError, ValueError):
        return False


# The first neighbour speaks for the network: all of them to time out would take as long as the build.
network = "BRM_DOCS_OFFLINE" not in os.environ and reachable("python")
reached = [name for name in NEIGHBOURS if network and reachable(name)]
intersphinx_mapping = {name: (NEIGHBOURS[name], None) for name in reached}
unreached_neighbours = sorted(set(NEIGHBOURS) - set(reached))

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_\w+\.py$",
    "within_subsection_order": "extension.in_order_of_the_guide",
    "abort_on_example_error": True,
    "parallel": True,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sklearn_brm",),
    "reference_url": {"sklearn_brm": None},
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1,
    "write_computation_times": False,
    "reset_modules": ("extension.reset_matplotlib",),
    "image_srcset": ["2x"],
    # What a line returns is shown where it is a table or a diagram; the address of an object tells nothing.
    "capture_repr": ("_repr_html_",),
}

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn-brm {release}"
html_static_path = ["_static"]
html_css_files = ["brm.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "sklearn-brm"},
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 4,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "icon_links": [{"name": "Source", "url": SOURCE, "icon": "fa-solid fa-code"}] if SOURCE else [],
}
html_sidebars = {name: [] for name in ("index", "glossary", "bibliography", "changelog", "contributing")}
