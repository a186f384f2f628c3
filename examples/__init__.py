"""A restaurant in four services, a to d, that really run: by hand, by `obskit demo`, and by the tests."""
