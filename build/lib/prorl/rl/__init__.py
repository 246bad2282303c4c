"""The rectified policy gradient."""
