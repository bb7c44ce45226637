"""The comparison of readouts runs in its short form, on real element sets where they are."""

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
        study = importlib.import_module("before_after")
        study.main([str(SHARED), str(tmp_path), "--short"])
        folder = tmp_path / "before_after_short"
        lines = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
        assert [line["figure"] for line in lines] == list(study.BEFORE)
        study.main([str(SHARED), str(tmp_path), "--short"])  # computes nothing twice
    assert len((folder / "data.jsonl").read_text().splitlines()) == len(lines)
    figures = {line["figure"]: line["value"] for line in lines}
    assert all(0.5 < figures[name] <= 1 for name in (study.REGIMES, study.ALL_FOREIGN, study.VERDICTS))
    assert 0 < figures[study.LABELS] < 151
    assert "SYNTHETIC" in (folder / "report.md").read_text()
