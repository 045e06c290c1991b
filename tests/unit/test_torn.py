"""The torn tail of a LevelDB log, wherever a writer was killed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.browser.torn import BLOCK, FIRST, FULL, HEADER, LAST, MIDDLE, mend, whole


def written(payloads: list[bytes]) -> tuple[bytes, list[int]]:
    """A log as LevelDB writes it, and where each record ends."""
    out, ends = bytearray(), []
    for payload in payloads:
        begun = False
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < HEADER:
                out += bytes(left)
                left = BLOCK
            piece, payload = payload[: left - HEADER], payload[left - HEADER :]
            kind = (LAST if begun else FULL) if not payload else (MIDDLE if begun else FIRST)
            out += b"\xaa\xbb\xcc\xdd" + len(piece).to_bytes(2, "little") + bytes([kind]) + piece
            begun = True
            if not payload:
                break
        ends.append(len(out))
    return bytes(out), ends


SIZES = st.lists(st.one_of(st.integers(0, 300), st.integers(BLOCK - 40, BLOCK + 40), st.integers(0, 3 * BLOCK)), min_size=1, max_size=8)


@given(SIZES, st.floats(0, 1))
def test_wherever_a_writer_is_killed_what_it_had_finished_stays(sizes: list[int], share: float) -> None:
    data, ends = written([b"x" * size for size in sizes])
    cut = round(len(data) * share)
    finished = max((end for end in ends if end <= cut), default=0)
    kept = whole(data[:cut])
    # the zeros that fill a block up are no record, and no tail either
    assert kept == finished or (kept == cut and not any(data[finished:cut]) and cut - finished < HEADER)
    assert whole(data) == len(data)
    assert whole(data[:kept]) == kept, "once mended, it is whole"


@given(SIZES, SIZES)
def test_what_is_appended_to_a_mended_log_is_read_as_if_nothing_had_happened(before: list[int], after: list[int]) -> None:
    data, _ = written([b"x" * size for size in before])
    log = data[: whole(data + b"\xaa\xbb\xcc\xdd\x64\x00\x01" if BLOCK - len(data) % BLOCK >= HEADER else data)]
    assert log == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(BLOCK),
        b"\0\0\0\0\xff\xff\x01" + b"x" * 40_000,  # longer than its block
        b"\0\0\0\0\x05\x00\x09hello",  # a kind that there is not
    ],
)
def test_what_no_killed_writer_leaves_is_left_alone(data: bytes) -> None:
    assert whole(data) == len(data)


def test_every_leveldb_of_a_profile_is_mended_and_nothing_else(tmp_path: Path) -> None:
    data, (first, _) = written([b"a" * 50, b"b" * 50])
    torn = data[: first + HEADER]
    places = ["Default/IndexedDB/https_x_0.indexeddb.leveldb", "Default/Local Storage/leveldb", "Default/Session Storage"]
    for place in places:
        directory = tmp_path / place
        directory.mkdir(parents=True)
        for name in ("CURRENT", "LOG"):
            (directory / name).write_bytes(torn)
        (directory / "000003.log").write_bytes(torn)
        (directory / "000004.log").write_bytes(data)
        (directory / "MANIFEST-000001").write_bytes(torn)
    (tmp_path / "Default" / "000003.log").write_bytes(torn)
    mended = mend(tmp_path)
    assert sorted(mended) == sorted(tmp_path / place / name for place in places for name in ("000003.log", "MANIFEST-000001"))
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (data if path.name == "000004.log" else torn[:first] if path in mended else torn), path
    assert mend(tmp_path) == []
    assert mend(tmp_path / "missing") == []
