"""The T5 policy that writes guidance paths."""
