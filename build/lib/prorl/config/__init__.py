"""Settings: a module per section of params.yaml. `prorl.params` reads them."""
