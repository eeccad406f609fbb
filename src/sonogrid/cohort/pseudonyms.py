"""Keyed pseudonyms: HMAC-SHA256 (RFC 2104) of an id, so that whoever lacks the key cannot go back by trying ids."""

from __future__ import annotations

import csv
import hashlib
import hmac
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
    """Add (pseudonym, of, what) to the table beside the key, the one place that leads back; for its owner only."""
    file = key_file.with_name(f"{key_file.name}.lookup.csv")
    known: set[tuple[str, str, str]] = set()
    if file.is_file():
        with file.open(encoding="utf-8", newline="") as rows:
            known = {(row["pseudonym"], row["of"], row["what"]) for row in csv.DictReader(rows)}
    table = pd.DataFrame(sorted(known.union(names)), columns=list(LOOKUP))
    write_csv(table, file, mode=0o600)
