"""From the profile texts of items to vectors."""
