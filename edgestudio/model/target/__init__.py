"""Whether a model will run on a board or runtime, by what that is known to be able to do."""
