"""Which keys of config.yaml each stage depends on, and the part of a study that has these keys alone.

Rules pass that part to `--study`, so an edited key reruns exactly the stages that name it here. In the part, reading
any other key raises AttributeError: a stage cannot depend on a key that it does not name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sonogrid.config.base import Section
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.readers import READER_SECTIONS
from sonogrid.config.schema_mistakes import as_problems
from sonogrid.config.study import Study
from sonogrid.problems import InputError, Problem

_DECODED = tuple(f"images.{row.name}" for row in MODALITIES.values() if row.measurement is not None)

_WHOSE = ("cohort.classes", "cohort.reader", "cohort.{reader}.patients_known")
"""Classes, and whether the source says which images are of one patient."""

NEEDS: dict[str, tuple[str, ...]] = {
    "cohort": ("results", "seed", "cohort"),
    "corpus_cohort": ("results", "seed", "inits.{init}.corpus"),
    "images": ("results", "images.size", "images.{modality}", "cohort.layouts"),
    "corpus_images": ("results", "images.size", "images.{modality}", "inits.{init}.corpus.layouts"),
    "splits": ("results", "seed", "splits"),
    "audit": (
        *("results", "seed", "audit", *_WHOSE),
        *("grid.modalities", *_DECODED),
    ),
    "corpus_audit": (
        *("results", "seed", "audit", *_WHOSE),
        *("grid.modalities", *_DECODED, "inits.{init}.corpus.modalities"),
    ),
    "pretrain": (
        *("results", "seed", "images.size", "images.input_size.{backbone}", "splits.inner_fraction"),
        *("inits.{init}.corpus.classes", "inits.{init}.corpus.modalities", "inits.{init}.training"),
    ),
    "train": (
        *("results", "seed", "cohort.classes", "images.size", "images.input_size.{backbone}", "training"),
        *("inits.{init}.source", "inits.{init}.files.{backbone}"),
    ),
    "rates": ("results", "seed", "cohort.classes", "images", "training", "inits", "grid"),
    "evaluate": ("results", "seed", "cohort.classes", "grid", "splits.folds", "statistics"),
    "explain": ("results", "cohort.classes", "grid.modalities", "grid.seeds", "splits.folds", "explain", "figures"),
    "tables": (
        *("study", "results", *_WHOSE),
        *("grid", "splits.folds", "statistics"),
    ),
    "figures": ("results", "cohort.classes", "grid", "splits.folds", "statistics.pretraining_effect", "figures"),
    "report": (
        *("study", "results", *_WHOSE),
        *("grid", "splits", "statistics", "explain", "figures"),
    ),
}
"""Stage -> keys. A name in braces is that of an axis, for the values that a job is about, or the study's reader; a key
that this config does not have (a backbone without an input size of its own) is left out."""

KeyPath = tuple[str, ...]
"""Keys from the top of a study to a value."""
Tree = Mapping[str, Any]
"""Nested keys; a leaf is an empty mapping and means the key with everything in it."""


def of_corpus(stage: str, init: str | None) -> str:
    """Return the name under which a stage's needs are listed when it is about the corpus of an init."""
    return stage if init is None else f"corpus_{stage}"


class Parts:
    """The parts of one study, by stage."""

    def __init__(self, study: Study) -> None:
        self._content = study.model_dump(mode="json")
        corpora = (init["corpus"] for init in self._content["inits"].values() if init["corpus"] is not None)
        for cohort in (self._content["cohort"], *corpora):
            # So that editing the section of a reader that is not chosen reruns nothing.
            for reader in set(READER_SECTIONS) - {cohort["reader"]}:
                del cohort[reader]

    def json(self, stage: str, **axes: Sequence[str]) -> str:
        """Return the part that a stage depends on as JSON; equal parts are equal texts.

        `axes` gives the values for the names in braces, as `init=["scratch"]`.
        """
        named = axes | {"reader": [self._content["cohort"]["reader"]]}
        picked = _picked(self._content, _tree(_filled(NEEDS[stage], named)))
        return json.dumps(picked, sort_keys=True, ensure_ascii=False, allow_nan=False)


def parse_part(text: str | bytes) -> Study:
    """Return the part of a study that `Parts.json` wrote; reading a key that is not in it raises AttributeError.

    Raises InputError for text that is not JSON, for unknown keys and for values that the config would not take.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is not a mapping of keys")
        part: Study = _constructed(Study, content, ())
    except RecursionError:
        raise _no_part("it is nested too deep") from None
    except ValueError as error:
        raise _no_part(str(error)) from None
    return part


def _no_part(reason: str) -> InputError:
    what = f"is not part of a configuration as JSON ({reason})"
    return InputError([Problem("--study", what, "Take it from `snakemake -n -p`, or use --config")])


def _filled(keys: Iterable[str], axes: Mapping[str, Sequence[str]]) -> list[str]:
    filled = []
    for key in keys:
        names = list(dict.fromkeys(re.findall(r"{(\w+)}", key)))
        for values in product(*(axes[name] for name in names)):
            # A value may hold dots, as timm's names with a tag do: the separator is another character.
            text = key.replace(".", "\0")
            for name, value in zip(names, values, strict=True):
                text = text.replace(f"{{{name}}}", value)
            filled.append(text)
    return filled


def _tree(keys: Iterable[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key in keys:
        node = tree
        for part in key.split("\0"):
            node = node.setdefault(part, {})
    return tree


def _picked(content: Any, tree: Tree) -> Any:
    if not tree or content is None:
        return content
    return {key: _picked(content[key], below) for key, below in tree.items() if key in content}


def _constructed(section: type[Section], content: Mapping[str, Any], path: KeyPath) -> Any:
    unknown = sorted(set(content) - set(section.model_fields))
    if unknown:
        raise ValueError(f"unknown keys {', '.join('.'.join((*path, key)) for key in unknown)}")
    values = {name: _value(section.model_fields[name], value, (*path, name)) for name, value in content.items()}
    part = section.model_construct(_fields_set=set(values), **values)
    for name in set(section.model_fields) - set(values):
        part.__dict__.pop(name, None)
    return part


def _value(field: FieldInfo, value: Any, path: KeyPath) -> Any:
    """A whole value is checked by its type; what is a part of a section becomes a part again."""
    annotation: Any = field.annotation
    section = next((kind for kind in (annotation, *get_args(annotation)) if _is_section(kind)), None)
    if section is not None and isinstance(value, Mapping) and get_origin(annotation) is not dict:
        return _whole_or_part(section, value, path)
    if section is not None and isinstance(value, Mapping):
        return {key: _whole_or_part(section, below, (*path, key)) for key, below in value.items()}
    return _checked(Annotated[annotation, *field.metadata] if field.metadata else annotation, value, path)


def _whole_or_part(section: type[Section], value: Any, path: KeyPath) -> Any:
    if isinstance(value, Mapping) and set(value) != set(section.model_fields):
        return _constructed(section, value, path)
    return _checked(section, value, path)


def _checked(kind: Any, value: Any, path: KeyPath) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise InputError(as_problems(error, what=f"--study key {'.'.join(path)}")) from None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
