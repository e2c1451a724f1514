"""Priors of one's own: pictures in, a diffusers folder out (the command ``restore-train``)."""
