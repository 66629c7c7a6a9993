"""Every service as a verb of the command line, one module per family of verbs."""
