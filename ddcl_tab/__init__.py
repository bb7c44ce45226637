"""Interpretable deep classification of scientific tables with DDCL-Attention prototypes; orbital catalogs first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddcl_tab.estimators._classifier import DDCLClassifier
    from ddcl_tab.estimators._clusterer import DDCLClusterer
    from ddcl_tab.estimators._history import DDCLHistoryClassifier

    __version__: str

__all__ = ["DDCLClassifier", "DDCLClusterer", "DDCLHistoryClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ddcl-tab")
    # Imported on first use: importing torch takes seconds, and readers of catalogs do not need it.
    if name in __all__:
        from ddcl_tab import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'ddcl_tab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
