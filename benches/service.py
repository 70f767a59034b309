#!/usr/bin/env python3
"""What a node costs its clients: speed over HTTP, memory, and the time from kill -9 to progress.

    cargo build --release
    python3 benches/service.py [--dir DIR] [--rounds 5] [speed] [memory] [restart]

The load generator (`crane bench`) runs on the same cores. One line of JSON a figure. Nothing else
should run meanwhile.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CRANE = os.path.join(ROOT, "target", "release", "crane")
SHAPES = [("chain:10", 1, 1_000), ("chain:10", 64, 30_000), ("diamond", 256, 60_000),
          ("fanout:100", 1, 500), ("fanout:100", 16, 4_000)]


class Node:
    """A started `crane serve` on a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.port = 0
        self.start()

    def start(self):
        """Starts it, on the port that it had before, and waits until it is ready."""
        self.process = subprocess.Popen(
            [CRANE, "serve", "--data", self.directory, "--listen", f"127.0.0.1:{self.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if "http://127.0.0.1:" in line:
                self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0].split()[0])
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        while self.get("/api/v1/health/ready")[0] != 200:
            time.sleep(0.005)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def get(self, path):
        connection = self.connection()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def bench(self, shape, concurrency, runs):
        out = subprocess.run(
            [CRANE, "bench", "--server", f"http://127.0.0.1:{self.port}", "--shape", shape,
             "--concurrency", str(concurrency), "--runs", str(runs), "-o", "json"],
            check=True, capture_output=True, text=True).stdout
        return json.loads(out)

    def memory(self):
        """Resident memory now and at most, in MB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            fields = dict(line.split(":", 1) for line in status)
        return [round(int(fields[name].split()[0]) / 1_000) for name in ("VmRSS", "VmHWM")]


def fdatasync(directory, count=1_000):
    """Median time of an fdatasync of 4 KiB into a file that was written before, in ms."""
    path = os.path.join(directory, "probe")
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(file, bytes(4_096 * count), 0)
    os.fsync(file)
    times = []
    for index in range(count):
        os.pwrite(file, b"x" * 4_096, index * 4_096)
        begun = time.perf_counter()
        os.fdatasync(file)
        times.append((time.perf_counter() - begun) * 1e3)
    os.close(file)
    os.unlink(path)
    return statistics.median(times)


def show(**figures):
    print(json.dumps(figures), flush=True)


def median(values):
    return round(statistics.median(values), 3)


def speed(directory, rounds):
    node = Node(directory)
    results = {}
    for _ in range(rounds):
        for shape, concurrency, runs in SHAPES:
            one = node.bench(shape, concurrency, runs)
            if concurrency == 1:
                one["fdatasync_ms"] = fdatasync(directory)
            results.setdefault((shape, concurrency), []).append(one)
    for (shape, concurrency), all_of in results.items():
        names = ("runs_per_second", "p50_ms", "p99_ms", "errors", "fdatasync_ms")
        show(shape=shape, concurrency=concurrency,
             **{name: median([one[name] for one in all_of]) for name in names if name in all_of[0]})
    node.kill()


def memory(directory, _rounds):
    node = Node(directory)
    show(runs=0, rss_mb=node.memory())
    for more, total in ((30_000, 30_000), (270_000, 300_000)):
        node.bench("chain:10", 64, more)
        show(runs=total, rss_mb=node.memory())
    node.kill()


def restart(directory, rounds, sleepers=100_000):
    """Kills a node with 100,000 unfinished runs; a run that was under way must go on."""
    node = Node(directory)
    steps = [{"id": f"s{n}", "tool": "sleep", "input": {"milliseconds": 20},
              "depends_on": [f"s{n - 1}"] if n else []} for n in range(3_000)]
    sleeper = {"steps": [{"id": "a", "tool": "sleep", "input": {"milliseconds": 3_600_000},
                          "timeout": "2h"}]}

    def submit(connection, plan):
        connection.request("POST", "/api/v1/runs", json.dumps({"plan": plan}),
                           {"content-type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == 201, body
        return body["run_id"]

    chain = submit(node.connection(), {"steps": steps})

    def work(count):
        connection = node.connection()
        for _ in range(count):
            submit(connection, sleeper)

    threads = [threading.Thread(target=work, args=(sleepers // 16,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def done():
        run = json.loads(node.get(f"/api/v1/runs/{chain}")[1])
        return sum(step["status"] == "completed" for step in run["execution_log"])

    times = []
    for _ in range(rounds):
        time.sleep(1.5)
        before = done()
        begun = time.perf_counter()
        node.kill()
        node.start()
        while done() <= before + 1:
            time.sleep(0.004)
        times.append(time.perf_counter() - begun)
    show(unfinished=sleepers + 1, kills=rounds, seconds_to_progress=median(times),
         at_most=round(max(times), 3))
    node.kill()


def main():
    tasks = {"speed": speed, "memory": memory, "restart": restart}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(tasks))
    parser.add_argument("--dir", default=os.path.join(ROOT, "target"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - set(tasks)
    if unknown:
        parser.error(f"no such task: {', '.join(sorted(unknown))}")
    for name in arguments.tasks or tasks:
        directory = tempfile.mkdtemp(prefix="service-", dir=arguments.dir)
        try:
            tasks[name](directory, arguments.rounds)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
