"""Hyperparameter search with Optuna, under the conditions of sound training."""

from ddcl_tab.tuning._search import DDCLSearchCV
from ddcl_tab.tuning._space import Window

__all__ = ["DDCLSearchCV", "Window"]
