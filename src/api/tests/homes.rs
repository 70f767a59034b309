//! The API of two nodes with a store each, one of which goes away.

use std::time::Duration;

use crane_actors::Runtime;
use crane_store::embedded::{self, EmbeddedStore};
use crane_store::memory::MemoryStore;

use super::*;
use crate::route::tests::world::{Fault, World};

async fn bench(world: &World, name: &str, store: Arc<dyn RunStore>) -> Bench {
    let config = Config::default();
    let options = options(store.clone(), &config, Owning::All);
    let runtime = Runtime::start(options).await.unwrap();
    let router = world.real_home(name, &runtime);
    let api = Api::new(Parts {
        node: Node::of(runtime, router, store),
        name: name.to_owned(),
        limits: config.limits.clone(),
        config: config.api.clone(),
        life: Life::default(),
    });
    let router = super::router(api.clone());
    Bench { api, router }
}

/// Two nodes, and as many runs at each; gives those at `b`.
async fn pair() -> (World, Bench, Bench, Vec<String>) {
    pair_with(Arc::new(MemoryStore::new())).await
}

/// The same, where `b` has this store.
async fn pair_with(store: Arc<dyn RunStore>) -> (World, Bench, Bench, Vec<String>) {
    let world = World::new(false);
    let a = bench(&world, "a", Arc::new(MemoryStore::new())).await;
    let b = bench(&world, "b", store).await;
    let mut at_b = Vec::new();
    let mut at_a = 0;
    while at_b.len() < 3 || at_a < 3 {
        let body = json!({ "prompt": "calculate 1" });
        let run = a.call(post("/runs?wait=10s", &body)).await.json();
        match run["node"].as_str() {
            Some("b") => at_b.push(run["run_id"].as_str().unwrap().to_owned()),
            _ => at_a += 1,
        }
    }
    (world, a, b, at_b)
}

#[track_caller]
fn shows_b_as_away(list: &Answer, at_b: &[String]) {
    assert_eq!(list.status, 200, "{list:?}");
    assert_eq!(list.header("x-crane-unreachable"), "b");
    for run in list.json().as_array().unwrap() {
        let is_away = at_b.iter().any(|id| run["run_id"] == **id);
        let error = run["error"].as_str().unwrap_or_default();
        assert_eq!(error.contains("cannot be reached"), is_away, "{run}");
        assert_eq!(run["node"], if is_away { "b" } else { "a" });
        assert_eq!(run["status"], "completed");
    }
}

#[tokio::test]
async fn a_list_shows_runs_of_a_node_that_goes_meanwhile_as_far_as_they_are_known() {
    let (world, a, _b, at_b) = pair().await;
    let whole = a.get("/runs?limit=100").await;
    assert_eq!(whole.header("x-crane-unreachable"), "");
    let all = whole.json().as_array().unwrap().len();
    world.fault("b", Fault::Fine);
    world.fault("b", Fault::Dies);
    let list = a.get("/runs?limit=100").await;
    shows_b_as_away(&list, &at_b);
    assert_eq!(list.json().as_array().unwrap().len(), all);
    assert_eq!(list.header("x-total-count"), all.to_string());
    // From now on nobody knows of them.
    let list = a.get("/runs?limit=100").await;
    shows_b_as_away(&list, &at_b);
    assert_eq!(list.json().as_array().unwrap().len(), all - at_b.len());
}

#[tokio::test]
async fn a_node_whose_store_was_closed_in_order_has_no_runs_any_more_and_has_not_failed() {
    let data = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let options = embedded::Options::new(data.path(), Arc::new(move || clock.now()));
    let store = Arc::new(EmbeddedStore::open(options).unwrap());
    let (_world, a, b, _) = pair_with(store).await;
    let unfinished = loop {
        let run = a.call(post("/runs", &sleeper())).await.json();
        if run["node"] == "b" {
            break run["run_id"].as_str().unwrap().to_owned();
        }
    };
    // Only what was not in memory alone is lost to readers when the store is closed.
    b.api.node.store().checkpoint().await.unwrap();
    b.api.node.close(Duration::ZERO).await.unwrap();
    let read = a.get(&format!("/runs/{unfinished}")).await;
    let details = read.refused(503, "unavailable");
    assert_eq!(details["unreachable"], json!(["b"]));
    let list = a.get("/runs").await;
    assert_eq!(list.status, 200, "{list:?}");
    assert_eq!(list.header("x-crane-unreachable"), "b");
    let shown = list.json();
    let mut shown = shown.as_array().unwrap().iter();
    assert!(shown.any(|run| run["run_id"] == *unfinished));
}

#[tokio::test]
async fn a_page_behind_all_runs_is_empty_however_far_behind_it_is() {
    let (_world, a, _b, _) = pair().await;
    let total = a.get("/runs").await.header("x-total-count").to_owned();
    for offset in ["1000", "99999", "100000", "9223372036854775807"] {
        let list = a.get(&format!("/runs?offset={offset}")).await;
        assert_eq!((list.status.as_u16(), &*list.text), (200, "[]"));
        assert_eq!(list.header("x-total-count"), total);
    }
}
