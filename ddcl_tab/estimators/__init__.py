"""scikit-learn faces of the network."""

from ddcl_tab.estimators.classifier import DDCLClassifier
from ddcl_tab.estimators.clusterer import DDCLClusterer

__all__ = ["DDCLClassifier", "DDCLClusterer"]
