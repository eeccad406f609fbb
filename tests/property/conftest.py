"""One Hypothesis profile for all laws: no deadline, as machines differ; the same examples on every run."""

from hypothesis import settings

settings.register_profile("sonogrid", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("sonogrid")
