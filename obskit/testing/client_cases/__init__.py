"""The tests of ``HttpClientContract``, by subject."""
