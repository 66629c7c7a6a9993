"""Where models are fetched from and published to beside the library: a folder, an OCI registry, an MLflow registry."""
