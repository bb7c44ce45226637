"""scikit-learn faces of the network."""

from ddcl_tab.estimators.classifier import DDCLClassifier

__all__ = ["DDCLClassifier"]
