"""scikit-learn faces of the network."""

from ddcl_tab.estimators._classifier import DDCLClassifier
from ddcl_tab.estimators._clusterer import DDCLClusterer
from ddcl_tab.estimators._history import DDCLHistoryClassifier

__all__ = ["DDCLClassifier", "DDCLClusterer", "DDCLHistoryClassifier"]
