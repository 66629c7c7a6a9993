"""The docks and tabs of the window, one file each."""
