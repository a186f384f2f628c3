"""The endpoints of Zipkin's API and of health, metrics and numbers; those of other data are beside their stores."""
