"""Item profile text to vectors."""
