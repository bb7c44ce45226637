"""What a fitted classifier has learned, why it decides as it does, and when not to trust it."""

from ddcl_tab.interpret._cards import (
    PrototypeCard,
    plot_card,
    plot_certificate,
    plot_contributions,
    prototype_cards,
)
from ddcl_tab.interpret._labels import OutOfFold, likely_label_errors, out_of_fold
from ddcl_tab.interpret._model import column_contributions
from ddcl_tab.interpret._trust import ConformalSets, NoveltyScore, prototype_distances

__all__ = [
    "ConformalSets",
    "NoveltyScore",
    "OutOfFold",
    "PrototypeCard",
    "column_contributions",
    "likely_label_errors",
    "out_of_fold",
    "plot_card",
    "plot_certificate",
    "plot_contributions",
    "prototype_cards",
    "prototype_distances",
]
