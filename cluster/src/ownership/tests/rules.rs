//! Single rules: one machine, one event, the actions it gives.

use std::sync::Arc;
use std::time::Duration;

use super::{TTL, at};
use crate::ownership::words::{
    Action, Call, Elapsed, Event, Handover, How, LeaseRow, Owner, Peer, Phase, Reason, Row, Sight,
    Table,
};
use crate::ownership::{Config, Machine};
use crane_core::{Epoch, Generation, NodeName, ShardId};

const LIFE: Generation = Generation(7);

fn owner(node: &str, generation: u64) -> Owner {
    Owner {
        node: NodeName::new(node),
        generation: Generation(generation),
    }
}

fn peer(node: &str, generation: u64, phase: Phase) -> Peer {
    Peer {
        node: NodeName::new(node),
        generation: Some(Generation(generation)),
        sight: Sight::Alive,
        phase,
    }
}

fn table(rows: Vec<Row>, lives: &[Owner]) -> Event {
    let lease = |owner: &Owner| LeaseRow {
        owner: owner.clone(),
        remaining: TTL,
    };
    let leases = lives.iter().map(lease).collect();
    Event::TableRead(Arc::new(Table {
        shards: rows,
        leases,
    }))
}

fn nobody() -> Row {
    Row::default()
}

fn row(owner: Owner, epoch: u64) -> Row {
    Row {
        owner: Some(owner),
        epoch: Epoch(epoch),
    }
}

/// A machine of two shards that is up at two seconds, with a lease from 1.9 s on.
fn up(rows: Vec<Row>, peers: &[Peer]) -> (Machine, Vec<Action>) {
    let config = Config {
        shards: 2,
        ..Config::new(TTL)
    };
    let mut machine = Machine::new(NodeName::new("me"), config);
    let sent = at(0);
    machine.step(sent, Event::Peers(peers.to_vec()));
    machine.step(
        at(0),
        Event::Registered {
            generation: LIFE,
            sent,
        },
    );
    let mut lives: Vec<Owner> = vec![owner("me", 7)];
    lives.extend(peers.iter().map(|peer| Owner {
        node: peer.node.clone(),
        generation: peer.generation.unwrap_or_default(),
    }));
    machine.step(at(10), table(rows, &lives));
    machine.step(at(20), Event::SelfTested { ok: true });
    let by = LIFE;
    machine.step(
        at(1_900),
        Event::Renewed {
            by,
            sent: at(1_900),
        },
    );
    let actions = machine.step(at(2_000), Event::Tick);
    assert_eq!(machine.phase(), Phase::Up);
    (machine, actions)
}

fn taken(rows: &[(u16, u64)]) -> Event {
    let row = |(shard, epoch): &(u16, u64)| (ShardId(*shard), Epoch(*epoch));
    let rows = rows.iter().map(row).collect();
    Event::Taken { by: LIFE, rows }
}

#[test]
fn a_lease_is_asked_for_first_and_prolonged_each_quarter_of_its_time() {
    let mut machine = Machine::new(NodeName::new("me"), Config::new(TTL));
    let sent = at(100);
    assert_eq!(
        machine.step(sent, Event::Tick)[0],
        Action::Register { sent }
    );
    let actions = machine.step(
        at(150),
        Event::Registered {
            generation: LIFE,
            sent,
        },
    );
    assert!(actions.contains(&Action::LeaseUntil(at(100 + 2_700))));
    let renewals = |actions: Vec<Action>| {
        let renews = |action: &Action| matches!(action, Action::Renew { .. });
        actions.iter().any(renews)
    };
    assert!(!renewals(machine.step(at(800), Event::Tick)));
    assert!(renewals(machine.step(at(850), Event::Tick)));
    // One is under way.
    assert!(!renewals(machine.step(at(1_700), Event::Tick)));
}

#[test]
fn an_answer_that_comes_late_prolongs_from_when_it_was_asked_for() {
    let (mut machine, _) = up(vec![nobody(), nobody()], &[]);
    let (by, sent) = (LIFE, at(2_400));
    let actions = machine.step(at(4_000), Event::Renewed { by, sent });
    assert!(actions.contains(&Action::LeaseUntil(at(2_400 + 2_700))));
}

#[test]
fn without_an_answer_all_is_dropped_when_the_lease_is_over() {
    let (mut machine, _) = up(vec![nobody(), nobody()], &[]);
    machine.step(at(2_010), taken(&[(0, 1), (1, 1)]));
    assert_eq!(machine.open().count(), 2);
    let still = machine.step(at(1_900 + 2_999), Event::Tick);
    assert!(
        !still
            .iter()
            .any(|action| matches!(action, Action::CloseShard { .. }))
    );
    let actions = machine.step(at(1_900 + 3_000), Event::Tick);
    let stop = |shard| Action::CloseShard {
        shard: ShardId(shard),
        epoch: Epoch(1),
        how: How::Stop,
    };
    assert!(actions.contains(&stop(0)) && actions.contains(&stop(1)));
    assert_eq!(machine.owner(), None);
}

#[test]
fn shards_without_an_owner_are_taken_in_the_epoch_that_was_seen() {
    let gone = Row {
        owner: None,
        epoch: Epoch(4),
    };
    let (mut machine, actions) = up(vec![nobody(), gone], &[]);
    let rows = vec![(ShardId(0), Epoch(0)), (ShardId(1), Epoch(4))];
    assert!(actions.contains(&Action::Take { by: LIFE, rows }));
    let actions = machine.step(at(2_010), taken(&[(1, 5)]));
    let opened = Action::OpenShard {
        shard: ShardId(1),
        epoch: Epoch(5),
        hot: vec![],
        reason: Reason::Unowned,
    };
    assert!(actions.contains(&opened));
}

#[test]
fn an_answer_to_an_earlier_life_opens_nothing() {
    let (mut machine, _) = up(vec![nobody(), nobody()], &[]);
    machine.step(at(2_010), Event::LeaseLost { by: LIFE });
    let sent = at(2_020);
    let generation = Generation(8);
    machine.step(at(2_030), Event::Registered { generation, sent });
    machine.step(at(2_040), taken(&[(0, 1)]));
    assert_eq!(machine.open().count(), 0);
}

#[test]
fn a_shard_that_was_fenced_is_never_opened_in_that_epoch_again() {
    let (mut machine, _) = up(vec![nobody(), nobody()], &[]);
    machine.step(at(2_010), taken(&[(0, 1)]));
    let (shard, epoch) = (ShardId(0), Epoch(1));
    let actions = machine.step(at(2_020), Event::Fenced { shard, epoch });
    let how = How::Stop;
    assert!(actions.contains(&Action::CloseShard { shard, epoch, how }));
    // A table that was read before says that it is ours.
    let rows = vec![row(owner("me", 7), 1), nobody()];
    machine.step(at(2_030), table(rows, &[owner("me", 7)]));
    assert_eq!(machine.open().count(), 0);
}

#[test]
fn the_shards_of_a_living_node_are_not_taken() {
    let rows = vec![row(owner("other", 3), 1), row(owner("other", 3), 1)];
    let (_, actions) = up(rows, &[peer("other", 3, Phase::Up)]);
    let takes =
        |action: &Action| matches!(action, Action::Take { .. } | Action::DeclareDead { .. });
    assert!(!actions.iter().any(takes), "{actions:?}");
}

#[test]
fn refused_connections_alone_declare_nobody_dead() {
    let rows = vec![row(owner("other", 3), 1), row(owner("other", 3), 1)];
    let (mut machine, _) = up(rows, &[peer("other", 3, Phase::Joining)]);
    let gone = Event::Gone {
        owner: owner("other", 3),
    };
    let declares = |actions: Vec<Action>| {
        let declares = |action: &Action| matches!(action, Action::DeclareDead { .. });
        actions.iter().any(declares)
    };
    assert!(!declares(machine.step(at(2_010), gone)));
    let mut down = peer("other", 3, Phase::Joining);
    down.sight = Sight::Down;
    assert!(declares(machine.step(at(2_020), Event::Peers(vec![down]))));
}

/// A machine that owns both shards, and a peer that came up a while ago.
fn owning_beside(phase: Phase) -> Machine {
    let (mut machine, _) = up(vec![nobody(), nobody()], &[peer("other", 3, phase)]);
    machine.step(at(2_050), taken(&[(0, 1), (1, 1)]));
    assert_eq!(machine.open().count(), 2);
    machine.step(at(2_100), Event::Tick);
    machine
}

fn asked(machine: &mut Machine, now: Elapsed) -> usize {
    let by = owner("other", 3);
    let shards = vec![ShardId(0), ShardId(1)];
    let at_most = 2;
    let actions = machine.step(
        now,
        Event::Asked {
            by,
            shards,
            at_most,
        },
    );
    let closes = |action: &&Action| matches!(action, Action::CloseShard { .. });
    actions.iter().filter(closes).count()
}

#[test]
fn a_node_that_is_up_is_given_what_it_asks_for_and_should_own() {
    assert_eq!(asked(&mut owning_beside(Phase::Up), at(2_200)), 1);
}

#[test]
fn a_node_that_joins_or_drains_is_given_nothing() {
    assert_eq!(asked(&mut owning_beside(Phase::Joining), at(2_200)), 0);
    assert_eq!(asked(&mut owning_beside(Phase::Draining), at(2_200)), 0);
}

#[test]
fn nothing_is_given_while_a_third_node_joins() {
    let mut machine = owning_beside(Phase::Up);
    let peers = vec![
        peer("other", 3, Phase::Up),
        peer("third", 4, Phase::Joining),
    ];
    machine.step(at(2_150), Event::Peers(peers));
    assert_eq!(asked(&mut machine, at(2_200)), 0);
}

#[test]
fn a_node_seen_for_less_than_two_seconds_is_given_nothing() {
    let mut machine = owning_beside(Phase::Up);
    let mut away = peer("other", 3, Phase::Up);
    away.sight = Sight::Suspect;
    machine.step(at(2_150), Event::Peers(vec![away]));
    machine.step(at(2_160), Event::Peers(vec![peer("other", 3, Phase::Up)]));
    assert_eq!(asked(&mut machine, at(2_200)), 0);
}

#[test]
fn a_node_that_drains_closes_the_quietest_first_and_waits_for_no_long_steps() {
    let mut machine = owning_beside(Phase::Up);
    machine.config.transfers = 1;
    machine.step(at(2_200), Event::Loads([(ShardId(0), 5)].into()));
    let closes = |actions: Vec<Action>| -> Vec<ShardId> {
        let shard = |action| match action {
            Action::CloseShard { shard, .. } => Some(shard),
            _ => None,
        };
        actions.into_iter().filter_map(shard).collect()
    };
    assert_eq!(closes(machine.step(at(2_210), Event::Drain)), [ShardId(1)]);
    assert_eq!(closes(machine.step(at(2_300), Event::Tick)), []);
    // It has not closed yet: a step takes its time there.
    assert_eq!(closes(machine.step(at(2_470), Event::Tick)), [ShardId(0)]);
}

/// The shard that is being closed, and its epoch.
fn closing(machine: &Machine) -> (ShardId, Epoch) {
    let mut held = machine.held.iter();
    let closing = held.find(|(_, held)| held.stage != super::super::Stage::Open);
    closing
        .map(|(shard, held)| (*shard, held.epoch))
        .expect("one is closing")
}

#[test]
fn a_hand_over_whose_answer_was_lost_is_tried_again_in_the_same_epoch() {
    let mut machine = owning_beside(Phase::Up);
    assert_eq!(asked(&mut machine, at(2_200)), 1);
    let (shard, epoch) = closing(&machine);
    let hot = vec![];
    let hands = |actions: &[Action]| {
        let hands = |action: &Action| matches!(action, Action::Hand { .. });
        actions.iter().any(hands)
    };
    assert!(hands(
        &machine.step(at(2_210), Event::Closed { shard, epoch, hot })
    ));
    let call = Call::Hand;
    assert!(!hands(
        &machine.step(at(2_220), Event::StoreFailed { call })
    ));
    assert!(hands(&machine.step(at(2_220 + 400), Event::Tick)));
    assert_eq!(TTL / 8, Duration::from_millis(375));
}

#[test]
fn a_shard_that_was_closed_for_a_node_that_is_gone_goes_on_here_in_a_new_epoch() {
    let mut machine = owning_beside(Phase::Up);
    assert_eq!(asked(&mut machine, at(2_200)), 1);
    let ((shard, _), epoch, hot) = (closing(&machine), Epoch(1), vec![]);
    machine.step(at(2_210), Event::Peers(vec![]));
    let actions = machine.step(at(2_220), Event::Closed { shard, epoch, hot });
    let to = Some(owner("me", 7));
    let rows = vec![Handover {
        shard,
        epoch,
        to: to.clone(),
    }];
    assert!(actions.contains(&Action::Hand { by: LIFE, rows }));
    let epoch = Epoch(2);
    let rows = vec![Handover { shard, epoch, to }];
    machine.step(at(2_230), Event::Handed { by: LIFE, rows });
    assert!(machine.open().any(|open| open == (shard, epoch)));
}
