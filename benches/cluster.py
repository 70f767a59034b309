#!/usr/bin/env python3
"""What a cluster costs: nodes on this machine, with one PostgreSQL that is started for it.

    cargo build --release
    python3 benches/cluster.py [--rounds 5] [join] [takeover] [restart] [idle] [throughput]

PostgreSQL's programs are looked for in PATH and in /usr/lib/postgresql; as root they are run as the
user postgres. All nodes, the database and the load share the cores. One line of JSON a figure.
"""

import argparse
import glob
import http.client
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CRANE = os.environ.get("CRANE", os.path.join(ROOT, "target", "release", "crane"))
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def show(**figures):
    print(json.dumps(figures), flush=True)


def percentile(values, share):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)


def tempdir(place):
    """A directory that the database's user may enter."""
    directory = tempfile.mkdtemp(dir=place)
    os.chmod(directory, 0o755)
    return directory


class Database:
    """A PostgreSQL of its own, durable as it is by default."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "pg")
        self.port = free_port()
        os.makedirs(self.directory)
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres")
        data = os.path.join(self.directory, "data")
        self.run("initdb", "-D", data, "-A", "trust", "-U", "postgres")
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c max_connections=200"
        self.run("pg_ctl", "-D", data, "-o", options, "-l", os.path.join(self.directory, "log"),
                 "-w", "start")
        self.ask("create database crane", "postgres")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/crane"

    def run(self, program, *arguments):
        found = shutil.which(program) or sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"))[-1]
        command = [found, *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, cwd="/").stdout

    def ask(self, sql, database="crane"):
        return self.run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                        "-d", database, "-At", "-c", sql).strip()

    def commits(self):
        """Transactions so far; statistics are written with a delay."""
        time.sleep(1.5)
        return int(self.ask("select xact_commit from pg_stat_database where datname = 'crane'"))

    def stop(self):
        self.run("pg_ctl", "-D", os.path.join(self.directory, "data"), "-m", "immediate", "stop")


class Node:
    """A `crane serve`, with its files in a directory of its own."""

    def __init__(self, directory, name, settings):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory, exist_ok=True)
        self.name, self.port = name, free_port()
        with open(os.path.join(self.directory, "crane.toml"), "w", encoding="utf-8") as file:
            file.write(f'[node]\nname = "{name}"\n[api]\nlisten = "127.0.0.1:{self.port}"\n{settings}')
        self.process = None

    def start(self):
        with open(os.path.join(self.directory, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([CRANE, "serve", "--config", "crane.toml"],
                                            cwd=self.directory, stdout=log, stderr=log)
        return self

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        self.send(number)
        return self.process.wait()

    def ask(self, method, path, body=None, headers=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"content-type": "application/json", **(headers or {})}
        connection.request(method, f"/api/v1{path}", body and json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def is_ready(self):
        try:
            return self.ask("GET", "/health/ready")[0] == 200
        except OSError:
            return False

    def wait_until_ready(self):
        while not self.is_ready():
            time.sleep(0.01)
        return self

    def cluster(self):
        return json.loads(self.ask("GET", "/cluster")[1])

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def metric(self, prefix):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in lines if line.startswith(prefix)}

    def bench(self, shape, concurrency, seconds):
        out = subprocess.run(
            [CRANE, "bench", "--server", f"http://127.0.0.1:{self.port}", "--shape", shape,
             "--concurrency", str(concurrency), "--duration", f"{seconds}s", "-o", "json"],
            check=True, capture_output=True, text=True).stdout
        return json.loads(out)


class Fleet:
    """Nodes on one database, each with its share of the shards."""

    def __init__(self, directory, count, lease="3s"):
        self.database = Database(directory)
        gossip = [free_port() for _ in range(count)]
        self.nodes = [Node(directory, f"n{index}", (
            f'[store]\nurl = "{self.database.url}"\n[cluster]\nlease = "{lease}"\n'
            f'listen = "127.0.0.1:{port}"\nseeds = ["127.0.0.1:{gossip[0]}"]\n'))
            for index, port in enumerate(gossip)]
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()
        self.wait_until_balanced()

    def shares(self):
        """Shards by node, as a living one sees it."""
        living = next(node for node in self.nodes if node.process.poll() is None)
        return {member["node"]: member["shards"] for member in members(living.cluster())}

    def wait_until_balanced(self):
        count = len(self.nodes)
        while True:
            shares = self.shares()
            if len(shares) == count and min(shares.values()) >= 0.85 * 512 / count \
                    and sum(shares.values()) == 512:
                return
            time.sleep(0.2)

    def stop(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.send(signal.SIGCONT)
                node.stop(signal.SIGKILL)
        self.database.stop()


def members(cluster):
    return [{"node": member.get("node") or member.get("name"), **member}
            for member in cluster["members"]]


def long_run(steps, pause):
    return {"plan": {"steps": [
        {"id": f"s{n}", "tool": "sleep", "input": {"milliseconds": pause},
         "depends_on": [f"s{n - 1}"] if n else []} for n in range(steps)]}}


class Watch(threading.Thread):
    """Follows a run at some node, goes on at another when that ends, and notes when events come."""

    def __init__(self, nodes, run):
        super().__init__(daemon=True)
        self.nodes, self.run_id, self.seen, self.last, self.over = nodes, run, [], 0, False

    def run(self):
        while not self.over:
            node = random.choice(self.nodes)
            try:
                self.follow(node)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    def follow(self, node):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=5)
        headers = {"last-event-id": str(self.last)} if self.last else {}
        connection.request("GET", f"/api/v1/runs/{self.run_id}/events", headers=headers)
        answer = connection.getresponse()
        if answer.status == 204:
            self.over = True
        while answer.status == 200 and not self.over:
            line = answer.fp.readline()
            if not line:
                return
            if line.startswith(b"id:"):
                seq = int(line[3:])
                assert seq == self.last + 1, (self.run_id, self.last, seq)
                self.last = seq
                self.seen.append(time.monotonic())


def started(fleet, count, steps, pause):
    """Runs under way, submitted at all nodes in turn."""
    runs = []
    for index in range(count):
        node = fleet.nodes[index % len(fleet.nodes)]
        status, body = node.ask("POST", "/runs", long_run(steps, pause))
        assert status == 201, body
        runs.append(json.loads(body)["run_id"])
    return runs


def join(directory, rounds):
    serving, balanced = [], []
    for _ in range(rounds):
        place = tempdir(directory)
        fleet = Fleet(place, 2)
        port = free_port()
        seed = fleet.nodes[0]
        with open(os.path.join(seed.directory, "crane.toml"), encoding="utf-8") as config:
            listen = next(line for line in config if line.startswith("seeds"))
        node = Node(place, "n2", (f'[store]\nurl = "{fleet.database.url}"\n[cluster]\n'
                                  f'listen = "127.0.0.1:{port}"\n{listen}'))
        begun = time.monotonic()
        node.start().wait_until_ready()
        serving.append(time.monotonic() - begun)
        fleet.nodes.append(node)
        fleet.wait_until_balanced()
        balanced.append(time.monotonic() - begun)
        fleet.stop()
    show(task="join", rounds=rounds, seconds_to_ready=round(statistics.median(serving), 3),
         seconds_to_full_share=round(statistics.median(balanced), 1))


def takeover(directory, rounds):
    for lease in ("3s", "1s"):
        for how, number in (("kill -9", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)):
            pauses = []
            for _ in range(rounds):
                pauses += one_takeover(directory, lease, number)
            show(task="takeover", lease=lease, how=how, rounds=rounds, runs=len(pauses),
                 p50_s=percentile(pauses, 0.5), p99_s=percentile(pauses, 0.99),
                 max_s=round(max(pauses), 3))


def one_takeover(directory, lease, number):
    place = tempdir(directory)
    fleet = Fleet(place, 3, lease)
    runs = started(fleet, 60, 1_500, 20)
    survivors = fleet.nodes[:2]
    watches = [Watch(survivors, run) for run in runs]
    for watch in watches:
        watch.start()
    time.sleep(2)
    owners = owners_of(fleet, runs)
    fleet.nodes[2].send(number)
    at = time.monotonic()
    time.sleep(8)
    pauses = []
    for watch, owner in zip(watches, owners):
        watch.over = True
        if owner == "n2":
            # What was on its way when the node ended still comes.
            later = [seen for seen in watch.seen if seen > at + 0.1]
            pauses.append((later[0] if later else at + 8) - at)
    fleet.stop()
    return pauses


def owners_of(fleet, runs):
    """The node that carries out each run."""
    return [json.loads(fleet.nodes[0].ask("GET", f"/runs/{run}")[1])["node"] for run in runs]


def restart(directory, rounds):
    gaps, failed, asked = [], 0, 0
    for _ in range(rounds):
        place = tempdir(directory)
        fleet = Fleet(place, 3)
        watches = [Watch(fleet.nodes, run) for run in started(fleet, 60, 6_000, 20)]
        for watch in watches:
            watch.start()
        client = Client(fleet.nodes)
        client.start()
        time.sleep(1)
        begun = time.monotonic()
        for node in fleet.nodes:
            assert node.stop() == 0
            node.start().wait_until_ready()
        ended = time.monotonic()
        time.sleep(1)
        client.over = True
        client.join()
        failed, asked = failed + client.failed, asked + client.asked
        for watch in watches:
            watch.over = True
            seen = [at for at in watch.seen if begun - 1 <= at <= ended + 1]
            gaps.append(max(b - a for a, b in zip(seen, seen[1:])))
        fleet.stop()
    show(task="restart", rounds=rounds, requests=asked, failed=failed, runs=len(gaps),
         longest_pause_of_a_run_p50_s=percentile(gaps, 0.5), p99_s=percentile(gaps, 0.99),
         max_s=round(max(gaps), 3))


class Client(threading.Thread):
    """Submits one short run after the other; where nobody listens, it goes to another node."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.over, self.asked, self.failed = nodes, False, 0, 0

    def run(self):
        while not self.over:
            self.asked += 1
            key = f"k-{random.getrandbits(64):x}"
            for node in random.sample(self.nodes, len(self.nodes)):
                try:
                    status, _ = node.ask("POST", "/runs?wait=10s", {"prompt": "calculate 6 * 7"},
                                         {"idempotency-key": key})
                except ConnectionRefusedError:
                    continue
                except (OSError, http.client.HTTPException):
                    status = 0
                self.failed += status not in (200, 201)
                break
            else:
                self.failed += 1


def idle(directory, _rounds, seconds=20):
    place = tempdir(directory)
    fleet = Fleet(place, 5)
    time.sleep(5)

    def sample():
        gossip = [sum(node.metric("crane_gossip_bytes_total").values()) for node in fleet.nodes]
        return [node.cpu() for node in fleet.nodes], gossip, fleet.database.commits()

    cpu, gossip, commits = sample()
    begun = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    cpu_then, gossip_then, commits_then = sample()
    show(task="idle", nodes=5,
         core_percent_a_node=round(100 * (sum(cpu_then) - sum(cpu)) / 5 / took, 2),
         gossip_bytes_a_second_a_node=round((sum(gossip_then) - sum(gossip)) / 5 / took),
         commits_a_second=round((commits_then - commits) / took, 1))
    fleet.stop()


def throughput(directory, rounds):
    place = tempdir(directory)
    alone = Node(place, "alone", "").start().wait_until_ready()
    one = Fleet(tempdir(place), 1)
    three = Fleet(tempdir(place), 3)
    figures = {"embedded": [], "1 node": [], "3 nodes": []}
    ratios = []
    for _ in range(rounds):
        figures["embedded"].append(alone.bench("chain:10", 64, 5)["steps_per_second"])
        before, steps = one.database.commits(), one.nodes[0].metric("crane_steps_total")
        figures["1 node"].append(one.nodes[0].bench("chain:10", 64, 5)["steps_per_second"])
        after, then = one.database.commits(), one.nodes[0].metric("crane_steps_total")
        ratios.append((sum(then.values()) - sum(steps.values())) / (after - before))
        results = []
        threads = [threading.Thread(
            target=lambda node=node: results.append(node.bench("chain:10", 22, 5)["steps_per_second"]))
            for node in three.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures["3 nodes"].append(sum(results))
    base = statistics.median(figures["embedded"])
    for name, values in figures.items():
        median = statistics.median(values)
        show(task="throughput", store=name, steps_per_second=round(median),
             share_of_embedded=round(median / base, 3), least=round(min(values)),
             greatest=round(max(values)))
    show(task="throughput", steps_a_commit=round(statistics.median(ratios), 1))
    alone.stop()
    one.stop()
    three.stop()


def main():
    tasks = {"join": join, "takeover": takeover, "restart": restart, "idle": idle,
             "throughput": throughput}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(tasks))
    parser.add_argument("--dir", default="/var/tmp")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - set(tasks)
    if unknown:
        parser.error(f"no such task: {', '.join(sorted(unknown))}")
    for name in arguments.tasks or tasks:
        directory = tempfile.mkdtemp(prefix="cluster-", dir=arguments.dir)
        os.chmod(directory, 0o755)
        try:
            tasks[name](directory, arguments.rounds)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
