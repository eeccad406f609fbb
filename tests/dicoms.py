"""Simulated DICOM files of every coding that is read, and pydicom's own view of a file as the known answer."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_encoder, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
LOSSLESS = (RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
IDENTIFIERS = {
    "PatientName": "Doe^Wilhelmina",
    "PatientID": "MRN-4711-0815",
    "PatientBirthDate": "19630229",
    "PatientAddress": "12 Elm Street",
    "InstitutionName": "St Elsewhere Hospital",
    "ReferringPhysicianName": "Strangelove^Peter",
    "AccessionNumber": "ACC998877",
    "StudyDate": "20240131",
    "StationName": "ROOM7SCANNER",
    "StudyDescription": "Neck of Wilhelmina",
    "SeriesDescription": "Doe node left",
    "OperatorsName": "Ratched^Mildred",
    "OtherPatientIDs": "SSN-078-05-1120",
    "DeviceSerialNumber": "SN-556677",
}
"""Simulated identifiers, none of which may leave the header."""


def scene(height: int = 24, width: int = 32, samples: int = 3, seed: int = 0, bits: int = 8) -> np.ndarray:
    """A simulated picture of smooth ramps and noise that uses the whole range of its bits."""
    top = 2**bits - 1
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x * top // max(1, width - 1), y * top // max(1, height - 1), (x + y) * 37 % (top + 1)], axis=-1)
    random = np.random.default_rng(seed)
    ramps[height // 3 : height // 2] = random.integers(0, top + 1, ramps[height // 3 : height // 2].shape)
    picture = ramps.astype(np.uint8 if bits <= 8 else np.uint16)
    return picture if samples == 3 else picture[..., 2]


def region(
    box: Sequence[int], spatial: int = 1, data: int = 1, cm: Sequence[float] = (0.02, 0.02), unit: int = 3
) -> Dataset:
    """An item of Sequence of Ultrasound Regions; the box is (x0, y0, x1, y1) as the standard counts, both inside."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial, data, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[0], box[1]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2], box[3]
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
    item.PhysicalDeltaX, item.PhysicalDeltaY = cm[0], cm[1]
    return item


def palette_elements(colours: np.ndarray, bits: int = 16, first: int = 0, big: bool = False) -> dict[str, Any]:
    """Elements of a palette of N x 3 values; entries of 8 bits are packed two a word."""
    elements: dict[str, Any] = {}
    for index, name in enumerate(("Red", "Green", "Blue")):
        column = np.ascontiguousarray(colours[:, index])
        data = column.astype(">u2" if big else "<u2").tobytes()
        if bits == 8:
            packed = np.append(column.astype(np.uint8), np.zeros(len(column) % 2, np.uint8))
            data = (packed.view("<u2").astype(">u2") if big else packed).tobytes()
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [len(colours) % 2**16, first, bits]
        elements[f"{name}PaletteColorLookupTableData"] = data
    return elements


def write(
    path: Path,
    frames: np.ndarray | Sequence[bytes],
    syntax: str = ExplicitVRLittleEndian,
    photometric: str | None = None,
    regions: Sequence[Dataset] = (),
    shape: tuple[int, int, int] | None = None,
    drop: Sequence[str] = (),
    **elements: Any,
) -> Path:
    """Save frames, H x W (x 3) or F x H x W (x 3) or codestreams of `shape` (rows, columns, samples), as DICOM.

    Samples are stored as they are: they are not converted to `photometric`, which only names what they are. Elements
    are set last, by keyword, so that a test can make any of them wrong; those in `drop` are left out.
    """
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid(entropy_srcs=[str(path)])
    data.Modality = "US"
    wide = False
    if isinstance(frames, np.ndarray):
        colour = frames.shape[-1] == 3 and (photometric is None or photometric[:3] in ("RGB", "YBR"))
        stack = frames.reshape(-1, *frames.shape[-3:]) if colour else frames.reshape(-1, *frames.shape[-2:])
        rows, columns = stack.shape[1:3]
        samples, count, wide = 3 if colour else 1, len(stack), frames.dtype.itemsize == 2
        data.PixelRepresentation = int(frames.dtype.kind == "i")
    else:
        assert shape is not None
        (rows, columns, samples), count, data.PixelRepresentation = shape, len(frames), 0
    data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, samples
    data.PhotometricInterpretation = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
    data.BitsAllocated = data.BitsStored = 16 if wide else 8
    data.HighBit = data.BitsStored - 1
    if samples == 3:
        data.PlanarConfiguration = 0
    if count > 1:
        data.NumberOfFrames = count
    if regions:
        data.SequenceOfUltrasoundRegions = list(regions)
    stored = dict(elements)
    planar = stored.get("PlanarConfiguration", 0)
    if not isinstance(frames, np.ndarray):
        data.PixelData = encapsulate(list(frames))
    elif syntax in NATIVE:
        ordered = np.moveaxis(stack, -1, 1) if samples == 3 and planar == 1 else stack
        data.PixelData = native(ordered, syntax)
    else:
        data.PixelData = encapsulate([encode(frame, syntax, data) for frame in stack])
    for keyword, one in stored.items():
        if keyword == "BitsStored":
            data.HighBit = max(0, one - 1)
        setattr(data, keyword, one)
    for keyword in drop:
        delattr(data, keyword)
    return save(data, path, syntax)


def native(frames: np.ndarray, syntax: str) -> bytes:
    """Bytes of Pixel Data without compression, padded to an even number."""
    big = syntax == ExplicitVRBigEndian
    # Written as OB where a sample has 8 bits, whose order of bytes does not depend on the syntax.
    raw = frames.astype(frames.dtype.newbyteorder(">" if big else "<")).tobytes()
    return raw + b"\0" * (len(raw) % 2)


def save(data: Dataset, path: Path, syntax: str) -> Path:
    """Save a data set with preamble and file meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = (
        data.SOPClassUID,
        data.SOPInstanceUID,
    )
    if "PixelData" in data:
        data["PixelData"].VR = "OW" if data.get("BitsAllocated") == 16 else "OB"
    data.save_as(path, enforce_file_format=True)
    return path


def encode(frame: np.ndarray, syntax: str, data: Dataset) -> bytes:
    """One frame as a codestream of a transfer syntax."""
    if syntax == RLELossless:
        encoder = get_encoder(RLELossless)
        described = {
            "rows": data.Rows,
            "columns": data.Columns,
            "samples_per_pixel": data.SamplesPerPixel,
            "photometric_interpretation": data.PhotometricInterpretation,
            "bits_allocated": data.BitsAllocated,
            "bits_stored": data.BitsStored,
            "pixel_representation": data.PixelRepresentation,
            "planar_configuration": 0,
            "number_of_frames": 1,
        }
        return encoder.encode(frame.tobytes(), encoding_plugin="pydicom", **described)
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return lossless_jpeg(frame, predictor=1 if syntax == JPEGLosslessSV1 else 4)
    if syntax == JPEGLSLossless:
        import jpeg_ls

        return bytes(jpeg_ls.encode_array(frame, interleave_mode=2 if frame.ndim == 3 else 0))
    if syntax == JPEG2000Lossless:
        mct = int(str(data.PhotometricInterpretation) == "YBR_RCT")
        return pillow_code(frame, "JPEG2000", irreversible=False, no_jp2=True, mct=mct)
    assert syntax == JPEGBaseline8Bit
    return pillow_code(frame, "JPEG", quality=90)


def pillow_code(frame: np.ndarray, kind: str, **options: Any) -> bytes:
    """A frame as Pillow codes it."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, kind, **options)
    return buffer.getvalue()


def lossless_jpeg(frame: np.ndarray, predictor: int = 1) -> bytes:
    """Lossless JPEG (ITU-T T.81, H.1), interleaved, with one Huffman table whose 17 codes have 5 bits each."""
    values = frame.reshape(*frame.shape[:2], -1).astype(np.int64)
    height, width, samples = values.shape
    bits = 8 * frame.dtype.itemsize
    left = np.roll(values, 1, axis=1)
    above = np.roll(values, 1, axis=0)
    corner = np.roll(left, 1, axis=0)
    guess = {1: left, 2: above, 3: corner, 4: left + above - corner, 5: left + (above - corner >> 1)}[predictor]
    guess[:, 0] = above[:, 0]
    guess[0] = left[0]
    guess[0, 0] = 2 ** (bits - 1)
    coded = []
    for difference in ((values - guess + 2**15) % 2**16 - 2**15).ravel().tolist():
        size = abs(difference).bit_length()
        coded.append(f"{size:05b}")
        if 0 < size < 16:
            coded.append(f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}")
    stream = "".join(coded)
    stream += "1" * (-len(stream) % 8)
    body = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    components = b"".join(bytes((1 + index, 0x11, 0)) for index in range(samples))
    scan = b"".join(bytes((1 + index, 0)) for index in range(samples))
    return b"".join(
        [
            b"\xff\xd8",
            b"\xff\xc3" + struct.pack(">HBHHB", 8 + 3 * samples, bits, height, width, samples) + components,
            b"\xff\xc4" + struct.pack(">HB", 19 + 17, 0) + bytes((0, 0, 0, 0, 17, *[0] * 11)) + bytes(range(17)),
            b"\xff\xda" + struct.pack(">HB", 6 + 2 * samples, samples) + scan + bytes((predictor, 0, 0)),
            body,
            b"\xff\xd9",
        ]
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom read samples that break the standard, of which it warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        yield


def by_pydicom(path: Path, frame: int = 0) -> np.ndarray:
    """The frame as pydicom converts it, brought to 8-bit RGB by the stated rule with the plainest arithmetic."""
    with quiet():
        data = dcmread(path)
        pixels = pixel_array(data, index=frame)
    photometric = data.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(pixels, data)
        return (colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)
    top = 2**data.BitsStored - 1
    if pixels.ndim == 3:
        return pixels if top == 255 else np.floor(pixels * 255.0 / top + 0.5).astype(np.uint8)
    shown = apply_voi_lut(apply_modality_lut(pixels, data), data).astype(np.float64)
    low, high = (-(top + 1) // 2, top // 2) if data.PixelRepresentation else (0, top)
    if data.get("VOILUTSequence"):
        low, high = 0, 2 ** data.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif data.get("ModalityLUTSequence"):
        low, high = 0, 2 ** data.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    elif "RescaleSlope" in data:
        low, high = (float(data.RescaleSlope * one + data.RescaleIntercept) for one in (low, high))
    grey = np.clip(np.floor((shown - low) * 255 / (high - low) + 0.5), 0, 255).astype(np.uint8)
    grey = 255 - grey if photometric == "MONOCHROME1" else grey
    return np.stack([grey] * 3, axis=-1)
