"""Columns about the siblings of a launch: what they say, what they never see, and what they cost."""

from __future__ import annotations

import time
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddcl_tab._cells import hashes
from ddcl_tab.errors import CatalogError
from ddcl_tab.space import FAMILY_COLUMNS, FAMILY_COUNTS, family_columns, launch_of, read_satcat
from ddcl_tab.space._families import CELLS, Families

NAMES = [column.name for column in FAMILY_COLUMNS]
COUNTS = [column.name for column in FAMILY_COUNTS]


def catalog(n: int = 60, n_launches: int = 6, seed: int = 0, decayed: float = 0.2) -> pl.DataFrame:
    """Synthetic objects of a few launches, some decayed, some without orbit, size or designator."""
    random = np.random.default_rng(seed)
    launch = random.integers(0, n_launches, n)
    start = [date(2031, 1, 1) + timedelta(days=int(day)) for day in launch]
    life = random.integers(10, 2000, n)
    fell = random.random(n) < decayed
    axis = 7000.0 + 150.0 * launch + random.normal(0.0, 15.0, n)
    frame = pl.DataFrame(
        {
            "NORAD_CAT_ID": random.permutation(n) + 90_000,
            "OBJECT_ID": [f"2031-{number:03d}A" if number else None for number in launch],
            "OBJECT_NAME": [f"SYNTHETIC {i}" for i in range(n)],
            "OBJECT_TYPE": random.choice(["DEBRIS", "PAYLOAD", "UNKNOWN"], n),
            "LAUNCH": start,
            "DECAY": [day + timedelta(days=int(d)) if f else None for day, d, f in zip(start, life, fell, strict=True)],
            "RCS_SIZE": random.choice(["SMALL", "MEDIUM", "LARGE", None], n).tolist(),
            "SEMIMAJOR_AXIS": axis,
            "INCLINATION": 65.0 + launch + random.normal(0.0, 0.06, n),
            "ECCENTRICITY": np.abs(random.normal(0.004, 0.003, n)),
        },
        schema_overrides={"DECAY": pl.Date},
    )
    return frame.with_columns(
        pl.when(pl.col("NORAD_CAT_ID") % 9 == 0).then(None).otherwise(pl.col(name)).alias(name) for name in CELLS
    )


def naive(frame: pl.DataFrame) -> list[dict[str, float]]:
    """The same from the definitions, object by object."""
    rows = frame.with_columns(launch=launch_of(frame)).to_dicts()
    result = []
    for i, row in enumerate(rows):
        family = [other for j, other in enumerate(rows) if j != i and other["launch"] == row["launch"]]
        orbiting, gone = ([o for o in family if (o["DECAY"] is None) == here] for here in (True, False))
        said: dict[str, float] = {}
        sizes = [o["RCS_SIZE"] for o in orbiting if o["RCS_SIZE"]]
        for size in ("SMALL", "MEDIUM", "LARGE"):
            said[f"{size}_SHARE"] = sizes.count(size) / len(sizes) if sizes else np.nan
        for name, width in CELLS.items():
            centres = [(np.floor(o[name] / width) + 0.5) * width for o in orbiting if o[name] is not None]
            low, middle, high = np.quantile(centres, [0.25, 0.5, 0.75]) if centres else [np.nan] * 3
            said[f"{name}_DEVIATION"] = np.nan if row[name] is None else row[name] - middle
            said[f"{name}_SPREAD"] = high - low
            said |= {f"{name}_Q25": low, f"{name}_Q75": high}
        lives = [(o["DECAY"] - o["LAUNCH"]).days / 365.25 for o in gone]
        known = row["SEMIMAJOR_AXIS"] is not None
        flying = [o for o in orbiting if o["SEMIMAJOR_AXIS"] is not None]

        def centre(o, name):
            return (np.floor(o[name] / CELLS[name]) + 0.5) * CELLS[name]

        near = [
            o
            for o in flying
            if known
            and abs(centre(o, "SEMIMAJOR_AXIS") - row["SEMIMAJOR_AXIS"]) <= 10.0
            and abs(centre(o, "INCLINATION") - row["INCLINATION"]) <= 0.05
        ]
        same = [
            o
            for o in flying
            if known
            and all(o[k] // CELLS[k] // 2 == row[k] // CELLS[k] // 2 for k in ("SEMIMAJOR_AXIS", "INCLINATION"))
        ]
        said["NEAR_SHARE"] = len(near) / len(flying) if known and flying else np.nan
        said["CELL_SHARE"] = len(same) / len(flying) if known and flying else np.nan
        any_decayed = any(o["DECAY"] is not None for o in rows)
        said["DECAYED_SHARE"] = len(gone) / len(family) if family and any_decayed else np.nan
        said["DECAYED_LIFE"] = np.mean(lives) if lives else np.nan
        said["SIBLINGS"] = np.nan if row["OBJECT_ID"] is None else len(family)
        said["NEAR_SIBLINGS"], said["CELL_SIBLINGS"] = (
            len(part) if known and row["OBJECT_ID"] else np.nan for part in (near, same)
        )
        said["DECAYED_FAST_SHARE"] = np.mean([life <= 1.0 for life in lives]) if lives else np.nan
        result.append({name: said[name.removeprefix("FAMILY_")] for name in (*NAMES, *COUNTS)})
    return result


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_each_column_is_what_its_description_says(n, n_launches, seed, decayed):
    frame = catalog(n, n_launches, seed, decayed)
    expected = naive(frame)
    found = family_columns(frame, counts=True)
    assert found.columns == [*NAMES, *COUNTS]
    assert family_columns(frame).equals(found.select(NAMES))
    for name in found.columns:
        ours = found[name].fill_null(np.nan).to_numpy()
        np.testing.assert_allclose(ours, [row[name] for row in expected], atol=1e-9, err_msg=name)


def test_no_name_class_piece_or_number_is_seen():
    """Classes, names and piece letters are replaced, catalog numbers injectively: every column keeps its bits."""
    frame = catalog(200)
    other = frame.with_columns(
        OBJECT_TYPE=pl.lit("PAYLOAD"),
        OBJECT_NAME=pl.lit("X"),
        OBJECT_ID=pl.col("OBJECT_ID").str.slice(0, 8) + pl.Series([chr(65 + i % 26) for i in range(200)]),
        NORAD_CAT_ID=999_999 - 7 * pl.col("NORAD_CAT_ID"),
    )
    assert family_columns(other, counts=True).equals(family_columns(frame, counts=True))


def test_a_part_says_what_the_whole_says():
    frame = catalog(300)
    families, whole = Families.count(frame), family_columns(frame)
    for rows in (slice(0, 1), slice(17, 90), slice(0, 300, 7)):
        assert families.columns(frame[rows]).equals(whole[rows])
    shuffled = np.random.default_rng(1).permutation(300)
    assert family_columns(frame[shuffled]).equals(whole[shuffled])


def test_objects_that_were_not_counted_join_their_launch():
    frame = catalog(120)
    known, new = frame[:100], frame[100:]
    families = Families.count(known)
    assert families.columns(new).equals(family_columns(frame)[100:])
    assert families.columns(frame).equals(family_columns(frame))
    # They join for the call alone.
    assert families.columns(known).equals(family_columns(known))


def test_alone_in_a_launch_or_without_designator_nothing_is_known():
    alone = catalog(1, decayed=0.0)
    assert family_columns(alone.with_columns(OBJECT_ID=pl.lit("2031-001A")), counts=True)["FAMILY_SIBLINGS"][0] == 0
    assert family_columns(alone).null_count().row(0) == (1,) * len(NAMES)
    without = catalog(50, decayed=0.0).with_columns(OBJECT_ID=pl.lit(None, pl.String))
    assert family_columns(without).null_count().row(0) == (50,) * len(NAMES)
    assert family_columns(alone.clear()).shape == (0, len(NAMES))


def test_a_catalog_without_decayed_objects_does_not_say_that_none_decayed():
    assert family_columns(catalog(80, decayed=0.0))["FAMILY_DECAYED_SHARE"].null_count() == 80
    with_decayed = family_columns(catalog(80, decayed=0.3))["FAMILY_DECAYED_SHARE"].drop_nulls()
    assert with_decayed.is_between(0.0, 1.0).all()


def test_shares_lie_between_0_and_1_and_sizes_sum_to_1():
    found = family_columns(catalog(400, 20))
    for name in (name for name in NAMES if name.endswith("_SHARE")):
        assert found[name].drop_nulls().is_between(0.0, 1.0).all(), name
    sizes = found.select(f"FAMILY_{size}_SHARE" for size in ("SMALL", "MEDIUM", "LARGE")).drop_nulls()
    np.testing.assert_allclose(sizes.sum_horizontal(), 1.0)


def test_siblings_are_the_other_objects_of_the_launch():
    frame = catalog(150)
    launch = launch_of(frame)
    expected = [0 if of.startswith("NORAD") else (launch == of).sum() - 1 for of in launch]
    families = Families.count(frame)
    assert families.siblings(frame).tolist() == expected
    assert families.siblings(frame[40:41]).tolist() == expected[40:41]
    assert Families.count(frame[:100]).siblings(frame[100:]).tolist() == expected[100:]
    assert families.siblings(frame.clear()).shape == (0,)
    assert Families.count(frame.clear()).siblings(frame[:1]).tolist() == [0]


def test_what_is_kept_of_a_catalog_is_counts():
    frame = catalog(200)
    families = Families.count(frame)
    assert families.cells[:, 5].sum() == frame["DECAY"].null_count()
    assert families.decayed[:, 0].sum() == 200 - frame["DECAY"].null_count()
    assert len(families.counted) == 200
    assert not set(families.counted.tolist()) & set(frame["NORAD_CAT_ID"].to_list())
    assert len(np.unique(hashes(np.arange(100_000, dtype=np.uint64)))) == 100_000


def test_a_missing_column_is_named():
    with pytest.raises(CatalogError, match="the catalog lacks LAUNCH, RCS_SIZE"):
        family_columns(catalog(5).drop("LAUNCH", "RCS_SIZE"))


def test_time_grows_with_the_rows_alone(synthetic):
    """Eight times the rows take at most ten times as long: sorting, and nothing else."""
    frame = synthetic
    many = pl.concat(
        [
            frame.with_columns(
                NORAD_CAT_ID=pl.col("NORAD_CAT_ID").cast(pl.Int64) + 1_000_000 * copy,
                OBJECT_ID=pl.format("{}-{}", 2100 + copy, pl.col("OBJECT_ID").str.slice(5)),
            )
            for copy in range(8)
        ]
    )

    def seconds(rows: pl.DataFrame) -> float:
        clocks = []
        for _ in range(3):
            start = time.process_time()
            family_columns(rows)
            clocks.append(time.process_time() - start)
        return sorted(clocks)[1]

    assert seconds(many) < 10.0 * seconds(frame)


def test_the_real_catalog_takes_less_than_two_seconds(shared_data):
    frame = read_satcat(shared_data / "satcat" / "spacetrack_satcat_current_2025-03-16.json.gz")
    start = time.process_time()
    found = family_columns(frame)
    assert time.process_time() - start < 2.0
    assert found["FAMILY_SMALL_SHARE"].null_count() < 0.06 * len(frame)
    # Fragments of Fengyun 1C: nearly all small, near each other in inclination.
    cloud = found.filter(launch_of(frame) == "1999-025")
    assert cloud["FAMILY_SMALL_SHARE"].median() > 0.9
