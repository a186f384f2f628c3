"""What a cluster says of its pods and workloads: read from ``kubectl get -o json``, kept, and judged."""
