"""The folder that ``obskit run`` puts on PYTHONPATH, for its ``sitecustomize``; nothing else may be in it."""
