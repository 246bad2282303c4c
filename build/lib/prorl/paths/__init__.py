"""From interaction logs to instances."""
