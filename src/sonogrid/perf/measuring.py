"""What a benchmark of the suite records beside its times: its unit, digests of input and result, peak memory."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

Returned = TypeVar("Returned")
SECONDS, LEAST_ROUNDS, MOST_ROUNDS = 0.06, 3, 100
"""How long each operation is timed in one process: many short processes say more than few long ones."""
PROTOCOL = 1
"""Version of what is recorded; benchmarks of suites with another one are not compared."""
CALLS = "SONOGRID_PERF_CALLS"
"""Environment variable: call each operation this often instead of timing it, for counting instructions."""
PROFILE = "SONOGRID_PERF_PROFILE"
"""Environment variable: benchmarks of commands run them under cProfile, which sees nothing of other processes."""
PLANTED = "SONOGRID_PERF_PLANTED"
"""Environment variable of the study of the gate: JSON, benchmark -> factor by which its operation is slowed down."""


class Benchmark(Protocol):
    """What is used of the `benchmark` fixture of pytest-benchmark."""

    name: str
    extra_info: dict[str, Any]

    @property
    def disabled(self) -> bool: ...

    def pedantic(self, target: Callable[[], Any], *, rounds: int) -> Any: ...


def measure_speed(
    benchmark: Benchmark,
    operation: Callable[[], Returned],
    *,
    check: Callable[[Returned], None],
    unit: str,
    count: int = 1,
    inputs: object,
    numbers: Callable[[Returned], object] = lambda result: result,
    rounds: int | None = None,
    peak_bytes: Callable[[Returned], int] | None = None,
    profile: Callable[[Returned], list[dict[str, Any]]] | None = None,
) -> None:
    """Run an operation, check its result once, and time it.

    `unit` and `count`: one call works on `count` units ("image", "cell", "resample"). `inputs`: what the operation
    works on; times are compared only where its digest is equal. `numbers`: the part of the result that must stay the
    same when only the speed changes; None if there is none. `rounds`: how many calls are timed, without one before
    them, for commands; otherwise as many as fit into SECONDS.
    `peak_bytes`: peak memory of a command; otherwise it is what the first call adds to the memory of this process.
    `profile`: what cProfile says of a command, a row per function as in pytest-benchmark's own profiles.
    """
    operation = _slowed(operation, benchmark_name(benchmark.name))
    calls = 1 if benchmark.disabled else int(os.environ.get(CALLS, "0")) or rounds
    before = _reset_peak()
    # The first call imports and fills caches; that of a command is as any other.
    result = benchmark.pedantic(operation, rounds=calls) if calls else operation()
    peak = _status("VmHWM")
    check(result)
    kept = numbers(result)
    benchmark.extra_info |= {
        "protocol": PROTOCOL,
        "unit": unit,
        "count": count,
        "inputs": digest_of(inputs),
        "numbers": None if kept is None else digest_of(kept),
        "peak_bytes": peak_bytes(result) if peak_bytes else max(0, peak - before),
    }
    if profile and os.environ.get(PROFILE):
        benchmark.extra_info["profile"] = profile(result)
    if not calls:
        began = time.perf_counter()
        operation()
        fitting = round(SECONDS / max(time.perf_counter() - began, 1e-9))
        benchmark.pedantic(operation, rounds=min(max(fitting, LEAST_ROUNDS), MOST_ROUNDS))


def benchmark_name(test: str) -> str:
    """Return the name of a benchmark: that of its test without the prefix, as "inference[resnet18-16-cpu]"."""
    return test.removeprefix("test_")


def digest_of(value: object) -> str:
    """Return 16 hex digits of SHA-256 over values: arrays and tensors with type and shape, tables, text, numbers."""
    hashed = hashlib.sha256()
    _feed(hashed.update, value)
    return hashed.hexdigest()[:16]


def _feed(update: Callable[[bytes], None], value: object) -> None:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    elif hasattr(value, "to_csv"):
        value = value.to_csv()
    if isinstance(value, np.ndarray) and value.dtype != object:
        update(f"{value.dtype.str}{value.shape}".encode())
        update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        _feed(update, list(value.items()))
    elif isinstance(value, (list, tuple, np.ndarray)):
        update(f"[{len(value)}".encode())
        for part in value:
            _feed(update, part)
    elif isinstance(value, (bytes, bytearray)):
        update(b"b%d:" % len(value) + value)
    elif value is None or isinstance(value, (bool, int, float, str, np.generic)):
        text = repr(value.item() if isinstance(value, np.generic) else value).encode()
        update(b"%d:" % len(text) + text)
    else:
        raise TypeError(f"no digest of {type(value).__name__}")


def _status(field: str) -> int:
    """Return a field of proc(5)'s status of this process in bytes, 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def _reset_peak() -> int:
    """Let the peak of memory begin at what is used now, and return that in bytes; see proc(5), clear_refs."""
    file = Path("/proc/self/clear_refs")
    if os.access(file, os.W_OK):
        file.write_text("5", encoding="ascii")
    return _status("VmRSS")


def _slowed(operation: Callable[[], Returned], name: str) -> Callable[[], Returned]:
    """Return the operation, made slower where the study of the gate plants a slow-down in this benchmark."""
    if PLANTED not in os.environ:
        return operation
    import json

    factor = float(json.loads(os.environ[PLANTED]).get(name, 1.0))

    def slower() -> Returned:
        began = time.perf_counter()
        result = operation()
        until = time.perf_counter() + (factor - 1) * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return result

    return slower if factor > 1 else operation
