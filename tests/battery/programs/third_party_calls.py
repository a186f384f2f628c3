"""Call a host that is ours, one that is not, and one that redirects to it, with each client."""

import os
import urllib.request

import httpx
import requests
import urllib3
from side import flush, span

ours, theirs = os.environ["OURS"], os.environ["THEIRS"]
with span("work"):
    for url in (f"{ours}/ours", f"{theirs}/direct", f"{ours}/redirect"):
        requests.get(url)
        httpx.get(url, follow_redirects=True)
        urllib.request.urlopen(url).read()
        urllib3.PoolManager().request("GET", url)
flush(5)
