"""DICOM files read safely: pixels as RGB pictures, and what the header says about them without any identifier."""
