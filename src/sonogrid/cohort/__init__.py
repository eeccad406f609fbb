"""From a source of patients and pictures to the manifest: readers, and the laws that every cohort must keep."""
