"""What a model takes: multiply-accumulates, parameters, activation memory, and how often its loops run."""
