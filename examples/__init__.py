"""A restaurant in five services, a to e, that really run: by hand, by `obskit demo`, and by the tests."""
