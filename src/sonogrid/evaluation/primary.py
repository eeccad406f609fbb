"""What effects, tables and figures show unless they name another metric. Imports nothing: the Snakefile reads it."""

from typing import Final

PRIMARY_METRIC = "roc_auc_ovo"
"""A name of METRICS that has one value and intervals."""
PRIMARY_LEVEL = "patient"
PRIMARY_POOLING: Final = "log"
INTERVAL_METHOD = "bca"
"""A name of INTERVALS."""
