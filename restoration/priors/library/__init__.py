"""Priors by name, by file, by folder or by hub id: those inside the package, known checkpoints, downloads."""
