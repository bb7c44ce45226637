"""scikit-learn estimators of tables, and what a domain says about the columns of its tables."""

from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._clusterer import DDCLClusterer
from ddcl_tab.estimators._domain import Domain
from ddcl_tab.estimators._history import DDCLHistoryClassifier, history_features, training_histories

__all__ = [
    "DDCLClassifier",
    "DDCLClusterer",
    "DDCLHistoryClassifier",
    "Domain",
    "history_features",
    "training_histories",
]
