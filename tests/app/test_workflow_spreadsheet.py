"""Tables for people: names out of a catalog neither run in a spreadsheet nor steer a terminal."""

from __future__ import annotations

import csv
import re
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ddcl_tab.app._tables import as_markdown, as_written, rounded_shares, with_rounded_shares, write_csv
from ddcl_tab.cli import main
from ddcl_tab.space import synthetic_catalog, write_satcat
from ddcl_tab.space._satcat import read_satcat

NEGATIVE = ["-1.5", "-2", "-3.2e-07", "-1e+20"]
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]


def is_number(text: str) -> bool:
    """Digits with a sign, a point, an exponent: nothing that a spreadsheet would compute."""
    return re.fullmatch(r"-\d+(\.\d+)?(e[+-]?\d+)?", text, re.ASCII) is not None


@given(texts=st.lists(st.none() | st.text(max_size=8) | st.sampled_from(FORMULAS + NEGATIVE), min_size=1, max_size=5))
def test_no_text_begins_like_a_formula_and_all_come_back(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "table.csv"
    table = pl.DataFrame(
        {"text": texts, "number": [-1.5] * len(texts)}, schema={"text": pl.String, "number": pl.Float64}
    )
    write_csv(path, table)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["text"][:1] not in tuple("=+-@\t\r\n") for row in rows if row["text"] and not is_number(row["text"]))
    assert {row["number"] for row in rows} == {"-1.5"}
    assert [row["text"] for row in rows if row["text"] in NEGATIVE] == [text for text in texts if text in NEGATIVE]
    ordinary = [
        text for text in texts if text and not text.startswith("'")
    ]  # an apostrophe of its own cannot be distinguished
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
    assert sorted(written) == sorted([f"'{name}" for name in names[:4]] + names[4:].to_list())
    assert "\x1b" not in done.output


def digits(text: str) -> int:
    return len(Decimal(text).normalize().as_tuple().digits)


@given(
    weights=st.lists(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.1), min_size=1)
)
def test_probabilities_are_written_in_six_digits_and_still_sum_to_1(tmp_path_factory, weights):
    p = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    path, names = tmp_path_factory.getbasetemp() / "p.csv", ["p(A)", "p(B)", "p(C)"]
    write_csv(path, with_rounded_shares(pl.DataFrame(p, schema=names, orient="row"), names))
    with path.open() as file:
        rows = [[row[name] for name in names] for row in csv.DictReader(file)]
    assert max(digits(text) for row in rows for text in row) <= 6
    written = np.array(rows, dtype=float)
    assert np.abs(written.sum(axis=1) - 1.0).max() <= 5.1e-7
    np.testing.assert_allclose(written, p, rtol=0, atol=2.1e-6)
    small = p < 0.1
    np.testing.assert_allclose(written[small], p[small], rtol=5.1e-6, atol=1e-300)


def test_numbers_lose_the_digits_of_rounding_and_nothing_that_was_measured(tmp_path):
    values = [26480.135000000002, 2024.1234567, -98.6123, 1.0, 5e-324, 1.23456789e-25, 1e300, float("nan"), None]
    write_csv(tmp_path / "a.csv", pl.DataFrame({"x": values, "n": pl.Series([900002670] * 9)}))
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["x"]) for row in rows[:-2]] == [26480.135, 2024.123457, -98.6123, 1.0, 5e-324, 1.23457e-25, 1e300]
    assert [row["x"] for row in rows[-2:]] == ["", ""]
    assert {row["n"] for row in rows} == {"900002670"}


def test_a_prototype_without_members_keeps_shares_of_zero():
    assert rounded_shares(np.array([[0.0, 0.0], [1.0, 0.0]])).tolist() == [[0.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("text", ["\x1b[2J", "a\x07b", "\u202egnp.exe"])
def test_terminal_tables_hold_no_control_characters(text):
    shown = as_markdown(pl.DataFrame({"name": [text]}))
    assert "\ufffd" in shown
    assert not set(text) & set(shown) & {"\x1b", "\x07", "\u202e"}
