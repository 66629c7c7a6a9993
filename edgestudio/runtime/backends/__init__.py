"""One backend per runtime library, imported on use by the name in the table of `runtime.backend`."""
