"""Break-up model: published laws, state round trips, Gabbard shape, failures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddcl_tab.errors import ConfigurationError
from ddcl_tab.space._breakup import (
    area_to_mass_mixture,
    average_area,
    collision_count,
    explosion_count,
    fragment_orbits,
    is_catastrophic,
    sample_fragments,
)
from ddcl_tab.space._elements import WGS72
from ddcl_tab.space._states import KeplerianElements, elements_to_state, orbital_energy, state_to_elements

angles = st.floats(0, 359.99)


def rng() -> np.random.Generator:
    return np.random.default_rng(20250316)


# --- numbers and sizes


def test_counts_by_hand():
    # 6 * 0.1^-1.6 = 238.86; 0.1 * 1460^0.75 * 0.1^-1.71 = 1211.4 (Cosmos 2251 and Iridium 33 masses);
    # not catastrophic: M = 0.01 kg * (10 km/s)^2 = 1, so 0.1 * 0.1^-1.71 = 5.129
    assert explosion_count(0.1) == pytest.approx(238.86, abs=0.01)
    assert explosion_count(0.1, scale=0.5) == pytest.approx(119.43, abs=0.01)
    assert collision_count(0.1, 900, 560, 11.7) == pytest.approx(1211.4, abs=0.1)
    assert collision_count(0.1, 1000, 0.01, 10) == pytest.approx(5.129, abs=0.001)


def test_catastrophic_from_40_joules_per_gram():
    # 0.5 * m * v^2 / M = 40 kJ/kg at m = 0.8 kg, v = 10 km/s, M = 1000 kg
    assert is_catastrophic(1000, 0.8001, 10)
    assert not is_catastrophic(1000, 0.7999, 10)


@pytest.mark.parametrize(("event", "exponent"), [("explosion", 1.6), ("collision", 1.71)])
def test_slope_of_the_power_law(event, exponent):
    # Maximum likelihood (Hill) slope of a Pareto law that is practically not cut: sigma = exponent / sqrt(n).
    n = 40_000
    cloud = sample_fragments(n, event=event, parent="spacecraft", rng=rng(), min_length_m=0.01, max_length_m=1e4)
    slope = n / np.sum(np.log(cloud.characteristic_length_m / 0.01))
    assert slope == pytest.approx(exponent, abs=4 * exponent / np.sqrt(n))


def test_sizes_stay_in_their_range():
    cloud = sample_fragments(
        5000, event="collision", parent="rocket_body", rng=rng(), min_length_m=0.1, max_length_m=0.5
    )
    assert 0.1 <= cloud.characteristic_length_m.min() < 0.101
    assert 0.4 < cloud.characteristic_length_m.max() <= 0.5


# --- area, mass, speed


def test_mixture_by_hand():
    # Johnson et al. 2001, equations 5 to 7, at log10 Lc = -0.4 (Lc = 0.398 m): spacecraft alpha = 0.3 + 0.4 * 0.8,
    # mu1 = -0.6 - 0.318 * 0.7, sigma1 = 0.1 + 0.2 * 0.9, mu2 = -1.2 - 1.333 * 0.3, sigma2 = 0.5 - 0.1;
    # rocket body alpha = 1 - 0.3571 * 1.0, mu1 = -0.45 - 0.9 * 0.1, sigma2 = 0.28 - 0.1636 * 0.6
    weights, means, sigmas = (array[0] for array in area_to_mass_mixture(10**-0.4, "spacecraft"))
    assert weights == pytest.approx([0.62, 0.38, 0], abs=1e-12)
    assert means[:2] == pytest.approx([-0.8226, -1.5999], abs=2e-4)
    assert sigmas[:2] == pytest.approx([0.28, 0.40], abs=1e-12)
    weights, means, sigmas = (array[0] for array in area_to_mass_mixture(10**-0.4, "rocket_body"))
    assert weights == pytest.approx([0.6429, 0.3571, 0], abs=1e-4)
    assert means[:2] == pytest.approx([-0.54, -0.9], abs=1e-12)
    assert sigmas[:2] == pytest.approx([0.55, 0.18184], abs=1e-4)
    # Small fragments, log10 Lc = -1.5: mu = -0.3 - 1.4 * 0.25, sigma = 0.2 + 0.1333 * 2
    weights, means, sigmas = (array[0] for array in area_to_mass_mixture(10**-1.5, "spacecraft"))
    assert weights == pytest.approx([0, 0, 1])
    assert (means[2], sigmas[2]) == pytest.approx((-0.65, 0.4666), abs=1e-12)


@given(st.floats(1e-4, 10), st.sampled_from(["spacecraft", "rocket_body"]))
def test_mixture_is_a_mixture(length, parent):
    weights, _, sigmas = area_to_mass_mixture(length, parent)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert (sigmas > 0).all()


def test_bridge_between_small_and_large_is_continuous():
    weights, _, _ = area_to_mass_mixture([0.08, 0.095, 0.11], "spacecraft")
    assert weights[:, 2] == pytest.approx([1, 0.5, 0])


@pytest.mark.parametrize("parent", ["spacecraft", "rocket_body"])
@pytest.mark.parametrize("length", [0.03, 0.09, 0.2, 0.7])
def test_moments_of_area_to_mass(parent, length):
    n = 40_000
    cloud = sample_fragments(
        n, event="explosion", parent=parent, rng=rng(), min_length_m=length, max_length_m=length * (1 + 1e-6)
    )
    chi = np.log10(cloud.area_to_mass_m2_kg)
    weights, means, sigmas = (array[0] for array in area_to_mass_mixture(length, parent))
    mean = weights @ means
    variance = weights @ (sigmas**2 + means**2) - mean**2
    assert chi.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / n))
    assert chi.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(("event", "slope", "offset"), [("explosion", 0.2, 1.85), ("collision", 0.9, 2.9)])
def test_moments_of_delta_v(event, slope, offset):
    n = 40_000
    cloud = sample_fragments(n, event=event, parent="rocket_body", rng=rng())
    rest = np.log10(cloud.delta_v_m_s) - slope * np.log10(cloud.area_to_mass_m2_kg) - offset
    assert rest.mean() == pytest.approx(0, abs=4 * 0.4 / np.sqrt(n))
    assert rest.std() == pytest.approx(0.4, rel=0.02)


def test_area_and_mass():
    # 0.540424 * 0.001^2, 0.556945 * 0.1^2.0047077 = 0.0055094
    assert average_area([0.001, 0.1]) == pytest.approx([5.40424e-7, 0.0055094], rel=1e-4)
    cloud = sample_fragments(100, event="collision", parent="spacecraft", rng=rng())
    assert cloud.mass_kg * cloud.area_to_mass_m2_kg == pytest.approx(cloud.area_m2)


def test_same_seed_same_fragments():
    one, two = (sample_fragments(50, event="collision", parent="spacecraft", rng=rng()) for _ in range(2))
    assert (one.delta_v_m_s == two.delta_v_m_s).all()


# --- states


@given(st.floats(6500, 50_000), st.floats(0, 0.9), st.floats(0, 180), angles, angles, angles)
def test_states_keep_energy_and_angular_momentum(a, e, i, node, perigee, anomaly):
    r, v = elements_to_state(KeplerianElements(a, e, i, node, perigee, anomaly))
    assert orbital_energy(r, v)[0] == pytest.approx(-WGS72.gm_km3_s2 / (2 * a), rel=1e-9)
    momentum = np.cross(r, v)[0]
    size = np.sqrt(WGS72.gm_km3_s2 * a * (1 - e) * (1 + e))
    i, node = np.radians([i, node])
    expected = size * np.array([np.sin(node) * np.sin(i), -np.cos(node) * np.sin(i), np.cos(i)])
    assert momentum == pytest.approx(expected, abs=1e-9 * size)


@given(st.floats(6500, 50_000), st.floats(1e-3, 0.9), st.floats(0.1, 179.9), angles, angles, angles)
def test_elements_come_back_from_states(a, e, i, node, perigee, anomaly):
    elements = KeplerianElements(a, e, i, node, perigee, anomaly)
    back = state_to_elements(*elements_to_state(elements))
    assert back.semi_major_axis_km[0] == pytest.approx(a, rel=1e-9)
    assert back.eccentricity[0] == pytest.approx(e, abs=1e-9)
    assert back.inclination_deg[0] == pytest.approx(i, abs=1e-6)
    for there, here in (
        (back.raan_deg, node),
        (back.argument_of_perigee_deg, perigee),
        (back.true_anomaly_deg, anomaly),
    ):
        assert (there[0] - here + 180) % 360 - 180 == pytest.approx(0, abs=1e-5)


@given(st.floats(0, 0.9), st.sampled_from([0.0, 180.0, 50.0]), angles, angles, angles)
def test_states_come_back_where_angles_are_undefined(e, i, node, perigee, anomaly):
    # Circular or equatorial: the angles are conventions, the state is not.
    r, v = elements_to_state(KeplerianElements(7000, e, i, node, perigee, anomaly))
    back_r, back_v = elements_to_state(state_to_elements(r, v))
    assert back_r == pytest.approx(r, abs=1e-3)
    assert back_v == pytest.approx(v, abs=1e-6)


# --- orbits of fragments


def parent_of_a_cloud() -> KeplerianElements:
    return KeplerianElements(7400.0, 0.02, 74.0, 20.0, 60.0, 0.0)


def test_gabbard_shape():
    # Every fragment's orbit passes through the place of the break-up; the cloud's period grows with its apogee there.
    cloud = sample_fragments(2000, event="collision", parent="spacecraft", rng=rng())
    orbits = fragment_orbits(parent_of_a_cloud(), cloud.delta_v_m_s, rng())
    a, e = orbits.elements.semi_major_axis_km, orbits.elements.eccentricity
    perigee, apogee = a * (1 - e), a * (1 + e)
    assert (perigee <= orbits.breakup_radius_km + 1e-6).all()
    assert (apogee >= orbits.breakup_radius_km - 1e-6).all()
    assert 7400 * 0.98 <= orbits.breakup_radius_km <= 7400 * 1.02
    faster = a > np.median(a)
    assert apogee[faster].mean() - perigee[faster].mean() > 0
    assert np.ptp(apogee[faster]) > 3 * np.ptp(perigee[faster]), "fast fragments: high apogees, one perigee"
    assert (perigee - WGS72.equatorial_radius_km >= 100).all()


def test_all_fragments_are_accounted_for():
    speeds = np.concatenate([np.full(300, 10.0), np.full(300, 500.0), np.full(300, 30_000.0)])
    orbits = fragment_orbits(parent_of_a_cloud(), speeds, rng())
    assert len(orbits.kept) + orbits.n_unbound + orbits.n_reentered == 900
    assert orbits.n_unbound == 300
    assert 0 < orbits.n_reentered < 300
    assert set(range(300)) <= set(orbits.kept.tolist())
    assert len(orbits.elements.eccentricity) == len(orbits.kept)


def test_no_ejection_keeps_the_parents_orbit():
    parent = parent_of_a_cloud()
    orbits = fragment_orbits(parent, np.zeros(3), rng())
    assert orbits.elements.semi_major_axis_km == pytest.approx(7400)
    assert orbits.elements.eccentricity == pytest.approx(0.02)
    assert orbits.elements.argument_of_perigee_deg == pytest.approx(60)


def test_directions_are_isotropic():
    # For small ejections the change of energy is v . dv: mean 0, and uniform in [-v dv, v dv] (variance 1/3).
    n = 20_000
    orbits = fragment_orbits(KeplerianElements(7400.0, 0.0, 74.0, 0.0, 0.0, 0.0), np.full(n, 1.0), rng())
    speed = np.sqrt(WGS72.gm_km3_s2 / 7400)
    change = (-WGS72.gm_km3_s2 / (2 * orbits.elements.semi_major_axis_km) + WGS72.gm_km3_s2 / 14800) / (speed * 1e-3)
    assert change.mean() == pytest.approx(0, abs=4 / np.sqrt(3 * n))
    assert change.var() == pytest.approx(1 / 3, rel=0.03)


def test_breakups_spend_their_time_near_apogee():
    # A random time: on e = 0.7 the mean distance over time is a (1 + e^2 / 2).
    parent = KeplerianElements(24_500.0, 0.7, 7.0, 0.0, 0.0, 0.0)
    generator = rng()
    radii = [fragment_orbits(parent, [0.0], generator).breakup_radius_km for _ in range(1500)]
    assert np.mean(radii) == pytest.approx(24_500 * 1.245, rel=0.03)


# --- failures


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: explosion_count([0.1, 0.0]), r"characteristic_length_m is positive.*0.0 at index 1"),
        (lambda: explosion_count(0.1, scale=-1.0), r"scale is positive, but value -1.0"),
        (lambda: collision_count(0.1, 100, -1, 10), r"impact speed\) is positive, but value -1.0 at index 1"),
        (lambda: area_to_mass_mixture(0.1, "asteroid"), r"parent is one of spacecraft, rocket_body, not 'asteroid'"),
        (lambda: sample_fragments(1, event="leak", parent="spacecraft", rng=rng()), r"event is one of explosion"),
        (lambda: sample_fragments(-1, event="explosion", parent="spacecraft", rng=rng()), r"n_fragments >= 0"),
        (
            lambda: sample_fragments(1, event="explosion", parent="spacecraft", rng=rng(), min_length_m=2.0),
            r"min_length_m < max_length_m, not 1, 2.0, 1.0",
        ),
        (lambda: KeplerianElements([7000, 7100], [0.1, 1.0], 50, 0, 0, 0), r"eccentricity is in \[0, 1\).*index 1"),
        (lambda: KeplerianElements(7000, np.nan, 50, 0, 0, 0), r"eccentricity .* no missing values"),
        (lambda: KeplerianElements([7000, 7100], [0.1] * 3, 50, 0, 0, 0), r"numbers of one length"),
        (lambda: KeplerianElements(7000, 0.1, 50, np.inf, 0, 0), r"raan_deg is finite"),
        (lambda: fragment_orbits(parent_of_a_cloud(), [-1.0], rng()), r"delta_v_m_s is one-dimensional, finite"),
        (
            lambda: fragment_orbits(KeplerianElements([7000, 7100], 0, 50, 0, 0, 0), [1.0], rng()),
            r"one parent orbit, not 2",
        ),
        (
            lambda: state_to_elements(np.array([[7000.0, 0, 0]]), np.array([[0, 12.0, 0]])),
            r"a state is on a closed orbit, but energy",
        ),
        (lambda: state_to_elements(np.zeros(3), np.zeros(3)), r"shape \(n, 3\), not \(3,\)"),
    ],
)
def test_impossible_input(call, message):
    with pytest.raises(ConfigurationError, match=message):
        call()
