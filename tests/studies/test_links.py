"""Every link of the project's pages to a file leads to one."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/notes/*.md", "pipelines/README.md")
LINK = re.compile(r"\[[^\]\n]*\]\(<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
#: Pages of results that stand in code: a docstring, a comment.
MENTION = re.compile(r"\b((?:pipelines/results|docs)/[\w/]+(?:\.\w+)?)")


def pages():
    return sorted({page for pattern in (*PAGES, "pipelines/results/*/report.md") for page in ROOT.glob(pattern)})


def code(text: str) -> str:
    """The text without its blocks and spans of code, which hold no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page):
    links = [a or b for a, b in LINK.findall(code(page.read_text()))]
    files = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in files if not (page.parent / link).exists()] == []


def test_every_page_is_looked_at():
    names = {page.relative_to(ROOT).as_posix() for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "docs/theory.md", "pipelines/results/trust/report.md"} <= names


def test_a_dead_link_is_found():
    text = "[a](docs/none.md) `[b](no/link.md)` [c](https://example.org)\n\n[d]: docs/too.md\n"
    assert [a or b for a, b in LINK.findall(code(text))] == ["docs/none.md", "https://example.org", "docs/too.md"]


@pytest.mark.parametrize("folder", ["ddcl_tab", "pipelines", "tests"])
def test_places_named_in_code_are_there(folder):
    dead = {
        f"{file.relative_to(ROOT)}: {place}"
        for file in (ROOT / folder).rglob("*.py")
        for place in MENTION.findall(file.read_text())
        if file.name != "test_links.py" and not (ROOT / place).exists()
    }
    assert dead == set()
