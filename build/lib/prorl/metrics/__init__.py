"""Path metrics and their intervals, as pure functions."""
