from __future__ import annotations

import re

import pytest

from pipelines.docs_site import PAGES, ROOT, with_site_links


@pytest.mark.parametrize(
    ("source", "link", "on_the_site"),
    [
        ("README.md", "[x](docs/media.md)", "[x](media.md)"),
        ("README.md", "![x](docs/images/swap.webp)", "![x](images/swap.webp)"),
        ("README.md", "[x](checkpoints/README.md)", "[x](model-card.md)"),
        ("checkpoints/README.md", "[x](../docs/tuning.md)", "[x](tuning.md)"),
        ("docs/training.md", "[x](../checkpoints/README.md)", "[x](model-card.md)"),
        ("docs/report.md", "[x](exit-codes.md)", "[x](exit-codes.md)"),
        ("docs/training.md", "[x](training-log.md#scratch)", "[x](training-log.md#scratch)"),
        ("README.md", "[x](#limits)", "[x](#limits)"),
        ("README.md", "[x](https://c2pa.org)", "[x](https://c2pa.org)"),
    ],
)
def test_a_link_leads_to_the_same_page_on_the_site(
    source: str, link: str, on_the_site: str
) -> None:
    assert with_site_links(link, source) == on_the_site


def test_every_page_of_the_navigation_exists_or_is_made_from_a_file_of_the_checkout() -> None:
    pages = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    made = {page for source, page in PAGES.items() if (ROOT / source).is_file()}
    assert set(pages) >= made
    assert {page for page in pages if not (ROOT / "docs" / page).is_file()} <= made | {"options.md"}
