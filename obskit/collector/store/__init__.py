"""Where spans are kept."""
