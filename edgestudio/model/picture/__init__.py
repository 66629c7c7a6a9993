"""The drawn graph: its boxes, hierarchy and colours, where each lies, and what leads from one to another."""
