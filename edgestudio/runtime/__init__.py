"""Running a model: backends, the pipeline around it, the benchmark, and the scan of hostile files."""
