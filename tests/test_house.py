"""The project as a whole: links and places lead to files, and what is imported is what is required."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import ROOT

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/notes/*.md",
    "pipelines/README.md",
    "pipelines/results/*/report.md",
    "tests/golden/README.md",
)
#: [text](place), ![text](place), and [text]: place at the beginning of a line.
LINK = re.compile(r"\[[^\]\n]*\]\(<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
#: Places that pages, docstrings and comments name without a link; one in a folder of results is that folder's.
PLACE = re.compile(r"(?<![\w/.])((?:pipelines/results|docs)/\w[\w/]*(?:\.\w+)?|(?:tests|pipelines)/[\w/]+\.py)")
SOURCES = sorted(file for name in ("ddcl_tab", "pipelines", "tests") for file in (ROOT / name).rglob("*.py"))


def pages():
    return sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})


def links_of(text: str) -> list[str]:
    """Links of a page in Markdown; blocks and spans of code hold none."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [inline or below for inline, below in LINK.findall(re.sub(r"`[^`\n]*`", "", text))]


def dead_places(text: str) -> list[str]:
    return [place for place in PLACE.findall(text) if not (ROOT / place).exists()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_pages_lead_to_files(page):
    files = [link.split("#")[0] for link in links_of(page.read_text()) if not re.match(r"[a-z]+:|#", link)]
    assert [file for file in files if not (page.parent / file).exists()] == []
    assert dead_places(page.read_text()) == []


def test_every_page_is_looked_at():
    names = {page.relative_to(ROOT).as_posix() for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "docs/theory.md", "docs/notes/recipe.md"} <= names
    assert len([name for name in names if name.startswith("pipelines/results/")]) >= 10


def test_a_dead_link_is_found():
    text = "[a](docs/none.md) `[b](no/link.md)` [c](https://x.org)\n```\n[d](no.md)\n```\n[e]: docs/too.md\n"
    assert links_of(text) == ["docs/none.md", "https://x.org", "docs/too.md"]
    assert dead_places("see docs/none.md and tests/conftest.py, `pipelines/none.py`") == [
        "docs/none.md",
        "pipelines/none.py",
    ]


def test_places_named_in_code_are_there():
    dead = {f"{file.relative_to(ROOT)}: {d}" for file in SOURCES for d in dead_places(file.read_text())}
    assert {line for line in dead if not line.startswith("tests/test_house.py")} == set()


def test_what_is_imported_is_required_and_the_other_way_round():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [*project["optional-dependencies"]["fetch"], *project["optional-dependencies"]["spacetrack"]]
    required, optional = ({normal(line) for line in lines} for lines in (project["dependencies"], extras))
    packages = packages_distributions()
    imported = {
        normal(package)
        for file in SOURCES
        if file.is_relative_to(ROOT / "ddcl_tab")
        for name in imports_of(file.read_text())
        for package in packages.get(name, [name])
    }
    assert imported - required - optional - {"ddcl-tab"} == set()
    assert required - imported <= {"astropy"}  # one of the seven that the package stands on, not used yet


def imports_of(text: str) -> set[str]:
    """Top packages of all imports, wherever they stand, without those of the standard library."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names} - {*sys.stdlib_module_names}


def normal(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")
