"""scikit-learn faces of the network."""

from ddcl_tab.estimators.classifier import DDCLClassifier
from ddcl_tab.estimators.clusterer import DDCLClusterer
from ddcl_tab.estimators.history import DDCLHistoryClassifier

__all__ = ["DDCLClassifier", "DDCLClusterer", "DDCLHistoryClassifier"]
