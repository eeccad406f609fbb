"""Everything that decides a fit."""
