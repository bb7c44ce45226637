"""The domain: what a satellite is. Catalogs to checked polars frames, orbits on plain arrays, break-ups, explanations.

Names, units and meaning of the columns: `SATCAT_COLUMNS` and `ELSET_COLUMNS`.
"""

from __future__ import annotations

from typing import Any

from ddcl_tab.space._breakup import (
    FragmentOrbits,
    Fragments,
    area_to_mass_mixture,
    average_area,
    collision_count,
    explosion_count,
    fragment_orbits,
    is_catastrophic,
    sample_fragments,
)
from ddcl_tab.space._elements import (
    WGS72,
    WGS84,
    EarthModel,
    apogee_altitude,
    eccentricity_from_altitudes,
    perigee_altitude,
    period_from_mean_motion,
    period_from_semi_major_axis,
    semi_major_axis_from_altitudes,
    semi_major_axis_from_period,
)
from ddcl_tab.space._families import family_columns
from ddcl_tab.space._gp import read_elsets, read_gp
from ddcl_tab.space._join import add_orbit_shape, join_elsets, launch_of
from ddcl_tab.space._other_catalogs import DISCOS_TYPES, object_types_of_discos, read_gcat, read_ucs
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._scan import scan_gp, scan_satcat
from ddcl_tab.space._schema import ELSET_COLUMNS, FAMILY_COLUMNS, FAMILY_COUNTS, LEAKS, SATCAT_COLUMNS, UNITS, Column
from ddcl_tab.space._states import (
    REGIMES,
    KeplerianElements,
    argument_of_perigee_rate,
    elements_to_state,
    orbital_energy,
    raan_rate,
    regime,
    state_to_elements,
)
from ddcl_tab.space._synthetic import synthetic_catalog
from ddcl_tab.space._write import write_gp, write_satcat

__all__ = [
    "DISCOS_TYPES",
    "ELSET_COLUMNS",
    "FAMILY_COLUMNS",
    "FAMILY_COUNTS",
    "LEAKS",
    "REGIMES",
    "SATCAT_COLUMNS",
    "UNITS",
    "WGS72",
    "WGS84",
    "Column",
    "EarthModel",
    "FragmentOrbits",
    "Fragments",
    "KeplerianElements",
    "add_orbit_shape",
    "apogee_altitude",
    "area_to_mass_mixture",
    "argument_of_perigee_rate",
    "average_area",
    "collision_count",
    "counterfactuals",
    "eccentricity_from_altitudes",
    "elements_to_state",
    "explosion_count",
    "family_columns",
    "fragment_orbits",
    "is_catastrophic",
    "join_elsets",
    "launch_of",
    "object_types_of_discos",
    "orbital_energy",
    "perigee_altitude",
    "period_from_mean_motion",
    "period_from_semi_major_axis",
    "plot_altitude_inclination",
    "plot_gabbard",
    "raan_rate",
    "read_elsets",
    "read_gcat",
    "read_gp",
    "read_satcat",
    "read_ucs",
    "regime",
    "sample_fragments",
    "scan_gp",
    "scan_satcat",
    "semi_major_axis_from_altitudes",
    "semi_major_axis_from_period",
    "state_to_elements",
    "synthetic_catalog",
    "write_gp",
    "write_satcat",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: they ask a network, and importing torch takes seconds that readers of catalogs do not need.
    if name in __all__:
        from ddcl_tab.space import _explanations

        return getattr(_explanations, name)
    raise AttributeError(f"module 'ddcl_tab.space' has no attribute {name!r}")
