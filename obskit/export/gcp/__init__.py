"""What all uses of Google Cloud's APIs share: credentials, the metadata server, endpoints."""
