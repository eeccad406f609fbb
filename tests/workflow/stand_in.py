"""Stands in for `sonogrid`: the same, but `train` stops or fails at a moment that a test chose.

Environment: STAND_IN_MOMENT is `epoch` (wait for ever after the second epoch), `saving` (wait for ever with the model
half written), `start` (fail at once), `failure` (fail as a fit does that diverges) or `second failure` (the second fit
of the process does); STAND_IN_FOLD limits it to jobs of this fold or these folds; STAND_IN_MARK is the file that says
that the moment has come.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from sonogrid import cli


def wait_for_ever() -> None:
    Path(os.environ["STAND_IN_MARK"]).touch()
    while True:
        time.sleep(1)


def change_epoch() -> None:
    from sonogrid.training.fit import Fitting

    run_epoch = Fitting.run_epoch

    def changed(self: Fitting) -> float:
        loss = run_epoch(self)
        if self.step == 2 * self.steps_per_epoch:
            wait_for_ever()
        return loss

    Fitting.run_epoch = changed  # type: ignore[method-assign]


def change_saving() -> None:
    from sonogrid.fits import weights

    save_weights = weights.save_weights

    def changed(model: Any, file: Path) -> None:
        save_weights(model, file)
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        wait_for_ever()

    weights.save_weights = changed


def change_failure() -> None:
    from sonogrid.training import fit as training

    def changed(*_: Any, **__: Any) -> None:
        raise FloatingPointError("the inner loss was never finite")

    training.fit = changed  # type: ignore[assignment]


def change_second_failure() -> None:
    from sonogrid.training import fit as training

    fit, fits = training.fit, []

    def changed(*arguments: Any, **named: Any) -> training.Fit:
        fits.append(1)
        if len(fits) == 2:
            raise FloatingPointError("the inner loss was never finite")
        return fit(*arguments, **named)

    training.fit = changed


def fail_at_start() -> None:
    sys.exit(1)


CHANGES = {
    "epoch": change_epoch,
    "saving": change_saving,
    "failure": change_failure,
    "second failure": change_second_failure,
    "start": fail_at_start,
}

if __name__ == "__main__":
    flags = " ".join(sys.argv)
    if " train " in flags and f"--fold {os.environ['STAND_IN_FOLD']} " in flags:
        CHANGES[os.environ["STAND_IN_MOMENT"]]()
    sys.exit(cli.main())
