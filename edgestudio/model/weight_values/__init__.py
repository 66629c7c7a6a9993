"""Readers of weights, one file per family of formats: they give a function for each weight that reads it."""
