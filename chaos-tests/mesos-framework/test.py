"""mesos-framework, unmodified: started at a follower, runs tasks while leadership is handed over.

usage: test.py <regency binary>

The library finds another leader only by the redirect of the master it had, so that one has to live on.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

from cluster import Cluster

N_TASKS = 20
FINISHED_BEFORE_HAND_OVER = 5
LIMIT_SECONDS = 60
HERE = os.path.dirname(os.path.abspath(__file__))


def check(holds, text):
    if not holds:
        raise AssertionError(text)


class Framework(object):
    """The process, and what it said."""

    def __init__(self, master, ledger, folder):
        host, port = master['http'].split(':')
        self._node = subprocess.Popen(
            ['node', '--no-deprecation', os.path.join(HERE, 'framework.js'), host, port,
             str(N_TASKS), ledger, folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
        self.said = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._node.stdout:
            text = line.decode()
            # Its logger writes to the same place.
            if text.startswith('{'):
                self.said.append(json.loads(text))

    def of(self, key):
        return [said for said in self.said if key in said]

    def finished(self):
        return {said['task'] for said in self.of('task') if said['state'] == 'TASK_FINISHED'}

    def wait(self, what, condition):
        deadline = time.time() + LIMIT_SECONDS
        while not condition():
            check(time.time() < deadline, 'waited in vain for %s: %r' % (what, self.said))
            check(self._node.poll() is None, 'it ended: %r' % self.said)
            time.sleep(0.02)

    def teardown(self):
        self._node.stdin.write(b'teardown\n')
        self._node.stdin.flush()
        check(self._node.wait(LIMIT_SECONDS) == 0, 'its teardown failed: %r' % self.said)

    def kill(self):
        self._node.kill()
        self._node.wait()


def main(binary):
    with Cluster(binary) as cluster, tempfile.TemporaryDirectory() as folder:
        ledger = os.path.join(folder, 'ledger')
        framework = Framework(cluster.followers()[0], ledger, folder)
        try:
            framework.wait('finished tasks',
                           lambda: len(framework.finished()) >= FINISHED_BEFORE_HAND_OVER)
            leader = cluster.leader()
            first = framework.of('subscribed')[-1]
            check(str(first['port']) == leader['http'].split(':')[1], first)
            cluster.hand_over(leader)
            print('master %d handed over: %d tasks finished' % (
                leader['id'], len(framework.finished())), flush=True)
            framework.wait('the next leader', lambda: len(framework.of('subscribed')) >= 2)
            framework.wait('all tasks', lambda: len(framework.finished()) == N_TASKS)
            second = framework.of('subscribed')[-1]
            check(second['subscribed'] == first['subscribed'], 'it is another framework now')
            check(second['port'] != first['port'], 'it is at the old leader')
            framework.teardown()
        finally:
            framework.kill()
        tasks = {said['task'] for said in framework.of('task')}
        check(len(tasks) == N_TASKS, 'tasks were started again: %r' % framework.said)
        with open(ledger) as lines:
            hosts = lines.read().split()
        check(hosts == ['127.0.0.1'] * N_TASKS, 'not each task ran once: %r' % hosts)
    print('mesos-framework: ok, %d tasks' % N_TASKS, flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
