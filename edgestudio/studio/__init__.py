"""The application without a window: composition root, jobs, stores and commands."""
