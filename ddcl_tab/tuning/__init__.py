"""Hyperparameter search with Optuna, under the conditions of sound training."""

from ddcl_tab.tuning._search import DDCLSearchCV

__all__ = ["DDCLSearchCV"]
