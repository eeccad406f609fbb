"""What can be wrong with a configuration, found before anything runs and told all at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sonogrid.config.base import unique
from sonogrid.config.grid import GridConfig
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.readers import READER_SECTIONS
from sonogrid.config.schema_mistakes import SHIPPED, as_problems, shown
from sonogrid.config.study import Study
from sonogrid.files import read_yaml
from sonogrid.problems import Problem, Problems


def load_study(raw: Mapping[str, Any]) -> Study:
    """Turn a merged config mapping into a Study.

    Raises InputError with every mistake at once: those a schema can say and those between sections.
    """
    problems = Problems()
    study: Study | None = None
    try:
        study = Study.model_validate(dict(raw))
    except ValidationError as error:
        problems.found.extend(as_problems(error))
        problems.found.extend(_doubled_beside_invalid(raw, problems.found))
    problems.found.extend(_between_sections(raw))
    if study is not None and not problems.found:
        problems.found.extend([*_missing_files(study), *_unwritable_results(study.results)])
    problems.raise_if_any()
    assert study is not None
    return study


def merge_configs(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two configurations as one, as `snakemake --configfile` does: mappings merge, all else is replaced."""
    return dict(_merged(below, above))


def _merged(below: Any, above: Mapping[str, Any]) -> Any:
    if not above:
        return below
    both = dict(below) if isinstance(below, Mapping) else {}
    for key, value in above.items():
        both[key] = _merged(both.get(key, {}), value) if isinstance(value, Mapping) else value
    return both


def load_files(paths: Sequence[Path]) -> Study:
    """Return the study of several configuration files, later ones above earlier ones; raise as load_study."""
    raw: dict[str, Any] = {}
    for path in paths:
        raw = merge_configs(raw, read_yaml(path, f"Correct it; {SHIPPED}"))
    return load_study(raw)


def _doubled_beside_invalid(raw: Mapping[str, Any], told: Sequence[Problem]) -> list[Problem]:
    """Entries of an axis given twice, where the schema stopped at other entries and did not compare them."""
    found = []
    for axis in GridConfig.model_fields:
        key, entries = f"config key grid.{axis}", _at(raw, "grid", axis)
        if isinstance(entries, (list, tuple)) and any(problem.where.startswith(f"{key}.") for problem in told):
            # False equals 0, and mappings cannot be compared; both are told by the schema.
            comparable = tuple(e for e in entries if isinstance(e, (str, int)) and not isinstance(e, bool))
            try:
                unique(comparable)
            except ValueError as error:
                found.append(Problem(key, f"value {shown(entries)}: {error}", f"Change it; {SHIPPED}"))
    return found


def _between_sections(raw: Mapping[str, Any]) -> list[Problem]:
    """Mistakes that need two sections; reads the raw mapping so that they show beside schema mistakes."""
    return [
        *_undefined_inits(raw),
        *_incomplete_inits(raw),
        *_same_panels(_names(raw, "grid", "backbones"), _names(raw, "grid", "inits")),
        *_effects_outside_grid(raw),
        *_modalities_outside_cohort(raw),
        *(problem for path, cohort in _cohorts(raw).items() for problem in _about_cohort(raw, path, cohort)),
        *_folds_by_replaced_ids(raw),
        *_results_around_the_workflow(raw),
    ]


def _at(raw: Mapping[str, Any], *path: str) -> Any:
    """The value at a path of keys; None where it is not there."""
    node: Any = raw
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _section(raw: Mapping[str, Any], *path: str) -> dict[str, Any]:
    node = _at(raw, *path)
    return {str(key): value for key, value in node.items()} if isinstance(node, Mapping) else {}


def _names(raw: Mapping[str, Any], *path: str) -> list[str]:
    """The names in the list at a path; entries that are no names are mistakes of the schema."""
    node = _at(raw, *path)
    return [name for name in node if isinstance(name, str)] if isinstance(node, (list, tuple)) else []


def _undefined_inits(raw: Mapping[str, Any]) -> list[Problem]:
    defined = _section(raw, "inits")
    remedy = f"Define it under inits, or choose from: {', '.join(defined) or 'none defined'}"
    return [
        Problem("config key grid.inits", f"init {init!r} is not defined", remedy)
        for init in _names(raw, "grid", "inits")
        if init not in defined
    ]


def _incomplete_inits(raw: Mapping[str, Any]) -> list[Problem]:
    """Inits of the grid that pre-train on a corpus, without the corpus or how to train on it."""
    return [
        Problem(f"config key inits.{init}.{key}", "is missing", "source 'corpus' needs it")
        for init in _names(raw, "grid", "inits")
        if _at(raw, "inits", init, "source") == "corpus"
        for key in ("corpus", "training")
        if not _at(raw, "inits", init, key)
    ]


def _effects_outside_grid(raw: Mapping[str, Any]) -> list[Problem]:
    inits, key = _names(raw, "grid", "inits"), "config key statistics.pretraining_effect"
    return [
        Problem(key, f"init {init!r} is not in grid.inits", "Name two inits of the grid, or write null")
        for init in _names(raw, "statistics", "pretraining_effect")
        if inits and init not in inits
    ]


def _modalities_outside_cohort(raw: Mapping[str, Any]) -> list[Problem]:
    """Modalities of the grid without pictures; where a name is none of a modality, the schema tells that alone."""
    found = _names(raw, "cohort", "modalities")
    if not set(found) <= set(MODALITIES):
        return []
    return [
        Problem(
            "config key grid.modalities",
            f"{modality!r} is not among cohort.modalities",
            f"Choose from: {', '.join(found)}",
        )
        for modality in _names(raw, "grid", "modalities")
        if found and modality in MODALITIES and modality not in found
    ]


def _cohorts(raw: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The cohort and the corpora of all inits that have one, by key."""
    corpora = (init for init in _section(raw, "inits") if _at(raw, "inits", init, "source") == "corpus")
    paths = [("cohort",), *(("inits", init, "corpus") for init in corpora)]
    found = {".".join(path): _at(raw, *path) for path in paths}
    return {key: cohort for key, cohort in found.items() if isinstance(cohort, Mapping)}


def _about_cohort(raw: Mapping[str, Any], key: str, cohort: Mapping[str, Any]) -> list[Problem]:
    """Contradictions inside one cohort, and between it and the results folder."""
    reader = str(cohort.get("reader"))
    section = READER_SECTIONS.get(reader)
    if section is not None and not isinstance(cohort.get(reader), Mapping):
        if cohort.get(reader) is not None:
            return []  # what is there instead is a mistake of the schema
        return [Problem(f"config key {key}.{reader}", "is missing", f"reader {reader!r} needs it; {SHIPPED}")]
    contradictions = [] if section is None else section.contradictions(key, cohort)
    return [*contradictions, *_apart_from_results(key, cohort, _at(raw, "results") or "results")]


def _folds_by_replaced_ids(raw: Mapping[str, Any]) -> list[Problem]:
    if not (_at(raw, "cohort", "pseudonym_key") and _at(raw, "splits", "official")):
        return []
    what = "names images by ids that cohort.pseudonym_key replaces"
    return [Problem("config key splits.official", what, "Write null to draw folds, or take the key out")]


def _apart_from_results(key: str, cohort: Mapping[str, Any], results: Any) -> list[Problem]:
    """A key beside what it protects would protect nothing; source pictures inside results could be overwritten."""
    problems = Problems()
    folder = _resolved(results)
    file = cohort.get("pseudonym_key")
    if file and _resolved(file).is_relative_to(folder):
        what = f"{file} lies inside {results}, which is copied and shared with its pseudonyms"
        problems.add(f"config key {key}.pseudonym_key", what, "Keep the key in another folder")
    reader = str(cohort.get("reader"))
    source = cohort.get(reader)
    root = source.get("root") if isinstance(source, Mapping) else None
    if root and _resolved(root).is_relative_to(folder):
        what = f"{root} lies inside {results}, where files are made and removed"
        problems.add(f"config key {key}.{reader}.root", what, "Keep source pictures in another folder")
    return problems.found


def _results_around_the_workflow(raw: Mapping[str, Any]) -> list[Problem]:
    """Results that would be the working folder, in which the workflow lies, or lie around it."""
    results = _at(raw, "results")
    if results is None or not Path.cwd().is_relative_to(_resolved(results)):
        return []
    what = f"value {shown(results)}: is the folder in which the workflow lies, or one around it"
    return [Problem("config key results", what, "Name a folder for results alone, as results")]


def _resolved(path: object) -> Path:
    """A path without links and dots, as far as links lead anywhere; what is no path is a mistake of the schema."""
    return Path(os.path.realpath(str(path).replace("\0", "")))


def _same_panels(backbones: list[str], inits: list[str]) -> list[Problem]:
    """Pairs of backbone and init whose Grad-CAM panels, gradcam_{backbone}_{init}, would be one file."""
    stems = Counter(f"{backbone}_{init}" for backbone in set(backbones) for init in set(inits))
    what = "two pairs of backbone and init have this as their common name"
    return [
        Problem("config key grid.inits", f"{stem!r}: {what}", "Rename an init")
        for stem, count in stems.items()
        if count > 1
    ]


def _missing_files(study: Study) -> list[Problem]:
    """Files and folders that the config names and that are not there."""
    problems = Problems()
    cohorts = {"cohort": study.cohort}
    for name in study.grid.inits:
        init = study.inits[name]
        if init.source == "corpus" and init.corpus is not None:
            cohorts[f"inits.{name}.corpus"] = init.corpus
        for backbone, weights in init.files.items() if init.source == "timm" else ():
            if not weights.is_file():
                problems.add(
                    f"config key inits.{name}.files.{backbone}",
                    f"there is no file {weights}",
                    "Correct the path, or remove the entry to take the weights from the hub",
                )
    for key, cohort in cohorts.items():
        problems.found.extend(cohort.source.missing_files(f"{key}.{cohort.reader}"))
        if cohort.pseudonym_key is not None and not cohort.pseudonym_key.is_file():
            make = f"Make one: (umask 077; openssl rand -hex 32 > {cohort.pseudonym_key})"
            problems.add(f"config key {key}.pseudonym_key", f"there is no file {cohort.pseudonym_key}", make)
    official = study.splits.official
    if official is not None and not official.file.is_file():
        problems.add(
            "config key splits.official.file",
            f"there is no file {official.file}",
            "Correct the path, or write null to draw folds",
        )
    return problems.found


def _unwritable_results(results: Path) -> list[Problem]:
    """Why nothing can be written into the results folder, which may not be there yet."""
    there = next(path for path in (results, *results.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return []
    what = f"nothing can be written into {results}: {there} is {'read-only' if there.is_dir() else 'not a folder'}"
    return [Problem("config key results", what, "Name another folder, or make this one writable")]
