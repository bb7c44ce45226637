"""Figures return the axes they drew on and say what is missing."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from ddcl_tab import DDCLClassifier
from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.estimators._prototypes import named_statements
from ddcl_tab.interpret._cards import (
    plot_card,
    plot_certificate,
    plot_contributions,
    prototype_cards,
)
from ddcl_tab.space import plot_altitude_inclination, plot_gabbard


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_gabbard_diagram_shows_classes_in_both_libraries(small_model, ax):
    clf, rows = small_model
    assert plot_gabbard(clf, rows, ax=ax) is ax
    assert legend(ax) == ["DEBRIS", "PAYLOAD", "ROCKET BODY"]
    assert "period [min]" in ax.get_xlabel()
    drawn = [len(points.get_offsets()) for points in ax.collections]
    classes = clf.predict(rows)
    assert drawn[::2] == drawn[1::2] == [int((classes == name).sum()) for name in clf.classes_]  # apogee and perigee
    own = plot_gabbard(clf, rows.to_pandas())
    assert [len(points.get_offsets()) for points in own.collections] == drawn
    plt.close(own.figure)


def test_lazy_frames_and_decimals_are_drawn_alike_and_texts_refused(small_model):
    clf, rows = small_model
    decimals = rows.to_pandas()
    decimals["PERIGEE"] = pd.Series([None if v is None else Decimal(v) for v in rows["PERIGEE"]], dtype=object)
    drawn = []
    for X in (rows, rows.lazy(), decimals):
        axes = plot_gabbard(clf, X)
        drawn.append(np.concatenate([points.get_offsets().filled(np.nan) for points in axes.collections]))
        plt.close(axes.figure)
    assert np.array_equal(drawn[0], drawn[1], equal_nan=True)
    assert np.array_equal(drawn[0], drawn[2], equal_nan=True)
    with pytest.raises(InputError, match=r"draws numbers; the columns \['PERIOD'\] hold texts"):
        plot_gabbard(clf, rows.with_columns(PERIOD=pl.lit("long")))


def test_classes_differ_by_marker_and_not_only_by_colour(small_model, ax):
    plot_altitude_inclination(*small_model, ax=ax)
    outlines = {points.get_paths()[0].vertices.tobytes() for points in ax.collections}
    assert len(outlines) == 3


def test_a_card_shows_what_is_said_of_each_column_that_its_name_names(small_model, ax):
    for card in prototype_cards(*small_model)[:2]:
        plot_card(card, ax=ax)
        named = named_statements(card.statements)
        assert ax.get_title(loc="right").replace("\n", " ") == card.name
        words = [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]
        said = [f"{one.column}, {100 * one.share:.0f} % of members {one.values}" for one in named]
        assert words == said[::-1]
        width = [bar.get_width() for bar in ax.patches]
        assert width[-2::-2] == pytest.approx([100 * one.held for one in named])
        assert width[::-2] == pytest.approx([100 * one.held_elsewhere for one in named])
        ax.clear()


def test_a_card_without_members_says_nothing(small_model, ax):
    clf, rows = small_model
    card = dataclasses.replace(prototype_cards(clf, rows)[0], statements=[], typical=[])
    plot_card(card, ax=ax)
    assert (len(ax.patches), card.medoid) == (0, "")


def test_the_certificate_names_its_conditions(small_model, ax):
    plot_certificate(small_model[0], ax=ax)
    assert {"fast_step", "tracking", "alive"} <= set(legend(ax))


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_contributions_are_bars_that_sum_to_the_log_odds(small_model, ax, library):
    clf, rows = small_model
    some = rows.head(2)
    table = clf.explain(some if library == "polars" else some.to_pandas())
    plot_contributions(table, row=1, n_columns=4, ax=ax)
    first = pl.DataFrame(table).filter(pl.col("row") == 1).row(0, named=True)
    labels = [text.get_text() for text in ax.get_yticklabels()][::-1]
    assert labels[0] == f"{first['column']} = {first['value']} {first['unit']}".rstrip()
    assert labels[4:] == [f"{len(table) // 2 - 4} others", "baseline"]
    two = np.sort(clf.predict_proba(some)[1])[-2:]
    width = np.array([bar.get_width() for bar in ax.patches])
    assert width[0] == first["baseline"]
    assert width.sum() == pytest.approx(np.log(two[1] / two[0]), abs=1e-5)
    assert [bar.get_hatch() == "////" for bar in ax.patches] == (width < 0).tolist()
    assert ax.get_xlabel() == f"contribution to {first['prediction']} against {first['runner_up']} [nats]"
    with pytest.raises(InputError, match="no row 7"):
        plot_contributions(table, row=7, ax=ax)


def test_all_columns_have_a_bar_where_there_are_few(small_model, ax):
    clf, rows = small_model
    table = clf.explain(rows.head(1))
    plot_contributions(table, n_columns=len(table), ax=ax)
    assert [bar.get_width() for bar in ax.patches][:0:-1] == table["contribution"].to_list()


def test_what_cannot_be_drawn_is_said(small_model, ax):
    clf, rows = small_model
    uncertified = DDCLClassifier(n_prototypes=2, d_token=8, n_heads=2, max_epochs=1, certify=False, random_state=0)
    with pytest.raises(ConfigurationError, match="nothing was certified: fit with certify='epoch'"):
        plot_certificate(uncertified.fit(np.arange(40.0)[:, None], np.arange(40) % 2), ax=ax)
    with pytest.raises(InputError, match=r"\['PERIOD'\] are missing"):
        plot_gabbard(clf, rows.drop("PERIOD"), ax=ax)
