"""Netron's readers and its view, in a process of their own (extra `netron-view`): no port, no network, no expiry."""
