"""What families are worth, and whether a part is answered as its whole: both studies on synthetic catalogs."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from ddcl_tab import DDCLClassifier
from ddcl_tab.space import launch_of, synthetic_catalog, write_satcat
from ddcl_tab.space._satcat import read_satcat
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::ddcl_tab.errors.FamilyContextWarning")

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "pipelines"))
        yield importlib.import_module("family_study")


@pytest.fixture(scope="module")
def parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "pipelines"))
        yield importlib.import_module("part_of_whole")


# Forward


def test_forward_parts_share_no_launch_and_forget_no_row(study, synthetic):
    mixed = synthetic.sample(fraction=1.0, shuffle=True, seed=0)
    catalog, decayed = mixed[:4000], mixed[4000:].with_columns(DECAY=pl.col("LAUNCH"))
    forward = study.forward_parts(catalog, decayed)
    older, new = (set(launch_of(part)) for part in (forward.older, forward.new))
    assert not older & new
    assert max(name for name in older if not name.startswith("NORAD ")) < min(new)
    known = catalog.filter(pl.col("OBJECT_TYPE") != "UNKNOWN")
    launches = {name for name in launch_of(known) if not name.startswith("NORAD ")}
    assert len(new) == round(study.NEWEST * len(launches))
    assert len(forward.train) + len(forward.new) == len(known)
    assert "UNKNOWN" not in set(forward.train["OBJECT_TYPE"]) | set(forward.new["OBJECT_TYPE"])
    assert "UNKNOWN" in set(forward.older["OBJECT_TYPE"])
    assert len(forward.whole) == len(synthetic)
    assert 0 < forward.older["DECAY"].null_count() < len(forward.older)
    assert set(launch_of(forward.whole)) - older >= new


def test_forward_lines_tell_contexts_apart_and_a_row_alone_sees_no_sibling(study, synthetic):
    mixed = synthetic.sample(fraction=1.0, shuffle=True, seed=0)
    forward = study.forward_parts(mixed[:1500], mixed[1500:].with_columns(DECAY=pl.col("LAUNCH")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = [
            line
            for contexts in ((study.WHOLE, study.STREAM), (study.ALONE,))
            for line in study.forward_lines("HistGradientBoosting", forward, contexts, True)
        ]
        alone = study.peer_answers(study.PEERS["HistGradientBoosting"](0), forward, False)
    assert [line["columns"] for line in lines] == [study.WHOLE, study.STREAM, study.ALONE]
    assert {line["n_new"] for line in lines} == {len(forward.new)}
    np.testing.assert_array_equal(alone(study.WHOLE)[0], alone(study.STREAM)[0])
    assert len({line["log_loss"] for line in lines}) == 3


def test_a_score_is_what_it_says(study):
    y = np.array(["PAYLOAD", "PAYLOAD", "DEBRIS"], dtype=object)
    classes = np.array(["DEBRIS", "PAYLOAD"], dtype=object)
    found = study.scores(y, np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]), classes)
    assert found["payloads_called_debris"] == 1
    assert found["log_loss"] == pytest.approx(-np.log([0.25, 0.75, 0.5]).mean())
    assert found["macro_f1"] == pytest.approx(2 / 3)


def test_columns_of_the_orbit_alone_hold_no_size(study, synthetic):
    frame = synthetic.hstack(study.family_columns(synthetic))
    everything = study.SETS["relative, decayed, quartiles"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        used = {task: study.used_columns(frame, task, everything) for task in ("object", "orbit")}
        alone = study.used_columns(frame, "object", [])
    assert [name for name in used["object"] if not name.startswith("FAMILY_")] == alone
    assert {"FAMILY_SMALL_SHARE", "FAMILY_NEAR_SHARE", "RCS_SIZE"} <= set(used["object"])
    assert not {"FAMILY_SMALL_SHARE", "RCS_SIZE", "COUNTRY"} & set(used["orbit"])
    assert "FAMILY_NEAR_SHARE" in used["orbit"]


@pytest.mark.skipif(not (SHARED / "elsets").exists(), reason="needs the catalogs beside the project")
@pytest.mark.slow
def test_short_form(study, tmp_path):
    study.main([str(SHARED), str(tmp_path), "--short"])
    file = tmp_path / "family_short" / "data.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    forward = {(row["model"], row["columns"]) for row in rows if row["split"] == "forward"}
    assert len(forward) == 4 * 3
    seen = {row["columns"]: row["n_columns"] for row in rows if row["split"] == "launch 0" and row["task"] == "object"}
    assert sorted(seen.values()) == list(seen.values())
    assert len(set(seen.values())) == len(study.SETS)
    text = (tmp_path / "family_short" / "report.md").read_text()
    assert text.count(study.WHOLE) == text.count(study.STREAM) == 4
    study.main([str(SHARED), str(tmp_path), "--short"])
    assert len(file.read_text().splitlines()) == len(rows)


# Part against whole


@pytest.fixture(scope="module")
def small(parts):
    """A catalog as files have it, and a model that was trained on it."""
    rows = synthetic_catalog(n_rows=500, random_state=0)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_satcat(rows, Path(folder) / "a.csv")
        catalog = read_satcat(Path(folder) / "a.csv")
        return rows, catalog, Depends(family="auto", random_state=0, **parts.SMALL | {"max_epochs": 2}).fit(catalog)


class Depends(DDCLClassifier):
    """A classifier; ``by_size`` of a row's answer comes from the number of rows asked about."""

    by_size = 0.0

    def predict_proba(self, X, catalog=None):
        return super().predict_proba(X, catalog=catalog) + self.by_size * len(X)


@pytest.fixture
def few(parts, monkeypatch):
    """One by one takes long: a handful will do where something else is looked at."""
    monkeypatch.setattr(parts, "N_SINGLE", 5)


def test_the_command_prints_both_tables_and_holds(parts, small, few, tmp_path, capsys):
    rows, catalog, _ = small
    write_satcat(rows, tmp_path / "a.csv")
    assert parts.main([str(tmp_path / "a.csv")]) == 0
    text = capsys.readouterr().out
    for name, number in catalog["OBJECT_TYPE"].value_counts().rows():
        assert text.count(f"| {name} | {number} |") == 2
    assert text.count("| 5 objects one by one | 5 |") == 2
    for said in ("trained on the catalog for 4 epochs", "Synthetic", "All limits hold.", "pipelines/part_of_whole.py"):
        assert said in text


def test_a_model_whose_answers_depend_on_the_part_breaks_the_limit(parts, small, few, tmp_path, capsys, monkeypatch):
    rows, catalog, clf = small
    assert parts.page(clf, catalog, "")[1]
    for by_size in (1e-6, np.nan):
        monkeypatch.setattr(Depends, "by_size", by_size)
        text, held = parts.page(clf, catalog, "")
        assert not held
        assert "A limit is broken" in text
    write_satcat(rows, tmp_path / "a.csv")
    clf.save(tmp_path / "model.ddcl")
    monkeypatch.setattr(parts, "LIMIT", -1.0)
    assert parts.main([str(tmp_path / "a.csv"), "--model", str(tmp_path / "model.ddcl")]) == 1
    assert "The model model.ddcl." in capsys.readouterr().out


def test_a_model_of_another_catalog_is_held_to_the_context_alone(parts, small, few):
    _, catalog, clf = small
    other = parts.as_unseen(catalog)
    assert parts.has_counted(clf, catalog)
    assert not parts.has_counted(clf, other)
    assert not set(launch_of(other)) & {one for one in launch_of(catalog) if not one.startswith("NORAD ")}
    text, held = parts.page(clf, other, "")
    assert held
    assert "trained on another catalog" in text
    assert text.count("| part |") == 1
    plain = DDCLClassifier(random_state=0, family=None, **parts.SMALL | {"max_epochs": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text, held = parts.page(plain.fit(catalog), catalog, "")
    assert held
    assert "answers each row alone" in text


def test_parts_are_what_their_names_say(parts, synthetic):
    rows = synthetic.with_columns(OBJECT_TYPE=pl.when(pl.int_range(pl.len()) > 9).then("OBJECT_TYPE"))
    found = {part.name: part.rows for part in parts.parts_of(rows)}
    assert set(rows["OBJECT_TYPE"].drop_nulls()) | {"no record", "a random half"} <= set(found)
    assert found["no record"][0].tolist() == list(range(10))
    assert len(found["a random half"][0]) == len(set(found["a random half"][0])) == len(rows) // 2
    launch = launch_of(rows)
    (name,) = (name for name in found if name.startswith("launch "))
    largest = launch.value_counts()["count"].max()
    assert len(found[name][0]) == largest
    assert set(launch[found[name][0].tolist()]) == {name.removeprefix("launch ")}
    single = found["100 objects one by one"]
    assert [len(one) for one in single] == [1] * 100
    assert len({int(one[0]) for one in single}) == 100
