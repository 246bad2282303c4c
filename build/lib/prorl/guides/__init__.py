"""Guides other than the policy, a module each, and all of them by name."""
