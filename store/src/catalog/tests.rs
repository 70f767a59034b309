//! The catalog against a model that sorts everything each time, and its cost with many runs.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crane_core::{Round, Seq, Timestamp};
use proptest::prelude::*;

use super::*;

fn place(offset: u32) -> Place {
    Place {
        segment: NonZeroU32::MIN,
        offset,
    }
}

fn run(number: u64) -> RunId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    RunId::from_time(1_700_000_000_000, random)
}

fn summary(created_at: i64, status: RunStatus) -> Summary {
    Summary {
        seq: Seq(3),
        status,
        round: Round(1),
        created_at: Timestamp(created_at),
        completed_at: status.is_ended().then_some(Timestamp(created_at + 5)),
        wake_at: (status == RunStatus::Waiting).then_some(Timestamp(created_at + 9)),
    }
}

fn filter(statuses: &[RunStatus], labels: &[(&str, &str)]) -> Filter {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Filter {
        statuses: statuses.to_vec(),
        labels: labels.iter().map(owned).collect(),
    }
}

fn page(offset: usize, limit: usize) -> Page {
    Page { offset, limit }
}

#[derive(Clone, Debug)]
enum Change {
    Put {
        run: u64,
        at: i64,
        status: usize,
        label: Option<u8>,
        ended: bool,
    },
    Remove {
        run: u64,
    },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let put = (
        0_u64..3000,
        0_i64..50,
        0_usize..6,
        prop::option::of(0_u8..4),
        any::<bool>(),
    );
    let put = put.prop_map(|(run, at, status, label, ended)| Change::Put {
        run,
        at,
        status,
        label,
        ended,
    });
    let remove = (0_u64..3000).prop_map(|run| Change::Remove { run });
    prop::collection::vec(prop_oneof![6 => put, 1 => remove], 0..4000)
}

fn labels_of(label: Option<u8>) -> Labels {
    let mut labels = Labels::new();
    if let Some(label) = label {
        labels.insert("a".into(), (label % 2).to_string());
        labels.insert("b".into(), (label / 2).to_string());
    }
    labels
}

type Model = BTreeMap<RunId, (Entry, Labels)>;

fn naive(model: &Model, filter: &Filter, page: Page) -> Listing {
    let mut hits: Vec<_> = model
        .iter()
        .filter(|(_, (entry, labels))| {
            let status = entry.summary.status;
            (filter.statuses.is_empty() || filter.statuses.contains(&status))
                && filter.labels.iter().all(|(k, v)| labels.get(k) == Some(v))
        })
        .map(|(run, (entry, _))| (*run, entry.summary.clone()))
        .collect();
    hits.sort_by_key(|(run, summary)| std::cmp::Reverse((summary.created_at, *run)));
    Listing {
        total: hits.len(),
        runs: hits
            .into_iter()
            .skip(page.offset)
            .take(page.limit)
            .collect(),
    }
}

fn compare(catalog: &Catalog, model: &Model) {
    assert_eq!(catalog.len(), model.len());
    let filters = [
        filter(&[], &[]),
        filter(&[RunStatus::Running], &[]),
        filter(
            &[RunStatus::Failed, RunStatus::Pending, RunStatus::Failed],
            &[],
        ),
        filter(&[], &[("a", "1")]),
        filter(&[RunStatus::Completed], &[("b", "0")]),
        filter(&[], &[("a", "1"), ("b", "1")]),
        filter(&[RunStatus::Waiting], &[("a", "0"), ("b", "1"), ("a", "0")]),
        filter(&[], &[("a", "1"), ("a", "0")]),
        filter(&[], &[("a", "7")]),
    ];
    for filter in filters {
        for offset in [0, 1, 500, 1023, 1024, 1025, 2900, 5000] {
            let page = page(offset, 37);
            assert_eq!(
                catalog.list(&filter, page),
                naive(model, &filter, page),
                "{filter:?}"
            );
        }
    }
    for (run, (entry, labels)) in model {
        assert_eq!(catalog.get(*run).as_ref(), Some(entry));
        assert_eq!(&catalog.labels(*run), labels);
    }
    let mut unfinished: Vec<_> = model
        .iter()
        .filter(|(_, (entry, _))| !entry.summary.status.is_ended())
        .map(|(run, (entry, _))| Unfinished {
            run: *run,
            summary: entry.summary.clone(),
        })
        .collect();
    unfinished.sort_by_key(|run| (run.summary.created_at, run.run));
    assert_eq!(catalog.unfinished(), unfinished);
    for (status, count) in catalog.counts() {
        let wanted = model
            .values()
            .filter(|(entry, _)| entry.summary.status == status);
        assert_eq!(count, wanted.count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_catalog_agrees_with_a_naive_model(changes in changes()) {
        let mut catalog = Catalog::default();
        let mut model = Model::new();
        for change in changes {
            match change {
                Change::Put { run: number, at, status, label, ended } => {
                    let run = run(number);
                    let summary = summary(at, RunStatus::ALL[status]);
                    let labels = labels_of(label);
                    let place = ended.then(|| place(u32::try_from(number).unwrap()));
                    match place {
                        None => catalog.live(run, &summary, Some(&labels)),
                        Some(place) => catalog.insert_ended(run, &summary, Some(&labels), place),
                    }
                    let entry = Entry { summary, place };
                    // Labels never change.
                    let labels = model.remove(&run).map_or(labels, |(_, labels)| labels);
                    model.insert(run, (entry, labels));
                }
                Change::Remove { run: number } => {
                    let known = model.remove(&run(number)).is_some();
                    prop_assert_eq!(catalog.remove(run(number)), known);
                }
            }
        }
        compare(&catalog, &model);
    }
}

#[test]
fn labels_without_runs_are_forgotten_and_their_room_is_used_again() {
    let mut catalog = Catalog::default();
    let mut most = 0;
    for number in 0..10_000_u64 {
        let labels = [("ticket".to_owned(), number.to_string())].into();
        catalog.live(run(number), &summary(1, RunStatus::Running), Some(&labels));
        if number >= 100 {
            assert!(catalog.remove(run(number - 100)));
        }
        if number == 5_000 {
            most = catalog.memory();
        }
    }
    assert_eq!(catalog.len(), 100);
    // Only the texts differ a little.
    assert!(catalog.memory() < most + most / 100);
    let listing = catalog.list(&filter(&[], &[("ticket", "17")]), page(0, 10));
    assert_eq!(listing, Listing::default());
    let listing = catalog.list(&filter(&[], &[("ticket", "9999")]), page(0, 10));
    assert_eq!(listing.total, 1);
}

fn ended_runs(count: u64) -> Catalog {
    let mut catalog = Catalog::default();
    for number in 0..count {
        let at = i64::try_from(number).unwrap();
        catalog.live(run(number), &summary(at, RunStatus::Running), None);
        let summary = summary(at, RunStatus::Completed);
        catalog.ended(run(number), &summary, place(u32::try_from(number).unwrap()));
    }
    catalog
}

#[test]
fn an_ended_run_takes_less_than_a_hundred_bytes() {
    let catalog = ended_runs(300_000);
    let each = catalog.memory() / catalog.len();
    assert!(each <= 100, "{each} bytes a run");
}
