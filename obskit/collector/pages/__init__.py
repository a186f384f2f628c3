"""The collector's web pages: a module each, HTML and SVG made by the server; ``static`` has style sheet and scripts.

Each page is complete without scripts, which only make it quicker to use. They build elements and never parse markup:
the content security policy (Trusted Types) forbids it.
"""
