"""Taking spans in: bodies, their formats, and what is kept of them."""
