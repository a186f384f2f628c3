"""Decoders given bytes that nobody would send; see ``__main__``."""
