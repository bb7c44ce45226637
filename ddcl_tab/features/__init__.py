"""Frame to arrays: which columns may be learned from, and how each becomes numbers."""

from ddcl_tab.features.columns import CategoricalColumn, NumericColumn, is_frame, select_features, to_columns
from ddcl_tab.features.table import Table, TableEncoder

__all__ = ["CategoricalColumn", "NumericColumn", "Table", "TableEncoder", "is_frame", "select_features", "to_columns"]
