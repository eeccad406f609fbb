import json
import os
import stat
import threading

import pandas as pd
import pytest

from sonogrid.files import read_json, read_yaml, sha256, whole_file, write_csv, write_json, write_text
from sonogrid.problems import InputError


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text("old", path)
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_at_once_do_not_disturb_each_other(tmp_path):
    path, together = tmp_path / "a.txt", threading.Barrier(2)

    def write(text):
        with whole_file(path) as temporary:
            together.wait(timeout=30)
            temporary.write_text(text)
            together.wait(timeout=30)

    threads = [threading.Thread(target=write, args=(letter * 1000,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert list(tmp_path.iterdir()) == [path]


def test_files_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text("x", tmp_path / "a.txt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_csv_keeps_every_digit(tmp_path):
    write_csv(pd.DataFrame({"x": [0.1 + 0.2]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b"x\n0.30000000000000004\n"


def test_json_is_sorted_and_has_no_nan(tmp_path):
    write_json({"b": 1, "a": "é"}, tmp_path / "a.json")
    assert list(json.loads((tmp_path / "a.json").read_text("utf-8"))) == ["a", "b"]
    with pytest.raises(ValueError, match="Out of range"):
        write_json(float("nan"), tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": 1}
    assert not (tmp_path / "b.json").exists()


def test_sha256_of_the_empty_file_is_the_published_one(tmp_path):
    (tmp_path / "e").write_bytes(b"")
    assert sha256(tmp_path / "e") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_yaml_that_holds_itself_is_refused(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: &a {b: 1, c: [*a]}\n")
    with pytest.raises(InputError, match="has an anchor"):
        read_yaml(file, "Correct it")


def test_yaml_may_use_an_anchor_twice(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: &a {b: 1}\nc: [*a, *a]\n")
    assert read_yaml(file, "Correct it") == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}
