// A scheduler with mesos-framework, which launches its tasks by itself.
//
//   node framework.js HOST PORT N_TASKS LEDGER FOLDER
//
// Says what it is told, one JSON object a line. Ends after the teardown it is asked for by a line on
// its input.

"use strict";

const http = require("http");

// As in the versions of Node that the library was written for. It subscribes at the moment its stream
// ends, and would do so on a kept connection that ends as well.
http.globalAgent = new http.Agent({ keepAlive: false });

const { Scheduler, Mesos } = require("mesos-framework");

const [host, port, nTasks, ledger, folder] = process.argv.slice(2);
const mesos = Mesos.getMesos();

function say(what) {
    process.stdout.write(JSON.stringify(what) + "\n");
}

const scheduler = new Scheduler({
    masterUrl: host,
    port: Number(port),
    frameworkName: "mesos-framework",
    exponentialBackoffMinimum: 0.1,
    masterConnectionTimeout: 30,
    logging: { path: folder, fileName: "framework.log", level: "error" },
    tasks: {
        signs: {
            priority: 1,
            instances: Number(nTasks),
            commandInfo: new mesos.CommandInfo(
                null, // URIs
                new mesos.Environment([new mesos.Environment.Variable("LEDGER", ledger)]),
                true, // by the shell
                "echo $HOST >> $LEDGER; sleep 0.5",
                null, // arguments
                null // user
            ),
            resources: { cpus: 0.1, mem: 16, ports: 1, disk: 0 }
        }
    }
});

scheduler.on("ready", () => scheduler.subscribe());
scheduler.on("subscribed", (event) => say({ subscribed: event.frameworkId, port: scheduler.options.port }));
scheduler.on("update", (update) => say({
    task: update.status.task_id.value,
    state: update.status.state
}));
scheduler.on("error", (error) => say({ error: error.message || String(error) }));
scheduler.on("sent_teardown", () => process.exit(0));

process.stdin.once("data", () => scheduler.teardown());
