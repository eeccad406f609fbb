"""Keyed pseudonyms: HMAC-SHA256 (RFC 2104) of an id, so that whoever lacks the key cannot go back by trying ids."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import hmac
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sonogrid.files import write_csv
from sonogrid.problems import InputError, Problem

SHORTEST = 32
"""Bytes of text that a key has at least: 128 bits written as hexadecimal digits."""
DIGITS = 16
"""Hexadecimal digits of a pseudonym: with a million ids the chance that two share one is 3e-8."""
LOOKUP = ("pseudonym", "of", "what")


def read_key(file: Path) -> bytes:
    """The key in a file. Raises InputError if it is missing, short, or can be read by others than its owner."""
    make = f"Make one: (umask 077; openssl rand -hex 32 > {file})"
    try:
        key = file.read_bytes().strip()
        mode = file.stat().st_mode
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise InputError([Problem(f"config key cohort.pseudonym_key: {file}", reason, make)]) from error
    problems = []
    if len(key) < SHORTEST:
        problems.append(Problem(str(file), f"holds {len(key)} bytes, a key has at least {SHORTEST}", make))
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        problems.append(Problem(str(file), "can be read by others than its owner", f"Protect it: chmod 600 {file}"))
    if problems:
        raise InputError(problems)
    return key


def pseudonym(key: bytes, what: str, name: str) -> str:
    """The pseudonym of a name: the initial of `what` it names (patient, image, file) and 16 hexadecimal digits."""
    digest = hmac.new(key, f"{what}\0{name}".encode(), hashlib.sha256).hexdigest()
    return what[0].upper() + digest[:DIGITS]


def write_lookup(key_file: Path, names: Iterable[tuple[str, str, str]]) -> None:
    """Add (pseudonym, of, what) to the table beside the key, the one place that leads back; for its owner only.

    Cohorts that are read at the same time with one key wait for each other. Raises InputError if the table is damaged.
    """
    file = key_file.with_name(f"{key_file.name}.lookup.csv")
    # A file of its own, as the table is replaced whenever it is written.
    lock = os.open(key_file.with_name(f"{key_file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read_lookup(file) if file.is_file() else set()
        table = pd.DataFrame(sorted(known.union(names)), columns=list(LOOKUP))
        write_csv(table, file, mode=0o600)
    finally:
        os.close(lock)


def _read_lookup(file: Path) -> set[tuple[str, str, str]]:
    damaged = "is not the table that was written: UTF-8, separated by commas, with the columns " + ", ".join(LOOKUP)
    remedy = "Restore it as it was; without it, move it away: a new one leads back from what is read from now on"
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header, *rows = csv.reader(lines, strict=True)
        known = {(pseudonym, of, what) for pseudonym, of, what in rows}
    except (ValueError, csv.Error) as error:
        raise InputError([Problem(str(file), damaged, remedy)]) from error
    if tuple(header) != LOOKUP:
        raise InputError([Problem(str(file), damaged, remedy)])
    return known
