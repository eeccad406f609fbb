"""Images a second and memory from pictures to the store, on simulated exports of 800 x 600 pixels.

python tests/tools/measure_store.py --count 2000 [--kind png|jpg] [--workers 2] [--size 224]

Prints one line for each of: cohort, images, both again with nothing changed, both again with one picture in a hundred
changed. Text recognition is off (`burned_in_text: keep`). Memory is the largest of the process so far (VmHWM).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from sonogrid.cohort.manifest import load, save_cohort
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.images import Canvas
from sonogrid.images.examine import read_cohort
from sonogrid.images.store import build

WIDTH, HEIGHT, LEFT, TOP, WIDE, HIGH = 800, 600, 120, 60, 560, 480


def speckle() -> NDArray[np.uint8]:
    """One scan; others are it, moved round."""
    grains = np.random.default_rng(1).rayleigh(40, (HIGH, WIDE)) + 20
    return np.clip(1.5 * gaussian_filter(grains, 1.0), 0, 255).astype(np.uint8)


def draw(path: Path, scan: NDArray[np.uint8], number: int) -> None:
    """Write the export with this number."""
    screen = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    moved = np.roll(scan, (number * 7, number * 13), axis=(0, 1))
    screen[TOP : TOP + HIGH, LEFT : LEFT + WIDE] = moved[..., None]
    screen[:4, :16] = np.frombuffer(number.to_bytes(8, "little"), dtype=np.uint8).reshape(4, 2).repeat(8, 1)[..., None]
    Image.fromarray(screen).save(path, **({"quality": 92} if path.suffix == ".jpg" else {}))


def memory_mb() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def timed(name: str, count: int, work: Callable[[], object]) -> float:
    """Do the work and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, busy = time.perf_counter() - wall, time.process_time() - cpu
    rate = f"{count / seconds:7.1f} images/s"
    print(
        f"{name:34} {seconds:7.1f} s {rate} {1000 * busy / count:6.1f} ms CPU an image {memory_mb():7.0f} MB",
        flush=True,
    )
    return seconds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kind", choices=("png", "jpg"), default="png")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Cohort and store of simulated exports below the folder, three times."""
    scan, count = speckle(), options.count
    pictures = [folder / "data" / str(number % 2) / f"{number}.{options.kind}" for number in range(count)]
    for label in "01":
        (folder / "data" / label).mkdir(parents=True)
    for number, path in enumerate(pictures):
        draw(path, scan, number)
    source = {"root": folder / "data", "pattern": "{label}/{patient}", "modalities": {"bmode": "bmode"}}
    config = CohortConfig.model_validate(
        {"classes": ["a", "b"], "modalities": ["bmode"], "reader": "folders", "burned_in_text": "keep"}
        | {"folders": source | {"labels": {"a": "0", "b": "1"}}}
    )
    out = folder / "results"

    def cohort() -> None:
        save_cohort(read_cohort(config, 0, out, options.workers), out)

    def images() -> None:
        files = out / "bmode.npy", out / "bmode.csv"
        build(load(out).images, Canvas(size=options.size), *files, workers=options.workers)

    print(f"{count} simulated exports of {WIDTH} x {HEIGHT}, {options.kind}, {options.workers} workers")
    spent = timed("cohort", count, cohort) + timed("images", count, images)
    print(f"{'both':34} {spent:7.1f} s {count / spent:7.1f} images/s")
    timed("cohort, nothing changed", count, cohort)
    timed("images, nothing changed", count, images)
    for number in range(0, count, 100):
        draw(pictures[number], scan, count + number)
    timed("cohort, one in a hundred changed", count, cohort)
    timed("images, one in a hundred changed", count, images)


if __name__ == "__main__":
    main()
