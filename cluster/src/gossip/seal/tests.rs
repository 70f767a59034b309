//! What is dropped, and that what is not dropped arrives.

use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];

fn seal(cluster: &str, keys: &[[u8; 32]], sender: u8) -> Seal {
    Seal::new(cluster, keys, [sender; 12])
}

#[test]
fn what_a_member_seals_another_opens_once() {
    let (mut a, mut b) = (seal("c", &[KEY], 1), seal("c", &[KEY], 2));
    let datagram = a.seal(b"hello").expect("there is a key");
    assert_eq!(datagram.len(), 5 + OVERHEAD);
    assert_eq!(b.open(&datagram), Ok(b"hello".to_vec()));
    assert_eq!(b.open(&datagram), Err(Dropped::Replayed));
}

#[test]
fn a_node_drops_what_it_has_sealed_itself() {
    let mut a = seal("c", &[KEY], 1);
    let datagram = a.seal(b"hello").expect("there is a key");
    assert_eq!(a.open(&datagram), Err(Dropped::Own));
}

#[test]
fn without_the_window_a_copy_would_be_opened_again() {
    // The negative control of the test above: it is the window that drops, not the seal.
    let (mut a, mut b) = (seal("c", &[KEY], 1), seal("c", &[KEY], 2));
    let datagram = a.seal(b"hello").expect("there is a key");
    assert!(b.open(&datagram).is_ok());
    b.windows.clear();
    assert!(b.open(&datagram).is_ok());
}

#[test]
fn another_key_or_another_cluster_opens_nothing() {
    let mut a = seal("c", &[KEY], 1);
    let datagram = a.seal(b"hello").expect("there is a key");
    assert_eq!(seal("c", &[OTHER], 2).open(&datagram), Err(Dropped::Forged));
    assert_eq!(seal("d", &[KEY], 2).open(&datagram), Err(Dropped::Foreign));
    // The tag may be forged; the cluster's id is part of what is sealed.
    let mut renamed = datagram;
    let tag = seal("d", &[KEY], 2).tag;
    renamed[..4].copy_from_slice(&tag);
    assert_eq!(seal("d", &[KEY], 2).open(&renamed), Err(Dropped::Forged));
}

#[test]
fn keys_are_changed_without_a_gap() {
    let (mut old, mut both) = (seal("c", &[KEY], 1), seal("c", &[OTHER, KEY], 2));
    let (mut both_too, mut new) = (seal("c", &[OTHER, KEY], 3), seal("c", &[OTHER], 4));
    let from_old = old.seal(b"1").expect("there is a key");
    assert!(both.open(&from_old).is_ok());
    let from_both = both.seal(b"2").expect("there is a key");
    assert!(both_too.open(&from_both).is_ok());
    assert!(new.open(&from_both).is_ok());
    assert_eq!(new.open(&from_old), Err(Dropped::Forged));
}

#[test]
fn the_senders_that_are_remembered_are_bounded() {
    let mut b = Seal::new("c", &[KEY], [0xff; 12]);
    for number in 0..=u16::try_from(limits::GOSSIP_SENDERS).expect("it fits") {
        let mut sender = [0; 12];
        sender[..2].copy_from_slice(&number.to_be_bytes());
        let datagram = Seal::new("c", &[KEY], sender).seal(b"x");
        assert!(b.open(&datagram.expect("there is a key")).is_ok());
    }
    assert_eq!(b.windows.len(), limits::GOSSIP_SENDERS);
}

proptest! {
    #[test]
    fn no_changed_or_cut_datagram_is_opened(
        message in prop::collection::vec(any::<u8>(), 0..64),
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
        keep in any::<prop::sample::Index>(),
    ) {
        let (mut a, mut b) = (seal("c", &[KEY], 1), seal("c", &[KEY], 2));
        let datagram = a.seal(&message).expect("there is a key");
        let cut = &datagram[..keep.index(datagram.len())];
        prop_assert!(b.open(cut).is_err());
        let mut changed = datagram.clone();
        changed[at.index(datagram.len())] ^= flip;
        prop_assert!(b.open(&changed).is_err());
        prop_assert_eq!(b.open(&datagram), Ok(message));
    }

    #[test]
    fn in_any_order_each_counter_of_the_window_is_new_once(
        counters in prop::collection::vec(1u64..3_000, 1..200),
    ) {
        let mut window = Window::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut newest = 0;
        for counter in counters {
            let expected = !seen.contains(&counter) && counter + WINDOW > newest;
            prop_assert_eq!(window.is_new(counter), expected);
            seen.insert(counter);
            newest = newest.max(counter);
        }
    }
}
