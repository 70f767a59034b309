//! The thread of a store in memory: carries writes out in the order in which they came, as the
//! journal does.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use tokio::sync::{oneshot, watch};

use super::data::{Data, lock};
use crate::{Ack, Error, Write};

/// What the store's thread is asked for.
pub(super) enum Job {
    Write(Write, Ack),
    Probe(Ack),
    Hold(Receiver<()>),
    Close(oneshot::Sender<()>),
}

/// The thread behind a handle.
pub(super) struct Worker {
    pub(super) data: Arc<Mutex<Data>>,
    pub(super) report: watch::Sender<Option<Arc<str>>>,
    /// Why nothing is written any more.
    pub(super) stopped: Option<Arc<str>>,
}

impl Worker {
    /// Works until the handle is gone.
    pub(super) fn work(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            // As the journal does: all that has queued up makes one batch.
            let batch: Vec<Job> = std::iter::once(first).chain(jobs.try_iter()).collect();
            let mut acks = Vec::with_capacity(batch.len());
            let mut closed = Vec::new();
            for job in &batch {
                if let Job::Hold(held) = job {
                    // Its end is what is waited for; nothing is ever sent.
                    let _ = held.recv();
                }
            }
            let data = Arc::clone(&self.data);
            let mut data = lock(&data);
            for job in batch {
                match job {
                    Job::Hold(_) => {}
                    Job::Write(write, ack) => acks.push((ack, self.write(&mut data, write))),
                    Job::Probe(ack) => {
                        let stopped = self.stopped.clone();
                        acks.push((ack, stopped.map_or(Ok(()), |why| Err(Error::Fatal(why)))));
                    }
                    Job::Close(done) => {
                        self.stopped.get_or_insert_with(|| "it was closed".into());
                        closed.push(done);
                    }
                }
            }
            drop(data);
            for (ack, result) in acks {
                ack(result);
            }
            for done in closed {
                // Whoever closed it may have gone.
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, data: &mut Data, write: Write) -> Result<(), Error> {
        if let Some(reason) = data.fail_next.take() {
            self.stopped = Some(Arc::clone(&reason));
            self.report.send_replace(Some(reason));
        }
        if let Some(reason) = &self.stopped {
            return Err(Error::Fatal(Arc::clone(reason)));
        }
        match write {
            Write::Append(append) => data.append(&append),
            Write::Tool(write) => {
                data.tools.check(&write)?;
                data.tools.apply(&write);
                Ok(())
            }
        }
    }
}
