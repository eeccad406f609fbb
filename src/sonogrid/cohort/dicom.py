"""Reader of DICOM files below a folder.

What counts: every file with a suffix of SUFFIXES, and every other that begins as DICOM does, whatever its name.
Ignored in silence: what the reader of folders ignores, and DICOMDIR. A file that cannot be read is left out and listed
with the reason; a file that says something wrong, as a class that the config does not know, is a problem.

Of a cine with F frames N are taken: number floor((i + 0.5) F / N) for i = 0 to N - 1, from 0; all if F is below N.
Of the identifiers in the headers only Patient ID is read, where the path does not say the patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from sonogrid.cohort.dicom_files import DicomDecoder
from sonogrid.cohort.folders import DOCUMENTS, compile_pattern, walk
from sonogrid.cohort.manifest import gaps, normal, some, writable
from sonogrid.cohort.reader import Reader
from sonogrid.cohort.sources import Reading, RefusedFile, Source
from sonogrid.cohort.table import read_rows, require_columns
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import DicomSource, PatientTable
from sonogrid.console import Advance
from sonogrid.dicom.facts import HeaderFacts, read_facts
from sonogrid.dicom.messages import element
from sonogrid.parallel import in_order
from sonogrid.problems import InputError, Problem, Problems

KEY = "dicom"
"""Config key of this reader, below `cohort` or the `corpus` of an init."""
SUFFIXES = (".dcm", ".dicom", ".ima")
"""Suffixes that are no part of an image_id; a file that has one must be DICOM."""
_INDEX = "dicomdir"


@dataclass(frozen=True)
class Whose:
    """What the path or the patient table says of a picture's patient; '' where it is not said."""

    patient_id: str
    label: str
    hospital: str


class DicomReader(DicomDecoder, Reader):
    """DICOM files below a folder.

    image_id is the path below the root without suffix, with `@` and the frame's number from 0 in four digits where
    the file has several.
    """

    name: ClassVar[str] = "dicom"
    section: ClassVar[type[DicomSource]] = DicomSource
    leaves_out_unreadable: ClassVar[bool] = True

    def decoding_mistake(self, decoding: Mapping[str, Any]) -> str:
        """Return that a frame must be named, if none is. Not beside `decode`: it decides no pixel."""
        return "" if type(decoding.get("frame")) is int else 'must be a JSON object with a frame, as {"frame": 0}'

    def steps(self, config: CohortConfig) -> int:
        """Return the number of frames taken if every file is a long cine."""
        source = cast(DicomSource, config.source)
        return source.frames * sum(1 for _ in _files(source.root, Problems()))

    def read(self, config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Reading:
        """Find the chosen frames of every file."""
        source = cast(DicomSource, config.source)
        problems = Problems()
        expression = _expression(source, problems)
        table = _read_patients(source, problems)
        problems.raise_if_any()
        files = list(_files(source.root, problems))
        refused: list[RefusedFile] = []
        collected = _Collected(source, config, expression, table)
        for file, facts in zip(files, in_order(_facts_of, files, workers), strict=True):
            if isinstance(facts, Problem):
                refused.append((file, facts))
            else:
                collected.add(file, facts)
        found = {(one.label, one.modality) for one in collected.sources}
        lacking = gaps(found, config.classes, config.modalities)
        told = [*problems.found, *collected.problems(), *lacking]
        return Reading(collected.sources, told, [*refused, *collected.refused])


def chosen_frames(frames: int, wanted: int) -> list[int]:
    """The numbers from 0 of the frames that are taken of a cine: the middles of `wanted` equal parts."""
    parts = min(frames, wanted)
    return [(2 * part + 1) * frames // (2 * parts) for part in range(parts)]


def _facts_of(file: Path) -> HeaderFacts | Problem:
    try:
        return read_facts(file)
    except InputError as error:
        return error.problems[0]


class _Collected:
    """The sources of all files, and what is wrong with some, grouped so that one mistake is told once."""

    def __init__(
        self,
        source: DicomSource,
        config: CohortConfig,
        expression: re.Pattern[str] | None,
        table: dict[str, tuple[str, str]] | None,
    ) -> None:
        self._source, self._config, self._expression, self._table = source, config, expression, table
        self._labels = {normal(name): label for label, name in source.labels.items()}
        self._modalities = {normal(name): modality for modality, name in source.modalities.items()}
        self._wrong: dict[tuple[str, str], list[Path]] = {}
        self.sources: list[Source] = []
        self.refused: list[RefusedFile] = []

    def add(self, file: Path, facts: HeaderFacts) -> None:
        """Note the chosen frames of a file, unless it is not of the study or something is wrong."""
        name = self._name(file)
        match = None if self._expression is None else self._expression.fullmatch(name)
        fields = {} if match is None else match.groupdict()
        if self._expression is not None and match is None:
            self._note(
                file, f"do not fit the pattern {self._source.pattern!r}", f"Rename them, or correct {KEY}.pattern"
            )
            return
        patient = self._patient(file, facts, fields)
        modality = self._modality(file, facts, fields)
        if patient is None or modality is None:
            return
        if patient.label not in self._config.classes or modality not in self._config.modalities:
            return
        several = facts.frames > 1
        for frame in chosen_frames(facts.frames, self._source.frames):
            self.sources.append(
                Source(
                    origin=f"{file}, frame {frame}" if several else str(file),
                    image_id=f"{name}@{frame:04d}" if several else name,
                    patient_id=patient.patient_id,
                    label=patient.label,
                    modality=modality,
                    path=file,
                    hospital=patient.hospital,
                    device=facts.device,
                    decoding={"frame": frame},
                    scan=facts.scan,
                    mm_per_pixel=facts.mm_per_pixel,
                )
            )

    def problems(self) -> list[Problem]:
        """What is wrong with files, the files of one mistake together."""
        return [Problem(some(files), what, remedy) for (what, remedy), files in self._wrong.items()]

    def _name(self, file: Path) -> str:
        path = file.relative_to(self._source.root)
        return normal((path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix())

    def _note(self, file: Path, what: str, remedy: str) -> None:
        self._wrong.setdefault((what, remedy), []).append(file)

    def _patient(self, file: Path, facts: HeaderFacts, fields: dict[str, str]) -> Whose | None:
        """Who it is, of which class and hospital; messages tell of files, as an id in a header identifies a person."""
        patient = normal(fields.get("patient", facts.patient_id))
        if not patient or not writable(patient):
            state = "is missing or empty" if not patient else "holds control characters"
            where, remedy = f"{file}, {element('PatientID')}", f"Fill it in, or say the patient by {KEY}.pattern"
            self.refused.append((file, Problem(where, state, remedy)))
            return None
        value, hospital = fields.get("label", ""), self._source.hospital
        if self._table is not None:
            row = self._table.get(patient)
            if row is None and "label" not in fields:
                self._note(
                    file, f"are of patients without a row in {KEY}.patients", "Add the rows, or remove the files"
                )
                return None
            said, where = row if row is not None else ("", "")
            value, hospital = value or said, where or hospital
        label = self._labels.get(normal(value), "")
        if not label:
            allowed = ", ".join(self._source.labels.values())
            remedy = f"Allowed by {KEY}.labels: {allowed}; what is mapped but not used in the cohort is left out"
            self._note(file, f"have the label {value!r}, which is not in the config", remedy)
            return None
        return Whose(patient, label, hospital)

    def _modality(self, file: Path, facts: HeaderFacts, fields: dict[str, str]) -> str | None:
        """What regions and tags say, else the path, else the config."""
        named = fields.get("modality")
        said = None if named is None else self._modalities.get(normal(named))
        if named is not None and said is None:
            remedy = f"Allowed by {KEY}.modalities: {', '.join(self._source.modalities.values())}"
            self._note(file, f"have the modality {named!r}, which is not in the config", remedy)
            return None
        if said is not None and facts.modality not in (None, said):
            what = f"are {facts.modality} by their regions or tags, but {said} by their path"
            self._note(file, what, "Move them to the folder of their modality")
            return None
        modality = facts.modality or said or self._source.default_modality
        if modality is None:
            remedy = f"Set {KEY}.default_modality, or say the modality by {KEY}.pattern"
            self._note(file, "do not say their modality by regions or tags", remedy)
        return modality


def _expression(source: DicomSource, problems: Problems) -> re.Pattern[str] | None:
    """The pattern as an expression with a group for every field; None for an empty pattern."""
    if "{label}" not in source.pattern and source.patients is None:
        remedy = f"Name the table under {KEY}.patients, or add {{label}} to {KEY}.pattern"
        problems.add(f"config key {KEY}", "neither the pattern nor a patient table says the class", remedy)
    if "{modality}" in source.pattern and not source.modalities:
        problems.add(f"config key {KEY}.modalities", "is empty although the pattern has {modality}", "Fill it in")
    try:
        return compile_pattern(source.pattern, KEY, needed=()) if source.pattern else None
    except InputError as error:
        problems.found.extend(error.problems)
        return None


def _read_patients(source: DicomSource, problems: Problems) -> dict[str, tuple[str, str]] | None:
    """Class and hospital of every patient of the table as it spells them; None if there is no table."""
    table: PatientTable | None = source.patients
    if table is None:
        return None
    rows = read_rows(table.file)
    needed = {table.patient_id, table.label} | ({table.hospital} if table.hospital else set())
    require_columns(table.file, rows, needed, problems)
    problems.raise_if_any()
    found: dict[str, tuple[str, str]] = {}
    first: dict[str, int] = {}
    for number, row in rows.items():
        patient = normal(row[table.patient_id])
        said = (row[table.label], row[table.hospital] if table.hospital else "")
        if not patient:
            problems.add(f"{table.file}, row {number}", f"column {table.patient_id!r} is empty", "Fill it in")
        elif found.setdefault(patient, said) != said:
            what = f"says something else of the patient of row {first[patient]}"
            problems.add(f"{table.file}, row {number}", what, "Give every patient one row")
        first.setdefault(patient, number)
    return found


def _files(root: Path, problems: Problems) -> Iterator[Path]:
    """Every DICOM file below root, sorted; files of other kinds are problems, but documents are not."""
    for path in walk(root, problems):
        suffix = path.suffix.lower()
        if path.name.lower() == _INDEX:
            continue
        if suffix in SUFFIXES or _begins_as_dicom(path):
            yield path
        elif suffix not in DOCUMENTS:
            remedy = "Remove it, or convert it to DICOM; pictures are read by the reader folders"
            problems.add(str(path), f"is of a kind that is not read ({suffix})", remedy)


def _begins_as_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
