//! Connections: how they are made, what they are for, what they remember.
//!
//! Each connection says at its start what it is for (timeouts, plans), finds itself in Crane's
//! schema, and looks at the server it has met: after a failover that may be another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row, RowStream, Statement};

use super::problem::Problem;
use super::tls::Tls;
use super::{Options, server, url};
use crate::Error;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Appends and writes of tools.
    Write,
    /// Renewals.
    Renew,
    /// Reading, taking over shards, the historian's work.
    Read,
}

/// The parameters of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Makes connections.
pub(crate) struct Connector {
    config: Config,
    tls: Tls,
    /// The store's own threads drive all connections.
    engine: Handle,
    schema: String,
    allow_unsafe: bool,
    ttl: Duration,
    /// `application_name`, unique to this store.
    pub(crate) application: Arc<str>,
    /// Where it leads, for messages.
    pub(crate) place: Arc<str>,
}

impl Connector {
    /// Reads the options; connects to nothing.
    pub(crate) fn new(options: &Options, engine: Handle) -> Result<Self, Error> {
        check(options)?;
        let target = url::parse(&options.url)?;
        let mut config = target.config;
        let tls = Tls::new(options.ca.as_deref().or(target.ca.as_deref()))?;
        // A peer that is gone without a word is noticed within a lease.
        let patience = options.ttl.max(Duration::from_secs(1));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(patience);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(patience);
        }
        config.keepalives_idle(patience);
        config.keepalives_interval(Duration::from_secs(1).max(patience / 2));
        config.keepalives_retries(2);
        let application = application(&options.node);
        config.application_name(&application);
        let place = url::describe(&config).into();
        Ok(Self {
            config,
            tls,
            engine,
            schema: options.schema.clone(),
            allow_unsafe: options.allow_unsafe,
            ttl: options.ttl,
            application: application.into(),
            place,
        })
    }

    /// A new connection.
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<Conn, Problem> {
        let conn = self.connect_bare().await?;
        conn.client.batch_execute(&self.settings(purpose)).await?;
        server::check(&conn, self.allow_unsafe, &self.place).await?;
        Ok(conn)
    }

    /// A connection without settings or checks, outside Crane's schema.
    pub(crate) async fn connect_bare(&self) -> Result<Conn, Problem> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        // The socket belongs to the runtime in which it was made.
        let made = self.engine.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let driver = tokio::runtime::Handle::current().spawn(async move {
                // Whoever waits on the client learns of the error.
                let _ = connection.await;
            });
            Ok::<_, tokio_postgres::Error>((client, driver))
        });
        let (client, _driver) = made
            .await
            .map_err(|_| Problem::Lost("the store is closing".into()))??;
        Ok(Conn {
            client,
            statements: Mutex::default(),
        })
    }

    /// The schema, quoted.
    pub(crate) fn schema(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    /// Longest time that a statement of this purpose may take; past it the connection is given up.
    pub(crate) fn longest(&self, purpose: Purpose) -> Duration {
        match purpose {
            Purpose::Write => (self.ttl * 3).max(Duration::from_secs(5)),
            Purpose::Renew => (self.ttl / 3).max(Duration::from_millis(100)),
            Purpose::Read => Duration::from_secs(60),
        }
    }

    fn settings(&self, purpose: Purpose) -> String {
        let statement = self.longest(purpose).as_millis();
        let idle = (self.ttl / 2).as_millis().max(100);
        // Whoever meets a lock that stays has time left to do something about it.
        let lock = (self.ttl / 2).as_millis().max(100);
        let mut settings = format!(
            "SET search_path TO {schema}; \
             SET client_min_messages = warning; \
             SET default_transaction_isolation = 'read committed'; \
             SET default_transaction_read_only = off; \
             SET jit = off; \
             SET statement_timeout = {statement}; \
             SET lock_timeout = {lock}; \
             SET idle_in_transaction_session_timeout = {idle};",
            schema = self.schema(),
        );
        if purpose == Purpose::Write {
            // Always by index, planned once: the tables may have been empty when it was.
            settings.push_str(
                "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                 SET enable_hashjoin = off; SET enable_mergejoin = off;",
            );
        }
        settings
    }
}

/// A name that no other store has, since a takeover ends the connections of a dead node by it.
fn application(node: &str) -> String {
    let boot = super::clock::boot_time().as_nanos() & 0xffff_ffff;
    let unique = format!("#{}.{boot:x}", std::process::id());
    // The server keeps 63 bytes.
    let mut name = format!("crane {node}");
    while name.len() + unique.len() > 63 {
        name.pop();
    }
    name.push_str(&unique);
    name
}

fn check(options: &Options) -> Result<(), Error> {
    let schema = &options.schema;
    let mut chars = schema.chars();
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let sound = chars.next().is_some_and(plain)
        && chars.all(|c| plain(c) || c.is_ascii_digit())
        && schema.len() <= 63
        && !schema.starts_with("pg_");
    if !sound {
        let text = format!("{schema:?} cannot be the schema: use a-z, 0-9 and _, at most 63");
        return Err(Error::Unsuitable(text.into()));
    }
    if options.ttl < super::SHORTEST_LEASE {
        let (ttl, least) = (options.ttl, super::SHORTEST_LEASE);
        let text = format!("a lease of {ttl:?} is too short: at least {least:?}");
        return Err(Error::Unsuitable(text.into()));
    }
    Ok(())
}

/// A connection that remembers the statements it has prepared.
pub(crate) struct Conn {
    pub(crate) client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

impl Conn {
    /// Whether nothing can be sent any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The rows of a statement.
    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Problem> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    /// The rows of a statement, as they come.
    pub(crate) async fn stream(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<RowStream, Problem> {
        let statement = self.statement(sql).await?;
        let params = params.iter().copied();
        Ok(self.client.query_raw(&statement, params).await?)
    }

    /// The number of rows that a statement has changed.
    pub(crate) async fn execute(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<u64, Problem> {
        let statement = self.statement(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, Problem> {
        let mut statements = self.statements.lock().await;
        if let Some(statement) = statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// A statement that may not take longer than `longest`; when it does, its connection is no good.
pub(crate) async fn within<T>(
    longest: Duration,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(longest, work).await {
        Ok(result) => result,
        Err(_) => Err(Problem::Lost(
            format!("no answer within {longest:?}").into(),
        )),
    }
}
