"""What effects, tables and figures show unless they name another metric. Imports nothing: the Snakefile reads it."""

PRIMARY_METRIC = "roc_auc_ovo"
"""A name of METRICS that has one value and intervals."""
PRIMARY_LEVEL = "patient"
PRIMARY_POOLING = "log"
"""A name of POOLINGS."""
INTERVAL_METHOD = "bca"
"""A name of INTERVALS."""
