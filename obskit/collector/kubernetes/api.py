"""Kubernetes' state over HTTP: in as kubectl prints it, out as a tree in JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from obskit.collector.api.answers import json_answer, params_of
from obskit.collector.deadline import Deadline
from obskit.collector.intake.bodies import Intake
from obskit.collector.intake.zipkin import Message, Rejected
from obskit.collector.kubernetes.objects import NotKubernetes, read_objects
from obskit.collector.kubernetes.store import KubernetesStore
from obskit.collector.kubernetes.tree import Node, build
from obskit.collector.metrics import Metrics
from obskit.collector.workers import Workers

_MOST_NAME = 253  # a DNS name


class KubernetesApi:
    """The endpoint over a store."""

    def __init__(self, store: KubernetesStore, workers: Workers, intake: Intake) -> None:
        self._store = store
        self._workers = workers
        self._intake = intake
        self._metrics = Metrics()

    def routes(self) -> list[Route]:
        """Return the endpoint's routes."""
        path = "/api/obskit/v1/kubernetes"
        return [Route(path, self.post, methods=["POST"]), Route(path, self._workers.reading(self.get))]

    async def post(self, request: Request) -> Response:
        """Answer 200 once the objects are stored, with how many there were."""
        cluster = params_of(request).get("cluster", "")[:_MOST_NAME]
        try:
            async with self._intake.message(request) as message:
                count = await self._workers.write(request, lambda deadline: self._put(cluster, message, deadline))
        except ClientDisconnect:
            return Response()
        return json_answer(msgspec.json.encode({"objects": count}))

    def _put(self, cluster: str, message: Message, deadline: Deadline) -> int:
        body = message.inflated(self._metrics, deadline)
        try:
            objects, whole = read_objects(body)
        except NotKubernetes as error:
            raise Rejected(400, str(error)) from None
        return self._store.put(cluster, objects, whole=whole)

    def get(self, _request: Request, _deadline: Deadline) -> Response:
        """Return the tree, with what is wrong in it."""
        now = time.time()
        tree = build(self._store.objects(), now).sorted()
        return json_answer(msgspec.json.encode([shown(node, now) for node in tree]))


def shown(node: Node, now: float) -> Mapping[str, object]:
    """Return a node as JSON shows it, without what is empty."""
    found = {
        "kind": node.kind,
        "name": node.name,
        "state": node.state(now),
        "unwell": node.unwell,
        "trouble": node.trouble,
        "detail": node.detail,
        "children": [shown(child, now) for child in node.sorted()],
    }
    return {name: value for name, value in found.items() if value or name in ("name", "unwell")}
