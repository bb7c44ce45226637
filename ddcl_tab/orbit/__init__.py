"""Orbital mechanics on plain float64 arrays: elements, regimes, states, break-ups."""

from __future__ import annotations

from ddcl_tab.orbit.breakup import (
    Fragments,
    area_to_mass_mixture,
    average_area,
    collision_count,
    explosion_count,
    is_catastrophic,
    sample_fragments,
)
from ddcl_tab.orbit.clouds import FragmentOrbits, fragment_orbits
from ddcl_tab.orbit.drift import argument_of_perigee_rate, raan_rate
from ddcl_tab.orbit.earth import WGS72, WGS84, EarthModel
from ddcl_tab.orbit.elements import (
    apogee_altitude,
    eccentricity_from_altitudes,
    mean_motion_from_period,
    perigee_altitude,
    period_from_mean_motion,
    period_from_semi_major_axis,
    semi_major_axis_from_altitudes,
    semi_major_axis_from_period,
    specific_angular_momentum,
    specific_energy,
)
from ddcl_tab.orbit.regimes import REGIMES, regime
from ddcl_tab.orbit.states import KeplerianElements, elements_to_state, orbital_energy, state_to_elements

__all__ = [
    "REGIMES",
    "WGS72",
    "WGS84",
    "EarthModel",
    "FragmentOrbits",
    "Fragments",
    "KeplerianElements",
    "apogee_altitude",
    "area_to_mass_mixture",
    "argument_of_perigee_rate",
    "average_area",
    "collision_count",
    "eccentricity_from_altitudes",
    "elements_to_state",
    "explosion_count",
    "fragment_orbits",
    "is_catastrophic",
    "mean_motion_from_period",
    "orbital_energy",
    "perigee_altitude",
    "period_from_mean_motion",
    "period_from_semi_major_axis",
    "raan_rate",
    "regime",
    "sample_fragments",
    "semi_major_axis_from_altitudes",
    "semi_major_axis_from_period",
    "specific_angular_momentum",
    "specific_energy",
    "state_to_elements",
]
