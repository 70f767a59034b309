//! A private PostgreSQL that listens on the bridge. It ends with the process that started it, however
//! that ends.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::programs::{installed, unprivileged};
use crate::system::{PATIENCE, until};

/// Not that of a server that the machine may have.
pub(crate) const PORT: u16 = 55_432;
/// Superuser and database.
const NAME: &str = "crane";

/// Runs the server and waits until its input ends, which it does when the test process does.
const WATCH: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses="$3" -c port="$4" -c shared_buffers=64MB \
    -c max_connections=200 -c autovacuum_naptime=5s >>"$2/log" 2>&1 &
server=$!
cat >/dev/null
kill -CONT -$$ 2>/dev/null
kill -QUIT $server 2>/dev/null
wait $server
"#;

/// See the module.
pub(crate) struct Database {
    bin: PathBuf,
    dir: TempDir,
    user: (u32, u32),
    address: Ipv4Addr,
    watcher: Option<Child>,
}

impl Database {
    /// A server at `address` for clients in `range`, with an empty database.
    pub(crate) fn start(address: Ipv4Addr, range: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let user = unprivileged();
        chown(dir.path(), Some(user.0), Some(user.1)).unwrap();
        let mut database = Self {
            bin: installed().unwrap(),
            dir,
            user,
            address,
            watcher: None,
        };
        let data = database.dir.path().join("data");
        let made = database
            .command("initdb")
            .args([
                "-U",
                NAME,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let access = data.join("pg_hba.conf");
        let mut access = fs::OpenOptions::new().append(true).open(access).unwrap();
        writeln!(access, "host all all {range} trust").unwrap();
        database.run();
        database.psql(
            "postgres",
            &format!("CREATE DATABASE {NAME} TEMPLATE template0"),
        );
        database
    }

    /// Starts it, again.
    pub(crate) fn run(&mut self) {
        let mut watch = Command::new("sh");
        watch
            .args(["-c", WATCH, "watch"])
            .args([self.bin.as_path(), self.dir.path()])
            .args([self.address.to_string(), PORT.to_string()])
            .stdin(Stdio::piped())
            .current_dir("/")
            .uid(self.user.0)
            .gid(self.user.1);
        self.watcher = Some(watch.spawn().unwrap());
        let ready = || {
            let mut ask = self.command("pg_isready");
            ask.args(["-q", "-p", &PORT.to_string(), "-h"])
                .arg(self.dir.path());
            ask.status().is_ok_and(|status| status.success())
        };
        until("the database takes connections", PATIENCE, ready);
    }

    /// Ends it as a crash would.
    pub(crate) fn crash(&mut self) {
        let pid = self.pid();
        kill_process(pid, Signal::QUIT).unwrap();
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            watcher.wait().unwrap();
        }
        let _ = fs::remove_file(self.dir.path().join("data/postmaster.pid"));
    }

    /// Stops all of its processes where they are.
    pub(crate) fn pause(&self) {
        // The first one first: from then on there are no new ones.
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    /// Lets them go on.
    pub(crate) fn resume(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    fn processes(&self) -> Vec<Pid> {
        let first = self.pid();
        let mut all = vec![first];
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // Behind the name, which may hold blanks: state, parent.
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
            let parent = fields.and_then(|fields| fields.split_whitespace().nth(1));
            if parent == Some(&*first.as_raw_nonzero().to_string()) {
                all.extend(Pid::from_raw(pid));
            }
        }
        all
    }

    fn pid(&self) -> Pid {
        let text = fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap();
        let number = text.lines().next().and_then(|line| line.parse().ok());
        number.and_then(Pid::from_raw).unwrap()
    }

    /// Where nodes find it.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://{NAME}@{}:{PORT}/{NAME}?sslmode=disable",
            self.address
        )
    }

    /// Carries out SQL in Crane's schema; what it prints.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.psql(NAME, &format!("SET search_path TO crane; {sql}"))
    }

    #[track_caller]
    fn psql(&self, database: &str, sql: &str) -> String {
        let output = self
            .command("psql")
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", NAME, "-d", database])
            .args(["-p", &PORT.to_string(), "-c", sql, "-h"])
            .arg(self.dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir("/").uid(self.user.0).gid(self.user.1);
        command
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> PathBuf {
        Path::new(self.dir.path()).join("log")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(mut watcher) = self.watcher.take() else {
            return;
        };
        // One that is paused hears nothing.
        if std::thread::panicking() || self.dir.path().join("data/postmaster.pid").exists() {
            self.resume();
        }
        drop(watcher.stdin.take());
        let _ = watcher.wait();
    }
}
