"""How images are pooled to patients: names and words; metrics.py computes. Needs no library: the Snakefile reads it."""

from typing import NamedTuple


class PoolingWords(NamedTuple):
    """A way of pooling as captions name it, and as a sentence of the methods."""

    label: str
    method: str


POOLINGS = {
    "log": PoolingWords(
        "log-opinion pool",
        "The log probabilities of a patient are averaged over images and renormalised (log-opinion pool)",
    ),
    "mean": PoolingWords("mean probability", "The probabilities of the images of a patient are averaged"),
}
"""By the name in the column pooling of metrics.csv."""
