"""What can be done, as one list, and what each of it does."""
