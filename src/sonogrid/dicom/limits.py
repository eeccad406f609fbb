"""How large a DICOM file and its parts may be; all are far above what a scanner exports.

A limit decides which files are refused, so this module is in the digest of decoders: with a lower limit, a file that
was looked at before has to be refused too. What only bounds the machine's part is in `allowance.py`.
"""

from __future__ import annotations

MAX_FILE_BYTES = 4 * 2**30
"""A file; it is never read wholly."""
MAX_HEADER_BYTES = 16 * 2**20
"""What is read of everything before the pixels; values that are not needed are skipped and do not count."""
MAX_HEADER_READS = 60_000
"""Read calls for the header or the list of fragments: two or three for every element, item and fragment."""
MAX_VALUE_BYTES = 2**20
"""One value that is needed, as a palette or the list of regions."""
MAX_FRAME_PIXELS = 4096 * 4096
"""Rows x columns."""
MAX_FRAMES = 20_000
MAX_FRAME_BYTES = 128 * 2**20
"""One frame as it is stored: above 4096 x 4096 pixels of three 16-bit samples."""
MAX_SCANS = 64
"""Scans of one JPEG frame: a picture of a few bytes a scan could keep a decoder busy for hours."""
MAX_TILES = 4096
"""Tiles of one JPEG 2000 frame: each costs kilobytes however small it is."""
