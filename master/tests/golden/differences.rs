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

/// The one list, but for the calls of frameworks. An entry that differs no more fails the test.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        cases: &["idle/GET___processes__"],
        paths: &["*"],
        reason: "lists the actors of Mesos' own runtime, which are not there",
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
        cases: &["*/GET_metrics_snapshot"],
        paths: &[
            "$.allocator/event_queue_dispatches",
            "$.allocator/mesos/event_queue_dispatches",
            "$.master/event_queue_*",
            "$.registrar/registry_size_bytes",
            "$.registrar/state_fetch_ms",
        ],
        reason: "measures parts of Mesos that are not there; ours are measured in /metrics",
    },
    Difference {
        cases: &["*/GET_metrics_snapshot"],
        paths: &[
            "$.allocator/mesos/allocation_run_*",
            "$.registrar/state_store_ms*",
        ],
        reason: "are there from the first allocation and the first commit of a process on, which the \
                 process of this comparison has not had",
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
        paths: &["$.frameworks/*"],
        reason: "counts what the older driver sends, which cannot connect",
    },
    Difference {
        cases: &["*/GET_metrics_snapshot"],
        paths: &["$.master/operations/*"],
        reason: "operations are over when they are committed, so that none is pending; those that each \
                 framework asks for are counted by type",
    },
];

/// The same for the calls of frameworks and what they are told.
pub(crate) const OF_FRAMEWORKS: &[Difference] = &[Difference {
    cases: &["session/39-update-framework-user"],
    paths: &["body"],
    reason: "the refusal names the field, and not its two values",
}];

/// The same for what an agent is asked.
pub(crate) const OF_AGENTS: &[Difference] = &[
    Difference {
        cases: &["*/GET_slave_1_state"],
        paths: &[
            "$.build_date",
            "$.build_time",
            "$.build_user",
            "$.git_sha",
            "$.git_tag",
        ],
        reason: "builds are reproducible and do not know where and by whom they were made",
    },
    Difference {
        cases: &["*/GET_slave_1_state"],
        paths: &["$.master_hostname"],
        reason: "masters are known by their addresses, and which of them leads is told by any of them",
    },
];
