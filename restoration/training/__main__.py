"""``python -m restoration.training``, for ``accelerate launch -m``."""

from restoration.training.cli import script

script()
