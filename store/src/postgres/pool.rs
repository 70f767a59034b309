//! A few connections for everything that is not a write of a run and not a renewal.

use std::sync::Mutex;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::connect::{Conn, Connector, Purpose};
use super::lock;
use super::problem::Problem;

/// See the module.
pub(crate) struct Pool {
    permits: Semaphore,
    idle: Mutex<Vec<Conn>>,
}

/// A connection on loan.
pub(crate) struct Loan<'a> {
    pool: &'a Pool,
    conn: Option<Conn>,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    /// At most `size` connections, made when they are needed.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            permits: Semaphore::new(size.max(1)),
            idle: Mutex::default(),
        }
    }

    /// Lends a connection; waits for one when all are on loan.
    pub(crate) async fn get(&self, connector: &Connector) -> Result<Loan<'_>, Problem> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Problem::Lost("the store is closing".into()))?;
        let mut idle = lock(&self.idle).pop();
        while idle.as_ref().is_some_and(Conn::is_closed) {
            idle = lock(&self.idle).pop();
        }
        let conn = match idle {
            Some(conn) => conn,
            None => connector.connect(Purpose::Read).await?,
        };
        Ok(Loan {
            pool: self,
            conn: Some(conn),
            _permit: permit,
        })
    }

    /// Lends nothing any more and closes what is idle.
    pub(crate) fn close(&self) {
        self.permits.close();
        lock(&self.idle).clear();
    }
}

impl Loan<'_> {
    /// The connection.
    pub(crate) fn conn(&self) -> Result<&Conn, Problem> {
        self.conn
            .as_ref()
            .ok_or_else(|| Problem::Lost("the connection was given up".into()))
    }

    /// It is not to be used again: a statement on it may still be running.
    pub(crate) fn give_up(&mut self) {
        self.conn = None;
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let usable = |conn: &Conn| !conn.is_closed() && !self.pool.permits.is_closed();
        if let Some(conn) = self.conn.take().filter(usable) {
            lock(&self.pool.idle).push(conn);
        }
    }
}
