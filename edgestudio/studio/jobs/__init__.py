"""Heavy work in processes of its own: which jobs there are, their lanes, and how each ends."""
