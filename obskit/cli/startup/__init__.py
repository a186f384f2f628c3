"""The folder that ``obskit run`` puts on PYTHONPATH for its ``sitecustomize``; it must contain nothing else."""
