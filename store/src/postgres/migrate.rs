//! The schema and its versions.
//!
//! Migrations are SQL files in the program. Each is applied once, in order, all in one transaction
//! under an advisory lock, so that nodes which start together do not meet. (A library for this
//! would bring a macro, a file walker and a TOML parser for what is a loop.) A database that a newer
//! program has migrated is refused; one that an older one has migrated is brought forward while its
//! nodes run, so migrations only ever add.

use crc32c::crc32c;

use super::connect::Connector;
use super::problem::Problem;
use crate::Error;

/// A step of the schema; what is released is never changed.
pub(crate) struct Migration {
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($name:literal),+ $(,)?) => {
        &[$(Migration { name: $name, sql: include_str!(concat!("migrations/", $name, ".sql")) }),+]
    };
}

/// All steps; the version of a schema is the number of those that were applied.
pub(crate) const MIGRATIONS: &[Migration] = migrations!["001_tables", "002_views"];

/// Key of the advisory lock: `crane` as a number.
const LOCK: i64 = 0x0063_7261_6e65;

/// Brings the schema up to `upto` steps.
pub(crate) async fn migrate(connector: &Connector, upto: usize) -> Result<(), Problem> {
    let conn = connector.connect_bare().await?;
    super::server::check(&conn, true, &connector.place).await?;
    let client = &conn.client;
    client.batch_execute("BEGIN").await?;
    client
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    let schema = connector.schema();
    let exists = client
        .query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema])
        .await?;
    if !exists.try_get::<_, bool>(0)? {
        client
            .batch_execute(&format!("CREATE SCHEMA {schema}"))
            .await?;
    }
    client
        .batch_execute(&format!("SET LOCAL search_path TO {schema}"))
        .await?;
    let has_table = client
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&"migrations"])
        .await?;
    if !has_table.try_get::<_, bool>(0)? {
        client
            .batch_execute(
                "CREATE TABLE migrations (version int PRIMARY KEY, name text NOT NULL, \
                 checksum bigint NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
            )
            .await?;
    }
    let applied = client
        .query(
            "SELECT name, checksum FROM migrations ORDER BY version",
            &[],
        )
        .await?;
    for (index, row) in applied.iter().enumerate() {
        verify(
            connector,
            index,
            applied.len(),
            row.try_get(0)?,
            row.try_get(1)?,
        )?;
    }
    let ready = applied.len();
    for (index, step) in MIGRATIONS.iter().enumerate().take(upto).skip(ready) {
        client.batch_execute(step.sql).await?;
        let version = i32::try_from(index + 1).unwrap_or(i32::MAX);
        client
            .execute(
                "INSERT INTO migrations (version, name, checksum) VALUES ($1, $2, $3)",
                &[&version, &step.name, &step.checksum()],
            )
            .await?;
        tracing::info!(place = %connector.place, name = step.name, "migrated the database");
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// Whether an applied step is the one that this program has in its place.
fn verify(
    connector: &Connector,
    index: usize,
    applied: usize,
    name: &str,
    checksum: i64,
) -> Result<(), Error> {
    let place = &connector.place;
    let Some(step) = MIGRATIONS.get(index) else {
        let text = format!(
            "{place} has schema version {applied}, and this program knows versions up to {}; use \
             the newer version of crane that has migrated it",
            MIGRATIONS.len()
        );
        return Err(Error::Unsuitable(text.into()));
    };
    if step.name == name && step.checksum() == checksum {
        return Ok(());
    }
    let text = format!(
        "the schema of {place} was made by something else: its step {} is {name:?}; give Crane a \
         schema of its own",
        index + 1
    );
    Err(Error::Unsuitable(text.into()))
}

impl Migration {
    fn checksum(&self) -> i64 {
        i64::from(crc32c(self.sql.as_bytes()))
    }
}

/// Turns a refusal into what the operator has to do about it.
pub(crate) fn explain(problem: Problem, connector: &Connector) -> Error {
    let place = &connector.place;
    let Problem::Refused { code, detail } = problem else {
        return problem.into_error(&format!("cannot open {place}"));
    };
    let advice = match &*code {
        "3D000" => "create it with CREATE DATABASE",
        "28000" | "28P01" => "check user, password and pg_hba.conf",
        "42501" => {
            "the user must own the schema: CREATE SCHEMA crane AUTHORIZATION user, or GRANT CREATE \
             ON DATABASE"
        }
        _ => return Problem::Refused { code, detail }.into_error(&format!("cannot open {place}")),
    };
    Error::Unsuitable(format!("cannot open {place}: {detail}; {advice}").into())
}
