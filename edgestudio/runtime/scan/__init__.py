"""Refuses hostile and damaged model files before any runtime opens them, one walker per format."""
