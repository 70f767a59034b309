//! Every bound of the system, in one place: past a bound the caller gets a clear error.

use std::time::Duration;

/// Longest `${...}` expression or `when` condition, in bytes. Under this cap the expression
/// parser cannot overflow a 2 MiB stack, so it is not settable.
pub const EXPRESSION_BYTES: usize = 512;
/// Cost limit of one expression, in instructions of its virtual machine.
pub const EXPRESSION_FUEL: u64 = 250_000;
/// Expressions (`${...}` and `when`) of one plan; each keeps a compiled program in memory.
pub const PLAN_EXPRESSIONS: usize = 50_000;
/// Largest JSON text that one template may resolve to, in bytes. Not settable: it bounds the memory
/// of an evaluation; the settable bound of a step's input is applied to what comes out.
pub const RESOLVED_BYTES: usize = 8 << 20;
/// Longest `range(...)` of an expression, in items.
pub const RANGE_ITEMS: usize = 10_000;
/// Things found wrong that one check, of a plan or of a store, reports; the rest is counted.
pub const FINDINGS: usize = 1_000;
/// Longest name of a plan, in characters.
pub const PLAN_NAME_CHARS: usize = 200;
/// Longest goal of a plan or reasoning of a step, in characters.
pub const PLAN_TEXT_CHARS: usize = 4_000;
/// Largest factor of a retry policy.
pub const RETRY_FACTOR: f64 = 100.0;
/// Longest step id, in bytes.
pub const STEP_ID_BYTES: usize = 64;
/// Longest prompt, in characters.
pub const PROMPT_CHARS: usize = 2_000;
/// Longest calculator expression, in characters.
pub const CALCULATOR_CHARS: usize = 200;
/// Deepest nesting of parentheses, signs and powers in a calculator expression; parentheses alone
/// cannot pass it within [`CALCULATOR_CHARS`].
pub const CALCULATOR_DEPTH: usize = 100;
/// Longest text of a todo, in characters.
pub const TODO_TEXT_CHARS: usize = 10_000;
/// Longest time the `sleep` tool sleeps.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 3600);
/// Most keys whose calls the `fail` tool counts.
pub const FAIL_KEYS: usize = 1_000;
/// Longest time the `http` tool waits for a connection.
pub const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most headers the `http` tool sends for a caller.
pub const HTTP_HEADERS: usize = 100;
/// Longest wait that the `http` tool takes over from a Retry-After header.
pub const HTTP_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Most redirects the `http` tool follows in one call.
pub const HTTP_REDIRECTS: usize = 10;
/// Most labels a run may carry.
pub const LABELS: usize = 64;
/// Longest label key or value, in bytes.
pub const LABEL_BYTES: usize = 256;
/// Deepest nesting of a plan, an input or an output.
pub const JSON_DEPTH: usize = 64;
/// Longest message of a tool's error that is kept, in bytes; the rest is cut off.
pub const ERROR_BYTES: usize = 4_096;
/// How long a lazy record may wait for an eager one to ride with.
pub const LAZY_DELAY: Duration = Duration::from_millis(10);
/// Most inputs of one run that are decided in one turn (and so in one batch).
pub const TURN_INPUTS: usize = 512;
/// Compiled plans kept for runs that submit the same text again.
pub const PLAN_CACHE: usize = 256;
/// Batches of events that a reader of a run may be behind before it is told that it lags; the hub
/// keeps no more of a run.
pub const STREAM_BACKLOG: usize = 128;
/// Bytes of stored events that a reader of a run takes at a time.
pub const STREAM_PIECE_BYTES: usize = 256 << 10;
/// Longest `?wait=` of a request.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Longest idempotency key of a request, in bytes.
pub const REQUEST_KEY_BYTES: usize = 255;
/// Connections that the kernel holds for a listener before they are accepted.
pub const LISTEN_BACKLOG: u32 = 4_096;
/// Most runs that one page of a list may hold.
pub const PAGE_RUNS: usize = 100;
/// How often a stream of events says that it is still there.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a request waits in all for a run that no node within reach owns at the moment.
pub const MOVING_WAIT: Duration = Duration::from_secs(10);
/// Most requests of a node that wait so at the same time.
pub const MOVING_REQUESTS: usize = 1_000;
/// How long the answer of another node is waited for.
pub const CALL_WAIT: Duration = Duration::from_secs(15);
/// How long another node is asked to wait for news of a run before it answers that there are none.
pub const POLL_WAIT: Duration = Duration::from_secs(10);
/// Readers of runs that are kept between two such questions of other nodes, at most.
pub const PARKED_READERS: usize = 1_024;
/// How long one is kept.
pub const PARKED_FOR: Duration = Duration::from_secs(5);
/// Answers of "that one owns it" that are followed without a pause.
pub const REDIRECTS: u8 = 3;
/// Ids that are tried for a new run until the shard of one has an owner within reach.
pub const RUN_ID_TRIES: usize = 16;
/// Runs without a key that are tried under another id each, because the shard of the one before takes
/// nothing in; the last waits for its owner.
pub const UNPLACED_TRIES: u32 = 16;
/// Runs whose home is remembered, where runs have one.
pub const KNOWN_HOMES: usize = 10_000;
/// Keys for which a node remembers whom it has told that it does not hold them.
pub const PROMISES: usize = 10_000;
/// Deepest position in a list that is merged from several nodes.
pub const MERGED_RUNS: usize = 100_000;
/// Runs that the command line follows at a time; the others go on unseen until it is their turn.
pub const FOLLOWED_RUNS: usize = 64;
/// Looks of a check of a server at one run that goes on meanwhile; the last one is taken as it is.
pub const CHECK_LOOKS: u32 = 5;
/// A wait at least this long stops the run's actor until its timer fires.
pub const PASSIVATE_AFTER: Duration = Duration::from_secs(5);
/// How long a node that goes down waits until the attempts it has cut off are journaled as such.
pub const CUT_OFF: Duration = Duration::from_secs(2);
/// How often a node whose lease has run out looks whether it is back, while starts of steps wait.
pub const LEASE_CHECK: Duration = Duration::from_millis(50);
/// How often the owner of a lease is told the same about the store's writes.
pub const WROTE_EVERY: Duration = Duration::from_millis(200);
/// Most readings of a store's unfinished runs that a node has under way at once.
pub const RESTORES_AT_ONCE: usize = 4;
/// Unfinished runs that are handed to their shard at a time.
pub const RESTORE_BATCH: usize = 256;
/// Pause before a reading of a shard's unfinished runs that failed is tried again; it doubles each
/// time up to [`RESTORE_PAUSE_MAX`].
pub const RESTORE_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries of reading a shard's runs.
pub const RESTORE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause before one run is read again after the store was not available.
pub const RELOAD_PAUSE: Duration = Duration::from_secs(1);
/// How often a question is put again to a run whose actor has just ended.
pub const ENDED_ACTOR_TRIES: u32 = 20;
/// Pause between two of these tries.
pub const ENDED_ACTOR_PAUSE: Duration = Duration::from_millis(5);
/// How long a tool's actor that failed too often is left alone before it is started again.
pub const TOOL_COOL_DOWN: Duration = Duration::from_secs(60);
/// Most calls that may wait for a permit of one tool.
pub const TOOL_QUEUE: usize = 100_000;
/// Most rows of one stateful tool.
pub const TOOL_ROWS: usize = 100_000;
/// Longest key of a row of a stateful tool, and longest idempotency key, in bytes.
pub const TOOL_KEY_BYTES: usize = 512;
/// Largest row of a stateful tool, in bytes of JSON text.
pub const TOOL_ROW_BYTES: usize = 64 << 10;
/// Bytes of all rows of one stateful tool, keys included.
pub const TOOL_BYTES: usize = 256 << 20;
/// Most rows that one write of a stateful tool may change.
pub const TOOL_WRITE_ROWS: usize = 1_000;
/// Largest write of a stateful tool, in bytes of its rows and its result.
pub const TOOL_WRITE_BYTES: usize = 2 << 20;
/// Most results that are remembered of writes of one tool that no run made; the oldest go first.
pub const TOOL_LOOSE_RESULTS: usize = 10_000;
/// How often a run is looked for again that moves, meanwhile, from one part of the store to another.
pub const MOVED_RUN_TRIES: usize = 100;
/// How often a write is tried again while the disk has no room for it.
pub const SPACE_PAUSE: Duration = Duration::from_millis(200);
/// Files of history that a reader keeps open.
pub const HISTORY_FILES: usize = 32;

/// Connections of a node to PostgreSQL that write; each has a part of the shards.
pub const STORE_WRITERS: usize = 2;
/// Connections of a node to PostgreSQL for reading, at most.
pub const STORE_READERS: usize = 4;
/// Most rows of one statement that writes to the journal; beyond that a commit costs more than it
/// shares (measured).
pub const STATEMENT_ROWS: usize = 512;
/// Most bytes of events of one statement; a larger batch goes alone.
pub const STATEMENT_BYTES: usize = 1 << 20;
/// Most rows of tools that one statement changes.
pub const STATEMENT_TOOL_ROWS: usize = 5_000;
/// First pause before a statement that was not answered is sent again; it doubles each time up to
/// [`STORE_PAUSE_MAX`], or to an eighth of a lease where that is less. Tries end with the lease.
pub const STORE_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause before a statement is sent again.
pub const STORE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a row is sent again of which the database says neither that it is there nor that it is
/// not: an earlier, lost statement is just ending.
pub const UNCLEAR_TRIES: usize = 50;
/// Unfinished runs that are read from PostgreSQL at a time.
pub const RESTORE_PAGE: usize = 1_000;
/// Ended runs that wait to be made readable for SQL, and long ones that wait to be merged; what does
/// not fit is left for a sweep of its shard, or for the next time.
pub const HISTORY_WAITING: usize = 50_000;
/// Ended runs that one statement makes readable for SQL.
pub const HISTORY_BATCH: usize = 64;
/// Old runs that one statement removes.
pub const RETIRE_BATCH: i64 = 500;

/// How long a node that starts waits for what is not there yet: its database, its own name.
pub const START_WAIT: Duration = Duration::from_secs(30);
/// Pause between two looks for it.
pub const START_PAUSE: Duration = Duration::from_millis(500);
/// Ports that a node of a cluster on one machine tries after the first, until one is free.
pub const PORT_TRIES: u32 = 32;
/// First wait before work of a node that should never end is started again; it doubles each time up
/// to [`RESTART_PAUSE_MAX`].
pub const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait before such work is started again.
pub const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Other nodes whose datagrams are remembered, so that a copy of one is known; past that the one that
/// was heard of longest ago is forgotten.
pub const GOSSIP_SENDERS: usize = 4_096;
/// Breakers that a node tells others about, and takes note of from each.
pub const TOLD_BREAKERS: usize = 64;
/// Requests of other nodes that a node works on at the same time; whoever sends more is told that it
/// is busy.
pub const PEER_REQUESTS: usize = 1_024;
/// The same of requests whose answer may be held back on purpose.
pub const PEER_WAITING: usize = 16_384;
/// Calls to one other node at the same time; more wait their turn until their deadline.
pub const PEER_CALLS: usize = 256;
/// The same of calls whose answer may be held back on purpose.
pub const PEER_WAITING_CALLS: usize = 4_096;
/// Requests, and replies, of a node that are on their way in pieces.
pub const TRANSFERS: usize = 64;
/// Their bytes, of each of the two.
pub const TRANSFER_BYTES: usize = 256 << 20;
/// Largest request or reply between nodes, in bytes: a run as JSON, whose payloads and plan may be in
/// it twice, at the largest that can be set for a request or for what is stored of a run (64 MiB).
pub const MESSAGE_BYTES: usize = (2 * 64 + 1) << 20;
/// Connections that a gateway is just making or taking in; at so many it takes in none, and they wait
/// in the kernel.
pub const HANDSHAKES: usize = 256;
/// News of sessions that wait for the gateway.
pub const GATEWAY_EVENTS: usize = 4_096;
/// First wait after dialing a node led to nothing; it doubles each time up to [`DIAL_PAUSE_MAX`].
pub const DIAL_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait before a node is dialed again.
pub const DIAL_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often the address of a node that is down is tried, to learn whether somebody listens there.
pub const PROBES: u32 = 10;
/// Processes of other nodes that were found gone and not taken note of yet.
pub const GONE_PROCESSES: usize = 64;
/// Lives of other nodes that are remembered as gone; further ones end with their lease.
pub const GONE_LIVES: usize = 1_024;
/// Events that wait for the ownership machine of a node.
pub const OWNERSHIP_EVENTS: usize = 4_096;
/// Shards or runs that one message between ownership machines names.
pub const OWNERSHIP_NAMES: usize = 4_096;

/// Default timeout of a step.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest timeout or retry interval a plan may ask for.
pub const LONGEST_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// The settable bounds, with the defaults of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of one plan.
    pub steps: usize,
    /// Bytes of one step's input or output.
    pub payload_bytes: usize,
    /// Bytes of a run: its encoded state and events.
    pub run_bytes: usize,
    /// Bytes of a request, and so of a plan file.
    pub request_bytes: usize,
    /// Attempts a retry policy may ask for.
    pub attempts: u32,
    /// Attempts of one step that may be lost to crashes before the run fails as poisoned.
    pub lost_attempts: u32,
    /// Steps of one run that run at once; 0 starts none, which is how a node goes down.
    pub parallel_steps: usize,
    /// Runs of a node that have an actor at once.
    pub active_runs: usize,
    /// Accepted runs that may wait for a slot.
    pub pending_runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 10_000,
            payload_bytes: 1 << 20,
            run_bytes: 8 << 20,
            request_bytes: 4 << 20,
            attempts: 100,
            lost_attempts: 3,
            parallel_steps: 256,
            active_runs: 10_000,
            pending_runs: 1_000_000,
        }
    }
}
