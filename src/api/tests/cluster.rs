//! The API of two nodes with a store in common: whichever is asked, the answer is the same, byte by
//! byte, and a run that moves is followed.

use std::time::Duration;

use crane_actors::Runtime;
use crane_actors::runtime::Leased;
use crane_core::ids::SHARD_COUNT;
use crane_core::{RunId, ShardId};
use crane_store::Fence;
use crane_store::memory::MemoryStore;

use super::*;
use crate::route::tests::world::World;

struct Pair {
    world: World,
    store: Arc<MemoryStore>,
    a: Bench,
    b: Bench,
}

async fn runtime(store: &Arc<MemoryStore>, config: &Config) -> Runtime {
    let leased = Leased {
        left: Arc::new(|| Duration::from_secs(60)),
        fenced: Arc::new(|_| {}),
        wrote: Arc::new(|_| {}),
    };
    let options = options(store.clone(), config, Owning::Leased(leased));
    Runtime::start(options).await.unwrap()
}

impl Pair {
    /// All shards are `b`'s.
    async fn new() -> Self {
        let world = World::new(true);
        let store = Arc::new(MemoryStore::new());
        let config = Config::default();
        let mut benches = Vec::new();
        for name in ["a", "b"] {
            let runtime = runtime(&store, &config).await;
            let router = world.real(name, &runtime);
            let api = Api::new(Parts {
                node: Node::of(runtime, router, store.clone()),
                name: name.to_owned(),
                limits: config.limits.clone(),
                config: config.api.clone(),
                life: Life::default(),
            });
            let router = super::router(api.clone());
            benches.push(Bench { api, router });
        }
        let b = benches.pop().unwrap();
        let a = benches.pop().unwrap();
        let pair = Self { world, store, a, b };
        for shard in (0..SHARD_COUNT).map(ShardId) {
            let fence = pair.acquire(shard).await;
            pair.b.api.node.runtime().open_shard(fence, Vec::new());
            pair.world.give_shard(shard, Some("b"));
        }
        pair
    }

    async fn acquire(&self, shard: ShardId) -> Fence {
        self.store.acquire(vec![shard]).await.unwrap()[0]
    }

    /// Hands the shard of a run over from `b` to `a`.
    async fn moves(&self, run: &str) {
        let run: RunId = run.parse().unwrap();
        let (a, b) = (self.a.api.node.runtime(), self.b.api.node.runtime());
        let mut owned = b.owned().into_iter();
        let fence = owned.find(|fence| fence.shard == run.shard()).unwrap();
        let hot = b.close_shard(fence, Duration::from_millis(50)).await;
        let fence = self.acquire(run.shard()).await;
        a.open_shard(fence, hot);
        self.world.give(run, Some("a"));
    }

    /// Asks both for the same, and holds that they answer the same.
    #[track_caller]
    fn same(a: &Answer, b: &Answer) {
        assert_eq!(a.status, b.status, "{a:?} {b:?}");
        assert_eq!(a.text, b.text);
        let headers = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("x-request-id");
            headers
        };
        assert_eq!(headers(a), headers(b));
    }

    async fn both(&self, request: impl Fn() -> Request<Body>) -> Answer {
        let a = self.a.call(request()).await;
        let b = self.b.call(request()).await;
        Self::same(&a, &b);
        a
    }

    async fn get_both(&self, path: &str) -> Answer {
        self.both(|| get(path).body(Body::empty()).unwrap()).await
    }
}

fn events(run: &str, accept: &str, after: Option<&str>) -> Request<Body> {
    let mut request = get(&format!("/runs/{run}/events")).header("accept", accept);
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    request.body(Body::empty()).unwrap()
}

fn keyed(path: &str, body: &Value, key: &str) -> Request<Body> {
    let mut request = post(path, body);
    request
        .headers_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

fn change(method: &str, path: &str) -> Request<Body> {
    let path = format!("{BASE}{path}");
    Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap()
}

/// Three steps, one after the other, each of which takes a moment.
fn chain(milliseconds: u64) -> Value {
    let step = |id: &str, after: &[&str]| {
        json!({ "id": id, "tool": "sleep", "input": { "milliseconds": milliseconds },
            "depends_on": after })
    };
    json!({ "plan": { "steps": [step("a", &[]), step("b", &["a"]), step("c", &["b"])] } })
}

#[tokio::test]
async fn a_run_reads_the_same_everywhere() {
    let pair = Pair::new().await;
    let run = pair.a.ended(&json!({ "prompt": "calculate 6 * 7" })).await;
    assert_eq!(run["node"], "b");
    assert_eq!(run["result"], 42.0);
    let id = run["run_id"].as_str().unwrap();
    let other = pair
        .b
        .ended(&one("fail", &json!({ "message": "no" })))
        .await;
    assert_eq!(other["status"], "failed");
    let read = pair.get_both(&format!("/runs/{id}")).await.json();
    assert_eq!(read, run);
    for path in ["/runs", "/runs?status=failed", "/runs?limit=1&offset=1"] {
        let list = pair.get_both(path).await;
        assert_eq!(list.status, StatusCode::OK);
    }
    for (accept, after, status) in [
        ("application/json", None, 200),
        ("application/json", Some("3"), 200),
        ("text/event-stream", None, 200),
        ("text/event-stream", Some("2"), 200),
        ("text/event-stream", Some("9999"), 204),
        ("text/event-stream", Some("x"), 400),
    ] {
        let answer = pair.both(|| events(id, accept, after)).await;
        assert_eq!(answer.status.as_u16(), status, "{accept} {after:?}");
    }
    let nowhere = "00000000-0000-7000-8000-000000000000";
    pair.get_both(&format!("/runs/{nowhere}"))
        .await
        .refused(404, "run_not_found");
    pair.both(|| events(nowhere, "text/event-stream", None))
        .await
        .refused(404, "run_not_found");
}

#[tokio::test]
async fn a_submission_is_answered_the_same_everywhere() {
    let pair = Pair::new().await;
    let invalid = json!({ "plan": { "steps": [{ "id": "a", "tool": "x" }, { "id": "a" }] },
        "labels": { "": "x" }, "input": 3 });
    let refused = pair.both(|| post("/runs", &invalid)).await;
    assert!(refused.invalid().len() > 3, "{refused:?}");
    let unknown = json!({ "prompt": 3, "color": "red" });
    pair.both(|| post("/runs", &unknown)).await.invalid();
    let run = json!({ "prompt": "calculate 1 + 1", "labels": { "team": "red" } });
    let first = pair.a.call(keyed("/runs?wait=30s", &run, "k")).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let again = pair.both(|| keyed("/runs", &run, "k")).await;
    assert_eq!((again.status, &again.text), (StatusCode::OK, &first.text));
    assert_eq!(again.header("location"), first.header("location"));
    let another = json!({ "prompt": "calculate 1 + 2" });
    pair.both(|| keyed("/runs", &another, "k"))
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn a_trace_goes_on_to_the_owner() {
    let pair = Pair::new().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut request = post("/runs", &json!({ "prompt": "calculate 1" }));
    let header = format!("00-{trace}-b7ad6b7169203331-01");
    request
        .headers_mut()
        .insert("traceparent", header.parse().unwrap());
    let run = pair.a.call(request).await.json();
    let id = run["run_id"].as_str().unwrap();
    let list = pair.both(|| events(id, "application/json", None)).await;
    assert_eq!(list.json()[0]["data"]["trace_id"], trace);
}

#[tokio::test]
async fn a_run_is_cancelled_and_opened_again_from_anywhere() {
    let pair = Pair::new().await;
    let id = pair.a.submit(&sleeper()).await;
    let path = format!("/runs/{id}");
    pair.both(|| change("POST", &format!("{path}/retry")))
        .await
        .refused(409, "conflict");
    let cancelled = pair.a.call(change("DELETE", &path)).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED, "{cancelled:?}");
    assert_eq!(cancelled.json()["node"], "b");
    pair.both(|| events(&id, "text/event-stream", None)).await;
    pair.both(|| change("DELETE", &path))
        .await
        .refused(409, "conflict");
    let retried = pair.a.call(change("POST", &format!("{path}/retry"))).await;
    assert_eq!(retried.status, StatusCode::ACCEPTED, "{retried:?}");
    pair.b.call(change("DELETE", &path)).await;
}

#[tokio::test]
async fn a_stream_follows_its_run_to_another_node() {
    let pair = Pair::new().await;
    for asked in [&pair.a, &pair.b] {
        let id = pair.a.submit(&chain(100)).await;
        let follow = asked.call(events(&id, "text/event-stream", None));
        let moves = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            pair.moves(&id).await;
        };
        let (stream, ()) = tokio::join!(follow, moves);
        let all = pair.both(|| events(&id, "text/event-stream", None)).await;
        assert_eq!(stream.text, all.text);
        assert!(all.text.contains("run_completed"), "{}", all.text);
        pair.world.settles();
        let run = pair.get_both(&format!("/runs/{id}")).await.json();
        assert_eq!(run["node"], "a");
    }
}

#[tokio::test]
async fn a_wait_follows_its_run_to_another_node() {
    let pair = Pair::new().await;
    for (number, asked) in [&pair.a, &pair.b].into_iter().enumerate() {
        let key = format!("k{number}");
        let waits = asked.call(keyed("/runs?wait=30s", &chain(100), &key));
        let moves = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let run = RunId::from_key("", &key).to_string();
            pair.moves(&run).await;
        };
        let (answer, ()) = tokio::join!(waits, moves);
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(answer.json()["status"], "completed", "{answer:?}");
        assert_eq!(answer.json()["node"], "a");
    }
}

#[tokio::test]
async fn a_node_that_others_take_over_from_is_still_a_door() {
    let pair = Pair::new().await;
    pair.a.api.life.advance(Phase::Leaving);
    let run = pair.a.ended(&json!({ "prompt": "calculate 2 + 2" })).await;
    assert_eq!(run["node"], "b");
    let ready = pair.a.get("/health/ready").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    pair.world.down("b");
    let run = json!({ "prompt": "calculate 1" });
    pair.a.post("/runs", &run).await.refused(503, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_submission_whose_shard_was_lost_before_the_answer_is_not_told_as_nothing_done() {
    let pair = Pair::new().await;
    let hold = pair.store.hold_writes();
    let submit = async {
        let body = json!({ "prompt": "calculate 1" });
        let (a, b) = tokio::join!(
            pair.a.call(post("/runs", &body)),
            pair.b.call(post("/runs", &body))
        );
        [a, b]
    };
    let lose = async {
        // Nothing else goes on here: until both wait for the store.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let b = pair.b.api.node.runtime();
        for fence in b.owned() {
            pair.world.give_shard(fence.shard, None);
            b.stop_shard(fence);
        }
        pair.world.settles();
    };
    let (answers, ()) = tokio::join!(submit, lose);
    for answer in answers {
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(answer.text.contains("may or may not"), "{}", answer.text);
    }
    drop(hold);
    // For they are there.
    let written = async {
        while pair.store.counts().await.unwrap().values().sum::<usize>() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(3_600), written).await;
    written.expect("both became durable");
}

#[tokio::test]
async fn a_node_that_could_not_hand_all_over_lets_go_before_it_is_gone() {
    let pair = Pair::new().await;
    let body = json!({ "plan": { "steps": [
        { "id": "a", "tool": "sleep", "input": { "milliseconds": 600_000 }, "timeout": "1h" },
    ] } });
    let run = pair.a.call(post("/runs", &body)).await.json()["run_id"].clone();
    let run = run.as_str().unwrap();
    let events = format!("/runs/{run}/events");
    let list = || {
        get(&events)
            .header("accept", "application/json")
            .body(Body::empty())
    };
    while !pair
        .a
        .call(list().unwrap())
        .await
        .text
        .contains("step_started")
    {
        tokio::task::yield_now().await;
    }
    pair.b.api.node.let_go().await;
    assert!(pair.b.api.node.runtime().owned().is_empty());
    // So that it goes on elsewhere, and is not counted as lost.
    let text = pair.a.call(list().unwrap()).await.text;
    assert!(text.contains("interrupted"), "{text}");
}
