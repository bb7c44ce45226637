"""What a fitted classifier has learned, why it decides as it does, and when not to trust it."""

from ddcl_tab.interpret.cards import PrototypeCard, prototype_cards
from ddcl_tab.interpret.conformal import ConformalSets
from ddcl_tab.interpret.contributions import column_contributions
from ddcl_tab.interpret.counterfactual import counterfactuals
from ddcl_tab.interpret.faithfulness import match_prototypes
from ddcl_tab.interpret.labels import likely_label_errors, out_of_fold
from ddcl_tab.interpret.novelty import NoveltyScore, prototype_distances
from ddcl_tab.interpret.plots import (
    plot_altitude_inclination,
    plot_card,
    plot_certificate,
    plot_contributions,
    plot_gabbard,
)

__all__ = [
    "ConformalSets",
    "NoveltyScore",
    "PrototypeCard",
    "column_contributions",
    "counterfactuals",
    "likely_label_errors",
    "match_prototypes",
    "out_of_fold",
    "plot_altitude_inclination",
    "plot_card",
    "plot_certificate",
    "plot_contributions",
    "plot_gabbard",
    "prototype_cards",
    "prototype_distances",
]
