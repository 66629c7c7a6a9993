"""What the board keeps on disk: blobs, slots and the one state file, every change through one interface."""
