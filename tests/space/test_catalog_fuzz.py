"""Any bytes into any reader give a frame or a CatalogError: never another exception, a hang or a full memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
import zlib

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddcl_tab.errors import CatalogError
from ddcl_tab.space._gp import read_elsets, read_gp
from ddcl_tab.space._other_catalogs import read_gcat, read_ucs
from ddcl_tab.space._satcat import read_satcat
from ddcl_tab.space._scan import scan_gp, scan_satcat

READERS = {
    "read_elsets": read_elsets,
    "read_gp": read_gp,
    "read_satcat": read_satcat,
    "read_gcat": read_gcat,
    "read_ucs": read_ucs,
    "scan_gp": lambda path, **_: scan_gp(path).collect(),
    "scan_satcat": lambda path, **_: scan_satcat(path).collect(),
}
GP = (
    "NORAD_CAT_ID EPOCH MEAN_MOTION ECCENTRICITY INCLINATION RA_OF_ASC_NODE ARG_OF_PERICENTER MEAN_ANOMALY BSTAR "
    "OBJECT_ID"
)
SATCAT = (
    "NORAD_CAT_ID OBJECT_ID OBJECT_NAME OBJECT_TYPE COUNTRY LAUNCH SITE DECAY PERIOD INCLINATION APOGEE PERIGEE RCS"
)
GCAT = "#JCAT Satcat Piece Type Name LDate Primary DDate Status State Perigee Apogee Inc"
UCS = (
    "NORAD Number|COSPAR Number|Current Official Name of Satellite|Country of Operator/Owner|Date of Launch|"
    "Launch Site|Period (minutes)|Inclination (degrees)|Apogee (km)|Perigee (km)"
)
TLE = (
    "0 SYNTHETIC\n1 90001U 31007C   31100.50000000  .00000123  00000-0  12345-3 0  9995\n"
    "2 90001  98.6000  10.0000 0010000  20.0000  30.0000 14.30000000    11\n"
)
GOOD_GP = ["5", "2031-04-10T12:00:00", "14.3", ".001", "98.6", "10", "20", "30", "1e-4", "2031-007C"]
VALUE = st.text(max_size=12) | st.sampled_from(
    [
        *GOOD_GP,
        "S5",
        "1957 ALP 1",
        "2031 Feb 3",
        "2/3/2031",
        "-1",
        "1e999",
        "nan",
        "Inf",
        "-",
        "٣",
        "99999999999999999999",
    ]
)


def table(names, delimiter):
    row = st.lists(VALUE, min_size=len(names), max_size=len(names))

    def text(rows):
        file = io.StringIO()
        csv.writer(file, delimiter=delimiter).writerows([names, *rows])
        return file.getvalue().encode("utf-8", "replace")

    return st.lists(row, max_size=3).map(text)


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | VALUE, lambda s: st.lists(s, max_size=2))
RECORDS = st.lists(
    st.dictionaries(st.sampled_from((GP + " " + SATCAT).split()) | st.text(max_size=3), JSON), max_size=3
)
ELEMENT = st.tuples(st.sampled_from([*GP.split(), "omm", "ndm", "!DOCTYPE x"]), VALUE)
SHAPES = {
    "bytes": st.binary(max_size=200),
    "gzip": st.binary(max_size=200).map(gzip.compress) | st.binary(max_size=60).map(lambda b: b"\x1f\x8b\x08" + b),
    "Parquet": st.binary(max_size=200).map(lambda b: b"PAR1" + b + b"PAR1"),
    "CSV": table(GP.split(), ",") | table(SATCAT.split(), ","),
    "tabs": table(GCAT.split(), "\t") | table(UCS.split("|"), "\t"),
    "JSON": (RECORDS | JSON).map(lambda r: json.dumps(r).encode()),
    "KVN": st.lists(ELEMENT, max_size=12).map(
        lambda p: "\n".join(f"{k} = {v}" for k, v in p).encode("utf-8", "replace")
    ),
    "XML": st.lists(ELEMENT, max_size=12).map(
        lambda p: ("<omm>" + "".join(f"<{k}>{v}</{k}>" for k, v in p) + "</omm>").encode("utf-8", "replace")
    ),
    "TLE": st.tuples(st.integers(0, len(TLE)), st.integers(0, len(TLE)), st.text(max_size=8)).map(
        lambda t: (TLE[: min(t[:2])] + t[2] + TLE[max(t[:2]) :]).encode("utf-8", "replace")
    ),
}


def outcome(read, path, on_error):
    """A frame, a pair of frames or None for our error; anything else fails the test."""
    try:
        return read(path, on_error=on_error)
    except CatalogError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
        return None


@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_give_a_frame_or_our_error(tmp_path_factory, shape, data):
    path = tmp_path_factory.getbasetemp() / f"fuzz-{shape}"
    path.write_bytes(data.draw(SHAPES[shape]))
    for read in READERS.values():
        for on_error in ("raise", "collect"):
            result = outcome(read, path, on_error)
            frame = result[0] if isinstance(result, tuple) else result
            assert frame is None or isinstance(frame, pl.DataFrame)
            if frame is not None:
                frame.rows()  # no value that Python cannot hold


HARD = {
    "gzip bomb": gzip.compress(b"0" * (300 << 20), compresslevel=1),
    "nested gzip": gzip.compress(gzip.compress(b"0" * (64 << 20))),
    "many small members": gzip.compress(b"") * 50_000,
    "deep JSON": b"[" * 200_000,
    "deep XML": b"<omm>" * 200_000,
    "many JSON names": json.dumps([{f"N{i}": i} for i in range(20_000)]).encode(),
    "many CSV names": ",".join(f"N{i}" for i in range(200_000)).encode() + b"\n",
    "many equal names": b"N," * 200_000 + b"N\n1\n",
    "spaces": b"CCSDS_OMM_VERS = 3.0\nBSTAR = 1" + b" " * 2_000_000 + b"x\n",
    "brackets": b"CCSDS_OMM_VERS = 3.0\nBSTAR = " + b"[" * 2_000_000 + b"\n",
    "one long line": b"x" * 5_000_000,
    "long field": b"NORAD_CAT_ID,EPOCH\n5," + b"9" * 5_000_000 + b"\n",
    "long number": b'[{"NORAD_CAT_ID": ' + b"9" * 5_000_000 + b"}]",
    "blank lines": b"\n" * 5_000_000 + b"x",
    "names of sets": b"0 A\n" * 300_000,
    "one XML attribute": b'<omm a="' + b"x" * 5_000_000 + b'"/>',
    "billion laughs": b'<!DOCTYPE l [<!ENTITY a "' + b"x" * 1000 + b'">]><omm>' + b"&a;" * 100_000 + b"</omm>",
}


@pytest.mark.parametrize("case", HARD)
def test_what_is_made_to_hang_or_to_fill_the_memory_is_refused(tmp_path, case):
    path = tmp_path / "hard.dat"
    path.write_bytes(HARD[case])
    for read in READERS.values():
        start = time.process_time()
        assert outcome(read, path, "raise") is None
        assert time.process_time() - start < 10  # under 1 s where it was written


def test_a_bomb_is_refused_before_it_has_grown(tmp_path):
    path = tmp_path / "bomb.gz"
    squeeze = zlib.compressobj(9, wbits=31)
    block = b"0" * (1 << 24)
    path.write_bytes(b"".join(squeeze.compress(block) for _ in range(32)) + squeeze.flush())
    with pytest.raises(
        CatalogError, match=r"bytes grow to more than .*a gzip file grows at most 100-fold, or to 64 MiB"
    ):
        read_gp(path)
