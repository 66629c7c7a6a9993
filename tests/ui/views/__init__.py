"""Every view of the window as pictures, to be looked at by people."""
