"""Model files: what is written comes back, and nothing else ever does. States and weights are invented."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from ddcl_tab._files import FORMAT, MAX_PART_BYTES, VERSION, plain, read_model, write_model
from ddcl_tab.errors import DDCLTabError, ModelFileError

STATE = {"classes": ["DEBRIS", "PAYLOAD"], "scale": 0.1, "nested": {"a": [1, None, True]}, "name": "Ångström"}
PARTS = ("manifest.json", "state.json", "weights.safetensors")


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"p": rng.normal(size=(3, 4)).astype(np.float32), "t": np.array(0.25), "n": np.arange(5)}


def same(left: tuple[dict, dict, int], right: tuple[dict, dict, int]) -> bool:
    return (
        left[0] == right[0]
        and left[1].keys() == right[1].keys()
        and all(left[1][k].dtype == right[1][k].dtype and np.array_equal(left[1][k], right[1][k]) for k in left[1])
    )


@pytest.fixture
def file(tmp_path):
    write_model(tmp_path / "a.ddcl", STATE, weights())
    return tmp_path / "a.ddcl"


def rewrite(file, **changed: bytes | None) -> None:
    """Zip the parts anew with some replaced (or left out, where None); the manifest's checksums stay as given."""
    with zipfile.ZipFile(file) as archive:
        parts: dict[str, Any] = {name: archive.read(name) for name in PARTS}
    parts |= {name: changed[name.split(".")[0]] for name in PARTS if name.split(".")[0] in changed}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            if content is not None:
                archive.writestr(name, content)


# Round trip


def test_what_is_written_comes_back(file):
    assert same(read_model(file), (STATE, weights(), VERSION))
    assert same(read_model(str(file)), (STATE, weights(), VERSION))


def test_the_same_state_gives_the_same_bytes(file, tmp_path):
    write_model(tmp_path / "another name", STATE, weights())
    assert (tmp_path / "another name").read_bytes() == file.read_bytes()


def test_arrays_come_back_whatever_their_layout(tmp_path):
    x = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    odd = {
        "turned": x.T,
        "strided": x[:, ::2],
        "fortran": np.asfortranarray(x),
        "empty": np.zeros((0, 3)),
        "flag": x > 3,
        "big-endian": x.astype(">f4"),
        "reversed": x[::-1],
    }
    write_model(tmp_path / "a", {}, odd)
    _, back, _ = read_model(tmp_path / "a")
    for name, value in odd.items():
        np.testing.assert_array_equal(back[name], value)


def test_numbers_come_back_to_the_last_bit_and_nan_too(tmp_path):
    state = {"x": [0.1, 1e-310, 1.7e308, -0.0, 1 / 3], "loss": math.nan, "best": math.inf}
    write_model(tmp_path / "a", state, {})
    back, none, _ = read_model(tmp_path / "a")
    assert back["x"] == state["x"]
    assert math.copysign(1, back["x"][3]) == -1
    assert math.isnan(back["loss"])
    assert back["best"] == math.inf
    assert none == {}


def test_a_model_is_json_and_safetensors_without_pickle(file):
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(PARTS)
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["format"] == FORMAT
        assert manifest["version"] == VERSION
        assert manifest["sha256"]["state.json"] == hashlib.sha256(archive.read("state.json")).hexdigest()
        assert json.loads(archive.read("state.json")) == STATE


def test_plain_values():
    assert plain({1: (np.int64(2), np.array([[1.5]]), "a", None, np.bool_(True))}) == {
        "1": [2, [[1.5]], "a", None, True]
    }
    assert type(plain(np.float32(0.5))) is float


# Damage


def test_no_flipped_byte_gives_another_model(file):
    whole, original = file.read_bytes(), read_model(file)
    refused = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= (0x01, 0x80, 0xFF)[position % 3]
        file.write_bytes(damaged)
        try:
            assert same(read_model(file), original), position
        except ModelFileError:
            refused += 1
    # The rest are dates, attributes and versions in zip headers, which say nothing about the content.
    assert refused > 0.7 * len(whole)


def test_no_truncated_file_is_read(file):
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match="not a whole model file"):
            read_model(file)


@pytest.mark.parametrize(
    "content", [b"", b"PERIOD,INCLINATION\n95.0,51.6\n", b"\x80\x04N.", b"PK\x03\x04", bytes(5000)]
)
def test_a_file_that_is_no_zip(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"not a whole model file .BadZipFile.*Give one that"):
        read_model(tmp_path / "a")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("photo.txt", "hello")
    with pytest.raises(ModelFileError, match=r"a\.zip: a zip without manifest\.json: not a model file of ddcl-tab"):
        read_model(tmp_path / "a.zip")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_gone(file, part):
    rewrite(file, **{part.split(".")[0]: None})
    with pytest.raises(ModelFileError, match=f"a zip without {part}"):
        read_model(file)


@pytest.mark.parametrize("manifest", [b"[]", b"{}", b'"ddcl-tab model"', b'{"format": "other"}'])
def test_a_foreign_manifest(file, manifest):
    rewrite(file, manifest=manifest)
    with pytest.raises(ModelFileError, match="its manifest does not say 'ddcl-tab model'"):
        read_model(file)


@pytest.mark.parametrize("version", [VERSION + 1, 0, True, 1.0, None, "1"])
def test_another_version(file, version):
    rewrite(file, manifest=json.dumps({"format": FORMAT, "version": version}).encode())
    with pytest.raises(
        ModelFileError, match=rf"written by another ddcl-tab \(format {version!r}\), which this version cannot read"
    ):
        read_model(file)


@pytest.mark.parametrize("digests", [None, [], {}, {"state.json": "0" * 64}])
def test_a_manifest_without_checksums(file, digests):
    rewrite(file, manifest=json.dumps({"format": FORMAT, "version": VERSION, "sha256": digests}).encode())
    with pytest.raises(ModelFileError, match=r"state\.json does not match its checksum: the file was altered"):
        read_model(file)


def test_a_part_that_was_replaced(file):
    rewrite(file, state=json.dumps(STATE | {"classes": ["PAYLOAD", "DEBRIS"]}).encode())
    with pytest.raises(ModelFileError, match=r"state\.json does not match its checksum"):
        read_model(file)


@pytest.mark.parametrize("state", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_part_that_is_not_json(file, state):
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    manifest["sha256"]["state.json"] = hashlib.sha256(state).hexdigest()
    rewrite(file, state=state, manifest=json.dumps(manifest).encode())
    with pytest.raises(ModelFileError, match="not a whole model file"):
        read_model(file)


def test_a_part_that_claims_too_much_is_not_unpacked(file):
    whole = bytearray(file.read_bytes())
    # Byte 24 of a central directory entry: uncompressed size (APPNOTE.TXT, section 4.3.12).
    claim = whole.index(b"PK\x01\x02") + 24
    whole[claim : claim + 4] = (MAX_PART_BYTES + 1).to_bytes(4, "little")
    file.write_bytes(whole)
    with pytest.raises(ModelFileError, match=f"claims {MAX_PART_BYTES + 1} bytes, over the {MAX_PART_BYTES} allowed"):
        read_model(file)


def test_a_part_that_unpacks_to_more_than_it_claims(file):
    whole = bytearray(file.read_bytes())
    claim = whole.index(b"PK\x01\x02") + 24
    whole[claim : claim + 4] = (3).to_bytes(4, "little")
    file.write_bytes(whole)
    with pytest.raises(ModelFileError, match="not a whole model file"):
        read_model(file)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(ModelFileError, match=r"nowhere: no such file.*ddcl-tab train"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="no such file"):
        read_model(tmp_path)


def test_errors_are_value_errors_of_this_package(tmp_path):
    with pytest.raises(ValueError, match="no such file") as caught:
        read_model(tmp_path / "nowhere")
    assert isinstance(caught.value, DDCLTabError)


# Failed writes


@pytest.mark.parametrize(
    ("state", "arrays"),
    [({"x": object()}, {}), ({"x": np.float32(1)}, {}), ({}, {"x": np.array([object()])})],
)
def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(file, state, arrays):
    before = file.read_bytes()
    with pytest.raises((TypeError, SafetensorError), match=r"not JSON serializable|Unknown dtype"):
        write_model(file, state, arrays)
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_a_write_that_fails_at_the_end_leaves_no_temporary_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_model(tmp_path / "folder", STATE, weights())
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(OSError, match="nowhere"):
        write_model(tmp_path / "nowhere" / "a", STATE, weights())


def test_a_write_replaces_the_earlier_model(file):
    write_model(file, {"other": 1}, {})
    assert read_model(file) == ({"other": 1}, {}, VERSION)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_the_writer_takes_relative_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model("model.ddcl", STATE, weights())
    assert same(read_model("model.ddcl"), (STATE, weights(), VERSION))
    assert zipfile.is_zipfile(io.BytesIO((tmp_path / "model.ddcl").read_bytes()))
