"""Nested against vanilla generation: the paper's Tables 1 and 3."""
