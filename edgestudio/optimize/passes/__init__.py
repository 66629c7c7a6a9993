"""One file per optimisation pass; listed in `optimize.catalog` by name, imported on use in a worker."""
