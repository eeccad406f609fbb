"""A simulated cohort of patients and pictures."""
