"""Speckle as physics makes it: scatterers, a point-spread function, envelope detection, log compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

ViewMap = NDArray[np.float32]
"""One number for each pixel of a view, or three."""


@dataclass(frozen=True)
class PointSpread:
    """A Gaussian point-spread function; widths are standard deviations in mm.

    The beam is narrowest, `lateral_mm`, at the depth `focus_mm` and `widening` mm wider for each mm away from it.
    """

    axial_mm: float = 0.13
    lateral_mm: float = 0.24
    focus_mm: float = 16.0
    widening: float = 0.010

    def lateral_at(self, depth_mm: ViewMap) -> ViewMap:
        """Lateral standard deviation in mm at each depth."""
        return np.asarray(self.lateral_mm + self.widening * np.abs(depth_mm - self.focus_mm), dtype=np.float32)


def echo_envelope(level_db: ViewMap, mm_per_pixel: float, psf: PointSpread, rng: np.random.Generator) -> ViewMap:
    """Envelope of the echoes of random scatterers whose mean power is 10 ** (level_db / 10), rows along depth.

    Every pixel holds one scatterer somewhere within its depth. At 7.5 MHz a pixel of 0.1 mm is a whole cycle of the
    round trip, so the echo's phase is uniform; some tens of scatterers share a resolution cell and the envelope of a
    homogeneous region follows the Rayleigh law, with mean / sd = sqrt(pi / (4 - pi)) = 1.91 (Wagner et al. 1983,
    doi:10.1109/T-SU.1983.31404). The widths of the point-spread function leave the mean power unchanged.
    """
    height, width = level_db.shape
    axial = psf.axial_mm / mm_per_pixel
    lateral = psf.lateral_at(np.arange(height, dtype=np.float32) * mm_per_pixel) / mm_per_pixel
    pad = int(np.ceil(3 * max(axial, float(lateral.max()))))
    rows, columns = (scipy.fft.next_fast_len(side + 2 * pad) for side in (height, width))
    around = ((pad, rows - height - pad), (pad, columns - width - pad))
    amplitude = np.pad(np.power(np.float32(10.0), level_db * np.float32(0.05)), around, mode="edge")
    phase = rng.random((rows, columns), dtype=np.float32) * np.float32(2 * np.pi)
    echoes = amplitude * (np.cos(phase) + np.complex64(1j) * np.sin(phase))
    blurred = _blur(echoes, np.full(columns, axial, dtype=np.float32), axis=0)[pad : pad + height]
    blurred = _blur(blurred, lateral, axis=1)[:, pad : pad + width]
    return np.abs(blurred)


def _blur(field: NDArray[np.complex64], sigma: ViewMap, axis: int) -> NDArray[np.complex64]:
    """Convolve each line along `axis` with a Gaussian of its own width (pixels), scaled to unit energy."""
    frequency = scipy.fft.fftfreq(field.shape[axis]).astype(np.float32)
    exponent = np.float32(-2 * np.pi**2) * (frequency[:, None] * sigma[None, :]) ** 2
    transfer = np.exp(exponent) * np.sqrt(2 * np.sqrt(np.float32(np.pi)) * sigma)[None, :]
    if axis == 1:
        transfer = transfer.T
    return np.asarray(scipy.fft.ifft(scipy.fft.fft(field, axis=axis) * transfer, axis=axis, overwrite_x=True))


def log_compress(envelope: ViewMap, gain_db: float, dynamic_range_db: float) -> ViewMap:
    """Grey level in 0..1: an echo of -gain_db is white, one dynamic range below it black."""
    db = 20 * np.log10(np.maximum(envelope, np.float32(1e-6)))
    grey: ViewMap = np.clip((db + np.float32(gain_db)) / np.float32(dynamic_range_db) + 1, 0, 1)
    return grey
