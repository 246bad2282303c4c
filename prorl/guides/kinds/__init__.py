"""The kinds of guides, a module for each family of them, as `prorl.guides.registry` lists them together."""
