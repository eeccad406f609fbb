"""The `cohort` section of config.yaml: classes and modalities, the reader, and how a picture is framed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from sonogrid.config.base import NOT_BOOLEAN, Classes, Modalities, Modality, Section, WholeNumber
from sonogrid.config.readers import READER_SECTIONS, ReaderSection

if TYPE_CHECKING:
    ReaderName = str
    _ReaderSections = Section
else:
    ReaderName = Literal[tuple(READER_SECTIONS)]
    _ReaderSections = create_model(
        "_ReaderSections",
        __base__=Section,
        **{name: (section | None, None) for name, section in READER_SECTIONS.items()},
    )


def _box(corners: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = corners
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ValueError("must be [x0, y0, x1, y1] with 0 <= x0 < x1 and 0 <= y0 < y1")
    return corners


BoxOnScreen = Annotated[tuple[WholeNumber, WholeNumber, WholeNumber, WholeNumber], AfterValidator(_box)]


class ScreenLayout(Section):
    """What is where on the screen of one device; what is left out is detected."""

    @model_validator(mode="after")
    def _says_something(self) -> ScreenLayout:
        if self.views is not None and self.views[0] == self.views[1]:
            raise ValueError("both views show one modality; a dual view shows two")
        if self.at is not None and self.views is None:
            raise ValueError("`at` says where the second view begins; say which they are: views: [bmode, elastography]")
        if not self.model_fields_set:
            raise ValueError("is empty: say what is where, or take the device out")
        return self

    scan: BoxOnScreen | None = Field(
        None, description="scan area [x0, y0, x1, y1] in pixels, half open, both views of a dual view"
    )
    views: tuple[Modality, Modality] | None = Field(
        None, description="which modality the left (or upper) view of a dual view shows, and which the other"
    )
    direction: Literal["side_by_side", "stacked"] = "side_by_side"
    at: Annotated[float, Field(gt=0.0, lt=1.0), NOT_BOOLEAN] | None = Field(
        None, description="where the second view begins, as a share of the scan area"
    )
    colour_bar: BoxOnScreen | None = Field(
        None, description="the colour bar [x0, y0, x1, y1] in pixels, half open, without its outline"
    )
    high_end: Literal["top", "bottom"] = Field(
        "top", description="which end of the colour bar is hard, or flow towards the probe; top is right if it lies"
    )


class CohortConfig(_ReaderSections):
    """Patients and pictures: which reader, what it reads, and the classes and modalities it must find."""

    classes: Classes = Field(description="class names, in the order of the logits")
    modalities: Modalities
    reader: ReaderName
    burned_in_text: Literal["mask", "keep"] = Field(
        "mask",
        description="mask: text inside the scan area is found by OCR and blackened; keep: there is none. "
        "Left out: keep for simulated pictures, mask for all others",
    )
    dual_view: Literal["split", "keep"] = Field(
        "split", description="split: of two views in one picture, the one that shows the modality is used; keep: both"
    )
    layouts: dict[str, ScreenLayout] = Field(
        default_factory=dict, description="device as the manifest names it, or '*' for all others -> its layout"
    )
    pseudonym_key: Path | None = Field(
        None, description="file outside results with the key by which ids become pseudonyms; null: ids are kept"
    )

    @model_validator(mode="before")
    @classmethod
    def _text_by_reader(cls, raw: Any) -> Any:
        """Left out, the key follows the reader: a study for real pictures must not inherit what simulated ones need."""
        if isinstance(raw, dict) and "burned_in_text" not in raw and _is_simulated(raw.get("reader")):
            return raw | {"burned_in_text": "keep"}
        return raw

    @property
    def source(self) -> ReaderSection:
        """The section of the chosen reader; load_study has made sure that it is there."""
        source: ReaderSection | None = getattr(self, self.reader)
        assert source is not None
        return source

    @property
    def simulated(self) -> bool:
        """Whether the reader simulates its patients."""
        return READER_SECTIONS[self.reader].simulated

    @property
    def source_files(self) -> list[str]:
        """Files whose change makes the cohort another one; the pictures themselves are too many to watch."""
        section: ReaderSection | None = getattr(self, self.reader)
        key = [] if self.pseudonym_key is None else [self.pseudonym_key]
        return [str(file) for file in (*key, *(() if section is None else section.watched_files()))]

    def used(self) -> CohortConfig:
        """The same without the sections of readers that are not chosen, so that editing those reruns nothing."""
        return self.model_copy(update={reader: None for reader in READER_SECTIONS if reader != self.reader})


def _is_simulated(reader: object) -> bool:
    return isinstance(reader, str) and reader in READER_SECTIONS and READER_SECTIONS[reader].simulated
