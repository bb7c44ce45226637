"""Catalog files to validated polars frames with one schema."""
