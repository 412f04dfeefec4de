"""A MkDocs hook: pages that lie outside docs/ become pages of the site, and links follow them.

README.md is the first page. On GitHub and on the site the same links work.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
# File of the checkout -> page of the site. A file of docs/ keeps its name.
PAGES = {
    "README.md": "index.md",
    "checkpoints/README.md": "model-card.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(\]\(|src=\")(?!https?:|#|mailto:)([^)#\"\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        text = with_site_links((ROOT / source).read_text(), source)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links of a page in docs/ to the pages of the site."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return with_site_links(markdown, f"docs/{page.file.src_uri}")


def with_site_links(markdown: str, source: str) -> str:
    """The text of `source`, a path in the checkout, with each local link as the site has it."""
    folder = posixpath.dirname(source)

    def replaced(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[2]))
        page = PAGES.get(path, path.removeprefix("docs/"))
        return f"{match[1]}{page}"

    return _LINK.sub(replaced, markdown)
