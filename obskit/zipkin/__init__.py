"""The Zipkin v2 span model and its codecs."""
