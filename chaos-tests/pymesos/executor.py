"""A custom executor on pymesos: it writes each task's name into a ledger, waits a moment, and tells
that the task is finished.

usage: executor.py <ledger> <seconds>

It is started by the agent, which says in the environment where it is. An update that the agent did
not take is sent again, as it was: the agent may be away.
"""

import sys
import time
from threading import Thread

from pymesos import Executor, MesosExecutorDriver

RETRY_SECONDS = 0.1


class Runner(Executor):
    def __init__(self, ledger, seconds):
        self.ledger = ledger
        self.seconds = seconds

    def launchTask(self, driver, task):
        Thread(target=self.run, args=(driver, task), daemon=True).start()

    def run(self, driver, task):
        self.tell(driver, task, 'TASK_RUNNING')
        with open(self.ledger, 'a') as ledger:
            ledger.write(task['name'] + '\n')
        time.sleep(self.seconds)
        self.tell(driver, task, 'TASK_FINISHED')

    def tell(self, driver, task, state):
        # The driver adds a uuid, which stays that of the update.
        status = dict(task_id=task['task_id'], state=state, message='by an executor')
        while True:
            try:
                return driver.sendStatusUpdate(status)
            except Exception as error:
                print('not taken: %s' % error, file=sys.stderr, flush=True)
                time.sleep(RETRY_SECONDS)


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    driver = MesosExecutorDriver(Runner(sys.argv[1], float(sys.argv[2])))
    driver.run()
