"""Sequential recommenders that stand in for users."""
