"""The life of one fit: recipe, checkpoint, record, whole files."""
