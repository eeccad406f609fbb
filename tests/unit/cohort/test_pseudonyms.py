"""Keyed pseudonyms: the formula, the key's file, and the table that leads back."""

import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from sonogrid.cohort.pseudonyms import pseudonym, read_key, write_lookup
from sonogrid.problems import InputError


def key_file(folder: Path, content: str = "0123456789abcdef" * 4, mode: int = 0o600) -> Path:
    file = folder / "study.key"
    file.write_text(content + "\n")
    file.chmod(mode)
    return file


def test_pseudonym_is_the_hmac_that_openssl_computes() -> None:
    # printf 'patient\0MRN-007' | openssl dgst -sha256 -hmac key
    assert pseudonym(b"key", "patient", "MRN-007") == "P30a87842d6e38362"


def test_another_key_or_kind_or_id_gives_another_pseudonym() -> None:
    names = {
        pseudonym(key, what, name)
        for key in (b"a" * 32, b"b" * 32)
        for what in ("patient", "image")
        for name in ("7", "07", "7 ")
    }
    assert len(names) == 12
    assert all(len(name) == 17 and name.isalnum() for name in names)


def test_end_of_line_is_no_part_of_the_key(tmp_path: Path) -> None:
    assert read_key(key_file(tmp_path)) == b"0123456789abcdef" * 4


def test_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study\.key: cannot be read .* \(umask 077; openssl rand -hex 32"):
        read_key(tmp_path / "study.key")


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_a_short_key_that_others_can_read_is_refused_for_both(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_key(key_file(tmp_path, "short", 0o640))
    told = [problem.what for problem in caught.value.problems]
    assert told == ["holds 5 bytes, a key has at least 32", "can be read by others than its owner"]


def test_lookup_grows_and_is_for_its_owner_only(tmp_path: Path) -> None:
    key = key_file(tmp_path)
    write_lookup(key, {("P1", "MRN-1", "patient"), ("I1", "a, b", "image")})
    write_lookup(key, {("P2", "MRN-2", "patient"), ("P1", "MRN-1", "patient")})
    file = tmp_path / "study.key.lookup.csv"
    lines = file.read_text().splitlines()
    assert lines == ["pseudonym,of,what", 'I1,"a, b",image', "P1,MRN-1,patient", "P2,MRN-2,patient"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "pseudonym,of,what\nP1,MRN-1,patient\n".encode("utf-16"),
        b"pseudonym;of;what\nP1;MRN-1;patient\n",
        b"pseudonym,of\nP1,MRN-1\n",
        b"of,pseudonym,what\nMRN-1,P1,patient\n",
        b"pseudonym,of,what\nP1,MRN-1\n",
        b"pseudonym,of,what\nP1," + b"7" * 200_000 + b",patient\n",
        b"",
    ],
)
def test_a_damaged_lookup_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "study.key.lookup.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"lookup\.csv: is not the table that was written.* Restore it") as caught:
        write_lookup(key_file(tmp_path), {("P2", "MRN-2", "patient")})
    assert "MRN" not in str(caught.value)
    assert file.read_bytes() == content


def test_a_byte_order_mark_and_other_line_ends_are_no_damage(tmp_path: Path) -> None:
    file = tmp_path / "study.key.lookup.csv"
    file.write_bytes(b"\xef\xbb\xbfpseudonym,of,what\r\nP1,MRN-1,patient\r\n")
    write_lookup(key_file(tmp_path), {("P2", "MRN-2", "patient")})
    assert file.read_text() == "pseudonym,of,what\nP1,MRN-1,patient\nP2,MRN-2,patient\n"


def test_no_name_is_lost_where_cohorts_are_read_at_the_same_time(tmp_path: Path) -> None:
    key = key_file(tmp_path)
    writers = [threading.Thread(target=write_lookup, args=(key, {(f"P{n}", f"MRN-{n}", "patient")})) for n in range(8)]
    with (tmp_path / "study.key.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for writer in writers:
            writer.start()
        writers[0].join(0.3)
        assert not (tmp_path / "study.key.lookup.csv").exists()
    for writer in writers:
        writer.join()
    assert len((tmp_path / "study.key.lookup.csv").read_text().splitlines()) == 9
