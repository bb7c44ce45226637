"""The study of codebooks runs in its short form and writes what it promises."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # its short form still takes most of a minute

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("codebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PIPELINES))
        study = importlib.import_module("codebook_study")
        for _ in range(2):  # the second time computes nothing
            study.main(["nowhere", str(out), "--short"])
    return out


def test_short_form_computes_each_fit_once(out):
    rows = [json.loads(line) for line in (out / "codebook_short" / "data.jsonl").read_text().splitlines()]
    assert len(rows) == len({(row["task"], row["method"], row["seed"]) for row in rows})
    assert {row["task"] for row in rows} == {"digits", "photos", "catalog"}
    assert len({row["method"] for row in rows}) >= 4
    for row in rows:
        assert 0 < row["utilisation"] <= 1
        assert 1 <= row["perplexity"] <= 16.001
        assert row["error"] > 0


def test_report_says_who_is_ahead(out):
    text = (out / "codebook_short" / "report.md").read_text()
    assert "SHORT FORM" in text
    assert text.count("DDCL, narrow minus") == 3
    assert "smallest share over 12 fits" in text
    assert "<svg" in (out / "codebook_short" / "picture.svg").read_text()
