"""A Celery worker: one span before it forks, and one in each task. Its queue is a folder, so it needs no broker."""

import os

from celery import Celery
from side import span

with span("before the fork"):
    pass

app = Celery("battery", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": "queue",
    "data_folder_out": "queue",
    "control_folder": "queue-control",
}
app.conf.update(worker_pool="prefork", worker_concurrency=2, worker_max_tasks_per_child=1, task_ignore_result=True)


@app.task(name="work")
def work(number):
    with span(f"task {number}"):
        pass
    os.write(1, b"done\n")  # sys.stdout is Celery's logger here


if __name__ == "__main__":
    options = ["--loglevel=critical", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["--quiet", "worker", *options])
