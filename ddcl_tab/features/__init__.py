"""Frame to arrays: which columns may be learned from, and how each becomes numbers."""

from ddcl_tab.features.columns import (
    CategoricalColumn,
    NumericColumn,
    as_table,
    is_frame,
    is_missing,
    select_features,
    to_columns,
    to_polars,
)
from ddcl_tab.features.table import Table, TableEncoder

__all__ = [
    "CategoricalColumn",
    "NumericColumn",
    "Table",
    "TableEncoder",
    "as_table",
    "is_frame",
    "is_missing",
    "select_features",
    "to_columns",
    "to_polars",
]
