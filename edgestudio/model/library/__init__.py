"""The models that a studio keeps: by the hash of their content, for several processes at once."""
