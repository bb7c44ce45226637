"""What studies share: each has a folder, and every new line says which commit made it."""

from __future__ import annotations

import importlib
import re
import subprocess

import pytest

from tests.conftest import ROOT


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "pipelines"))
    tools = importlib.import_module("study_tools")
    tools.commit.cache_clear()
    yield tools
    tools.commit.cache_clear()


def test_a_line_carries_the_commit_that_made_it(tools, tmp_path, monkeypatch):
    monkeypatch.setattr(tools, "ROOT", tmp_path)
    folder = tools.study_folder(tmp_path / "pipelines" / "results", "cluster")
    file = folder / tools.LINES
    assert file.relative_to(tmp_path).as_posix() == "pipelines/results/cluster/data.jsonl"
    tools.append_line(file, {"seed": 0})  # outside of git
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "code.py").write_text("")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    tools.commit.cache_clear()
    tools.append_line(file, {"seed": 1})
    tools.commit.cache_clear()
    tools.append_line(file, {"seed": 2})  # the line before has changed the file of results, not what makes it
    (tmp_path / "code.py").write_text("changed")
    tools.commit.cache_clear()
    tools.append_line(file, {"seed": 3})
    none, one, two, changed = (line["commit"] for line in tools.read_lines(file))
    assert none == ""
    assert re.fullmatch(r"[0-9a-f]{7,}", one)
    assert (two, changed) == (one, one + "+")


def test_short_forms_have_a_folder_of_their_own(tools, tmp_path):
    assert tools.study_folder(tmp_path, "trust") != tools.study_folder(tmp_path, "trust", short=True)
