//! A proxy in front of the server's socket that loses answers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::kit::Database;

/// Passes everything on, but for the answer to what it was told to look for.
pub(super) struct Proxy {
    dir: tempfile::TempDir,
    /// The next statement that holds these bytes is carried out, and its answer is lost with the
    /// connection.
    wanted: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Proxy {
    pub(super) fn before(database: &Database<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let server: PathBuf = database.server.dir().join(".s.PGSQL.5432");
        let wanted = Arc::default();
        let shared = Arc::clone(&wanted);
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, wanted) = (server.clone(), Arc::clone(&shared));
                spawn(async move {
                    if let Ok(server) = UnixStream::connect(server).await {
                        pass(client, server, &wanted).await;
                    }
                });
            }
        };
        spawn(accept);
        Self { dir, wanted }
    }

    /// The URL that leads through it.
    pub(super) fn url(&self, database: &Database<'_>) -> String {
        let (dir, name) = (self.dir.path().display(), &database.name);
        format!("host={dir} user=crane dbname={name}")
    }

    /// Loses the answer to the next statement with these bytes in it.
    pub(super) fn lose_answer_to(&self, bytes: &[u8]) {
        *lock(&self.wanted) = Some(bytes.to_vec());
    }

    /// Whether it has not come yet.
    pub(super) fn is_waiting(&self) -> bool {
        lock(&self.wanted).is_some()
    }
}

fn lock(wanted: &Mutex<Option<Vec<u8>>>) -> std::sync::MutexGuard<'_, Option<Vec<u8>>> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::disallowed_methods, reason = "ends with the test's runtime")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

async fn pass(mut client: UnixStream, mut server: UnixStream, wanted: &Mutex<Option<Vec<u8>>>) {
    let (mut sent, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut loses = false;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Ok(count @ 1..) = read else { return };
                {
                    let mut wanted = lock(wanted);
                    let found = |bytes: &Vec<u8>| {
                        sent[..count].windows(bytes.len()).any(|part| part == bytes)
                    };
                    if wanted.as_ref().is_some_and(found) {
                        *wanted = None;
                        loses = true;
                    }
                }
                if server.write_all(&sent[..count]).await.is_err() { return }
            }
            read = server.read(&mut answer) => {
                let Ok(count @ 1..) = read else { return };
                // The server answers when it has committed.
                if loses || client.write_all(&answer[..count]).await.is_err() { return }
            }
        }
    }
}
