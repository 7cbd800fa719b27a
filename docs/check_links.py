"""Check that every link and picture inside the built site leads somewhere: `check_links.py folder`."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The targets that a page has, and those that it refers to."""

    def __init__(self, path):
        super().__init__()
        self.path, self.anchors, self.targets = path, set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Collect what can be linked to, and what is linked."""
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.targets.append(value)


def broken_links(folder):
    """Yield a line for each link that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in sorted(folder.rglob("*.html"))}
    pages = {path: page for path, page in pages.items() if "_static" not in path.parts}
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            anchor = unquote(parts.fragment)
            is_there = to.exists() and (not anchor or to not in pages or anchor in pages[to].anchors)
            if not is_there:
                yield f"{page.path.relative_to(folder)}: {target}"


def main(folder):
    """Print the broken links and return how many there are."""
    broken = list(broken_links(folder))
    print("\n".join(broken) or "Every link inside the site leads somewhere.")
    return len(broken)


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1]))))
