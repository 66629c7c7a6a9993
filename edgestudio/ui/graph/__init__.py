"""The graph view: painting, walking, searching, comparing and exporting graphs."""
