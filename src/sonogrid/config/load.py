"""What can be wrong with a configuration, found before anything runs and told all at once."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sonogrid.config.augment_contract import OFFERED, why_not_offered
from sonogrid.config.base import Section
from sonogrid.config.readers import READER_SECTIONS
from sonogrid.config.study import Study
from sonogrid.files import read_yaml
from sonogrid.problems import Problem, Problems

SHIPPED = "see the commented config.yaml that ships with sonogrid"


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


def as_problems(
    error: ValidationError, section: type[Section] = Study, what: str = "config key", help_text: str = SHIPPED
) -> list[Problem]:
    """What pydantic found, each with its key (`what` says of which file), the value, and what is allowed."""
    details = error.errors(include_url=False)
    parents = {detail["loc"][:-1] for detail in details}
    # A list of wrong entries counts as too short as well, which says nothing new.
    told = [one for one in details if one["type"] != "too_short" or one["loc"] not in parents]
    return [_as_problem(one, section, what, help_text) for one in told]


def _as_problem(detail: Any, section: type[Section], what: str, help_text: str) -> Problem:
    key = ".".join(str(part) for part in detail["loc"])
    where = f"{what} {key}".strip()
    if detail["type"] == "extra_forbidden":
        refused = why_not_offered(str(detail["loc"][-1])) if detail["loc"][-2:-1] == ("augment",) else None
        if refused:
            return Problem(where, refused, f"Take it out; offered are {', '.join(OFFERED)}")
        known = _fields_at(section, detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return Problem(where, "is not known", f"{hint}Allowed here: {', '.join(known)}")
    if detail["type"] == "missing":
        return Problem(where, "is missing", f"Add it; {help_text}")
    reason = detail["msg"].removeprefix("Value error, ")
    return Problem(where, f"value {detail['input']!r}: {reason}", f"Change it; {help_text}")


def _fields_at(section: type[Section], location: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a location such as ('inits', 'pretrained', 'corpus')."""
    schema: dict[str, Any] = section.model_json_schema()
    definitions, node = schema.get("$defs", {}), schema
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
    problems.found.extend(_same_panels(listed("grid", "backbones"), listed("grid", "inits")))
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
        reader, key = str(cohort.get("reader")), ".".join(path)
        if reader in READER_SECTIONS and not isinstance(cohort.get(reader), Mapping):
            problems.add(f"config key {key}.{reader}", "is missing", f"reader {reader!r} needs it; {SHIPPED}")
            continue
        if reader in READER_SECTIONS:
            problems.found.extend(READER_SECTIONS[reader].contradictions(key, cohort))
        problems.found.extend(_apart_from_results(key, cohort, section("results") or "results"))
    if section("cohort", "pseudonym_key") and section("splits", "official"):
        what = "names images by ids that cohort.pseudonym_key replaces"
        problems.add("config key splits.official", what, "Write null to draw folds, or take the key out")
    return problems.found


def _apart_from_results(key: str, cohort: Mapping[str, Any], results: Any) -> list[Problem]:
    """A key beside what it protects would protect nothing; source pictures inside results could be overwritten."""
    problems = Problems()
    folder = Path(str(results)).resolve()
    file = cohort.get("pseudonym_key")
    if file and Path(str(file)).resolve().is_relative_to(folder):
        what = f"{file} lies inside {results}, which is copied and shared with its pseudonyms"
        problems.add(f"config key {key}.pseudonym_key", what, "Keep the key in another folder")
    reader = str(cohort.get("reader"))
    source = cohort.get(reader)
    root = source.get("root") if isinstance(source, Mapping) else None
    if root and Path(str(root)).resolve().is_relative_to(folder):
        what = f"{root} lies inside {results}, where files are made and removed"
        problems.add(f"config key {key}.{reader}.root", what, "Keep source pictures in another folder")
    return problems.found


def _same_panels(backbones: list[Any], inits: list[Any]) -> list[Problem]:
    """Pairs of backbone and init whose Grad-CAM panels, gradcam_{backbone}_{init}, would be one file."""
    stems = Counter(f"{backbone}_{init}" for backbone in set(map(str, backbones)) for init in set(map(str, inits)))
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
