"""Interpretable deep classification of scientific tables with DDCL-Attention prototypes; orbital catalogs first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddcl_tab.estimators import DDCLClassifier, DDCLClusterer, DDCLHistoryClassifier

__all__ = ["DDCLClassifier", "DDCLClusterer", "DDCLHistoryClassifier", "__version__"]
__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    # Imported on first use: importing torch takes seconds, and readers of catalogs do not need it.
    if name in __all__:
        from ddcl_tab import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'ddcl_tab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
