"""What stands in a report, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from ddcl_tab.app._evaluation import Scores
from ddcl_tab.app._figures import CategoryStrip, Curve, NumberStrip, OrbitFigures
from ddcl_tab.app._svg import Ink
from ddcl_tab.estimators._prototypes import without_number
from ddcl_tab.interpret._cards import PrototypeCard


@dataclass(frozen=True)
class Source:
    """Where a report comes from.

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
    """Another model on the same rows: its scores by name."""

    name: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Card:
    """A prototype as it is shown.

    Attributes
    ----------
    card : PrototypeCard
    ink : Ink
    verdict : int
        Index of its class.
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
    verdict: int
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
class Judged:
    """An object with the model's decision.

    Attributes
    ----------
    number, name, recorded : str
    verdict : int
        Index of the class.
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
    verdict: int
    confidence: float
    prototype: int | None
    reason: str
    columns: list[tuple[str, str, float]]
    notes: list[str]


@dataclass(frozen=True)
class Listing:
    """Objects of a table, most confident first, and how many there are where not all are listed."""

    rows: list[Judged]
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
    source : Source
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
        Of the certificate.
    conditions : list of ConditionRow
    curves : list of Curve
    n_epochs, best_epoch : int
    """

    source: Source
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


#: Probability from which a decision counts as confident.
SURE = 0.9
