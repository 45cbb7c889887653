"""A cluster of real processes for the test, by `regency local --json`."""

import json
import os
import signal
import subprocess
import time
from urllib.request import urlopen

PATIENCE_SECONDS = 60
# Of each master's log, when a test fails.
LINES_TOLD = 60


def ended(pid):
    """Whether a process has let go of its ports and files. A killed one is shown as a zombie as soon
    as its first thread is dead; the others may still hold them."""
    try:
        with open('/proc/%d/stat' % pid) as stat:
            state = stat.read().rpartition(')')[2].split()[0]
        return state == 'X' or (state == 'Z' and len(os.listdir('/proc/%d/task' % pid)) <= 1)
    except OSError:
        return True


def await_end(pid):
    """Until a process that was killed is gone. Its parent is another."""
    deadline = time.time() + PATIENCE_SECONDS
    while time.time() < deadline:
        if ended(pid):
            return
        time.sleep(0.01)
    raise RuntimeError('process %d does not end' % pid)


class Cluster(object):
    """Three masters and two agents; ends with the `with` block."""

    def __init__(self, binary, *flags):
        self._binary = binary
        self._flags = flags
        self._local = None
        self._restarted = {}

    def __enter__(self):
        self._local = subprocess.Popen(
            [self._binary, 'local', '--json', '--no-demo', '--no-restart', '--zk-facade',
             '--port-base', '0'] + list(self._flags),
            stdout=subprocess.PIPE)
        line = self._local.stdout.readline()
        if not line:
            raise RuntimeError('the cluster did not start')
        ready = json.loads(line.decode())
        self.masters = ready['masters']
        self.agents = ready['agents']
        self.dir = ready['dir']
        return self

    def __exit__(self, kind, *_):
        if kind:
            self._tell()
        for process in self._restarted.values():
            process.kill()
            process.wait()
        self._local.send_signal(signal.SIGINT)
        self._local.stdout.read()
        self._local.wait()

    def _tell(self):
        """What the masters say when a test has failed, as the logs go with the cluster."""
        for master in self.masters:
            with open(master['log']) as log:
                end = log.readlines()[-LINES_TOLD:]
            print('-- master %d says %s; its log ends:\n%s' % (
                master['id'], self.status(master), ''.join(end)), flush=True)

    def status(self, master):
        """What a master says about itself; None when it does not answer."""
        try:
            answer = urlopen('http://%s/regency/status' % master['http'], timeout=1)
            return json.loads(answer.read().decode())
        except (OSError, ValueError):
            return None

    def leader(self):
        """The master that leads and serves."""
        deadline = time.time() + PATIENCE_SECONDS
        while time.time() < deadline:
            for master in self.masters:
                status = self.status(master)
                if status and status['role'] == 'leader' and status['serving']:
                    return master
            time.sleep(0.05)
        raise RuntimeError('there is no leader')

    def await_redirects(self):
        """Until no master names one that was killed as the leader. Sent to such a one, a driver that
        was given an address tries that for a day, with Mesos as here."""
        deadline = time.time() + PATIENCE_SECONDS
        alive = set(master['http'] for master in self.masters)
        while True:
            statuses = [self.status(master) for master in self.masters]
            if all(status and status['leader'] and status['leader']['http'] in alive
                   for status in statuses):
                return
            if time.time() > deadline:
                raise RuntimeError('a dead master is named as the leader: %s' % statuses)
            time.sleep(0.05)

    def await_level(self, level):
        """Until the cluster understands what came with this feature level: a new one takes a moment
        to find out that all its masters do."""
        deadline = time.time() + PATIENCE_SECONDS
        while self.status(self.leader())['feature_level'] < level:
            if time.time() > deadline:
                raise RuntimeError('the feature level stays below %d' % level)
            time.sleep(0.05)

    def followers(self):
        leader = self.leader()
        return [master for master in self.masters if master['id'] != leader['id']]

    def zk_url(self):
        """What a framework was given when the leader was to be found in ZooKeeper."""
        return 'zk://%s/mesos' % ','.join(master['zk'] for master in self.masters)

    def kill(self, master):
        """kill -9."""
        process = self._restarted.pop(master['id'], None)
        if process:
            process.kill()
            process.wait()
        else:
            os.kill(master['pid'], signal.SIGKILL)
            await_end(master['pid'])
        self.masters = [other for other in self.masters if other['id'] != master['id']]

    def restart(self, master):
        """Starts a killed master again, and waits until it follows."""
        with open(master['log'], 'ab') as log:
            self._restarted[master['id']] = subprocess.Popen(
                master['argv'], stdout=log, stderr=log)
        deadline = time.time() + PATIENCE_SECONDS
        while True:
            status = self.status(master)
            committed = status and status['committed_index']
            if status and status['leader'] and committed and status['applied_index'] >= committed:
                break
            status_code = self._restarted[master['id']].poll()
            if status_code is not None or time.time() > deadline:
                with open(master['log']) as log:
                    end = log.read()[-4000:]
                raise RuntimeError('master %d did not come back; exit status %s, it says %s; its log ends:\n%s' % (
                    master['id'], status_code, status, end))
            time.sleep(0.05)
        self.masters = sorted(self.masters + [master], key=lambda one: one['id'])

    def restart_agent(self, agent):
        """kill -9 of an agent, which is started again at once."""
        os.kill(agent['pid'], signal.SIGKILL)
        await_end(agent['pid'])
        with open(agent['log'], 'ab') as log:
            self._restarted['agent', agent['id']] = subprocess.Popen(
                agent['argv'], stdout=log, stderr=log)

    def hand_over(self, master):
        """Lets a leader hand its leadership to another master."""
        subprocess.run([self._binary, 'members', 'transfer-leader', '--masters', master['http']],
                       check=True, stdout=subprocess.DEVNULL)
