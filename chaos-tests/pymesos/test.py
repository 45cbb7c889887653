"""pymesos, unmodified, against masters that redirect, and against masters that die.

usage: test.py <regency binary> [scenario...]
"""

import json
import logging
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

from cluster import Cluster
from scheduler import Books, framework, start, stop

N_TASKS = 100
LIMIT_SECONDS = 180
# How many tasks have finished when the leader is killed, and how many of their terminal updates
# are then not acknowledged.
FINISHED_BEFORE_KILL = 30
UNACKNOWLEDGED = 5
# What runs in executors, and how often a leader dies meanwhile.
N_EXECUTOR_TASKS = 200
LEADERS_KILLED = 3
# How often a driver is started before the test gives up.
DRIVERS_MAX = 50


def check(holds, text):
    if not holds:
        raise AssertionError(text)


def check_runs(path, n_tasks):
    """The tasks themselves say how often each ran."""
    with open(path) as ledger:
        runs = Counter(ledger.read().split())
    expected = Counter('task-%d' % i for i in range(n_tasks))
    check(runs == expected, 'tasks that did not run exactly once: %s' % (
        {task: runs[task] for task in set(runs) | set(expected) if runs[task] != 1}))


def check_ledger(path, books):
    """Each task ran once, and its end was told once."""
    check_runs(path, books.n_tasks)
    wrong = {task: ends for task, ends in books.ends.items() if ends != ['TASK_FINISHED']}
    check(not wrong, 'tasks that did not end exactly once, as finished: %s' % wrong)
    check(len(books.ends) == books.n_tasks, 'tasks whose end was not told')
    check(not books.problems, 'problems: %s' % books.problems)


def any_master_will_do(cluster, ledger):
    """Every master can be given to a driver: followers redirect to the leader."""
    for master in cluster.masters:
        books, info = Books(0, ''), framework()
        driver = start(books, info, master['http'])
        books.wait('a registration through master %d' % master['id'],
                   lambda: books.registrations, LIMIT_SECONDS)
        stop(driver, teardown=True)

    books, info = Books(N_TASKS, 'echo %%(task)s >> %s' % ledger), framework()
    driver = start(books, info, cluster.followers()[0]['http'])
    finish(books, info, driver, cluster, explicit=False)
    check_ledger(ledger, books)
    print('%d tasks finished, through a follower\n' % N_TASKS, flush=True)


def finish(books, info, driver, cluster, explicit, master=None):
    """Waits for all tasks, and ends the framework."""
    stop(go_on(books, info, driver, cluster, explicit, master, books.done), teardown=True)


def go_on(books, info, driver, cluster, explicit, master, done):
    """Waits until something is done. When the driver fails, because its master died or no longer
    leads, another one is started against a surviving master, under the framework's id."""
    framework_id = driver.framework_id
    for turn in range(DRIVERS_MAX):
        try:
            books.wait('what comes next', done, LIMIT_SECONDS)
        except KeyboardInterrupt:
            check(driver.aborted, 'interrupted')
        except RuntimeError:
            if not driver.aborted:
                raise
        if done():
            return driver
        framework_id = driver.framework_id or framework_id
        stop(driver, teardown=False)
        if framework_id:
            info['id'] = dict(value=framework_id)
        cluster.await_redirects()
        http = cluster.masters[turn % len(cluster.masters)]['http']
        driver = start(books, info, master or http, explicit)
    raise AssertionError('%d drivers failed' % DRIVERS_MAX)


class Surviving(Books):
    """Keeps something of each kind back until the leader is dead: an offer, and the
    acknowledgements of some terminal updates."""

    def __init__(self, *args):
        Books.__init__(self, *args)
        self.leader_is_dead = False
        self.held_agent = None
        self.held_offers = set()
        self.held_updates = {}
        self.offers_found = set()
        self.updates_found = set()

    def on_offer(self, offer):
        if self.leader_is_dead and offer['id']['value'] in self.held_offers:
            self.offers_found.add(offer['id']['value'])

    def wants(self, offer):
        if self.leader_is_dead:
            return True
        agent = offer['agent_id']['value']
        self.held_agent = self.held_agent or agent
        if agent == self.held_agent:
            self.held_offers.add(offer['id']['value'])
            return False
        return True

    def acknowledges(self, status):
        uuid = status.get('uuid')
        if self.leader_is_dead:
            if uuid in self.held_updates:
                self.updates_found.add(uuid)
            return True
        if status['state'] == 'TASK_FINISHED' and (
                uuid in self.held_updates or len(self.held_updates) < UNACKNOWLEDGED):
            self.held_updates[uuid] = status['task_id']['value']
            return False
        return True


def the_leader_dies(cluster, ledger):
    """A driver started again at a surviving master finds what its framework had."""
    books, info = Surviving(
        N_TASKS, 'echo %%(task)s >> %s; sleep 0.7' % ledger), framework()
    driver = start(books, info, cluster.followers()[0]['http'], explicit=True)
    ripe = books.wait('some finished tasks', lambda: bool(
        len(books.finished()) >= FINISHED_BEFORE_KILL and books.held_offers
        and len(books.held_updates) >= UNACKNOWLEDGED) or bool(books.problems), LIMIT_SECONDS)
    check(ripe and not books.problems, 'the first driver failed: %s' % books.problems)
    framework_id = driver.framework_id
    with books.lock:
        open_tasks = N_TASKS - len(books.todo) - len(books.finished())
        leader = cluster.leader()
        cluster.kill(leader)
        books.leader_is_dead = True
    print('killed master %d: %d tasks finished, %d open, %d not launched' % (
        leader['id'], len(books.finished()), open_tasks, len(books.todo)), flush=True)

    finish(books, info, driver, cluster, explicit=True)
    check(set(books.registrations) == {framework_id}, 'the framework id changed')
    check(len(books.registrations) > 1, 'the driver was not registered again')
    check_ledger(ledger, books)
    check(books.offers_found == books.held_offers, 'offers %s were held, %s came back' % (
        sorted(books.held_offers), sorted(books.offers_found)))
    check(books.updates_found == set(books.held_updates), 'updates of %s were not repeated' % (
        [books.held_updates[uuid] for uuid in set(books.held_updates) - books.updates_found]))
    print('%d tasks finished across the death of the leader, each ran once; %d offers and %d '
          'unacknowledged updates came back\n' % (
              N_TASKS, len(books.offers_found), len(books.updates_found)), flush=True)


def zookeeper_is_not_missed(cluster, ledger):
    """A driver that was told to look for the leader in ZooKeeper finds it, and the next one."""
    books = Books(N_TASKS, 'echo %%(task)s >> %s; sleep 0.5' % ledger)
    info = framework()
    driver = start(books, info, cluster.zk_url())
    books.wait('some finished tasks',
               lambda: len(books.finished()) >= FINISHED_BEFORE_KILL, LIMIT_SECONDS)
    leader = cluster.leader()
    cluster.kill(leader)
    print('killed master %d: %d tasks finished' % (leader['id'], len(books.finished())), flush=True)
    finish(books, info, driver, cluster, explicit=False, master=cluster.zk_url())
    check_ledger(ledger, books)
    print('%d tasks finished, the leader found in the place of ZooKeeper\n' % N_TASKS, flush=True)


def the_killed_are_gone(cluster, _):
    """Nobody holds the ports of a master that was killed: the one that starts in its place ends at once
    when it finds one taken."""
    flags = ('--port', '--raft-port', '--agent-port', '--zk-facade-port')
    for master in cluster.masters:
        cluster.kill(master)
        argv = master['argv']
        for flag in flags:
            port = int(argv[argv.index(flag) + 1])
            with socket.socket() as listener:
                # As the master does: connections that have ended are not in the way.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(('127.0.0.1', port))
                listener.listen(1)
    print('all ports of killed masters were free\n', flush=True)


class CarefulScheduler(object):
    """The process of careful.py, and what it says. Ends with the `with` block."""

    def __init__(self, master, n_tasks, ledger):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'careful.py')
        self._process = subprocess.Popen(
            [sys.executable, program, master, str(n_tasks), ledger], stdout=subprocess.PIPE)
        self._said = queue.Queue()
        self.events = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def _listen(self):
        for line in self._process.stdout:
            self._said.put(json.loads(line.decode()))
        self._said.put(None)

    def count(self, kind):
        return len([event for event in self.events if event['event'] == kind])

    def wait(self, kind, n):
        """Until it has said something so often; gives what it said last of that kind."""
        deadline = time.time() + LIMIT_SECONDS
        while self.count(kind) < n:
            try:
                event = self._said.get(timeout=max(0, deadline - time.time()))
            except queue.Empty:
                raise RuntimeError('not within %d s: %d times %s; the last events are %s' % (
                    LIMIT_SECONDS, n, kind, self.events[-5:]))
            if event is None:
                raise AssertionError('the scheduler ended early, status %s: %.2000s' % (
                    self._process.wait(), self.events[-1:]))
            self.events.append(event)
        return [event for event in self.events if event['event'] == kind][-1]

    def end(self):
        """What it says in the end, when it has ended by itself."""
        summary = self.wait('end', 1)
        check(self._process.wait() == 0, 'the scheduler failed: %s' % summary['problems'])
        return summary


def custom_executors(cluster, ledger):
    """Scheduler and executor on pymesos: three leaders and an agent die while tasks run, and neither
    the scheduler's process nor its driver is another one in the end."""
    cluster.await_level(2)
    url = cluster.zk_url()
    check(url.count(',') == len(cluster.masters) - 1 == 2, 'not three facades: %s' % url)
    with CarefulScheduler(url, N_EXECUTOR_TASKS, ledger) as scheduler:
        for turn in range(1, LEADERS_KILLED + 1):
            scheduler.wait('finished', turn * N_EXECUTOR_TASKS // (LEADERS_KILLED + 1))
            n_registrations = scheduler.count('reregistered')
            leader = cluster.leader()
            cluster.kill(leader)
            print('killed master %d: %d tasks finished' % (
                leader['id'], scheduler.count('finished')), flush=True)
            if turn == 1:
                cluster.restart_agent(cluster.agents[0])
            cluster.restart(leader)
            scheduler.wait('reregistered', n_registrations + 1)
        summary = scheduler.end()

    check_runs(ledger, N_EXECUTOR_TASKS)
    wrong = {task: told for task, told in summary['told'].items()
             if told != ['TASK_RUNNING', 'TASK_FINISHED']}
    check(not wrong, 'tasks whose updates were not told once each: %s' % wrong)
    registrations = summary['registrations']
    check(len(set(one['framework'] for one in registrations)) == 1, 'the framework id changed')
    check([one['how'] for one in registrations].count('registered') == 1,
          'not registered once: %s' % registrations)
    print('%d tasks of custom executors finished through %d leaders and an agent that died, by one '
          'driver that was registered %d times; %d of its calls failed, %d tasks were launched again\n'
          % (N_EXECUTOR_TASKS, LEADERS_KILLED, len(registrations), len(summary['failed_calls']),
             sum(tries - 1 for tries in summary['tries'].values())), flush=True)


def main(binary, names):
    # The driver logs every lost connection with a traceback; losing them is the point here.
    logging.disable(logging.CRITICAL)
    tests = (the_killed_are_gone, any_master_will_do, the_leader_dies, zookeeper_is_not_missed,
             custom_executors)
    for test in [test for test in tests if not names or test.__name__ in names]:
        print('== %s' % test.__name__, flush=True)
        descriptor, ledger = tempfile.mkstemp()
        os.close(descriptor)
        try:
            with Cluster(binary) as cluster:
                test(cluster, ledger)
        finally:
            os.unlink(ledger)


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
