"""NASA standard breakup model: sizes, area-to-mass ratios, masses, ejection speeds and orbits of fragments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space._elements import WGS72, EarthModel, FloatArray, checked
from ddcl_tab.space._states import KeplerianElements, elements_to_state, orbital_energy, state_to_elements

Event = Literal["explosion", "collision"]
Parent = Literal["spacecraft", "rocket_body"]

CATASTROPHIC_ENERGY_J_PER_G = 40.0
EXPLOSION_EXPONENT, COLLISION_EXPONENT = 1.6, 1.71


@dataclass(frozen=True, eq=False)
class Fragments:
    """Fragments of one break-up.

    Parameters
    ----------
    characteristic_length_m : ndarray, shape (n,)
        Mean of the three largest perpendicular extents, m.
    area_to_mass_m2_kg : ndarray, shape (n,)
        Area-to-mass ratio, m^2/kg.
    area_m2 : ndarray, shape (n,)
        Average cross-section, m^2.
    mass_kg : ndarray, shape (n,)
        Mass, kg.
    delta_v_m_s : ndarray, shape (n,)
        Ejection speed relative to the parent, m/s.

    Examples
    --------
    >>> cloud = sample_fragments(100, event="collision", parent="spacecraft", rng=np.random.default_rng(0))
    >>> cloud.mass_kg.shape, bool((cloud.characteristic_length_m >= 0.1).all())
    ((100,), True)
    """

    characteristic_length_m: FloatArray
    area_to_mass_m2_kg: FloatArray
    area_m2: FloatArray
    mass_kg: FloatArray
    delta_v_m_s: FloatArray


def _lengths(characteristic_length_m: ArrayLike) -> FloatArray:
    numbers = np.asarray(characteristic_length_m, np.float64)
    return checked("characteristic_length_m", numbers, "is positive and finite", (numbers > 0) & (numbers < np.inf))


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} is one of {', '.join(choices)}, not {value!r}")


def explosion_count(characteristic_length_m: ArrayLike, scale: float = 1.0) -> FloatArray:
    """Count the fragments of an explosion larger than a size, N = 6 S Lc^-1.6 (equation 2).

    Parameters
    ----------
    characteristic_length_m : array_like
        Size Lc in m.
    scale : float
        S, without unit; 1 for rocket bodies of 600 to 1000 kg.

    Returns
    -------
    ndarray
        Cumulative number.

    Raises
    ------
    ConfigurationError
        If a size or the scale is not positive.

    Examples
    --------
    >>> round(float(explosion_count(0.1)))
    239
    """
    checked("scale", scale, "is positive", np.asarray(scale > 0))
    return 6.0 * scale * _lengths(characteristic_length_m) ** -EXPLOSION_EXPONENT


def is_catastrophic(target_mass_kg: float, projectile_mass_kg: float, impact_speed_km_s: float) -> bool:
    """Whether a collision destroys its target: projectile's kinetic energy over target mass of 40 J/g or more.

    Parameters
    ----------
    target_mass_kg, projectile_mass_kg : float
        Masses in kg, the projectile the lighter one.
    impact_speed_km_s : float
        Relative speed in km/s.

    Returns
    -------
    bool

    Raises
    ------
    ConfigurationError
        If a mass or the speed is not positive.

    Examples
    --------
    >>> is_catastrophic(900.0, 560.0, 11.7), is_catastrophic(900.0, 0.001, 11.7)
    (True, False)
    """
    masses = np.array([target_mass_kg, projectile_mass_kg, impact_speed_km_s], np.float64)
    checked("(target mass, projectile mass, impact speed)", masses, "is positive", masses > 0)
    # 1 km^2/s^2 = 1 kJ/g = 1000 J/g
    return bool(500.0 * projectile_mass_kg * impact_speed_km_s**2 / target_mass_kg >= CATASTROPHIC_ENERGY_J_PER_G)


def collision_count(
    characteristic_length_m: ArrayLike, target_mass_kg: float, projectile_mass_kg: float, impact_speed_km_s: float
) -> FloatArray:
    """Count the fragments of a collision larger than a size, N = 0.1 M^0.75 Lc^-1.71 (equation 4).

    Catastrophic: M is the mass of both objects in kg. Otherwise M is the projectile's mass in kg times the square of
    the impact speed in km/s (Krisko 2011).

    Parameters
    ----------
    characteristic_length_m : array_like
        Size Lc in m.
    target_mass_kg, projectile_mass_kg : float
        Masses in kg, the projectile the lighter one.
    impact_speed_km_s : float
        Relative speed in km/s.

    Returns
    -------
    ndarray
        Cumulative number.

    Raises
    ------
    ConfigurationError
        If a size, mass or the speed is not positive.

    Examples
    --------
    >>> round(float(collision_count(0.1, 900.0, 560.0, 11.7)))
    1211
    """
    if is_catastrophic(target_mass_kg, projectile_mass_kg, impact_speed_km_s):
        mass = target_mass_kg + projectile_mass_kg
    else:
        mass = projectile_mass_kg * impact_speed_km_s**2
    return 0.1 * mass**0.75 * _lengths(characteristic_length_m) ** -COLLISION_EXPONENT


def area_to_mass_mixture(
    characteristic_length_m: ArrayLike, parent: Parent
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gaussian mixture of chi = log10(A/M in m^2/kg) by size (equations 5 to 7).

    Two components above 11 cm, one below 8 cm; in between the weight moves linearly with the size from one law to
    the other, which the paper leaves open.

    Parameters
    ----------
    characteristic_length_m : array_like, shape (n,)
        Sizes in m.
    parent : {"spacecraft", "rocket_body"}
        What broke up.

    Returns
    -------
    weights, means, sigmas : ndarray, shape (n, 3)
        Large fragments' first and second component, and small fragments' component; the weights sum to 1,
        means and sigmas are in log10(m^2/kg).

    Raises
    ------
    ConfigurationError
        If a size is not positive or the parent is neither of the two.

    Examples
    --------
    >>> weights, means, sigmas = area_to_mass_mixture([1.0], "rocket_body")
    >>> weights.round(3), means[:, :2]
    (array([[0.5, 0.5, 0. ]]), array([[-0.9, -0.9]]))
    """
    _choice("parent", parent, get_args(Parent))
    length = np.atleast_1d(_lengths(characteristic_length_m))
    x = np.log10(length)
    ramp = np.interp  # constant outside the two knots: the form of every coefficient in the paper
    if parent == "rocket_body":
        alpha = ramp(x, [-1.4, 0.0], [1.0, 0.5])
        mean1, sigma1 = ramp(x, [-0.5, 0.0], [-0.45, -0.9]), np.full_like(x, 0.55)
        mean2, sigma2 = np.full_like(x, -0.9), ramp(x, [-1.0, 0.1], [0.28, 0.1])
    else:
        alpha = ramp(x, [-1.95, 0.55], [0.0, 1.0])
        mean1, sigma1 = ramp(x, [-1.1, 0.0], [-0.6, -0.95]), ramp(x, [-1.3, -0.3], [0.1, 0.3])
        mean2, sigma2 = ramp(x, [-0.7, -0.1], [-1.2, -2.0]), ramp(x, [-0.5, -0.3], [0.5, 0.3])
    mean3, sigma3 = ramp(x, [-1.75, -1.25], [-0.3, -1.0]), 0.2 + 0.1333 * np.maximum(x + 3.5, 0.0)
    large = ramp(length, [0.08, 0.11], [0.0, 1.0])
    return (
        np.stack([large * alpha, large * (1 - alpha), 1 - large], axis=1),
        np.stack([mean1, mean2, mean3], axis=1),
        np.stack([sigma1, sigma2, sigma3], axis=1),
    )


def average_area(characteristic_length_m: ArrayLike) -> FloatArray:
    """Average cross-section in m^2 (equations 8 and 9).

    Parameters
    ----------
    characteristic_length_m : array_like
        Sizes in m.

    Returns
    -------
    ndarray
        0.540424 Lc^2 below 1.67 mm, 0.556945 Lc^2.0047077 above, in m^2.

    Raises
    ------
    ConfigurationError
        If a size is not positive.

    Examples
    --------
    >>> float(average_area(1.0))
    0.556945
    """
    length = _lengths(characteristic_length_m)
    return np.where(length < 0.00167, 0.540424 * length**2, 0.556945 * length**2.0047077)


def sample_fragments(
    n_fragments: int,
    *,
    event: Event,
    parent: Parent,
    rng: np.random.Generator,
    min_length_m: float = 0.1,
    max_length_m: float = 1.0,
) -> Fragments:
    """Draw fragments of one break-up.

    Sizes follow the event's power law cut to the given range; chi follows :func:`area_to_mass_mixture`; the mass is
    area over area-to-mass ratio; log10 of the ejection speed in m/s is normal with mean 0.2 chi + 1.85
    (explosion, equation 11) or 0.9 chi + 2.9 (collision, equation 12) and sigma 0.4.

    Parameters
    ----------
    n_fragments : int
        How many; :func:`explosion_count` and :func:`collision_count` say how many there are.
    event : {"explosion", "collision"}
        What happened.
    parent : {"spacecraft", "rocket_body"}
        What broke up.
    rng : numpy.random.Generator
        Source of chance.
    min_length_m, max_length_m : float
        Range of sizes in m; 0.1 m is about the limit of the public catalog in low orbits.

    Returns
    -------
    Fragments
        SI units.

    Raises
    ------
    ConfigurationError
        If the number is negative, the sizes are not ``0 < min < max``, or event or parent are unknown.

    Examples
    --------
    >>> cloud = sample_fragments(1000, event="explosion", parent="rocket_body", rng=np.random.default_rng(0))
    >>> bool(np.allclose(cloud.area_m2 / cloud.mass_kg, cloud.area_to_mass_m2_kg))
    True
    """
    _choice("event", event, get_args(Event))
    if n_fragments < 0 or not 0 < min_length_m < max_length_m < np.inf:
        raise ConfigurationError(
            f"n_fragments >= 0 and 0 < min_length_m < max_length_m, not {n_fragments}, {min_length_m}, {max_length_m}"
        )
    exponent = EXPLOSION_EXPONENT if event == "explosion" else COLLISION_EXPONENT
    low, high = max_length_m**-exponent, min_length_m**-exponent
    length = rng.uniform(low, high, n_fragments) ** (-1 / exponent)
    weights, means, sigmas = area_to_mass_mixture(length, parent)
    component = (rng.random((n_fragments, 1)) > np.cumsum(weights, axis=1)[:, :2]).sum(axis=1)
    rows = np.arange(n_fragments)
    chi = rng.normal(means[rows, component], sigmas[rows, component])
    slope, offset = (0.2, 1.85) if event == "explosion" else (0.9, 2.9)
    area = average_area(length)
    return Fragments(length, 10**chi, area, area / 10**chi, 10 ** rng.normal(slope * chi + offset, 0.4))


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

    Examples
    --------
    >>> parent = KeplerianElements(7400.0, 0.02, 74.0, 20.0, 60.0, 0.0)
    >>> orbits = fragment_orbits(parent, [10.0, 9000.0], np.random.default_rng(0))
    >>> orbits.kept.tolist(), orbits.n_unbound + orbits.n_reentered
    ([0], 1)
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
