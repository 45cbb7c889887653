"""A scheduler on pymesos as a framework's author writes it for years of operation: one process, one
driver, from the first task to the last, whoever leads meanwhile.

usage: careful.py <master> <tasks> <ledger>

Its tasks are run by executor.py. Three rules keep the driver alive and the books right:

- An error in a callback ends pymesos' driver. So a call made in one that fails is noted and nothing
  more, and updates are acknowledged by such calls, not by the driver itself.
- A call without an answer may have been carried out or not. After `reregistered` the master is asked
  how the tasks are, and a launch that it never heard of is made again, under another task id.
- The same update may come again until its acknowledgement has arrived. It counts once, by its uuid.

It prints a line of JSON for each registration and each finished task, and at the end one with
everything; its exit status is 0 when all tasks have finished.
"""

import json
import logging
import os
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler

# How many run at once, so that there are some at any time.
OPEN_MAX = 12
NEEDS = dict(cpus=0.1, mem=32)
EXECUTOR = 'runner'
# What an executor's updates say, so that they can be told from the agent's and the master's.
BY_EXECUTOR = 'by an executor'
RUN_SECONDS = 0.5
TERMINAL = ('TASK_FINISHED', 'TASK_FAILED', 'TASK_KILLED', 'TASK_LOST', 'TASK_ERROR',
            'TASK_DROPPED', 'TASK_GONE', 'TASK_GONE_BY_OPERATOR')


def say(**what):
    print(json.dumps(what, sort_keys=True), flush=True)


def scalars(amounts):
    return [dict(name=name, type='SCALAR', scalar=dict(value=value))
            for name, value in sorted(amounts.items())]


class Careful(Scheduler):
    """The callbacks, all in the driver's thread. The main thread waits for `over`."""

    def __init__(self, n_tasks, ledger):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'executor.py')
        self.executor = dict(
            executor_id=dict(value=EXECUTOR),
            name=EXECUTOR,
            command=dict(value='exec %s %s %s %s' % (sys.executable, program, ledger, RUN_SECONDS)),
            resources=scalars(NEEDS))
        # Names of tasks to launch, and how often each was tried.
        self.todo = ['task-%d' % i for i in range(n_tasks)]
        self.tries = dict.fromkeys(self.todo, 0)
        # By task id: its name, while it is not known to have ended.
        self.open = {}
        # Task ids whose launch had no answer.
        self.unsettled = set()
        self.uuids = set()
        # By name: the states that were told, each once.
        self.told = {name: [] for name in self.todo}
        self.registrations = []
        self.failed_calls = []
        self.problems = []
        self.over = threading.Event()

    def attempt(self, call, *args, **kwargs):
        """Whether a call of the driver was answered as it should be."""
        try:
            call(*args, **kwargs)
            return True
        except Exception as error:
            self.failed_calls.append('%s: %s' % (call.__name__, str(error)[:200]))
            return False

    def problem(self, text):
        self.problems.append(text)
        self.over.set()

    # Callbacks.

    def registered(self, driver, framework_id, master_info):
        self.registration('registered', driver, master_info)

    def reregistered(self, driver, master_info):
        self.registration('reregistered', driver, master_info)
        self.reconcile(driver)

    def registration(self, how, driver, master_info):
        master = '%s:%s' % (master_info['hostname'], master_info['port'])
        self.registrations.append(dict(how=how, framework=driver.framework_id, master=master))
        say(event=how, master=master)

    def processHeartBeat(self, driver):
        # Also for a call that failed though the master stayed.
        if self.unsettled:
            self.reconcile(driver)

    def error(self, driver, message):
        self.problem('error from the master: %s' % message)

    def resourceOffers(self, driver, offers):
        for offer in offers:
            tasks = self.tasks_for(offer)
            if not tasks:
                self.attempt(driver.declineOffer, [offer['id']], filters=dict(refuse_seconds=0.5))
                continue
            for task in tasks:
                self.open[task['task_id']['value']] = task['name']
            launched = driver.connected and self.attempt(
                driver.launchTasks, [offer['id']], tasks, filters=dict(refuse_seconds=0))
            if not launched:
                self.unsettled.update(task['task_id']['value'] for task in tasks)

    def statusUpdate(self, driver, status):
        task_id, state, uuid = status['task_id']['value'], status['state'], status.get('uuid')
        if uuid is None:
            self.answered(task_id, state)
        elif uuid not in self.uuids:
            self.uuids.add(uuid)
            self.news(task_id, state, status)
        if uuid is not None:
            self.attempt(driver.acknowledgeStatusUpdate, status)

    # The rest.

    def reconcile(self, driver):
        ids = sorted(self.open)
        if ids:
            self.attempt(driver.reconcileTasks, [dict(task_id=dict(value=id)) for id in ids])

    def answered(self, task_id, state):
        """What the master said when it was asked."""
        name = self.open.get(task_id)
        lost = state in TERMINAL and state != 'TASK_FINISHED'
        if name is not None and lost and task_id in self.unsettled:
            # It never was.
            del self.open[task_id]
            self.todo.append(name)
        elif name is not None and lost:
            self.problem('%s is %s, says the master' % (task_id, state))
        self.unsettled.discard(task_id)

    def news(self, task_id, state, status):
        self.unsettled.discard(task_id)
        name = self.open.get(task_id)
        if name is None:
            return self.problem('%s of %s, which is not open' % (state, task_id))
        if status.get('message') != BY_EXECUTOR:
            return self.problem('%s is %s: %s' % (task_id, state, status.get('message')))
        self.told[name].append(state)
        if state in TERMINAL:
            del self.open[task_id]
            say(event='finished', task=name)
        if not self.open and not self.todo:
            self.over.set()

    def tasks_for(self, offer):
        room = {resource['name']: resource['scalar']['value']
                for resource in offer['resources'] if resource['type'] == 'SCALAR'}
        if dict(value=EXECUTOR) not in offer.get('executor_ids', []):
            room = {name: room.get(name, 0) - NEEDS.get(name, 0) for name in room}
        fit = int(min(room.get(name, 0) / need for name, need in NEEDS.items()) + 1e-6)
        names = self.todo[:max(0, min(fit, OPEN_MAX - len(self.open)))]
        self.todo = self.todo[len(names):]
        return [self.task(name, offer) for name in names]

    def task(self, name, offer):
        self.tries[name] += 1
        return dict(
            task_id=dict(value='%s.%d' % (name, self.tries[name])),
            name=name,
            agent_id=offer['agent_id'],
            resources=scalars(NEEDS),
            executor=self.executor)


def main(master, n_tasks, ledger):
    # The driver logs every lost connection with a traceback; losing them is the point here.
    logging.disable(logging.CRITICAL)
    books = Careful(n_tasks, ledger)
    framework = dict(user='root', name='pymesos-careful', hostname='localhost', roles=['batch'],
                     capabilities=[dict(type='MULTI_ROLE')], failover_timeout=3600)
    driver = MesosSchedulerDriver(books, framework, master, implicit_acknowledgements=False)
    driver.start()
    # A driver whose thread failed raises that error here.
    while not books.over.wait(0.1):
        if driver.aborted:
            books.problem('the driver aborted')
    driver.stop()
    driver.join()
    say(event='end', told=books.told, tries=books.tries, registrations=books.registrations,
        failed_calls=books.failed_calls, problems=books.problems)
    return 1 if books.problems else 0


if __name__ == '__main__':
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
