//! The gateway's actor alone: whatever comes in is answered.

use std::time::Duration;

use crane_core::Epoch;

use super::*;
use crate::gateway::envelope::WAITS;

/// Echoes; panics on "panic"; never answers on "hang".
struct Echo;

impl Dispatch for Echo {
    fn dispatch(&self, request: Request) -> BoxFuture<'static, Reply> {
        assert_ne!(request.body, b"panic", "as it was asked to");
        if request.body == b"hang" {
            return std::future::pending().boxed();
        }
        std::future::ready(Reply::Done(request.body)).boxed()
    }
}

fn request(body: &[u8]) -> Request {
    Request {
        kind: 0,
        run: None,
        epoch: Epoch(0),
        trace: None,
        deadline: Duration::from_millis(50),
        hops: 0,
        body: body.to_vec(),
    }
}

async fn actor() -> ActorRef<GatewayMsg> {
    let spawned = GatewayActor::spawn(None, GatewayActor, Arc::new(Echo)).await;
    spawned.expect("it starts").0
}

async fn answer(actor: &ActorRef<GatewayMsg>, bytes: Vec<u8>) -> Frame {
    let answer = ractor::call_t!(actor, GatewayMsg::Call, 5_000, bytes);
    Frame::decode(&answer.expect("it is answered")).expect("it is a frame")
}

async fn reply(actor: &ActorRef<GatewayMsg>, request: &Request) -> Reply {
    match answer(actor, Frame::Whole(request.encode()).encode()).await {
        Frame::Whole(bytes) => Reply::decode(&bytes).expect("it is a reply"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_understood_is_answered_with_the_reason() {
    let actor = actor().await;
    for bytes in [
        vec![],
        vec![99],
        vec![0],
        vec![0, 9],
        vec![1, 2, 3],
        vec![2],
        vec![5],
    ] {
        match answer(&actor, bytes.clone()).await {
            Frame::Whole(reply) => {
                let reply = Reply::decode(&reply).expect("it is a reply");
                assert!(
                    matches!(reply, Reply::NotUnderstood(_)),
                    "{bytes:?}: {reply:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_or_does_not_end_is_answered_for_and_the_next_one_works() {
    let actor = actor().await;
    assert!(matches!(
        reply(&actor, &request(b"panic")).await,
        Reply::Failed(_)
    ));
    assert_eq!(reply(&actor, &request(b"hang")).await, Reply::Expired);
    assert_eq!(
        reply(&actor, &request(b"x")).await,
        Reply::Done(b"x".to_vec())
    );
}

#[tokio::test]
async fn more_than_a_node_can_work_on_is_refused_at_once() {
    let actor = actor().await;
    let mut slow = request(b"hang");
    slow.deadline = Duration::from_secs(60);
    let bytes = Frame::Whole(slow.encode()).encode();
    let mut waiting = Vec::new();
    for _ in 0..limits::PEER_REQUESTS {
        let (sender, receiver) = ractor::concurrency::oneshot();
        let port = RpcReplyPort::from(sender);
        actor
            .cast(GatewayMsg::Call(bytes.clone(), port))
            .expect("it lives");
        waiting.push(receiver);
    }
    let retry_after = RETRY_AFTER;
    assert_eq!(
        reply(&actor, &request(b"x")).await,
        Reply::Busy { retry_after }
    );
}

#[tokio::test]
async fn a_transfer_that_nobody_knows_is_said_to_be_lost() {
    let actor = actor().await;
    let fetch = Frame::Fetch {
        transfer: 1,
        offset: 0,
    };
    assert_eq!(answer(&actor, fetch.encode()).await, Frame::Lost);
    let part = Frame::Part {
        transfer: 1,
        total: 9,
        offset: 3,
        bytes: vec![1],
    };
    assert_eq!(answer(&actor, part.encode()).await, Frame::Lost);
}

#[tokio::test]
async fn requests_that_are_held_back_on_purpose_keep_out_no_others() {
    let actor = actor().await;
    let waiting = Request {
        kind: WAITS | 7,
        deadline: Duration::from_secs(600),
        ..request(b"hang")
    };
    let waiting = Frame::Whole(waiting.encode()).encode();
    let mut ports = Vec::new();
    for _ in 0..2 * limits::PEER_REQUESTS {
        let (port, reply) = ractor::concurrency::oneshot();
        ports.push(reply);
        let call = GatewayMsg::Call(waiting.clone(), port.into());
        actor.cast(call).expect("it is there");
    }
    assert_eq!(
        reply(&actor, &request(b"now")).await,
        Reply::Done(b"now".to_vec())
    );
}
