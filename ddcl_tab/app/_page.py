"""The page of a report: what stands in it as plain data, and the HTML, which asks for nothing from the network."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files

import jinja2
import numpy as np
from markupsafe import Markup

from ddcl_tab.app._evaluation import Estimate, Scores
from ddcl_tab.app._figures import (
    CURVE,
    CURVE_MARGIN,
    MARGIN,
    PANEL,
    STRIP,
    CategoryStrip,
    Curve,
    NumberStrip,
    OrbitFigures,
)
from ddcl_tab.app._svg import MARKERS, Ink, Scale, number, percent, span, unit_words
from ddcl_tab.estimators._prototypes import without_number
from ddcl_tab.interpret._cards import PrototypeCard

#: Probability from which a decision counts as confident.
SURE = 0.9


@dataclass(frozen=True)
class Provenance:
    """From what and when a report was made.

    Attributes
    ----------
    catalog, model : str
        File names.
    date : str
        Day on which the report was made, ISO 8601.
    version : str
        Of ddcl-tab.
    synthetic : bool
        Whether ``ddcl-tab synth`` made any row of the catalog.
    trained_on_synthetic : bool
        Whether the model learned from such rows.
    """

    catalog: str
    model: str
    date: str
    version: str
    synthetic: bool
    trained_on_synthetic: bool = False


@dataclass(frozen=True)
class Peer:
    """Another model on the same rows.

    Attributes
    ----------
    name : str
    scores : dict of float
        As in ``metrics.json``.
    """

    name: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Card:
    """A prototype as it is shown.

    Attributes
    ----------
    card : PrototypeCard
    ink : Ink
    predicted : int
        Index of the class that it holds most probable.
    n_objects : int
        Objects of the catalog whose largest membership it has.
    n_held_out, n_right : int
        Held-out objects among them, and those whose recorded class the model gives.
    strips : list of NumberStrip and CategoryStrip
    home : str or None
        Panel of the map with most of its objects.
    """

    card: PrototypeCard
    ink: Ink
    predicted: int
    n_objects: int
    n_held_out: int
    n_right: int
    strips: list[NumberStrip | CategoryStrip]
    home: str | None

    @property
    def name(self) -> str:
        """Name of the prototype; everywhere on the page its number stands before it."""
        return without_number(self.card.name, self.card.prototype)


@dataclass(frozen=True)
class DecidedObject:
    """An object with the model's decision.

    Attributes
    ----------
    number, name, recorded : str
    siblings : int or None
        Number of other objects of its launch in the catalog; None where that is not known or not shown.
    predicted : int
        Index of the predicted class.
    confidence : float
        Its probability.
    prototype : int or None
        The strongest one; None where the object is not in the catalog.
    reason : str
    columns : list of (str, str, float)
        The strongest columns: name, value with unit, contribution to the probability.
    notes : list of str
        What stands against taking the class for granted.
    """

    number: str
    name: str
    recorded: str
    siblings: int | None
    predicted: int
    confidence: float
    prototype: int | None
    reason: str
    columns: list[tuple[str, str, float]]
    notes: list[str]


@dataclass(frozen=True)
class Listing:
    """Objects of a table.

    Attributes
    ----------
    rows : list of DecidedObject
        Most confident first.
    n_all : int
        How many there are; not all are listed where they are many.
    """

    rows: list[DecidedObject]
    n_all: int


@dataclass(frozen=True)
class ConditionRow:
    """One condition of sound training.

    Attributes
    ----------
    name, words : str
    value, limit : float
        The worst figure, and what it must stay below.
    every_epoch : bool
        Whether it counts in every epoch, or in the one that was kept only.
    epoch : int
        Epoch of the worst figure.
    holds : bool
    """

    name: str
    words: str
    value: float
    limit: float
    every_epoch: bool
    epoch: int
    holds: bool


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes
    ----------
    provenance : Provenance
    target : str
        Column of the classes.
    classes : list of str
    class_inks : list of Ink
    features : list of str
    n_objects, n_sure_unknown : int
        Objects of the catalog; those of unknown class decided with at least :data:`SURE`.
    recorded : dict of int
        Objects by recorded class.
    n_in_use : int
        Prototypes with more than a quarter of the even share.
    scores : Scores or None
        Of held-out objects; None where none are known.
    split : str
        How they were held out.
    peers : list of Peer
    cards : list of Card
    orbits : OrbitFigures or None
    unknown : Listing
    disagreements : Listing or None
    verdict : str
        Of the certificate, see :class:`ddcl_tab.training._stability.Stability`.
    conditions : list of ConditionRow
    curves : list of Curve
    n_epochs, best_epoch : int
    """

    provenance: Provenance
    target: str
    classes: list[str]
    class_inks: list[Ink]
    features: list[str]
    n_objects: int
    n_sure_unknown: int
    recorded: dict[str, int]
    n_in_use: int
    scores: Scores | None
    split: str
    peers: list[Peer]
    cards: list[Card]
    orbits: OrbitFigures | None
    unknown: Listing
    disagreements: Listing | None
    verdict: str
    conditions: list[ConditionRow]
    curves: list[Curve]
    n_epochs: int
    best_epoch: int


#: Scores of the page: name in ``metrics.json``, words, whether more is better.
SHOWN_SCORES = (
    ("macro_f1", "macro-F1", True),
    ("accuracy", "accuracy", True),
    ("balanced_accuracy", "balanced accuracy", True),
    ("log_loss", "log loss [nats]", False),
    ("ece", "calibration error", False),
)

#: A peer is drawn if it lies within this many widths of the interval.
NEAR = 4.0


def render_report(report: Report) -> str:
    """HTML of a report.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        A whole page; what comes from catalogs is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ddcl_tab.app", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "unit": unit_words}
    script = _asset("script.js")
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        # The page may run this script and no other, whatever text a catalog brings.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        shown_scores=SHOWN_SCORES,
        interval_plot=_interval_plot,
        span=span,
        markers=MARKERS,
        sure=SURE,
        panel=PANEL,
        margin=MARGIN,
        curve=CURVE,
        curve_margin=CURVE_MARGIN,
        strip_size=STRIP,
    )


def _asset(name: str) -> str:
    return (files("ddcl_tab.app") / "templates" / name).read_text(encoding="utf-8")


def _interval_plot(report: Report, score: str) -> tuple[Estimate, list[float]]:
    """Places [0, 100] of a score with its interval, and of the peers near it; one far off would squeeze all others."""
    if report.scores is None:
        return Estimate(0.0, 0.0, 0.0), []
    own = report.scores.overall[score]
    reach = NEAR * max(own.high - own.low, 1e-6)
    peers = [peer.scores[score] for peer in report.peers if score in peer.scores]
    values = np.array([own.low, own.value, own.high, *(p for p in peers if abs(p - own.value) <= reach)])
    low, value, high, *near = np.round(Scale(values.min(), values.max() + 1e-9, 3.0, 97.0)(values), 1).tolist()
    return Estimate(value, low, high), near
