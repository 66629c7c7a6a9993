"""The boards of the studio: found, trusted, given models, watched and looked after."""
