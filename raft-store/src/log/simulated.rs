//! The writer as a task of a simulator, which has no threads.

use std::io;
use std::path::PathBuf;

use super::writer::Writer;
use crate::simulation;

impl Writer {
    /// As [`Self::run`], on the disk of this data directory. A process that is killed loses what still waits.
    pub(super) async fn run_as_task(mut self, disk: Option<PathBuf>) {
        if let Err(error) = self.serve_as_task(disk).await {
            tracing::error!(%error, "the log cannot be written, this master stops");
            while let Some(io) = self.queue.recv().await {
                io.refuse(&error);
            }
        }
    }

    async fn serve_as_task(&mut self, disk: Option<PathBuf>) -> io::Result<()> {
        while let Some(io) = self.queue.recv().await {
            self.shared.watch.wanted();
            if let Some(disk) = &disk {
                simulation::pause(disk).await;
            }
            let mut untidy = self.group(io)?;
            self.shared.watch.end(!self.queue.is_empty());
            while untidy {
                untidy = self.engine()?.tidy()?;
            }
        }
        self.close()
    }
}
