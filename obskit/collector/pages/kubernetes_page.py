"""``/kubernetes``: a tree of cluster, namespace, workload, pod and container, troubled ones first, and changes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.kubernetes.store import Change
from obskit.collector.kubernetes.tree import SILENT_AFTER, Node, build
from obskit.collector.pages.frame import page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import moment
from obskit.collector.pages.website import Site

_CHANGES_OF = 24 * 3600  # seconds
_STATES = {"bad": "unwell", "well": "well", "silent": f"not seen for {SILENT_AFTER // 60} min"}
_LEVELS = {"Cluster": "cluster", "Namespace": "namespace", "Pod": "pod"}  # parameters that select a part of the tree
_EMPTY = """<div class="card message">Nothing is known of a cluster yet. Send its state, again and again:
<pre>kubectl get pods,deployments,statefulsets,daemonsets -A -o json |
  curl -H content-type:application/json --data-binary @- {url}</pre></div>
"""
_TREE = """<div class="card kube"><ul>{nodes}</ul></div>
"""
_LEAF = "<li>{links}{line}</li>"
_BRANCH = "<li>{links}<details{open}><summary>{line}</summary><ul>{nodes}</ul></details></li>"
_LINE = (
    """{state}<span class="kube-kind">{kind}</span> <b>{name}</b> <span class="kube-detail">{detail}</span>{trouble}"""
)
_STATE = '<span class="kube-state {state}">{word}</span> '
_TROUBLE = ' <span class="error">{trouble}</span>'
# Beside the line, not in it: what opens a branch must hold nothing else that can be chosen.
_LINKS = """<span class="kube-links">{traces}\
<a href="/kubernetes?{query}" aria-label="only this: {name}">only this</a></span>"""
_TRACES = '<a href="/traces?tags={tag}&amp;last=1d" aria-label="traces of {name}">traces</a>'
_CHANGES = """<h2>Changes of the last day</h2>
<div class="card"><table class="stacked"><thead><tr><th>Time</th><th>What</th><th>Object</th></tr></thead><tbody>
{rows}</tbody></table></div>
"""
_CHANGE = "<tr><td>{at}</td><td>{what}</td><td>{kind} {namespace}/{name}</td></tr>\n"
_NONE = Html('<div class="card message">No such object; <a href="/kubernetes">all of them</a></div>')


def show(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the tree, or the part of it that the parameters select."""
    params = params_of(request)
    now = time.time()
    tree = build(site.kubernetes.objects(), now)
    if not tree.children:
        body = render(_EMPTY, url=f"{request.base_url}api/obskit/v1/kubernetes")
    else:
        chosen = _chosen(tree, params, {})
        nodes = render(_TREE, nodes=join(_node(one, path, now) for one, path in chosen)) if chosen else _NONE
        body = join([nodes, _changes(site.kubernetes.changes(now - _CHANGES_OF), params)])
    return page("Kubernetes", join([Html("<h1>Kubernetes</h1>\n"), body]), here="/kubernetes")


_Path = dict[str, str]  # the parameters that select a node


def _chosen(node: Node, params: Mapping[str, str], path: _Path) -> list[tuple[Node, _Path]]:
    """Return the topmost nodes that match all parameters, each with the parameters that select it."""
    open_ones = {name for name in (*_LEVELS.values(), "workload") if params.get(name)} - path.keys()
    if path and not open_ones:
        return [(node, path)]
    found = []
    for child in node.sorted():
        below = _below(path, child)
        if all(params.get(name, value) in ("", value) for name, value in below.items()):
            found += _chosen(child, params, below) if open_ones else [(child, below)]
    return found


def _below(path: _Path, node: Node) -> _Path:
    if node.kind == "Container":
        return path
    return {**path, _LEVELS.get(node.kind, "workload"): node.name}


def _node(node: Node, path: _Path, now: float) -> Html:
    line = render(
        _LINE,
        state=_state(node, now),
        kind=node.kind,
        name=node.name,
        detail=node.detail,
        trouble=render(_TROUBLE, trouble="; ".join(node.trouble)) if node.trouble else "",
    )
    links = _links(node, path)
    if not node.children:
        return render(_LEAF, links=links, line=line)
    opened = Html(" open") if node.unwell or node.kind in ("Cluster", "Namespace") else ""
    nodes = join(_node(child, _below(path, child), now) for child in node.sorted())
    return render(_BRANCH, links=links, open=opened, line=line, nodes=nodes)


def _links(node: Node, path: _Path) -> Html:
    if node.kind == "Container":
        return Html("")
    query = "&".join(f"{name}={quote(value)}" for name, value in path.items())
    tag = quote(f"k8s.pod.name={node.name}")
    traces = render(_TRACES, tag=tag, name=node.name) if node.kind == "Pod" else ""
    return render(_LINKS, traces=traces, query=query, name=node.name)


def _state(node: Node, now: float) -> Html:
    """Return the state of a node; a container's troubles are shown at its pod."""
    if node.kind == "Container":
        return Html("")
    state = node.state(now)
    return render(_STATE, state=state, word=_STATES[state] if node.unwell < 2 else f"{node.unwell} unwell")


def _changes(changes: list[Change], params: Mapping[str, str]) -> Html:
    shown = [
        render(
            _CHANGE,
            at=moment(change.at * 1_000_000),
            what=change.what,
            kind=change.kind,
            namespace=change.namespace,
            name=change.name,
        )
        for change in changes
        if params.get("namespace", "") in ("", change.namespace) and params.get("pod", "") in ("", change.name)
    ]
    return render(_CHANGES, rows=join(shown)) if shown else Html("")
