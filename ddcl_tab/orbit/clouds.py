"""Orbits of the fragments of a break-up, from the parent's orbit and the ejection speeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.orbit.earth import WGS72, EarthModel
from ddcl_tab.orbit.states import KeplerianElements, elements_to_state, orbital_energy, state_to_elements

REENTRY_ALTITUDE_KM = 100.0


@dataclass(frozen=True, eq=False)
class FragmentOrbits:
    """Orbits of the fragments that stay, and how many do not.

    Parameters
    ----------
    elements : KeplerianElements
        Orbits of the m fragments that stay.
    kept : ndarray of int, shape (m,)
        Their indices among the n fragments given.
    n_unbound : int
        Fragments on open orbits.
    n_reentered : int
        Fragments with a perigee below 100 km.
    breakup_radius_km : float
        Distance of the break-up from the centre of the Earth, km.
    """

    elements: KeplerianElements
    kept: NDArray[np.int64]
    n_unbound: int
    n_reentered: int
    breakup_radius_km: float


def _true_anomaly_deg(mean_anomaly_rad: float, eccentricity: float) -> float:
    """Solve Kepler's equation by bisection: slower than Newton, but it cannot fail."""
    low, high = 0.0, 2 * np.pi
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if middle - eccentricity * np.sin(middle) > mean_anomaly_rad else (middle, high)
    tangent = np.sqrt((1 + eccentricity) / (1 - eccentricity)) * np.tan(low / 2)
    return float(np.degrees(2 * np.arctan(tangent)) % 360)


def fragment_orbits(
    parent: KeplerianElements, delta_v_m_s: ArrayLike, rng: np.random.Generator, earth: EarthModel = WGS72
) -> FragmentOrbits:
    """Orbits right after a break-up: an isotropic velocity is added to the parent's.

    The break-up happens at a random time, so at a uniform mean anomaly; the parent's own true anomaly is not used.

    Parameters
    ----------
    parent : KeplerianElements
        One orbit.
    delta_v_m_s : array_like, shape (n,)
        Ejection speeds in m/s.
    rng : numpy.random.Generator
        Source of chance.
    earth : EarthModel
        Gives GM and radius.

    Returns
    -------
    FragmentOrbits
        Fragments on open orbits or with a perigee below 100 km are left out and counted.

    Raises
    ------
    ConfigurationError
        If there is not exactly one parent orbit or a speed is negative or missing.

    Examples
    --------
    >>> parent = KeplerianElements(7158.0, 0.001, 98.6, 0.0, 0.0, 0.0)
    >>> cloud = fragment_orbits(parent, [50.0, 100.0, 20000.0], np.random.default_rng(0))
    >>> len(cloud.kept), cloud.n_unbound
    (2, 1)
    """
    if len(parent.eccentricity) != 1:
        raise ConfigurationError(f"a break-up has one parent orbit, not {len(parent.eccentricity)}")
    speed = np.atleast_1d(np.asarray(delta_v_m_s, np.float64))
    if speed.ndim != 1 or not np.all((speed >= 0) & (speed < np.inf)):
        raise ConfigurationError("delta_v_m_s is one-dimensional, finite and not negative")
    anomaly = _true_anomaly_deg(rng.uniform(0, 2 * np.pi), float(parent.eccentricity[0]))
    angles = (parent.inclination_deg, parent.raan_deg, parent.argument_of_perigee_deg)
    at_breakup = KeplerianElements(parent.semi_major_axis_km, parent.eccentricity, *angles, np.array([anomaly]))
    position, velocity = elements_to_state(at_breakup, earth)
    direction = rng.normal(size=(len(speed), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    positions = np.repeat(position, len(speed), axis=0)
    velocities = velocity + direction * speed[:, None] / 1000.0
    bound = np.flatnonzero(orbital_energy(positions, velocities, earth) < 0)
    elements = state_to_elements(positions[bound], velocities[bound], earth)
    perigee = elements.semi_major_axis_km * (1 - elements.eccentricity) - earth.equatorial_radius_km
    stays = perigee >= REENTRY_ALTITUDE_KM
    kept = KeplerianElements(
        elements.semi_major_axis_km[stays],
        elements.eccentricity[stays],
        elements.inclination_deg[stays],
        elements.raan_deg[stays],
        elements.argument_of_perigee_deg[stays],
        elements.true_anomaly_deg[stays],
    )
    radius = float(np.linalg.norm(position))
    return FragmentOrbits(kept, bound[stays], len(speed) - len(bound), int(np.sum(~stays)), radius)
