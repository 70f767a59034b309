//! Appends a second of the store in PostgreSQL, on a private server of this machine, which shares its
//! cores with the writers: to be compared with those of the embedded store ([`store`]).

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use crane_core::Timestamp;
use crane_store::RunStore as _;
use crane_store::postgres::{LEASE_TTL, Options, PostgresStore};

use crate::recorder::Metrics;
use crate::rows::Value;
use crate::server::Server;
use crate::{node, store};

/// `task` is the number of runs at a time. The server keeps its data where temporary files go.
pub(crate) fn run(task: &str, _dir: &Path) -> anyhow::Result<Vec<Value>> {
    let writers = task.parse()?;
    let metrics = Metrics::install()?;
    let server = Server::start("-c max_wal_size=4GB -c shared_buffers=512MB");
    let server = server.context("PostgreSQL is not installed")?;
    let url = server.url(&server.database());
    node::block_on(async {
        // Retention has nothing to remove: no time passes.
        let now = Arc::new(|| Timestamp(1_700_000_000_000_000));
        let opened = Arc::new(PostgresStore::open(Options::new(url, "bench", now)).await?);
        let renewing = async {
            loop {
                tokio::time::sleep(LEASE_TTL / 4).await;
                // A lease that is lost fails the writers.
                let _ = opened.renew().await;
            }
        };
        let mut values = tokio::select! {
            values = store::drive(opened.clone(), writers) => values?,
            () = renewing => Vec::new(),
        };
        let (commits, appends) = metrics.histogram("crane_journal_batch_records")?;
        let shared = appends / commits.max(1) as f64;
        values.push(Value::new("appends a commit", shared, ""));
        Ok(values)
    })
}
