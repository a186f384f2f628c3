"""The collector's web pages: one module for each, server-side HTML and SVG; ``static`` has style sheet and scripts.

Each page is complete without script. Modules of ours make it quicker to use: they build elements and never parse
markup, which the content policy forbids (Trusted Types).
"""
