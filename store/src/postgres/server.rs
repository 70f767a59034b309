//! Whether a server may be used: its version, its role, and whether it keeps what it has committed.

use super::connect::Conn;
use super::problem::Problem;
use crate::Error;

/// The oldest version that is taken, as `server_version_num` counts.
const OLDEST: i32 = 140_000;

const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, \
     current_setting('server_version'), \
     pg_is_in_recovery(), \
     current_setting('server_encoding'), \
     current_setting('fsync'), \
     current_setting('full_page_writes'), \
     current_setting('synchronous_commit')";

/// Looks at the server behind a connection.
pub(crate) async fn check(conn: &Conn, allow_unsafe: bool, place: &str) -> Result<(), Problem> {
    let rows = conn.client.query(SETTINGS, &[]).await?;
    let Some(row) = rows.first() else {
        return Err(Problem::Lost("the server told nothing of itself".into()));
    };
    let number: i32 = row.try_get(0)?;
    let version: &str = row.try_get(1)?;
    let unsuitable = |text: String| Err(Error::Unsuitable(text.into()).into());
    if number < OLDEST {
        return unsuitable(format!(
            "{place} runs PostgreSQL {version}; version {} or newer is needed",
            OLDEST / 10_000
        ));
    }
    if row.try_get::<_, bool>(2)? {
        // It may become the primary: worth trying again.
        return Err(Problem::Lost(
            format!("{place} is a standby, which cannot be written to").into(),
        ));
    }
    let encoding: &str = row.try_get(3)?;
    if encoding != "UTF8" {
        return unsuitable(format!(
            "{place} has the encoding {encoding}; create the database with ENCODING 'UTF8' \
             TEMPLATE template0"
        ));
    }
    let off: Vec<&str> = ["fsync", "full_page_writes", "synchronous_commit"]
        .into_iter()
        .enumerate()
        .filter(|(index, _)| row.try_get::<_, &str>(4 + index).is_ok_and(|v| v == "off"))
        .map(|(_, name)| name)
        .collect();
    if off.is_empty() || allow_unsafe {
        return Ok(());
    }
    unsuitable(format!(
        "{place} has {} = off and may lose runs that were acknowledged; switch it on, or accept \
         the loss with store.allow_unsafe",
        off.join(" = off, ")
    ))
}
