"""The study of histories runs in its short form, on real element sets where they are."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "elsets").exists(), reason="needs the catalogs beside the project")
@pytest.mark.slow
def test_short_form(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "pipelines"))
        study = importlib.import_module("history_study")
        study.main([str(SHARED), str(tmp_path), "--short"])
        long = study.long_frame(SHARED).filter(study.pl.col("NORAD_CAT_ID") < 300)
    rows = [json.loads(line) for line in (tmp_path / "history_short" / "data.jsonl").read_text().splitlines()]
    assert {row["problem"] for row in rows} == {"class", "cloud, random", "cloud, last 30 %"}
    assert {(row["model"], row["input"]) for row in rows} >= {("DDCL", "newest"), ("DDCL", "history")}
    for row in rows:
        assert row["all"]["rows"] >= row["four epochs"]["rows"] > 0
        assert 0 < row["all"]["accuracy"] <= 1
    text = (tmp_path / "history_short" / "report.md").read_text()
    assert text.count("Ahead of DDCL on histories") == 3
    assert "<svg" in (tmp_path / "history_short" / "picture.svg").read_text()

    newest = study.pl.col("EPOCH").max()
    gaps = study.with_gaps(long, 2, seed=0)
    kept, there = (f.group_by("NORAD_CAT_ID").agg(newest, study.pl.len()).sort("NORAD_CAT_ID") for f in (gaps, long))
    assert kept.select("NORAD_CAT_ID", "EPOCH").equals(there.select("NORAD_CAT_ID", "EPOCH"))
    assert ((there["len"] - 2).clip(1) == kept["len"]).all()
