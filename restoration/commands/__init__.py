"""The command ``restore``: its options, the work behind them, and what it shows while it works."""
