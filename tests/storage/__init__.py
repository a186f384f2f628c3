"""Zipkin servers on real databases: run by ``make test-storage`` only, since they take a minute and a gigabyte."""
