"""Simulated speckle against the known statistics of fully developed speckle."""

import math

import numpy as np
import pytest
from scipy.stats import kstest, rayleigh

from sonogrid.cohort.phantom.speckle import PointSpread, echo_envelope, log_compress

PIXEL = 0.1
PSF = PointSpread(axial_mm=0.15, lateral_mm=0.25, focus_mm=15.0, widening=0.0)


@pytest.fixture(scope="module")
def homogeneous():
    level = np.zeros((600, 600), dtype=np.float32)
    return echo_envelope(level, PIXEL, PSF, np.random.default_rng(1))


def test_envelope_of_a_homogeneous_region_is_rayleigh(homogeneous):
    ratio = homogeneous.mean() / homogeneous.std()
    assert ratio == pytest.approx(math.sqrt(math.pi / (4 - math.pi)), abs=0.03)
    assert ratio == pytest.approx(1.91, abs=0.03)
    # Far enough apart to be independent: more than 4 standard deviations of the point-spread function.
    apart = homogeneous[5::12, 5::20].ravel().astype(float)
    assert kstest(apart, rayleigh(scale=math.sqrt(0.5)).cdf).pvalue > 0.01


def test_mean_power_is_the_level_that_was_asked_for(homogeneous):
    assert np.mean(homogeneous**2) == pytest.approx(1.0, rel=0.04)
    level = np.full((400, 400), -20.0, dtype=np.float32)
    envelope = echo_envelope(level, PIXEL, PointSpread(), np.random.default_rng(2))
    assert 10 * np.log10(np.mean(envelope**2)) == pytest.approx(-20.0, abs=0.25)


def test_log_compressed_speckle_has_the_known_spread(homogeneous):
    # The decibels of a Rayleigh envelope spread by 10 / ln(10) * pi / sqrt(6) = 5.57 dB.
    grey = log_compress(homogeneous, gain_db=-30.0, dynamic_range_db=100.0)
    assert 100 * grey.std() == pytest.approx(10 / math.log(10) * math.pi / math.sqrt(6), abs=0.15)


@pytest.mark.parametrize(("axis", "sigma"), [(0, 1.5), (1, 2.5)])
@pytest.mark.parametrize("lag", [1, 2, 4])
def test_grain_size_is_that_of_the_point_spread_function(homogeneous, axis, sigma, lag):
    # The field's correlation is the point-spread function's with itself; the intensity's is its square.
    power = np.moveaxis(homogeneous**2, axis, 0)
    measured = np.corrcoef(power[:-lag].ravel(), power[lag:].ravel())[0, 1]
    assert measured == pytest.approx(math.exp(-(lag**2) / (2 * sigma**2)), abs=0.03)


def test_beam_is_narrowest_at_the_focus():
    psf = PointSpread(lateral_mm=0.2, focus_mm=15.0, widening=0.02)
    np.testing.assert_allclose(
        psf.lateral_at(np.array([0.0, 15.0, 25.0], dtype=np.float32)), [0.5, 0.2, 0.4], rtol=1e-6
    )
    envelope = echo_envelope(np.zeros((300, 900), dtype=np.float32), PIXEL, psf, np.random.default_rng(3))
    correlation = [
        np.corrcoef(rows[:, :-3].ravel(), rows[:, 3:].ravel())[0, 1] for rows in (envelope[:40], envelope[130:170])
    ]
    assert correlation[0] > correlation[1] + 0.2


def test_edges_are_no_darker_than_the_middle(homogeneous):
    power = homogeneous**2
    for edge in (power[:8], power[-8:], power[:, :8], power[:, -8:]):
        assert edge.mean() == pytest.approx(1.0, abs=0.2)


def test_log_compression_by_hand():
    envelope = np.array([10.0, 1.0, 0.1, 1e-4, 0.0], dtype=np.float32)
    np.testing.assert_allclose(log_compress(envelope, 0.0, 40.0), [1.0, 1.0, 0.5, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(log_compress(envelope, -20.0, 40.0), [1.0, 0.5, 0.0, 0.0, 0.0], atol=1e-6)
