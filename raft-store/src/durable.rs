//! Syncs of files and directories, which a simulator has to hear of: what was not synced is lost when it cuts
//! the power.

use std::fs::File;
use std::io;

/// Makes the content of a file durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if regency_runtime::simulated() {
        return crate::simulation::synced(file);
    }
    file.sync_data()
}

/// Makes a file with its size durable, or the names in a directory.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if regency_runtime::simulated() {
        return crate::simulation::synced(file);
    }
    file.sync_all()
}
