"""How a release becomes the running model, or does not, and why."""
