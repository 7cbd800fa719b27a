"""The README as readers see it who have no checkout: its links lead to the project's address, or are none."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"^!\[([^]]*)\]\((?!\w+:)([^)]+)\)\n+", re.M)
LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!\w+:)([^)]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Give the metadata the README, prepared."""

    def update(self, metadata):
        """Set the field `readme`."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = for_strangers(text, metadata.get("urls", {}).get("Source"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def for_strangers(text, source=None):
    """Return the README with links that need no checkout; without a `source` they are taken out."""
    if not source:
        return LINK.sub(r"\1", PICTURE.sub("", text))
    text = PICTURE.sub(rf"![\1]({source}/raw/main/\2)\n\n", text)
    return LINK.sub(rf"[\1]({source}/blob/main/\2)", text)
