//! A private PostgreSQL server from the installed binaries, on a Unix socket in a directory of its
//! own. It ends with the process that started it, however that ends.

#[path = "programs.rs"]
mod programs;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use programs::{installed, unprivileged};

/// The superuser of the server, who may do everything.
const ADMIN: &str = "crane";

/// Runs the server and waits until its input ends, which it does when the test process does.
const WATCH: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c shared_buffers=64MB \
    -c max_connections=200 -c autovacuum_naptime=5s $3 >>"$2/log" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT $server 2>/dev/null
wait $server
rm -rf "$2"
"#;

/// See the module.
pub(crate) struct Server {
    bin: PathBuf,
    dir: PathBuf,
    /// Whom to be when we are root, as whom a server does not run.
    user: Option<(u32, u32)>,
    watchers: Mutex<Vec<Child>>,
    databases: AtomicU32,
}

impl Server {
    /// The one of this process; `None` where PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(|| Self::start("")).as_ref()
    }

    /// One of the test's own, with these options in addition.
    pub(crate) fn start(options: &str) -> Option<Self> {
        Self::start_with(|_| options.to_owned())
    }

    /// The same, with options that name files which `prepare` has put into its directory.
    #[allow(clippy::disallowed_methods, reason = "set by those who run the tests")]
    pub(crate) fn start_with(prepare: impl FnOnce(&Path) -> String) -> Option<Self> {
        let Some(bin) = installed() else {
            let required = std::env::var("CRANE_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(
                !required,
                "PostgreSQL is not installed and CRANE_REQUIRE_ALL=1 is set"
            );
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let server = Self {
            bin,
            dir: tempfile::tempdir().expect("a directory").keep(),
            user: rustix::process::geteuid().is_root().then(unprivileged),
            watchers: Mutex::default(),
            databases: AtomicU32::new(0),
        };
        let options = prepare(&server.dir);
        if let Some((uid, gid)) = server.user {
            let files = fs::read_dir(&server.dir).expect("the directory is there");
            let files = files.map(|file| file.expect("a file").path());
            for path in files.chain([server.dir.clone()]) {
                chown(path, Some(uid), Some(gid)).expect("it changes hands");
            }
        }
        let made = server
            .command("initdb")
            .args([
                "-U",
                ADMIN,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
                "-D",
            ])
            .arg(server.dir.join("data"))
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        server.run(&options);
        Some(server)
    }

    /// Starts it, again.
    pub(crate) fn run(&self, options: &str) {
        let mut watch = Command::new("sh");
        watch
            .args(["-c", WATCH, "watch"])
            .args([&self.bin, &self.dir])
            .arg(options)
            .stdin(Stdio::piped())
            .current_dir("/");
        self.as_user(&mut watch);
        let child = watch.spawn().expect("sh runs");
        self.watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(child);
        let ready = || {
            let mut ask = self.command("pg_isready");
            ask.args(["-q", "-h"]).arg(&self.dir);
            ask.status().is_ok_and(|status| status.success())
        };
        self.until("the server takes connections", ready);
    }

    /// Ends it: at once, as a crash would, or after its connections were told.
    pub(crate) fn stop(&self, at_once: bool) {
        let signal = if at_once { Signal::QUIT } else { Signal::INT };
        self.signal(signal);
        let gone = || !self.dir.join("data/postmaster.pid").exists();
        if at_once {
            // Its file stays, as after a crash; the socket's lock does as well.
            let pid = self.pid();
            self.until("the server is gone", || {
                kill_process(pid, Signal::URG).is_err() || is_zombie(pid)
            });
            let _ = fs::remove_file(self.dir.join("data/postmaster.pid"));
        }
        self.until("the server is gone", gone);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server is signaled");
    }

    fn pid(&self) -> Pid {
        let text = fs::read_to_string(self.dir.join("data/postmaster.pid"));
        let text = text.expect("the server is running");
        let number = text.lines().next().and_then(|line| line.parse().ok());
        number.and_then(Pid::from_raw).expect("a process id")
    }

    /// The directory of its socket.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a database is, for one of its users.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("host={} user={ADMIN} dbname={database}", self.dir.display())
    }

    /// A new, empty database; its name.
    pub(crate) fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.psql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE template0"),
        );
        name
    }

    /// Carries out SQL; what it prints.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        let mut child = self
            .command("psql")
            .args([
                "-qAtX",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                ADMIN,
                "-d",
                database,
                "-h",
            ])
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let mut input = child.stdin.take().expect("its input");
        input.write_all(sql.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("psql ends");
        let (out, err) = (output.stdout, output.stderr);
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&err)
        );
        String::from_utf8_lossy(&out).trim().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir("/");
        self.as_user(&mut command);
        command
    }

    fn as_user(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        #[allow(clippy::disallowed_methods, reason = "no runtime here")]
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            #[allow(clippy::disallowed_methods, reason = "no runtime here")]
            let late = Instant::now() > deadline;
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(!late, "waited in vain until {what}\n{}", log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let watchers = self.watchers.get_mut();
        let watchers = watchers.unwrap_or_else(PoisonError::into_inner);
        for mut watcher in watchers.drain(..) {
            drop(watcher.stdin.take());
            // Whatever it says, the server is gone.
            let _ = watcher.wait();
        }
    }
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}
