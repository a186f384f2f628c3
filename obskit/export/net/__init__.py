"""HTTP, gRPC, URLs and protobuf for all exporters."""
