"""Tables for people: names out of a catalog neither run in a spreadsheet nor steer a terminal."""

from __future__ import annotations

import csv

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ddcl_tab.catalog import read_satcat, synthetic_catalog, write_satcat
from ddcl_tab.cli import main
from ddcl_tab.workflow.show import as_table
from ddcl_tab.workflow.spreadsheet import as_written, write_table

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]


@given(texts=st.lists(st.none() | st.text(max_size=8) | st.sampled_from(FORMULAS), min_size=1, max_size=5))
def test_no_text_begins_like_a_formula_and_all_come_back(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    table = pl.DataFrame(
        {"text": texts, "number": [-1.5] * len(texts)}, schema={"text": pl.String, "number": pl.Float64}
    )
    write_table(path, table)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["text"][:1] not in tuple("=+-@\t\r\n") for row in rows if row["text"])
    assert {row["number"] for row in rows} == {"-1.5"}
    ordinary = [
        text for text in texts if text and not text.startswith("'")
    ]  # an apostrophe of its own is not told apart
    back = pl.DataFrame({"text": [row["text"] for row in rows]}).select(as_written(pl.col("text")))["text"].to_list()
    assert [text for text in back if text in ordinary] == ordinary


def test_classify_writes_names_that_a_spreadsheet_shows(tmp_path, small_model):
    clf, _ = small_model
    clf.save(tmp_path / "model.ddcl")
    raw = synthetic_catalog(n_rows=50, random_state=3)[: len(FORMULAS)]
    names = pl.Series([f.strip() for f in FORMULAS[:4]] + ["\x1b[31mred", "PLAIN"])
    write_satcat(raw.with_columns(OBJECT_NAME=names, SATNAME=names), tmp_path / "catalog.csv")
    assert read_satcat(tmp_path / "catalog.csv")["OBJECT_NAME"].to_list() == names.to_list()  # a catalog stays as it is
    command = [
        "classify",
        str(tmp_path / "model.ddcl"),
        str(tmp_path / "catalog.csv"),
        "--out",
        str(tmp_path / "a.csv"),
    ]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    written = pl.read_csv(tmp_path / "a.csv")["OBJECT_NAME"].to_list()
    assert written == [f"'{name}" for name in names[:4]] + names[4:].to_list()
    assert "\x1b" not in done.output


@pytest.mark.parametrize("text", ["\x1b[2J", "a\x07b", "\u202egnp.exe"])
def test_terminal_tables_hold_no_control_characters(text):
    shown = as_table(pl.DataFrame({"name": [text]}))
    assert "\ufffd" in shown
    assert not set(text) & set(shown) & {"\x1b", "\x07", "\u202e"}
