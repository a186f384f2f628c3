"""What integrations call: HTTP exchanges of servers and clients, patching, import hooks."""
