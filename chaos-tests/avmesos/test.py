"""mesos-cli of avmesos, unmodified: lists agents, frameworks and tasks, before and after the leader
dies, by the address of any master and by what looks like ZooKeeper.

usage: test.py <regency binary>
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time

from mesoshttp.client import MesosClient
from mesoshttp.exception import MesosException

from cluster import Cluster

LIMIT_SECONDS = 60


def check(holds, text):
    if not holds:
        raise AssertionError(text)


def wait(what, condition):
    deadline = time.time() + LIMIT_SECONDS
    while not condition():
        check(time.time() < deadline, 'waited in vain for ' + what)
        time.sleep(0.02)


class Sleeper(object):
    """A framework with one task that runs on. Its library sees a record when the next one comes, so it
    asks for the state of its task all the time."""

    def __init__(self, zk_url):
        self.states = []
        self._launched = False
        self.client = MesosClient(mesos_urls=[zk_url], frameworkName='sleeper', max_reconnect=20,
                                  frameworkHostname='sleeper.example')
        self.client.set_failover_timeout(3600)
        self._driver = None
        self.client.on(MesosClient.SUBSCRIBED, self._subscribed)
        self.client.on(MesosClient.OFFERS, self._offers)
        self.client.on(MesosClient.UPDATE, lambda update: self.states.append(update['status']['state']))
        for target in (self.client.register, self._reconcile):
            threading.Thread(target=target, daemon=True).start()

    def _subscribed(self, driver):
        self._driver = driver

    def _reconcile(self):
        while not self.client.disconnect:
            time.sleep(0.1)
            try:
                if self._driver:
                    self._driver.reconcile([dict(task_id=dict(value='sleeps'))])
            except MesosException:
                pass  # the master died

    def _offers(self, offers):
        again = {'filters': {'refuse_seconds': 0.01}}
        for offer in offers:
            if self._launched:
                offer.decline(again)
                continue
            self._launched = True
            offer.accept([{
                'name': 'sleeps',
                'task_id': {'value': 'sleeps'},
                'resources': [dict(name=name, type='SCALAR', scalar=dict(value=value))
                              for name, value in (('cpus', 0.1), ('mem', 16.0))],
                'command': {'value': 'sleep 600'},
            }], again)


def mesos(config, *words):
    """What `mesos-cli` prints. Its client of ZooKeeper notes on stderr which master it did not reach."""
    run = subprocess.run(['mesos-cli'] + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=dict(os.environ, MESOS_CLI_CONFIG=config), timeout=LIMIT_SECONDS)
    text = run.stdout.decode()
    check(run.returncode == 0,
          'mesos-cli %s: %s%s' % (' '.join(words), text, run.stderr.decode()))
    return text


def rows(text):
    """The rows of a table, without its heading."""
    return [line.split() for line in text.strip().splitlines()[1:]]


def look(config, framework_id):
    agents = rows(mesos(config, 'agent', 'list'))
    check([row[-1] for row in agents] == ['True', 'True'], agents)
    frameworks = rows(mesos(config, 'framework', 'list'))
    check(frameworks == [[framework_id, 'True', 'sleeper.example', 'sleeper']], frameworks)
    inspected = json.loads(mesos(config, 'framework', 'inspect', framework_id))
    check(inspected['id'] == framework_id and inspected['active'], inspected)
    tasks = rows(mesos(config, 'task', 'list'))
    check([row[:3] for row in tasks] == [['sleeps', 'TASK_RUNNING', framework_id]], tasks)
    inspected = json.loads(mesos(config, 'task', 'inspect', 'sleeps'))
    check(inspected['statuses'][-1]['state'] == 'TASK_RUNNING', inspected)
    check(inspected['slave_id'] in [row[0] for row in agents], inspected)


def main(binary):
    logging.disable(logging.CRITICAL)
    MesosClient.WAIT_TIME = 0.5
    with Cluster(binary, '--master-flag=--allocation-interval=100ms') as cluster, tempfile.TemporaryDirectory() as folder:
        sleeper = Sleeper(cluster.zk_url())
        wait('a task that runs', lambda: 'TASK_RUNNING' in sleeper.states)
        framework_id = sleeper.client.frameworkId

        def config(name, master):
            path = os.path.join(folder, name)
            with open(path, 'w') as file:
                file.write('[master]\n%s\n' % master)
            return path

        addresses = ', '.join('"%s"' % master['zk'] for master in cluster.masters)
        by_zookeeper = config('zk.toml', '[master.zookeeper]\naddresses = [%s]\npath = "/mesos"'
                              % addresses)
        look(by_zookeeper, framework_id)
        for master in cluster.masters:
            path = config('%d.toml' % master['id'], 'address = "%s"' % master['http'])
            tasks = rows(mesos(path, 'task', 'list'))
            check([row[:3] for row in tasks] == [['sleeps', 'TASK_RUNNING', framework_id]], tasks)
        print('agents, frameworks and tasks are listed by all masters', flush=True)

        leader = cluster.leader()
        cluster.kill(leader)
        cluster.leader()
        print('killed master %d' % leader['id'], flush=True)
        wait('the framework at the next leader', lambda: rows(
            mesos(by_zookeeper, 'framework', 'list')) != [] and [row[-1] for row in rows(
                mesos(by_zookeeper, 'agent', 'list'))] == ['True', 'True'])
        look(by_zookeeper, framework_id)
        sleeper.client.get_driver().tearDown()
        sleeper.client.disconnect_framework()
    print('avmesos: ok', flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
