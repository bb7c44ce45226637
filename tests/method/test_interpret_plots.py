"""Figures return the axes they drew on and say what is missing."""

from __future__ import annotations

from decimal import Decimal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from ddcl_tab.errors import ConfigurationError, InputError
from ddcl_tab.interpret._cards import (
    plot_card,
    plot_certificate,
    plot_contributions,
    prototype_cards,
)
from ddcl_tab.interpret._model import column_contributions
from ddcl_tab.space import plot_altitude_inclination, plot_gabbard


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_gabbard_diagram_shows_classes_or_chosen_prototypes_in_both_libraries(small_model, ax):
    clf, rows = small_model
    assert plot_gabbard(clf, rows, ax=ax) is ax
    assert set(legend(ax)) == {"DEBRIS", "PAYLOAD", "ROCKET BODY"}
    assert "period [min]" in ax.get_xlabel()
    own = plot_gabbard(clf, rows.to_pandas(), prototypes=[0, 2])
    assert legend(own) == ["other objects", "prototype 0", "prototype 2"]
    drawn = sum(len(points.get_offsets()) for points in own.collections)
    assert drawn == 2 * len(rows)  # apogee and perigee of every row
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


def test_a_card_shows_every_number_with_its_unit(small_model, ax):
    card = prototype_cards(*small_model)[0]
    plot_card(card, ax=ax)
    assert ax.get_title() == card.name
    assert any("km" in text.get_text() for text in ax.texts)


def test_the_certificate_names_its_conditions(small_model, ax):
    plot_certificate(small_model[0], ax=ax)
    assert {"fast_step", "tracking", "alive"} <= set(legend(ax))


def test_contributions_are_bars_with_values(small_model, ax):
    clf, rows = small_model
    table = column_contributions(clf, rows.head(2), rows)
    plot_contributions(table, row=1, ax=ax)
    assert len(ax.patches) == len(table) // 2
    with pytest.raises(InputError, match="no row 7"):
        plot_contributions(table, row=7, ax=ax)


def test_what_cannot_be_drawn_is_said(small_model, ax):
    clf, rows = small_model
    with pytest.raises(ConfigurationError, match=r"no prototypes \[9\]; they are numbered 0 to 5"):
        plot_gabbard(clf, rows, prototypes=[9], ax=ax)
    with pytest.raises(InputError, match=r"\['PERIOD'\] are missing"):
        plot_gabbard(clf, rows.drop("PERIOD"), ax=ax)
