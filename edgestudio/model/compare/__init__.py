"""Two models beside each other: which operators are the same, what differs, and by how much."""
