"""From the pictures that a reader finds to a cohort: decoded, framed, measured, and joined without contradiction."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from sonogrid.arrays import Picture
from sonogrid.cohort.manifest import IMAGE_COLUMNS, Cohort, check_laws, doubled_image_ids, look_alikes, some, typed
from sonogrid.cohort.picture_files import PICTURES
from sonogrid.cohort.pseudonyms import pseudonym, read_key, write_lookup
from sonogrid.cohort.reader import Reader
from sonogrid.cohort.registry import reader_of
from sonogrid.cohort.sources import Reading, Source, decoding_text
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.modalities import MODALITIES
from sonogrid.console import Advance, silent
from sonogrid.files import digest, read_once, sha256, whole_file
from sonogrid.images.code import LOOK, deciding_code
from sonogrid.images.framing import framing_columns, layout_of
from sonogrid.images.look import look_at
from sonogrid.images.messages import BarOutside, TextRemains, UnusableMask
from sonogrid.images.patient_axes import patient_axes
from sonogrid.images.seen import Look, Seen
from sonogrid.layout import CohortLayout
from sonogrid.parallel import in_order
from sonogrid.problems import InputError, Problem, Problems


@dataclass(frozen=True)
class Found:
    """What came of one source: a look, or why there is none; `refused` where the others can go on without it."""

    key: str = ""
    look: Look | None = None
    problems: tuple[Problem, ...] = ()
    refused: bool = False


def read_cohort(config: CohortConfig, seed: int, folder: Path, workers: int = 1, advance: Advance = silent) -> Cohort:
    """Read, look at and check the cohort that a config describes.

    Pictures and masks that are made (simulated, copied, merged) and what was seen of them go below `folder`; nothing
    else is written. Raises InputError with every problem of the source.
    """
    reader = reader_of(config.reader)
    reader.versions()
    cohort = assemble(config, reader.read(config, seed, folder, workers, advance), folder, workers, advance)
    check_laws(cohort, config.classes, config.modalities)
    return cohort


def assemble(config: CohortConfig, reading: Reading, folder: Path, workers: int, advance: Advance = silent) -> Cohort:
    """Look at every picture and mask that a reader found and make the cohort; files that are made go below `folder`.

    Left out, and listed with those that the reader refused, are pictures whose text cannot be removed, and files that
    cannot be decoded where the reader leaves them out. Raises InputError with the problems of the reader, other
    pictures and masks that cannot be used, and contradictions about a patient. With a pseudonym_key no id or path of
    the source is in the cohort, its pictures and masks are copies, and what is found here is told by pseudonyms.
    """
    problems = Problems()
    problems.found.extend(reading.problems)
    sources, refused = reading.sources, reading.refused
    key = None if config.pseudonym_key is None else read_key(config.pseudonym_key)
    named = sources
    if key is not None and config.pseudonym_key is not None:
        # First of all, as messages name pseudonyms.
        write_lookup(config.pseudonym_key, _names(sources, [file for file, _ in refused], key))
        # Pseudonyms never look alike, so this is the last time it can be seen.
        patient_ids = {source.patient_id for source in sources}
        problems.found.extend(look_alikes(patient_ids, lambda patient: pseudonym(key, "patient", patient)))
        named = [_renamed(source, key) for source in sources]
    problems.found.extend(_contradictions(named, config.reader))
    problems.found.extend(doubled_image_ids((source.image_id, source.origin) for source in named))
    left_out = [_hidden(problem, [file], key) for file, problem in refused]
    rows: list[dict[str, Any]] = []
    kept: list[Source] = []
    reader, copied = reader_of(config.reader), key is not None
    decoder = PICTURES if copied else reader.decoder
    with _seen(CohortLayout(folder, folder).seen) as seen:
        look = functools.partial(
            _look_at, reader=reader, config=config, folder=folder, earlier=seen.earlier, copied=copied
        )
        for source, found in zip(named, in_order(look, named, workers), strict=True):
            told = [_hidden(problem, [source.path, *source.masks], key) for problem in found.problems]
            (left_out if found.refused else problems.found).extend(told)
            if found.look is not None:
                seen.keep(found.key, found.look)
                rows.append(_image_row(source, found.look, folder, decoder, copied))
                kept.append(source)
            advance()
    problems.raise_if_any()
    if not rows:
        problems.found.extend(left_out)
        problems.add(f"config key {config.reader}", "leads to no picture", "Correct its paths")
        problems.raise_if_any()
    images = pd.DataFrame(rows).sort_values("image_id", ignore_index=True)
    patients = pd.DataFrame(list({source.patient_id: _patient_row(source) for source in kept}.values()))
    patients = patients.merge(patient_axes(images), on="patient_id", how="left", validate="one_to_one")
    table = patients.sort_values("patient_id", ignore_index=True)
    ceiling = None if reading.ceiling is None else dict(reading.ceiling)
    return Cohort(table, typed(images[list(IMAGE_COLUMNS)]), ceiling, tuple(left_out))


@contextmanager
def _seen(file: Path) -> Iterator[Seen]:
    """What was seen before; what is seen now is kept even if the reading is cut short."""
    seen = Seen(file)
    whole = False
    try:
        yield seen
        whole = True
    finally:
        seen.close(whole)


def _renamed(source: Source, key: bytes) -> Source:
    patient, image = (pseudonym(key, what, name) for what, name in _ids(source))
    return dataclasses.replace(source, patient_id=patient, image_id=image, origin=f"image {image}")


def _ids(source: Source) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("patient", source.patient_id), ("image", source.image_id)


def _hidden(problem: Problem, files: Iterable[Path], key: bytes | None) -> Problem:
    """The problem with the pseudonyms of files in place of their paths, if there is a key."""
    if key is None:
        return problem
    parts = [problem.where, problem.what, problem.remedy]
    # Longest first: one path may be the beginning of another.
    for path in sorted(map(str, files), key=len, reverse=True):
        # Errors of the operating system quote paths as repr does.
        for spelling in (path, repr(path)[1:-1]):
            parts = [part.replace(spelling, pseudonym(key, "file", path)) for part in parts]
    return Problem(*parts)


def _names(sources: Sequence[Source], files: Sequence[Path], key: bytes) -> set[tuple[str, str, str]]:
    """All that is renamed: pseudonym, of which name, and what that names."""
    whats = {pair for source in sources for pair in _ids(source)}
    whats |= {("file", str(file)) for source in sources for file in (source.path, *source.masks)}
    whats |= {("file", str(file)) for file in files}
    return {(pseudonym(key, what, name), name, what) for what, name in whats}


def _look_at(
    source: Source, reader: Reader, config: CohortConfig, folder: Path, earlier: dict[str, Look], copied: bool
) -> Found:
    """What an earlier run saw of the picture, if nothing has changed; else look at it."""
    try:
        key = digest(**look_key(source, reader.decoder, config, copied))
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        found = Problem(str(error.filename), what, "Correct the path, or take the row or file out of the data")
        return Found(problems=(found,), refused=reader.leaves_out_unreadable)
    known = earlier.get(key)
    if known is not None and _is_intact(known, source, folder, copied):
        return Found(key, known)
    try:
        seen = look_at(source, reader.decode, config, copied)
    except UnusableMask as error:
        return Found(problems=error.problems)
    except InputError as error:
        return Found(problems=error.problems, refused=reader.leaves_out_unreadable)
    except TextRemains as error:
        remedy = "Take it out of the data, or give the device a narrower scan area (cohort.layouts)"
        return Found(problems=(Problem(str(source.path), str(error), remedy),), refused=True)
    except BarOutside as error:
        return Found(problems=(Problem(str(source.path), str(error), "Correct colour_bar in cohort.layouts"),))
    except ValueError as error:
        remedy = "Correct the scan area in the source or in cohort.layouts"
        return Found(problems=(Problem(str(source.path), str(error), remedy),))
    file, mask = _picture_path(source, folder, copied), _made_mask(source, folder, copied)
    for pixels, target in ((seen.mask, mask), (seen.copy, file)):
        if pixels is not None and target is not None:
            _save(pixels, target)
    mask_sha256 = "" if mask is None else sha256(mask)
    return Found(key, Look(sha256(file), seen.width, seen.height, seen.framing, seen.axes_mm, mask_sha256))


_sha256 = read_once(sha256)


def _is_intact(look: Look, source: Source, folder: Path, copied: bool) -> bool:
    """Whether the files that an earlier run made are there as it made them."""
    made = {_picture_path(source, folder, copied): look.sha256} if copied else {}
    mask = _made_mask(source, folder, copied)
    if mask is not None:
        made[mask] = look.mask_sha256
    return all(file.is_file() and sha256(file) == known for file, known in made.items())


def look_key(source: Source, decoder: str, config: CohortConfig, copied: bool) -> dict[str, Any]:
    """Return all that decides what is seen of a source. Raise OSError if a file cannot be read."""
    layout = layout_of(source.device, config.layouts)
    return {
        "files": [_sha256(path) for path in (source.path, *source.masks)],
        "decoder": decoder,
        "decoding": dict(source.decoding),
        "scan": source.scan,
        "modality": MODALITIES[source.modality].pixel_facts,
        "mm_per_pixel": source.mm_per_pixel,
        "layout": None if layout is None else layout.model_dump(mode="json"),
        "settings": [config.burned_in_text, config.dual_view],
        "copied": copied,
        # Files that are made bear the name of the picture.
        "name": source.image_id if copied or len(source.masks) > 1 else None,
        "code": deciding_code(LOOK, decoder),
        # Masks are picture files whatever decodes the picture.
        "mask_code": deciding_code(LOOK, PICTURES) if source.masks else None,
    }


def _picture_path(source: Source, folder: Path, copied: bool) -> Path:
    return CohortLayout(folder, folder).pictures / f"{source.image_id}.png" if copied else source.path


def _made_mask(source: Source, folder: Path, copied: bool) -> Path | None:
    """Where the union of several masks, or the copy of one, is written; None if none is needed."""
    needed = len(source.masks) > 1 or (copied and source.masks)
    return CohortLayout(folder, folder).masks / f"{source.image_id}.png" if needed else None


def _mask_path(source: Source, folder: Path, copied: bool) -> Path | None:
    """The mask of the manifest: that which is made, else that of the source."""
    return _made_mask(source, folder, copied) or next(iter(source.masks), None)


def _save(pixels: Picture, target: Path) -> None:
    with whole_file(target) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1)


def _patient_row(source: Source) -> dict[str, Any]:
    return {
        "patient_id": source.patient_id,
        "label": source.label,
        "hospital": source.hospital,
        "simulated": source.simulated,
        **source.clinical,
    }


def _image_row(source: Source, look: Look, folder: Path, decoder: str, copied: bool) -> dict[str, Any]:
    mask = _mask_path(source, folder, copied)
    mm_x, mm_y = source.mm_per_pixel or (None, None)
    long_mm, short_mm = look.axes_mm or (None, None)
    return {
        "image_id": source.image_id,
        "patient_id": source.patient_id,
        "modality": source.modality,
        "path": _picture_path(source, folder, copied).as_posix(),
        "decoder": decoder,
        "decoding": "" if copied else decoding_text(source.decoding),
        "sha256": look.sha256,
        "width": look.width,
        "height": look.height,
        "mask_path": "" if mask is None else mask.as_posix(),
        **framing_columns(look.framing),
        "mm_per_pixel_x": mm_x,
        "mm_per_pixel_y": mm_y,
        "device": source.device,
        "simulated": source.simulated,
        "long_axis_mm": long_mm,
        "short_axis_mm": short_mm,
    }


def _contradictions(sources: Sequence[Source], key: str) -> list[Problem]:
    """Patients of whom the source says two things: label, hospital or a clinical column."""
    said: dict[tuple[str, str], dict[str, list[str]]] = {}
    for source in sources:
        facts = {"label": source.label, "hospital": source.hospital, **source.clinical}
        for name, value in facts.items():
            said.setdefault((source.patient_id, name), {}).setdefault(value, []).append(source.origin)
    remedies = {
        "label": "Give the patient one label; if two people share this id, give them different ids",
        "hospital": f"Give the patient one hospital, or leave {key}.columns.hospital out",
    }
    return [
        Problem(
            f"patient {patient!r}",
            f"has two values of {name}: "
            + "; ".join(f"{value!r} ({some(origins)})" for value, origins in values.items()),
            remedies.get(name, f"Correct the rows, or take {name!r} out of {key}.clinical"),
        )
        for (patient, name), values in said.items()
        if len(values) > 1
    ]
