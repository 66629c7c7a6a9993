"""Whom a board trusts: paired studios, signed releases, and what time it is."""
