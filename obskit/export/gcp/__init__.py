"""What every use of Google Cloud's APIs shares: whose account it is, and what the metadata server says."""
