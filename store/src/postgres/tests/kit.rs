//! What the tests of this folder share: a clock, stores on a database, runs to write.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crane_core::event::{Accepted, Labels};
use crane_core::ids::SHARD_COUNT;
use crane_core::{
    Attempt, Epoch, Event, Json, Record, Round, RunId, RunStatus, Seq, ShardId, StepIndex,
    Timestamp,
};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::server::Server;
use crate::postgres::shared::Phase;
use crate::postgres::{Clock, Options, PostgresStore, keeper};
use crate::{Append, Encoded, Error, Fence, RunStore, Summary, Write, codec};

/// Longest time that anything a test waits for may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that moves a millisecond at each look, and when told.
#[derive(Clone)]
pub(super) struct TestClock(Arc<AtomicI64>);

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000_000)))
    }
}

impl TestClock {
    pub(super) fn as_clock(&self) -> Clock {
        let micros = Arc::clone(&self.0);
        Arc::new(move || Timestamp(micros.fetch_add(1000, Ordering::Relaxed)))
    }

    pub(super) fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

/// A database of its own on a server.
pub(super) struct Database<'s> {
    pub(super) server: &'s Server,
    pub(super) name: String,
    pub(super) url: String,
}

impl<'s> Database<'s> {
    /// On the server of this process; `None` (and "skipped" is printed) without one.
    pub(super) fn shared() -> Option<Database<'static>> {
        Server::shared().map(Database::on)
    }

    pub(super) fn on(server: &'s Server) -> Self {
        let name = server.database();
        let url = server.url(&name);
        Self { server, name, url }
    }

    pub(super) fn options(&self, node: &str) -> Options {
        Options::new(&self.url, node, TestClock::default().as_clock())
    }

    pub(super) async fn open(&self, node: &str) -> PostgresStore {
        open(self.options(node)).await.unwrap()
    }

    /// With a lease of this length.
    pub(super) async fn open_for(&self, node: &str, ttl: Duration) -> PostgresStore {
        let mut options = self.options(node);
        options.ttl = ttl;
        open(options).await.unwrap()
    }

    /// Carries out SQL in Crane's schema.
    pub(super) fn sql(&self, sql: &str) -> String {
        let sql = format!("SET search_path TO crane; {sql}");
        self.server.psql(&self.name, &sql)
    }

    /// A connection of the test, in Crane's schema.
    pub(super) async fn client(&self) -> tokio_postgres::Client {
        let config: tokio_postgres::Config = self.url.parse().unwrap();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        #[allow(clippy::disallowed_methods, reason = "ends with the client")]
        tokio::spawn(connection);
        client
            .batch_execute("SET search_path TO crane")
            .await
            .unwrap();
        client
    }
}

/// Opens a store whose lease is renewed, as the ownership machine of a node does, until the store
/// ends.
pub(super) async fn open(options: Options) -> Result<PostgresStore, Error> {
    // Threads of its own: tests wait for programs.
    static RENEWING: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let store = PostgresStore::open(options).await?;
    let shared = Arc::clone(&store.shared);
    RENEWING.spawn(async move {
        let mut phase = shared.phase.subscribe();
        let renewing = async {
            loop {
                tokio::time::sleep(shared.lease.ttl() / 4).await;
                if shared.lease.owner().is_some() {
                    // A loss is found by those whom it concerns.
                    let _ = keeper::renew(&shared).await;
                }
            }
        };
        tokio::select! {
            () = renewing => {}
            _ = phase.wait_for(|phase| *phase != Phase::Open) => {}
        }
    });
    Ok(store)
}

/// Waits until a condition holds.
pub(super) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, poll).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

/// Backends that wait for a lock.
pub(super) async fn waiting(client: &tokio_postgres::Client) -> i64 {
    let row = client
        .query_one(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND datname = current_database()",
            &[],
        )
        .await;
    row.unwrap().get(0)
}

/// All shards.
pub(super) fn all_shards() -> Vec<ShardId> {
    (0..SHARD_COUNT).map(ShardId).collect()
}

/// The run with this number; it lies on a shard that its id alone decides.
pub(super) fn run_id(number: u64) -> RunId {
    RunId::from_time(1_700_000_000_000 + number, [7; 10])
}

/// A run as its writer knows it.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) run: RunId,
    pub(super) epoch: Epoch,
    pub(super) records: Vec<Record>,
    pub(super) status: RunStatus,
    pub(super) told: usize,
}

impl Told {
    /// A run in which nothing has happened.
    pub(super) fn new(number: u64, fences: &[Fence]) -> Self {
        let run = run_id(number);
        let mut told = Self {
            run,
            epoch: Epoch(0),
            records: Vec::new(),
            status: RunStatus::Running,
            told: 0,
        };
        told.adopt(fences);
        told.add(Event::RunAccepted(Box::new(Accepted {
            prompt: None,
            plan: Some(Json::from_trusted(
                r#"{"name":"two","steps":[{"id":"a","tool":"echo"},{"id":"b","tool_name":"http"}]}"#,
            )),
            input: Json::from_trusted("{}"),
            labels: Labels::new(),
            request_hash: None,
            trace_id: None,
        })));
        told.add(Event::RunStarted);
        told
    }

    /// From now on it is written in the epoch of its shard among `fences`.
    pub(super) fn adopt(&mut self, fences: &[Fence]) {
        let fence = fences.iter().find(|fence| fence.shard == self.run.shard());
        self.epoch = fence.map_or(Epoch(0), |fence| fence.epoch);
    }

    pub(super) fn add(&mut self, event: Event) -> &mut Self {
        let seq = Seq(self.records.len() as u64 + 1);
        let at = Timestamp(1_700_000_000_000_000 + i64::try_from(seq.0).unwrap());
        self.records.push(Record { seq, at, event });
        self
    }

    /// A step starts and completes.
    pub(super) fn step(&mut self, output: &str) -> &mut Self {
        let (step, attempt) = (StepIndex(0), Attempt(1));
        self.add(Event::StepStarted {
            step,
            attempt,
            input: Json::from_trusted("{\"x\":1}"),
        });
        self.add(Event::StepCompleted {
            step,
            attempt,
            output: Json::from_trusted(output),
            duration_us: 1500,
        })
    }

    pub(super) fn end(&mut self) -> &mut Self {
        self.status = RunStatus::Completed;
        self.add(Event::RunCompleted {
            result: Json::from_trusted("42"),
        })
    }

    /// What no batch has taken yet.
    pub(super) fn batch(&mut self) -> Append {
        let from = std::mem::replace(&mut self.told, self.records.len());
        self.part(from, self.records.len())
    }

    /// A batch of the records `from..upto`.
    pub(super) fn part(&self, from: usize, upto: usize) -> Append {
        let created_at = self.records[0].at;
        let ended = self.status.is_ended() && upto == self.records.len();
        Append {
            fence: Fence {
                shard: self.run.shard(),
                epoch: self.epoch,
            },
            run: self.run,
            expected: Seq(from as u64),
            summary: Summary {
                seq: Seq(upto as u64),
                status: if ended {
                    self.status
                } else {
                    RunStatus::Running
                },
                round: Round(1),
                created_at,
                completed_at: ended.then_some(self.records[upto - 1].at),
                wake_at: None,
            },
            labels: None,
            events: codec::encode(&self.records[from..upto]),
            eager: true,
        }
    }

    /// All of its events.
    pub(super) fn events(&self) -> Encoded {
        codec::encode(&self.records[..self.told])
    }
}

/// A write that is under way.
pub(super) fn submit(store: &dyn RunStore, append: Append) -> oneshot::Receiver<Result<(), Error>> {
    let (sender, receiver) = oneshot::channel();
    store.submit(
        Write::Append(append),
        Box::new(move |result| {
            let _ = sender.send(result);
        }),
    );
    receiver
}

/// Writes what a run has to tell, and waits.
pub(super) async fn tell(store: &dyn RunStore, told: &mut Told) {
    let append = told.batch();
    let result = tokio::time::timeout(PATIENCE, submit(store, append)).await;
    result.unwrap().unwrap().unwrap();
}

/// What became of a write.
pub(super) async fn outcome(pending: oneshot::Receiver<Result<(), Error>>) -> Result<(), Error> {
    tokio::time::timeout(PATIENCE, pending)
        .await
        .unwrap()
        .unwrap()
}

/// The store holds the run as it was told.
pub(super) async fn expect(store: &dyn RunStore, told: &Told) {
    let image = store.load(told.run).await.unwrap();
    let image = image.unwrap_or_else(|| panic!("run {} is missing", told.run));
    assert_eq!(image.events, told.events(), "run {}", told.run);
}
