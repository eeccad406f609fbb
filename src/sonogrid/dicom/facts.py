"""What a DICOM file says about its pictures, read without the pixels and without an identifier but the patient's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sonogrid.arrays import Box
from sonogrid.config.base import Modality
from sonogrid.dicom.form import PixelForm, read_form
from sonogrid.dicom.header import DAMAGE, Header, integer, read_header, text, value
from sonogrid.dicom.regions import COLOUR_FLOW, TISSUE, Region, agreed_spacing, hull, read_regions, views
from sonogrid.dicom.spacing import is_spacing

_TWO_DIMENSIONAL, _FLOW, _OTHER_MODES = 0x0001, 0x0010 | 0x0100, 0x0002 | 0x0004 | 0x0008 | 0x0020 | 0x0040 | 0x0200
"""Bits of the fourth value of Image Type (PS3.3 C.8.5.6.1.1): 2D; colour Doppler and colour power; all others that
tell of a mode (M-mode, CW and PW Doppler, colour M-mode, 3D, tissue characterisation)."""


@dataclass(frozen=True)
class HeaderFacts:
    """Frames, size in pixels, views and their hull `scan`, mm per pixel along (x, y), modality and device.

    None, or no regions, where the file does not say it. `notes` tell of regions that were dropped. `patient_id` is the
    one identifier that is read; it is in no repr, and whoever takes it must keep it out of files and messages.
    """

    frames: int
    width: int
    height: int
    regions: tuple[Region, ...]
    views: tuple[Box, ...]
    scan: Box | None
    mm_per_pixel: tuple[float, float] | None
    modality: Modality | None
    device: str
    notes: tuple[str, ...]
    patient_id: str = field(repr=False)


def read_facts(path: Path) -> HeaderFacts:
    """Read what the header says. Raises InputError with one problem for a file of which read_frame cannot read any
    frame because of its header, or whose regions all lie outside the pixels or are not 2D."""
    header = read_header(path)
    form, _ = read_form(header)
    regions, notes = read_regions(header, form.columns, form.rows)
    boxes = views(regions)
    return HeaderFacts(
        frames=form.frames,
        width=form.columns,
        height=form.rows,
        regions=regions,
        views=boxes,
        scan=hull(boxes) if boxes else None,
        # Pixel Spacing is of the whole picture; where regions were dropped, it may be of a larger one, too.
        mm_per_pixel=agreed_spacing(regions) if regions or notes else _pixel_spacing(header),
        modality=_modality(header, form, regions),
        device=f"{_plain(header, 'Manufacturer')} {_plain(header, 'ManufacturerModelName')}".strip(),
        notes=notes,
        patient_id=text(header, "PatientID"),
    )


def _plain(header: Header, keyword: str) -> str:
    """One line of printable text with single spaces."""
    return " ".join("".join(one if one.isprintable() else " " for one in text(header, keyword)).split())


def _modality(header: Header, form: PixelForm, regions: Sequence[Region]) -> Modality | None:
    """The modality where it is certain.

    cdfi: a 2D region of colour flow, or colour Doppler or colour power in the fourth value of Image Type. elastography:
    a value of Image Type that begins with ELAST; the standard has no code for it, and scanners export elastograms as
    2D tissue in colour. So bmode only where there is 2D tissue without colour: grey pixels, or Ultrasound Color Data
    Present (0028,0014) is 0. That it is 1 says little: scanners set it for a coloured frame around a grey scan.
    """
    image_type = _image_type(header)
    bits = _mode_bits(image_type)
    if any(one.startswith("ELAST") for one in image_type):
        return "elastography"
    if any(region.data_type == COLOUR_FLOW for region in regions) or bits & _FLOW:
        return "cdfi"
    tissue = all(region.data_type == TISSUE for region in regions) if regions else bool(bits & _TWO_DIMENSIONAL)
    grey = form.photometric.startswith("MONOCHROME") or integer(header, "UltrasoundColorDataPresent", 1) == 0
    return "bmode" if tissue and grey and not bits & _OTHER_MODES else None


def _image_type(header: Header) -> list[str]:
    found = value(header, "ImageType")
    return [str(one).upper() for one in ([found] if isinstance(found, str) else found or [])]


def _mode_bits(image_type: Sequence[str]) -> int:
    try:
        return int(image_type[3], 16) if len(image_type) > 3 and len(image_type[3]) == 4 else 0
    except ValueError:
        return 0


def _pixel_spacing(header: Header) -> tuple[float, float] | None:
    """Pixel Spacing (0028,0030), which tells rows (y) first. Imager Pixel Spacing is of X-ray detectors, not used."""
    try:
        y, x = (float(one) for one in value(header, "PixelSpacing") or ())
    except DAMAGE:
        return None
    return (x, y) if is_spacing(x, y) else None
