"""Comparison of the speed of two commits: the suite's measurements, the gate, and what it says."""
