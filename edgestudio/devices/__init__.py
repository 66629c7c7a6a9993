"""Boards as seen from the desk: discovery, pairing, session, profiles and deployment."""
