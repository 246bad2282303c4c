"""Raw formats to canonical tables, one module per source."""
