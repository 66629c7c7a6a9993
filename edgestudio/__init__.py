"""EdgeStudio: drop a model on a board, and see it run there, better and safely."""

__version__ = "0.1.0"
