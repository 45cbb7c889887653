//! Every difference to Mesos in the captured answers, and why.

/// What differs, where, and why. In a pattern the first `*` stands for anything.
pub(crate) struct Difference {
    /// Situation and capture.
    pub(crate) cases: &'static [&'static str],
    /// `status`, `headers`, `body`, or the path of a key.
    pub(crate) paths: &'static [&'static str],
    /// Why it is so.
    pub(crate) reason: &'static str,
}

/// The one list. An entry that differs no more fails the test.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        cases: &["idle/GET___processes__"],
        paths: &["*"],
        reason: "lists the actors of Mesos' own runtime, which are not there",
    },
    Difference {
        cases: &["idle/GET_logging_toggle"],
        paths: &["*"],
        reason: "the level of logs cannot be changed at run time yet",
    },
    Difference {
        cases: &["*/GET_system_stats.json"],
        paths: &["*"],
        reason: "tells of the machine and not of the cluster; exporters of machines do that",
    },
    Difference {
        cases: &["idle/GET_master_version"],
        paths: &["*"],
        reason: "the version is answered below /master as well, where Mesos has nothing",
    },
    Difference {
        cases: &["*"],
        paths: &[
            "$.build_date",
            "$.build_time",
            "$.build_user",
            "$.git_sha",
            "$.git_tag",
            "$.get_version.version_info.build_date",
            "$.get_version.version_info.build_time",
            "$.get_version.version_info.build_user",
            "$.get_version.version_info.git_sha",
            "$.get_version.version_info.git_tag",
        ],
        reason: "builds are reproducible and do not know where and by whom they were made",
    },
    Difference {
        cases: &[
            "errors/46-maintenance-schedule-bad",
            "errors/47-machine-down-unknown",
        ],
        paths: &["status", "body"],
        reason: "what is not there yet is answered with 501 before its body is looked at",
    },
    Difference {
        cases: &["*/GET_metrics_snapshot"],
        paths: &[
            "$.allocator/event_queue_dispatches",
            "$.allocator/mesos/allocation_run*",
            "$.allocator/mesos/event_queue_dispatches",
            "$.master/event_queue_*",
            "$.master/http_cache_hits",
            "$.registrar/*",
            "$.system/*",
        ],
        reason: "measures parts of Mesos that are not there; ours are measured in /metrics",
    },
    Difference {
        cases: &["*/GET_metrics_snapshot"],
        paths: &[
            "$.containerizer/*",
            "$.gc/*",
            "$.resource_provider_manager/*",
            "$.slave/*",
        ],
        reason: "metrics of the agents that ran in the same process as the captured master",
    },
    Difference {
        cases: &["*/GET_metrics_snapshot"],
        paths: &[
            "$.frameworks/*",
            "$.master/dropped_messages",
            "$.master/frameworks/*",
            "$.master/invalid_*",
            "$.master/messages_*",
            "$.master/operations/*",
            "$.master/operator_event_stream_subscribers",
            "$.master/recovery_slave_removals",
            "$.master/slave_*",
            "$.master/tasks_dropped",
            "$.master/tasks_error",
            "$.master/tasks_failed",
            "$.master/tasks_finished",
            "$.master/tasks_gone",
            "$.master/tasks_gone_by_operator",
            "$.master/tasks_killed",
            "$.master/tasks_lost",
            "$.master/valid_*",
        ],
        reason: "counts since the start of a process, which do not follow from the state",
    },
];
