"""The study as typed objects: the one description of config.yaml, from which its JSON schema is made."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sonogrid.backbones import check_backbone
from sonogrid.problems import InputError, Problem, Problems

SHIPPED = "see the commented config.yaml that ships with sonogrid"


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    doubles = sorted({value for value in values if values.count(value) > 1})
    if doubles:
        raise ValueError(f"named more than once: {', '.join(doubles)}")
    return values


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError("must be letters, digits, '_', '.', '-' and start with a letter or digit")
    return value


Name = Annotated[str, AfterValidator(_name)]
"""A word that becomes part of a path or a column: letters, digits, '_', '.', '-'."""
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
Backbone = Annotated[str, AfterValidator(check_backbone)]
Modality = Literal["bmode", "cdfi", "elastography"]
Modalities = Annotated[tuple[Modality, ...], Field(min_length=1), AfterValidator(_unique)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A closed section: a key that is not described here is a mistake, not an extension."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


class PhantomSource(Section):
    """A simulated cohort; see sonogrid.cohort.phantom."""

    organ: Literal["neck", "thyroid"] = Field("neck", description="neck: nodes; thyroid: the second corpus")
    patients: int = Field(120, ge=6, description="number of simulated patients, over all classes")
    missing: Fraction = Field(0.1, description="share of patients that lack a given modality")


class FoldersSource(Section):
    """Pictures in folders whose names say class, modality and patient; masks may lie beside them."""

    root: Path = Field(description="folder that holds the pictures")
    pattern: str = Field(
        "{modality}/{label}/{patient}-{n}",
        description="path below root without suffix; fields {label} {patient}, optional {modality} {n}",
    )
    labels: dict[str, str] = Field(description="class name of the study -> its name in the path")
    modalities: dict[Modality, str] = Field(
        description="modality -> its name in the path; one entry with any name if the pattern has no {modality}"
    )
    mask_suffix: str = Field("", description="ending that marks a mask, as '_mask'; empty: there are none")
    exclude: tuple[str, ...] = Field((), description="paths below root of pictures to leave out, each for a reason")
    hospital: str = Field("unknown", description="the hospital written for every patient")


class TableColumns(Section):
    """Which column of the table holds what; a name left out means the table does not say."""

    patient_id: str
    label: str
    image_id: str | None = None
    modality: str | None = None
    hospital: str | None = None
    device: str | None = None


class TableSource(Section):
    """A CSV with one row an image, and pictures whose paths follow from its columns."""

    file: Path = Field(description="the CSV; picture paths are relative to its folder")
    columns: TableColumns
    labels: dict[str, str] = Field(description="class name of the study -> value in the label column")
    modalities: dict[Modality, str] = Field(
        description="modality -> value in the modality column; one entry with any value if there is no such column"
    )
    image: str = Field(description="path of a picture, with {Column} for the value of a column")
    mask: str = Field("", description="path of its mask likewise; empty: there are none")
    mask_replace: dict[str, str] = Field(
        default_factory=dict, description="replacements made in the values that go into the mask path"
    )
    clinical: tuple[str, ...] = Field((), description="columns kept in patients.csv; one value a patient")


Reader = Literal["phantom", "folders", "table"]


class CohortConfig(Section):
    """Patients and pictures: which reader, what it reads, and the classes and modalities it must find."""

    classes: Names = Field(description="class names, in the order of the logits")
    modalities: Modalities
    reader: Reader
    phantom: PhantomSource | None = None
    folders: FoldersSource | None = None
    table: TableSource | None = None

    @property
    def source(self) -> PhantomSource | FoldersSource | TableSource:
        """The section of the chosen reader; cross_checks has made sure that it is there."""
        source: PhantomSource | FoldersSource | TableSource | None = getattr(self, self.reader)
        assert source is not None
        return source

    def used(self) -> CohortConfig:
        """The same without the sections of readers that are not chosen, so that editing those reruns nothing."""
        others = {reader: None for reader in get_args(Reader) if reader != self.reader}
        return self.model_copy(update=others)


class Images(Section):
    """The canonical picture: the scan area, letterboxed on a square canvas."""

    size: int = Field(224, ge=16, le=1024, description="side of the stored canvas in pixels")
    input_size: dict[Backbone, Annotated[int, Field(ge=16, le=1024)]] = Field(
        default_factory=dict, description="backbone -> side in pixels at which it sees the canvas; default: size"
    )


class OfficialFolds(Section):
    """Folds that came with the data."""

    file: Path = Field(description="CSV with one row an image")
    image_id: str = Field(description="column with the image_id of the manifest")
    fold: str = Field(description="column with the fold; any values, sorted to 0, 1, ...")


class Splits(Section):
    """Patient-level cross-validation with an inner validation part in every training fold."""

    folds: int = Field(5, ge=2)
    inner_fraction: float = Field(0.2, gt=0.0, lt=0.5, description="share of a training fold kept for epoch choice")
    official: OfficialFolds | None = Field(None, description="use these folds instead of drawing them")


class Augment(Section):
    """Strengths of the random transforms; each acts only on modalities for which it is legal (augment.py)."""

    horizontal_flip: float = Field(0.5, ge=0.0, le=1.0, description="probability")
    shift: float = Field(0.05, ge=0.0, le=0.2, description="largest shift, share of the canvas")
    zoom: float = Field(0.1, ge=0.0, le=0.3, description="largest change of scale, in or out")
    rotate: float = Field(5.0, ge=0.0, le=15.0, description="largest rotation in degrees")
    gain: float = Field(0.15, ge=0.0, le=0.5, description="largest change of brightness and contrast (B-mode only)")


class Training(Section):
    """How one model is fitted."""

    epochs: int = Field(ge=1, description="upper limit; patience may end earlier")
    patience: int = Field(ge=1, description="epochs without a better inner log loss before stopping")
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0.0, description="peak of the cosine schedule (AdamW)")
    weight_decay: float = Field(0.05, ge=0.0)
    warmup_epochs: int = Field(1, ge=0)
    label_smoothing: Fraction = 0.0
    mixed_precision: bool = Field(True, description="bfloat16 where the device computes in it")
    augment: Augment = Augment()


class Init(Section):
    """Where a model's first weights come from."""

    source: Literal["random", "corpus", "timm"]
    corpus: CohortConfig | None = Field(None, description="source corpus: what to pre-train on")
    training: Training | None = Field(None, description="source corpus: how to pre-train")
    files: dict[Backbone, Path] = Field(
        default_factory=dict,
        description="source timm: backbone -> local weights file; a backbone not named comes from the hub",
    )


class GridConfig(Section):
    """The axes of the grid; folds are in `splits`."""

    backbones: Annotated[tuple[Backbone, ...], Field(min_length=1), AfterValidator(_unique)]
    inits: Names
    modalities: Modalities


class Explain(Section):
    """Grad-CAM panels: for each class, the held-out patients at these quantiles of p(true class)."""

    quantiles: Annotated[tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...], Field(min_length=1)] = (0.5,)


class Statistics(Section):
    """Patient bootstrap."""

    resamples: int = Field(2000, ge=200)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    pretraining_effect: tuple[Name, Name] | None = Field(
        None, description="[init, reference]: the paired difference of the effect table; null: no table"
    )


class Study(Section):
    """All of config.yaml."""

    study: Name = Field(description="short name, shown on tables and figures")
    seed: int = Field(ge=0, lt=2**32, description="every random number of the study derives from it")
    results: Path = Field(Path("results"), description="folder for everything generated")
    cohort: CohortConfig
    images: Images
    splits: Splits
    inits: dict[Name, Init]
    grid: GridConfig
    training: Training
    explain: Explain = Explain()
    statistics: Statistics = Statistics()


def load_study(raw: Mapping[str, Any]) -> Study:
    """Turn a merged config mapping into a Study.

    Raises InputError with every mistake at once: those a schema can say and those between sections.
    """
    problems = Problems()
    study: Study | None = None
    try:
        study = Study.model_validate(dict(raw))
    except ValidationError as error:
        problems.found.extend(_as_problem(detail) for detail in error.errors(include_url=False))
    problems.found.extend(_between_sections(raw))
    if study is not None and not problems.found:
        problems.found.extend(_missing_files(study))
    problems.raise_if_any()
    assert study is not None
    return study


def parse_section(section: type[AnySection], text: str) -> AnySection:
    """Turn the JSON of one section, as rules pass it on the command line, into its object; raises InputError."""
    try:
        return section.model_validate_json(text)
    except ValidationError as error:
        raise InputError([_as_problem(detail) for detail in error.errors(include_url=False)]) from None


def json_schema() -> dict[str, Any]:
    """The JSON schema of config.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Study.model_json_schema()


def _as_problem(detail: Any) -> Problem:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _fields_at(detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return Problem(f"config key {key}", "is not known", f"{hint}Allowed here: {', '.join(known)}")
    if detail["type"] == "missing":
        return Problem(f"config key {key}", "is missing", f"Add it; {SHIPPED}")
    reason = detail["msg"].removeprefix("Value error, ")
    return Problem(f"config key {key}", f"value {detail['input']!r}: {reason}", f"Change it; {SHIPPED}")


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a location such as ('inits', 'pretrained', 'corpus')."""
    schema: dict[str, Any] = Study.model_json_schema()
    definitions, node = schema["$defs"], schema
    for part in location:
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = next((option for option in node.get("anyOf", ()) if "$ref" in option), node)
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))


def _between_sections(raw: Mapping[str, Any]) -> list[Problem]:
    """Mistakes that need two sections; reads the raw mapping so that they show beside schema mistakes."""
    problems = Problems()

    def section(*path: str) -> Any:
        node: Any = raw
        for part in path:
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def listed(*path: str) -> list[Any]:
        node = section(*path)
        return list(node) if isinstance(node, (list, tuple)) else []

    inits = section("inits")
    defined = dict(inits) if isinstance(inits, Mapping) else {}
    for init in listed("grid", "inits"):
        if init not in defined:
            problems.add(
                "config key grid.inits",
                f"init {init!r} is not defined",
                f"Define it under inits, or choose from: {', '.join(map(str, defined)) or 'none defined'}",
            )
            continue
        details = defined[init] if isinstance(defined[init], Mapping) else {}
        if details.get("source") == "corpus":
            for key in ("corpus", "training"):
                if not details.get(key):
                    problems.add(f"config key inits.{init}.{key}", "is missing", "source 'corpus' needs it")
    for init in listed("statistics", "pretraining_effect"):
        if init not in listed("grid", "inits"):
            problems.add(
                "config key statistics.pretraining_effect",
                f"init {init!r} is not in grid.inits",
                "Name two inits of the grid, or write null",
            )
    found = listed("cohort", "modalities")
    for modality in listed("grid", "modalities"):
        if modality not in found:
            problems.add(
                "config key grid.modalities",
                f"{modality!r} is not among cohort.modalities",
                f"Choose from: {', '.join(map(str, found))}",
            )
    cohorts: dict[tuple[str, ...], Any] = {("cohort",): section("cohort")}
    for init, details in defined.items():
        if isinstance(details, Mapping) and details.get("source") == "corpus" and details.get("corpus"):
            cohorts["inits", str(init), "corpus"] = details["corpus"]
    for path, cohort in cohorts.items():
        if not isinstance(cohort, Mapping):
            continue
        reader = cohort.get("reader")
        if reader in get_args(Reader) and not isinstance(cohort.get(reader), Mapping):
            key = ".".join((*path, str(reader)))
            problems.add(f"config key {key}", "is missing", f"reader {reader!r} needs it; {SHIPPED}")
            continue
        problems.found.extend(_reader_mappings(".".join(path), cohort))
    return problems.found


def _reader_mappings(key: str, cohort: Mapping[str, Any]) -> list[Problem]:
    """Classes and modalities of the study that the chosen reader has no name for."""
    problems = Problems()
    reader = cohort.get("reader")
    source = cohort.get(reader) if isinstance(reader, str) else None
    if reader not in ("folders", "table") or not isinstance(source, Mapping):
        return []
    for wanted, mapping in (("classes", "labels"), ("modalities", "modalities")):
        named = source.get(mapping)
        names = cohort.get(wanted)
        if not isinstance(named, Mapping) or not isinstance(names, (list, tuple)):
            continue
        for name in names:
            if name not in named:
                problems.add(
                    f"config key {key}.{reader}.{mapping}",
                    f"{name!r} of {key}.{wanted} has no entry",
                    f"Say what the data calls {name!r}, or take it out of {key}.{wanted}",
                )
    return problems.found


def _missing_files(study: Study) -> list[Problem]:
    """Files and folders that the config names and that are not there."""
    problems = Problems()
    cohorts = {"cohort": study.cohort}
    for name in study.grid.inits:
        init = study.inits[name]
        if init.source == "corpus" and init.corpus is not None:
            cohorts[f"inits.{name}.corpus"] = init.corpus
        for backbone, weights in init.files.items():
            if not weights.is_file():
                problems.add(
                    f"config key inits.{name}.files.{backbone}",
                    f"there is no file {weights}",
                    "Correct the path, or remove the entry to take the weights from the hub",
                )
    for key, cohort in cohorts.items():
        source = cohort.source
        if isinstance(source, FoldersSource) and not source.root.is_dir():
            problems.add(
                f"config key {key}.folders.root",
                f"there is no folder {source.root}",
                "Write the folder that holds the pictures",
            )
        if isinstance(source, TableSource) and not source.file.is_file():
            problems.add(
                f"config key {key}.table.file",
                f"there is no file {source.file}",
                "Write the path of the CSV",
            )
    official = study.splits.official
    if official is not None and not official.file.is_file():
        problems.add(
            "config key splits.official.file",
            f"there is no file {official.file}",
            "Correct the path, or write null to draw folds",
        )
    return problems.found
