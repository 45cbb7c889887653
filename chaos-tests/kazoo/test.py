"""kazoo, unmodified, against the facade, while the leader changes ten times.

usage: test.py <regency binary>
"""

import json
import logging
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError, NodeExistsError
from kazoo.security import OPEN_ACL_UNSAFE

from cluster import Cluster

PATH = '/mesos'
N_CHANGES = 10
LIMIT_SECONDS = 30
# Errors that a client meets when its server dies; it tries the next one.
RETRIED = 100


def check(holds, text):
    if not holds:
        raise AssertionError(text)


def wait(what, condition):
    deadline = time.time() + LIMIT_SECONDS
    while not condition():
        check(time.time() < deadline, 'waited in vain for ' + what)
        time.sleep(0.01)


def client(hosts):
    """A started client. Its session is never given up: kazoo tells that as LOST."""
    zk = KazooClient(hosts=hosts, timeout=10, connection_retry=dict(max_tries=-1, delay=0.05),
                     command_retry=dict(max_tries=RETRIED, delay=0.05))
    zk.lost = []
    zk.add_listener(lambda state: zk.lost.append(state) if state == KazooState.LOST else None)
    zk.start(timeout=LIMIT_SECONDS)
    return zk


def one_child(children):
    check(len(children) == 1, 'not exactly one child: %r' % children)
    name = children[0]
    check(name.startswith('json.info_') and len(name) == 20 and name[10:].isdigit(),
          'not the name of a leader: %r' % name)
    return name


def number(name):
    return int(name[10:])


class Watcher(object):
    """Follows the leader as detectors do: lists with a watch, reads, waits for the watch."""

    def __init__(self, zk):
        self._zk = zk
        self.seen = []
        self.events = []
        self.problems = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._fired = threading.Event()
        self._stop = False
        self._thread.start()

    def _watch(self, event):
        self.events.append((event.type, event.path))
        self._fired.set()

    def _run(self):
        try:
            while not self._stop:
                self._fired.clear()
                name = one_child(self._zk.retry(self._zk.get_children, PATH, watch=self._watch))
                if not self.seen or self.seen[-1] != name:
                    self.seen.append(name)
                self._fired.wait()
        except Exception as error:  # whatever it is, the test must hear of it
            self.problems.append(repr(error))

    def stop(self):
        self._stop = True
        self._fired.set()
        self._thread.join()


class Poller(object):
    """Asks all the time, without watches: no answer is empty, old, or another for the same name."""

    def __init__(self, zk):
        self._zk = zk
        self.data = {}
        self.n_reads = 0
        self.problems = []
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        last = 0
        try:
            while not self._stop:
                name = one_child(self._zk.retry(self._zk.get_children, PATH))
                check(number(name) >= last, '%s came after %d' % (name, last))
                last = number(name)
                try:
                    data, stat = self._zk.retry(self._zk.get, PATH + '/' + name)
                except NoNodeError:
                    continue  # it changed in between
                check(self.data.setdefault(name, data) == data, name + ' changed its data')
                check(stat.czxid == stat.mzxid and stat.dataLength == len(data), repr(stat))
                self.n_reads += 1
        except Exception as error:
            self.problems.append(repr(error))

    def stop(self):
        self._stop = True
        self._thread.join()


def leader_of(zk):
    """Name and MasterInfo of the leader, as a detector finds them."""
    while True:
        name = one_child(zk.retry(zk.get_children, PATH))
        try:
            data, _ = zk.retry(zk.get, PATH + '/' + name)
        except NoNodeError:
            continue
        return name, json.loads(data.decode())


def check_info(info, master):
    host, port = master['http'].split(':')
    check(info['address']['ip'] == host and info['address']['port'] == int(port), repr(info))
    check(info['port'] == int(port), repr(info))
    check(info['pid'] == 'master@%s:%s' % (host, port), repr(info))
    for key in ('id', 'ip', 'hostname', 'version'):
        check(key in info, '%s is missing: %r' % (key, info))


def follow_ten_leaders(cluster, hosts):
    watched, polled = client(hosts), client(hosts)
    watcher, poller = Watcher(watched), Poller(polled)
    for turn in range(N_CHANGES):
        old = cluster.leader()
        name, info = leader_of(polled)
        check_info(info, old)
        wait('the watcher at ' + name, lambda: watcher.seen and watcher.seen[-1] == name)
        if turn % 2 == 0:
            cluster.kill(old)
        else:
            cluster.hand_over(old)
        wait('a new leader after ' + name,
             lambda: watcher.problems or number(watcher.seen[-1]) > number(name))
        check(not watcher.problems, watcher.problems)
        new = cluster.leader()
        check(new['id'] != old['id'], 'master %d leads again' % new['id'])
        if turn % 2 == 0:
            cluster.restart(old)
        print('%2d. master %d after master %d: %s' % (turn + 1, new['id'], old['id'],
                                                      watcher.seen[-1]), flush=True)
    name, info = leader_of(polled)
    check_info(info, cluster.leader())
    for zk, side in ((watched, watcher), (polled, poller)):
        side.stop()
        check(not side.problems, side.problems)
        check(not zk.lost, 'a session was lost')
        zk.stop()
        zk.close()
    numbers = [number(name) for name in watcher.seen]
    check(numbers == sorted(set(numbers)) and len(numbers) > N_CHANGES, numbers)
    kinds = set(watcher.events)
    check(kinds <= {('CHILD', PATH), ('NONE', None)}, kinds)
    print('%d leaders watched, %d reads' % (len(numbers), poller.n_reads), flush=True)


def tree(zk, path='/'):
    children = sorted(zk.get_children(path))
    below = path.rstrip('/') + '/'
    return [(path, zk.get(path))] + [node for name in children for node in tree(zk, below + name)]


def nothing_can_be_written(cluster, hosts):
    zk = client(hosts)
    before = tree(zk)
    name = PATH + '/' + one_child(zk.get_children(PATH))
    commit = zk.transaction()
    commit.create('/a')
    commit.delete(name)

    def contend():
        """What a master of Mesos does to be elected."""
        zk.create(PATH + '/json.info_', b'{}', ephemeral=True, sequence=True)

    refused = [
        (contend, NoAuthError),
        (lambda: zk.create('/marathon', b'x'), NoAuthError),
        (lambda: zk.create('/marathon/state', b'x', makepath=True), NoAuthError),
        (lambda: zk.create('/large', b'x' * 500000), NoAuthError),
        (lambda: zk.create(PATH, b'x'), NodeExistsError),
        (lambda: zk.set(name, b'x'), NoAuthError),
        (lambda: zk.set(PATH, b'x', version=0), NoAuthError),
        (lambda: zk.delete(name), NoAuthError),
        (lambda: zk.delete(PATH, recursive=True), NoAuthError),
        (lambda: zk.set_acls(PATH, OPEN_ACL_UNSAFE), NoAuthError),
        (lambda: zk.Lock('/locks/mine').acquire(timeout=5), NoAuthError),
        (commit.commit, NoAuthError),
    ]
    for write, expected in refused:
        try:
            write()
        except KazooException as error:
            check(isinstance(error, expected), 'refused with %r, not %s' % (error, expected))
        else:
            raise AssertionError('written: %r' % write)
    # Those who make sure that the path exists are content.
    zk.ensure_path(PATH)
    check(zk.exists('/marathon') is None, 'it was written')
    zk.add_auth('digest', 'user:password')
    check(tree(zk) == before, 'something changed')
    zk.stop()
    zk.close()
    for master in cluster.masters:
        zk = client(master['zk'])
        check(tree(zk) == before, 'master %d shows something else' % master['id'])
        zk.stop()
        zk.close()
    print('%d writes refused, %d nodes as before on every master' % (len(refused), len(before)),
          flush=True)


def main(binary):
    logging.disable(logging.CRITICAL)
    with Cluster(binary) as cluster:
        hosts = ','.join(master['zk'] for master in cluster.masters)
        for test in (nothing_can_be_written, follow_ten_leaders, nothing_can_be_written):
            print('== %s' % test.__name__, flush=True)
            cluster.leader()
            test(cluster, hosts)
    print('kazoo: ok', flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
