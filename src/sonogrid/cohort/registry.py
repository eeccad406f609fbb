"""All readers by name. A new one is an entry here and one in config/readers.py.

Readers are named as text, so that a study pays only for the start-up of its own, and needs only its own packages.
"""

from __future__ import annotations

import functools
from importlib import import_module

from sonogrid.cohort.picture_files import PICTURES, PictureFiles
from sonogrid.cohort.reader import Decoder, Reader
from sonogrid.cohort.sources import READ_AGAIN
from sonogrid.problems import InputError, Problem

READERS = {
    "phantom": "sonogrid.cohort.phantom.reader:PhantomReader",
    "folders": "sonogrid.cohort.folders:FoldersReader",
    "table": "sonogrid.cohort.table:TableReader",
    "dicom": "sonogrid.cohort.dicom:DicomReader",
}
"""Name of a reader -> its module and class."""


@functools.cache
def reader_of(name: str) -> Reader:
    """Return the reader that the config names. Raise KeyError if there is none."""
    module, _, kind = READERS[name].partition(":")
    reader: Reader = getattr(import_module(module), kind)()
    return reader


def decoder_of(name: str) -> Decoder:
    """Return what decodes pictures of which a manifest names this decoder. Raise InputError if there is none."""
    if name == PICTURES:
        return PictureFiles()
    if name not in READERS:
        what = "is not known; the manifest was made by another version of sonogrid"
        raise InputError([Problem(f"decoder {name!r}", what, READ_AGAIN)])
    return reader_of(name)
