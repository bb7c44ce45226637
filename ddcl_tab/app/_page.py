"""The page of a report: what stands in it as plain data, and the HTML, which asks for nothing from the network."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup

from ddcl_tab.app._catalog import NONE_FITS, UNLIKE
from ddcl_tab.app._evaluation import Estimate, Scores
from ddcl_tab.app._figures import CURVE, CURVE_MARGIN, MARGIN, PANEL, Curve, OrbitFigures
from ddcl_tab.app._svg import MARKERS, Ink, Scale, number, percent, signed, unit_words

#: Probability from which a decision counts as confident.
SURE = 0.9
#: Cards that stand open; smaller prototypes, and those not in use, are folded.
N_OPEN = 24


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
    """A prototype as it is shown: what ``prototypes_`` says of it.

    Attributes
    ----------
    prototype : int
    name : str
        Without its number, which stands before it everywhere on the page.
    share : float
        Of all column tokens of the training rows.
    in_use : bool
        Whether that is more than a quarter of the even share.
    votes : dict of float
        What a column at it adds to the log-odds of each class [nats].
    members : dict of float
        Classes of its training rows.
    columns : list of (str, float, str)
        The columns that it speaks of: name, share of its members, their values.
    medoid : str
        The training row of the class it votes for that is most made of it.
    typical : list of str
        Objects of the catalog of that class that are most made of it.
    """

    prototype: int
    name: str
    share: float
    in_use: bool
    votes: dict[str, float]
    members: dict[str, float]
    columns: list[tuple[str, float, str]]
    medoid: str
    typical: list[str]

    @property
    def votes_for(self) -> str:
        """The class that it votes for."""
        return max(self.votes, key=lambda name: self.votes[name])

    @property
    def other(self) -> float:
        """Share of its members in columns that are not named."""
        return 1.0 - sum(share for _, share, _ in self.columns)


class Orbit(NamedTuple):
    """Where an object is.

    Attributes
    ----------
    perigee, apogee : float
        Altitudes [km].
    inclination : float
        [deg]
    """

    perigee: float
    apogee: float
    inclination: float


class Part(NamedTuple):
    """A column that decided an object, or spoke against.

    Attributes
    ----------
    text : str
        The column with the object's own value and its unit.
    contribution : float
        What it adds to the log-odds of the class against the runner-up [nats].
    """

    text: str
    contribution: float


@dataclass(frozen=True)
class DecidedObject:
    """An object with the model's decision.

    Attributes
    ----------
    number, name, recorded : str
    siblings : int or None
        Number of other objects of its launch in the catalog; None where that is not known or not shown.
    orbit : Orbit or None
    predicted : int
        Index of the predicted class.
    confidence : float
        Its probability.
    runner_up : str
        The second most probable class; empty where nothing is said of the columns.
    parts : list of Part
        The strongest columns, strongest first.
    n_other, other, baseline : int, float, float
        Number of all other columns, what they add together [nats], and the log-odds of an average object: the parts,
        these and the baseline sum to the log-odds of the class against the runner-up.
    like : str
        The most similar typed object of the predicted class; empty without any.
    notes : list of str
        What stands against taking the class for granted.
    """

    number: str
    name: str
    recorded: str
    siblings: int | None
    orbit: Orbit | None
    predicted: int
    confidence: float
    runner_up: str
    parts: list[Part]
    n_other: int
    other: float
    baseline: float
    like: str
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

    @property
    def largest(self) -> float:
        """The largest contribution of a column to any of them, for or against [nats]."""
        return max((abs(part.contribution) for one in self.rows for part in one.parts), default=1.0)


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
    inks : list of Ink
        Of the typed objects of each class, then of the unknown ones that are given it.
    features : list of str
    n_objects, n_sure_unknown : int
        Objects of the catalog; those of unknown class decided with at least :data:`SURE`.
    recorded : dict of int
        Objects by recorded class.
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
    inks: list[Ink]
    features: list[str]
    n_objects: int
    n_sure_unknown: int
    recorded: dict[str, int]
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

    @property
    def groups(self) -> list[str]:
        """What is drawn with each ink."""
        return [*self.classes, *(f"{name}, unknown object" for name in self.classes)]


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
    environment.filters |= {"number": number, "percent": percent, "signed": signed, "unit": unit_words}
    script = _asset("script.js")
    return environment.get_template("report.html.j2").render(
        report=report,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        # The page may run this script and no other, whatever text a catalog brings.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        shown_scores=SHOWN_SCORES,
        interval_plot=_interval_plot,
        none_fits=NONE_FITS,
        unlike=UNLIKE,
        markers=MARKERS,
        sure=SURE,
        n_open=N_OPEN,
        panel=PANEL,
        margin=MARGIN,
        curve=CURVE,
        curve_margin=CURVE_MARGIN,
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
