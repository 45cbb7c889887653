"""mesoshttp, unmodified: finds the leader as in ZooKeeper, runs tasks across the leader's death.

usage: test.py <regency binary>

The library reads its stream line by line, and a record has no line feed behind it: it sees a record
when the next one comes. So it asks for the state of its tasks all the time, and answers follow.
"""

import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter

from mesoshttp.client import MesosClient
from mesoshttp.exception import MesosException

from cluster import Cluster

N_TASKS = 12
FINISHED_BEFORE_KILL = 4
LIMIT_SECONDS = 60
CPUS = 0.1
MEM = 16.0


def check(holds, text):
    if not holds:
        raise AssertionError(text)


class Framework(object):
    """Launches tasks as offers come, and remembers what it is told."""

    def __init__(self, zk_url, ledger):
        self._ledger = ledger
        self._lock = threading.Lock()
        self.waiting = ['task-%d' % i for i in range(N_TASKS)]
        self.states = {}
        self.n_subscribed = 0
        self.problems = []
        self.driver = None
        self.client = MesosClient(mesos_urls=[zk_url], frameworkName='mesoshttp', max_reconnect=20)
        self.client.set_failover_timeout(3600)
        self.client.on(MesosClient.SUBSCRIBED, self._subscribed)
        self.client.on(MesosClient.OFFERS, self._offers)
        self.client.on(MesosClient.UPDATE, self._update)
        self.client.on(MesosClient.ERROR, self.problems.append)
        for target in (self.client.register, self._reconcile):
            threading.Thread(target=target, daemon=True).start()

    def _subscribed(self, driver):
        self.driver = driver
        self.n_subscribed += 1

    def _reconcile(self):
        while not self.client.disconnect:
            time.sleep(0.1)
            try:
                if self.driver:
                    self.driver.reconcile([dict(task_id=dict(value='task-0'))])
            except MesosException:
                pass  # the master died

    def _offers(self, offers):
        again = {'filters': {'refuse_seconds': 0.01}}
        for offer in offers:
            with self._lock:
                fits = fitting(offer.get_offer())
                ids, self.waiting = self.waiting[:fits], self.waiting[fits:]
            if ids:
                offer.accept([self._task(task_id) for task_id in ids], again)
            else:
                offer.decline(again)

    def _task(self, task_id):
        def scalar(name, value):
            return dict(name=name, type='SCALAR', scalar=dict(value=value))

        return {
            'name': task_id,
            'task_id': {'value': task_id},
            'resources': [scalar('cpus', CPUS), scalar('mem', MEM)],
            'command': {'value': 'echo %s >> %s' % (task_id, self._ledger)},
        }

    def _update(self, update):
        status = update['status']
        if status.get('reason') != 'REASON_RECONCILIATION':
            self.states[status['task_id']['value']] = status['state']

    def finished(self):
        return [task for task, state in self.states.items() if state == 'TASK_FINISHED']

    def wait(self, what, condition):
        deadline = time.time() + LIMIT_SECONDS
        while not condition():
            check(time.time() < deadline, 'waited in vain for %s: %r' % (what, self.states))
            check(not self.problems, self.problems)
            time.sleep(0.02)


def fitting(offer):
    """How many tasks an offer has room for; few, so that there are tasks left for the next leader."""
    amounts = {resource['name']: resource['scalar']['value']
               for resource in offer['resources'] if resource['type'] == 'SCALAR'}
    return min(2, int(amounts.get('cpus', 0) / CPUS), int(amounts.get('mem', 0) / MEM))


def main(binary):
    logging.disable(logging.CRITICAL)
    # It waits so long before it connects again, 10 s unless told otherwise.
    MesosClient.WAIT_TIME = 0.5
    descriptor, ledger = tempfile.mkstemp()
    os.close(descriptor)
    try:
        with Cluster(binary, '--master-flag=--allocation-interval=100ms') as cluster:
            leader = cluster.leader()
            framework = Framework(cluster.zk_url(), ledger)
            framework.wait('finished tasks',
                           lambda: len(framework.finished()) >= FINISHED_BEFORE_KILL)
            first_id = framework.client.frameworkId
            info = framework.client.get_master_info()
            check('%s:%d' % (info['address']['ip'], info['address']['port']) == leader['http'], info)
            cluster.kill(leader)
            print('killed master %d: %d tasks finished' % (leader['id'], len(framework.finished())),
                  flush=True)
            framework.wait('all tasks', lambda: len(framework.finished()) == N_TASKS)
            check(framework.client.frameworkId == first_id, 'it is another framework now')
            check(framework.n_subscribed >= 2, 'it never came back')
            framework.driver.tearDown()
            framework.client.disconnect_framework()
    finally:
        with open(ledger) as lines:
            runs = Counter(lines.read().split())
        os.remove(ledger)
    expected = Counter('task-%d' % i for i in range(N_TASKS))
    check(runs == expected, 'tasks that did not run exactly once: %r' % runs)
    print('mesoshttp: ok, %d tasks' % N_TASKS, flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
