from sonogrid import console


def test_a_log_gets_plain_lines_and_always_the_last_one(capsys):
    with console.progress("train", 3) as advance:
        for _ in range(3):
            advance("inner log loss 0.5")
    written = capsys.readouterr().err
    assert written == "train: 3/3 after 0 s done\n"
    assert "\x1b" not in written


def test_a_log_gets_a_line_whenever_the_interval_has_passed(capsys, monkeypatch):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)
    with console.progress("train", 2) as advance:
        advance("inner log loss 0.7")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("train: 1/2")
    assert lines[0].endswith("inner log loss 0.7")
