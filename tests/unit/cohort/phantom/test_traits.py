"""The simulated traits: their distributions, the exact posterior and the ceiling that follows from them."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from sonogrid.cohort.phantom.traits import (
    NECK,
    ORGANS,
    POPULATION,
    Choice,
    Normal,
    draw_traits,
    macro_auc,
    population_auc,
    posterior,
)

COIN = Choice("coin", ("no", "yes"), ((0.9, 0.1), (0.4, 0.6)))


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 2.0])
def test_ceiling_of_one_gaussian_trait_is_the_closed_form(distance):
    trait = Normal("x", 0.0, 1.0, means=(0.0, distance), sd=1.0)
    auc = population_auc((trait,), 2, 40_000, np.random.default_rng(1))
    assert auc == pytest.approx(norm.cdf(distance / math.sqrt(2)), abs=0.008)


def test_ceiling_of_two_gaussian_traits_adds_their_squared_distances():
    traits = (Normal("a", 0, 1, means=(0.0, 0.9), sd=1.0), Normal("b", 0, 1, means=(0.0, -2.4), sd=2.0))
    auc = population_auc(traits, 2, 40_000, np.random.default_rng(2))
    assert auc == pytest.approx(norm.cdf(math.hypot(0.9, 1.2) / math.sqrt(2)), abs=0.008)


def test_ceiling_of_a_binary_trait_by_hand():
    # AUC = P(more) + P(same) / 2 = .6 * .9 + (.6 * .1 + .4 * .9) / 2
    auc = population_auc((COIN,), 2, 40_000, np.random.default_rng(3))
    assert auc == pytest.approx(0.75, abs=0.006)


def test_posterior_is_bayes_rule():
    graded = Normal("x", 0.0, 1.0, means=(-1.0, 0.5), sd=0.7)
    drawn = {"x": np.array([0.2]), "coin": np.array([1.0])}
    joint = [norm.pdf(0.2, -1.0, 0.7) * 0.1, norm.pdf(0.2, 0.5, 0.7) * 0.6]
    expected = np.array(joint) / sum(joint)
    np.testing.assert_allclose(posterior((graded, COIN), drawn, 2), [expected], rtol=1e-12)


def test_equal_priors_beat_the_posterior_with_the_cohorts_priors():
    # Three Gaussian classes in a row: the score that maximises Hand & Till's measure ignores prevalence.
    means = np.array([[0.0, 0.0], [1.2, 0.0], [0.3, 1.5]])
    traits = tuple(Normal(name, 0, 1, means=tuple(means[:, i]), sd=1.0) for i, name in enumerate("ab"))
    y = np.arange(60_000) % 3
    drawn = draw_traits(traits, np.random.default_rng(4), y)
    points = np.column_stack((drawn["a"], drawn["b"]))
    density = np.column_stack([multivariate_normal.pdf(points, mean) for mean in means])
    equal = posterior(traits, drawn, 3)
    np.testing.assert_allclose(equal, density / density.sum(axis=1, keepdims=True), rtol=1e-9)
    for priors in ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.05, 0.35, 0.6)):
        other = density * priors
        assert macro_auc(y, other / other.sum(axis=1, keepdims=True)) < macro_auc(y, equal)


def test_macro_auc_is_undefined_without_a_class():
    assert math.isnan(macro_auc(np.array([0, 1, 1]), np.full((3, 3), 1 / 3)))


def test_draws_follow_the_stated_distributions():
    y = np.repeat([0, 1], 20_000)
    graded = Normal("x", 10.0, 20.0, means=(-1.0, 0.5), sd=0.7)
    drawn = draw_traits((graded, COIN), np.random.default_rng(5), y)
    for label in (0, 1):
        assert drawn["x"][y == label].mean() == pytest.approx(graded.means[label], abs=0.02)
        assert drawn["x"][y == label].std() == pytest.approx(0.7, abs=0.02)
        assert drawn["coin"][y == label].mean() == pytest.approx(COIN.probabilities[label][1], abs=0.012)
    assert np.corrcoef(drawn["x"][y == 1], drawn["coin"][y == 1])[0, 1] == pytest.approx(0, abs=0.02)
    assert (graded.value(0.0), COIN.value(1.0)) == (15.0, "yes")


@pytest.mark.parametrize("organ", ORGANS.values(), ids=lambda organ: organ.name)
def test_tables_are_whole(organ):
    assert sum(organ.shares) == pytest.approx(1)
    assert len(organ.shares) == len(organ.mean_age) == len(organ.classes)
    for trait in organ.traits:
        rows = trait.means if isinstance(trait, Normal) else trait.probabilities
        assert len(rows) == len(organ.classes)
        if isinstance(trait, Choice):
            assert all(len(row) == len(trait.levels) and sum(row) == pytest.approx(1) for row in trait.probabilities)


@pytest.mark.parametrize("organ", ORGANS.values(), ids=lambda organ: organ.name)
def test_classes_overlap_and_elastography_tells_most(organ):
    auc = {
        modality: population_auc(organ.shown(modality), len(organ.classes), POPULATION, np.random.default_rng(6))
        for modality in ("bmode", "cdfi", "elastography")
    }
    assert 0.84 < auc["bmode"] < 0.89
    assert auc["bmode"] + 0.02 < auc["cdfi"] < 0.93
    assert auc["cdfi"] + 0.02 < auc["elastography"] < 0.975


def test_doppler_and_elastography_show_the_bmode_traits_too():
    bmode = set(NECK.shown("bmode"))
    assert set(NECK.shown("cdfi")) - bmode == {NECK.flow}
    assert set(NECK.shown("elastography")) - bmode == {NECK.stiffness}
