"""The board's network side: the server, its routes and limits, pairing, the record stream and mDNS."""
