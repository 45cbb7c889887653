"""A scheduler on pymesos that launches a number of command tasks and keeps books.

It does what a careful scheduler does: it stores its framework id, it tells repeated updates by
their uuid, and it repeats a call whose outcome it does not know, word for word.
"""

import threading
import time
import traceback

from pymesos import MesosSchedulerDriver, Scheduler

TASKS_PER_OFFER_MAX = 8
TASK_CPUS = 0.1
TASK_MEM_MB = 32
TERMINAL = ('TASK_FINISHED', 'TASK_FAILED', 'TASK_KILLED', 'TASK_LOST', 'TASK_ERROR',
            'TASK_DROPPED', 'TASK_GONE', 'TASK_GONE_BY_OPERATOR')


class Books(Scheduler):
    """The callbacks. They run in the driver's thread; what they share is under the lock."""

    def __init__(self, n_tasks, command):
        self.lock = threading.RLock()
        self.command = command
        self.todo = ['task-%d' % i for i in range(n_tasks)]
        self.n_tasks = n_tasks
        self.uuids = set()
        self.states = {}
        self.ends = {}
        self.registrations = []
        # Calls without an answer: they may or may not have been applied.
        self.unresolved = []
        self.used_offers = set()
        self.problems = []
        # Set when this driver is of no use any more.
        self.broken = threading.Event()
        self.changed = threading.Condition(self.lock)

    # What a test may change.

    def wants(self, offer):
        """Whether to use an offer now."""
        return True

    def acknowledges(self, status):
        """Whether to acknowledge an update now. Only asked with explicit acknowledgements."""
        return True

    def room(self, offer):
        """What an offer has for tasks."""
        return {resource['name']: resource['scalar']['value']
                for resource in offer['resources'] if resource['type'] == 'SCALAR'}

    # Callbacks.

    def registered(self, driver, framework_id, master_info):
        self._on_registration(driver, master_info, 'registered')

    def reregistered(self, driver, master_info):
        self._on_registration(driver, master_info, 'registered again')

    def disconnected(self, driver):
        if driver.registered_here:
            self.broken.set()

    def error(self, driver, message):
        self._problem('error from the master: %s' % message)

    def resourceOffers(self, driver, offers):
        with self.lock:
            for offer in offers:
                self.on_offer(offer)
                if offer['id']['value'] in self.used_offers or not self.wants(offer):
                    continue
                self._launch(driver, offer)

    def on_offer(self, offer):
        pass

    def statusUpdate(self, driver, status):
        with self.lock:
            uuid, task, state = (
                status.get('uuid'), status['task_id']['value'], status['state'])
            if uuid is None or uuid not in self.uuids:
                self.uuids.add(uuid)
                self.states[task] = state
                if state in TERMINAL and uuid is not None:
                    self.ends.setdefault(task, []).append(state)
                if state in TERMINAL and state != 'TASK_FINISHED':
                    self._problem('%s ended as %s: %s' % (task, state, status.get('message')))
            self.changed.notify_all()
            acknowledge = not driver.implicit_acknowledgements and self.acknowledges(status)
        if acknowledge:
            driver.acknowledgeStatusUpdate(status)

    # The rest.

    def finished(self):
        with self.lock:
            return [task for task, ends in self.ends.items() if 'TASK_FINISHED' in ends]

    def done(self):
        return len(self.finished()) >= self.n_tasks or bool(self.problems)

    def wait(self, what, holds, seconds):
        """Waits until something holds; False when this driver broke meanwhile."""
        deadline = time.time() + seconds
        with self.lock:
            while not holds():
                if self.broken.is_set():
                    return False
                if time.time() > deadline:
                    raise RuntimeError('not within %d s: %s; states are %s' % (
                        seconds, what, self.states))
                self.changed.wait(0.1)
        return True

    def _on_registration(self, driver, master_info, how):
        with self.lock:
            driver.registered_here = True
            master = '%s:%s' % (master_info['hostname'], master_info['port'])
            print('%s at %s' % (how, master), flush=True)
            self.registrations.append(driver.framework_id)
            for offer_ids, tasks in list(self.unresolved):
                print('repeating the launch of %d tasks' % len(tasks), flush=True)
                if self._send_launch(driver, offer_ids, tasks):
                    self.unresolved.remove((offer_ids, tasks))
            self.changed.notify_all()

    def _launch(self, driver, offer):
        amounts = self.room(offer)
        fit = int(min(amounts.get('cpus', 0) / TASK_CPUS, amounts.get('mem', 0) / TASK_MEM_MB)
                  + 1e-6)
        names = self.todo[:min(fit, TASKS_PER_OFFER_MAX)]
        self.used_offers.add(offer['id']['value'])
        if not names:
            try:
                driver.declineOffer([offer['id']], filters=dict(refuse_seconds=1))
            except Exception:
                self.broken.set()
            return
        self.todo = self.todo[len(names):]
        tasks = [self._task(name, offer) for name in names]
        if not self._send_launch(driver, [offer['id']], tasks):
            self.unresolved.append(([offer['id']], tasks))

    def _send_launch(self, driver, offer_ids, tasks):
        try:
            if not driver.connected:
                raise RuntimeError('not connected')
            driver.launchTasks(offer_ids, tasks, filters=dict(refuse_seconds=0))
            return True
        except Exception as error:
            print('a launch without an answer: %s' % error, flush=True)
            self.broken.set()
            return False

    def _task(self, name, offer):
        def scalar(resource, value):
            return dict(name=resource, type='SCALAR', scalar=dict(value=value))
        return dict(
            task_id=dict(value=name),
            name=name,
            agent_id=offer['agent_id'],
            resources=[scalar('cpus', TASK_CPUS), scalar('mem', TASK_MEM_MB)],
            command=dict(value=self.command % dict(task=name)))

    def _problem(self, text):
        print(text, flush=True)
        self.problems.append(text)
        self.changed.notify_all()


class Driver(MesosSchedulerDriver):
    """pymesos' driver; only remembers whether it was ever registered."""

    registered_here = False


def framework():
    return dict(user='root', name='pymesos-test', hostname='localhost', roles=['batch'],
                capabilities=[dict(type='MULTI_ROLE')], failover_timeout=3600)


def start(books, framework_info, master, explicit=False):
    """Starts a driver against one master, whichever that is."""
    print('starting a driver against %s' % master, flush=True)
    books.broken.clear()
    driver = Driver(books, framework_info, master,
                    implicit_acknowledgements=not explicit, failover=True)
    driver.start()
    return driver


def stop(driver, teardown):
    """Stops a driver. One whose thread failed interrupts the main thread, at a time of its own
    choosing; that is taken here."""
    for _ in range(3):
        try:
            if driver.aborted:
                time.sleep(0.5)
            driver.stop(failover=not teardown)
            driver.join()
            return
        except (Exception, KeyboardInterrupt):
            print('the driver failed: %s' % traceback.format_exc().splitlines()[-1], flush=True)
