"""Readings of the board's own sensors from sysfs and procfs, each with its quality."""
