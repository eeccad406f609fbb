"""The life of one fit, the same for cells and pre-trainings: recipe, done?, checkpoint, record, whole files."""
