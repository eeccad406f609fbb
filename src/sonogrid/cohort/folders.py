"""Reader of pictures in folders whose names say class, modality and patient.

What counts: every file below the root with the suffix of a picture. Ignored in silence: hidden files and
folders, what Windows and macOS leave behind (LEFT_BEHIND), documents (DOCUMENTS), and classes and modalities
that the config maps but does not use. Everything else is a problem.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import ClassVar, cast

from sonogrid.cohort.manifest import normal, some, writable
from sonogrid.cohort.picture_files import PictureDecoder
from sonogrid.cohort.reader import Reader
from sonogrid.cohort.sources import Reading, Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import FoldersSource
from sonogrid.console import Advance
from sonogrid.problems import Problem, Problems

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Suffixes of files that are read as pictures, whatever their case."""
KEY = "folders"
"""Config key of this reader, below `cohort` or the `corpus` of an init."""
FIELDS = {"label": "[^/]+", "modality": "[^/]+", "patient": "[^/]+", "n": "[0-9]+"}
"""Fields of a pattern and what they match."""
LEFT_BEHIND = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
DOCUMENTS = frozenset(
    {"", ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".html", ".pdf", ".xls"}
    | {".xlsx", ".doc", ".docx", ".bib"}
)


class FoldersReader(PictureDecoder, Reader):
    """Pictures in folders. image_id is the picture's path below the root without its suffix.

    A lesion drawn in several masks (`x_mask.png`, `x_mask_1.png`, ...) gets their union.
    """

    name: ClassVar[str] = "folders"
    section: ClassVar[type[FoldersSource]] = FoldersSource

    def steps(self, config: CohortConfig) -> int:
        """Return the number of pictures below the root, masks not counted."""
        source = cast(FoldersSource, config.source)
        files = [file for file in walk(source.root, Problems()) if file.suffix.lower() in SUFFIXES]
        pictures, _ = _part(files, source.mask_suffix)
        return len(pictures)

    def read(self, config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Reading:
        """Find every picture of the config's classes and modalities."""
        problems = Problems()
        sources = _sources(cast(FoldersSource, config.source), config, problems)
        return Reading(sources, problems.found)


def compile_pattern(pattern: str, key: str = KEY, needed: Sequence[str] = ("label", "patient")) -> re.Pattern[str]:
    """Turn '{modality}/{label}/{patient}-{n}' into an expression with a group for every field.

    {n} is digits, the other fields anything but '/'; a field named twice must have the same value twice.
    `key` is the config key of the reader. Raises InputError if a field is not known, a `needed` one is missing, or a
    brace has no partner.
    """
    problems = Problems()
    expression, seen = "", set()
    for literal, name in re.findall(r"([^{}]*)(\{[^{}]*\}|[{}]|$)", pattern):
        expression += re.escape(literal)
        field = name[1:-1]
        if name and field not in FIELDS:
            allowed = ", ".join(f"{{{known}}}" for known in FIELDS)
            problems.add(f"config key {key}.pattern", f"{name!r} is not a field", f"Allowed: {allowed}")
        elif name:
            expression += f"(?P={field})" if field in seen else f"(?P<{field}>{FIELDS[field]})"
            seen.add(field)
    for field in needed:
        if field not in seen:
            problems.add(f"config key {key}.pattern", f"{{{field}}} is missing", f"Add {{{field}}}")
    problems.raise_if_any()
    return re.compile(expression)


def _sources(source: FoldersSource, config: CohortConfig, problems: Problems) -> list[Source]:
    """Every picture of the config's classes and modalities, in the order of their paths."""
    expression = compile_pattern(source.pattern)
    if "modality" not in expression.groupindex and len(source.modalities) != 1:
        problems.add(
            f"config key {KEY}.modalities",
            "has several entries although the pattern has no {modality}",
            "Leave one, or add {modality} to the pattern",
        )
    files = [file for file in walk(source.root, problems) if _is_picture(file, problems)]
    pictures, masks = _part(files, source.mask_suffix)
    stems = {picture.with_suffix("") for picture in pictures}
    for stem, orphans in masks.items():
        if stem not in stems:
            problems.add(some(orphans), f"is a mask, but there is no picture {stem.name}", "Add it, or remove the mask")
    pictures = _without_excluded(pictures, source, problems)
    found: list[Source] = []
    unknown: dict[tuple[str, str], list[str]] = {}
    unmatched: dict[Path, list[str]] = {}
    for picture in pictures:
        relative = picture.relative_to(source.root)
        name = normal(relative.with_suffix("").as_posix())
        match = expression.fullmatch(name)
        if match is None:
            unmatched.setdefault(picture.parent, []).append(picture.name)
            continue
        label, modality = _named(match, source, relative, unknown)
        if label in config.classes and modality in config.modalities:
            found.append(
                Source(
                    origin=str(picture),
                    image_id=name,
                    patient_id=normal(match["patient"]),
                    label=label,
                    modality=modality,
                    path=picture,
                    masks=tuple(masks.get(picture.with_suffix(""), ())),
                    hospital=source.hospital,
                    device=source.device,
                )
            )
    problems.found.extend(_misplaced(source, unknown, unmatched))
    problems.found.extend(_empty_folders(source, config, found))
    return found


def _without_excluded(pictures: list[Path], source: FoldersSource, problems: Problems) -> list[Path]:
    names = {picture.relative_to(source.root).as_posix(): picture for picture in pictures}
    excluded: tuple[str, ...] = source.exclude
    for name in excluded:
        if name not in names:
            problems.add(f"config key {KEY}.exclude", f"there is no picture {name!r}", "Correct the path below root")
    return [picture for name, picture in names.items() if name not in excluded]


def _named(
    match: re.Match[str], source: FoldersSource, relative: Path, unknown: dict[tuple[str, str], list[str]]
) -> tuple[str, str]:
    """Class and modality of a picture, '' for one that the config does not map."""
    fields = match.groupdict()
    labels = {normal(name): label for label, name in source.labels.items()}
    modalities: dict[str, str] = {normal(name): modality for modality, name in source.modalities.items()}
    only = next(iter(source.modalities), "")
    modality = modalities.get(fields["modality"], "") if "modality" in fields else only
    label = labels.get(fields["label"], "")
    for field, value in (("label", label), ("modality", modality)):
        if not value:
            unknown.setdefault((field, fields[field]), []).append(str(relative))
    return label, modality


def _misplaced(
    source: FoldersSource, unknown: dict[tuple[str, str], list[str]], unmatched: dict[Path, list[str]]
) -> list[Problem]:
    problems = Problems()
    for parent, names in unmatched.items():
        problems.add(
            str(parent),
            f"holds pictures that do not fit the pattern {source.pattern!r}: {some(names)}",
            f"Rename or remove them, or correct {KEY}.pattern",
        )
    for (field, value), files in unknown.items():
        mapping = "labels" if field == "label" else "modalities"
        allowed = source.labels if field == "label" else source.modalities
        problems.add(
            f"{source.root}: {some(files)}",
            f"{field} {value!r} is not in the config",
            f"Allowed by {KEY}.{mapping}: {', '.join(allowed.values())}; a name that is mapped but "
            "not used in the cohort is left out",
        )
    return problems.found


def _empty_folders(source: FoldersSource, config: CohortConfig, found: list[Source]) -> list[Problem]:
    """Class folders (of every modality) that gave no picture."""
    given = {(one.label, one.modality) for one in found}
    above = [
        part
        for part in PurePosixPath(source.pattern).parts[:-1]
        if not {"{patient}", "{n}"} & set(re.findall(r"{\w+}", part))
    ]
    problems = Problems()
    for label, modality in product(config.classes, config.modalities):
        if (label, modality) in given:
            continue
        filled = PurePosixPath(*above).as_posix().replace("{label}", source.labels[label])
        place = source.root / filled.replace("{modality}", source.modalities[modality])
        state = "holds no picture" if place.is_dir() else "is not there"
        problems.add(
            str(place),
            f"{state}: class {label!r} of modality {modality!r} has no image",
            "Add its pictures, or take the class or the modality out of the cohort's config",
        )
    return problems.found


def walk(root: Path, problems: Problems) -> Iterator[Path]:
    """Every file below root that is not hidden or left behind, sorted; links that leave root are problems."""
    inside = root.resolve()

    def unreadable(error: OSError) -> None:
        problems.add(str(error.filename), f"cannot be read ({error.strerror})", "Allow reading it")

    for parent, folders, names in os.walk(root, onerror=unreadable):
        kept = sorted(name for name in folders if not _ignored(name))
        # Changed in place: this is how os.walk is told where to go on.
        folders[:] = [name for name in kept if not (Path(parent) / name).is_symlink()]
        for name in [*(name for name in kept if name not in folders), *sorted(names)]:
            path = Path(parent) / name
            if _ignored(name):
                continue
            if path.is_dir() or (path.is_symlink() and not path.resolve().is_relative_to(inside)):
                problems.add(
                    str(path),
                    "is a link to a folder" if path.is_dir() else f"is a link that leaves {root}",
                    f"Put the pictures themselves below {root}",
                )
            elif not writable(name):
                problems.add(repr(str(path)), "has a name that is not valid text", "Rename it")
            else:
                yield path


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def _is_picture(path: Path, problems: Problems) -> bool:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and suffix not in DOCUMENTS:
        problems.add(
            str(path),
            f"is of a kind that is not read ({suffix})",
            f"Remove it, or convert it; pictures are {' '.join(SUFFIXES)}",
        )
    return suffix in SUFFIXES


def _part(files: list[Path], mask_suffix: str) -> tuple[list[Path], dict[Path, list[Path]]]:
    """Part files into pictures and masks; masks are keyed by their picture's path without suffix."""
    ending = re.compile(rf"(?P<picture>.+){re.escape(mask_suffix)}(_[0-9]+)?")
    pictures: list[Path] = []
    masks: dict[Path, list[Path]] = {}
    for file in files:
        match = ending.fullmatch(file.stem) if mask_suffix else None
        if match is None:
            pictures.append(file)
        else:
            masks.setdefault(file.parent / match["picture"], []).append(file)
    return pictures, masks
