"""Guides times simulators on test prompts."""
