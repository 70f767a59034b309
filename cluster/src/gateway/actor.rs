//! The one actor of a node that others can call. It never waits: what takes time is a task.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crane_core::limits::{self, MESSAGE_BYTES};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorClusterMessage;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::chunks::{CHUNK_BYTES, Frame, Transfers, length, piece};
use super::envelope::{Reply, Request};
use crate::ownership::words::Elapsed;

/// When to try again if there are more.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the node does about the requests of others; the node implements it.
pub trait Dispatch: Send + Sync + 'static {
    /// Answers `request`. The future is dropped when its deadline is over, and a panic in it is
    /// answered as [`Reply::Failed`].
    fn dispatch(&self, request: Request) -> BoxFuture<'static, Reply>;
}

/// All that a gateway understands: bytes, whose layout is Crane's own.
#[derive(RactorClusterMessage)]
pub(crate) enum GatewayMsg {
    #[rpc]
    Call(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

impl fmt::Debug for GatewayMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Call(bytes, _) = self;
        write!(f, "Call({} bytes)", bytes.len())
    }
}

pub(crate) struct GatewayActor;

pub(crate) struct GatewayState {
    dispatch: Arc<dyn Dispatch>,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    incoming: Transfers,
    outgoing: Arc<Mutex<Transfers>>,
    tasks: JoinSet<()>,
    started: Instant,
}

impl Actor for GatewayActor {
    type Msg = GatewayMsg;
    type State = GatewayState;
    type Arguments = Arc<dyn Dispatch>;

    async fn pre_start(
        &self,
        _myself: ActorRef<GatewayMsg>,
        dispatch: Arc<dyn Dispatch>,
    ) -> Result<GatewayState, ActorProcessingErr> {
        Ok(GatewayState {
            dispatch,
            permits: Arc::new(Semaphore::new(limits::PEER_REQUESTS)),
            waiting: Arc::new(Semaphore::new(limits::PEER_WAITING)),
            incoming: Transfers::default(),
            outgoing: Arc::default(),
            tasks: JoinSet::new(),
            started: Instant::now(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<GatewayMsg>,
        message: GatewayMsg,
        state: &mut GatewayState,
    ) -> Result<(), ActorProcessingErr> {
        let GatewayMsg::Call(bytes, port) = message;
        while state.tasks.try_join_next().is_some() {}
        state.called(&bytes, Answer(Some(port)));
        Ok(())
    }
}

impl GatewayState {
    fn called(&mut self, bytes: &[u8], answer: Answer) {
        let now = Elapsed(self.started.elapsed());
        match Frame::decode(bytes) {
            Ok(Frame::Whole(request)) => self.requested(&request, answer),
            Ok(Frame::Part {
                transfer,
                total,
                offset,
                bytes,
            }) => {
                let taken = self
                    .incoming
                    .take_in(now, (transfer, total, offset), &bytes);
                match taken {
                    Ok(Some(request)) => self.requested(&request, answer),
                    Ok(None) => answer.send(Frame::GoOn),
                    Err(_) => answer.send(Frame::Lost),
                }
            }
            Ok(Frame::Fetch { transfer, offset }) => {
                let fetched = match self.outgoing.lock() {
                    Ok(mut outgoing) => outgoing.fetch(now, transfer, offset),
                    Err(_) => Err(super::chunks::Refused),
                };
                answer.send(fetched.map_or(Frame::Lost, Frame::Whole));
            }
            Ok(Frame::GoOn | Frame::Head { .. } | Frame::Lost) => {
                answer.reply(&Reply::NotUnderstood(
                    "a reply was sent as a request".into(),
                ));
            }
            Err(error) => answer.reply(&Reply::NotUnderstood(error.to_string())),
        }
    }

    fn requested(&mut self, bytes: &[u8], answer: Answer) {
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => return answer.reply(&Reply::NotUnderstood(error.to_string())),
        };
        let permits = match request.waits() {
            true => &self.waiting,
            false => &self.permits,
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            let retry_after = RETRY_AFTER;
            return answer.reply(&Reply::Busy { retry_after });
        };
        let deadline = request.deadline;
        let dispatch = self.dispatch.clone();
        let (outgoing, started) = (self.outgoing.clone(), self.started);
        self.tasks.spawn(async move {
            // Made inside, so that a panic in making it is caught as well.
            let work = AssertUnwindSafe(async move { dispatch.dispatch(request).await });
            let reply = match tokio::time::timeout(deadline, work.catch_unwind()).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(_)) => {
                    warn!("a request of another node made its handler panic");
                    Reply::Failed("the handler of the request panicked".into())
                }
                Err(_) => Reply::Expired,
            };
            let now = Elapsed(started.elapsed());
            answer.send(framed(now, &reply, &outgoing));
            drop(permit);
        });
    }
}

/// A reply as it is, or its first piece if it is long.
fn framed(now: Elapsed, reply: &Reply, outgoing: &Mutex<Transfers>) -> Frame {
    let bytes = reply.encode();
    if bytes.len() <= CHUNK_BYTES {
        return Frame::Whole(bytes);
    }
    let failed = |text: String| Frame::Whole(Reply::Failed(text).encode());
    if bytes.len() > MESSAGE_BYTES {
        return failed(format!(
            "the reply takes {} bytes, the limit is {MESSAGE_BYTES}",
            bytes.len()
        ));
    }
    let (transfer, total) = (super::random(), length(bytes.len()));
    let first = piece(&bytes, 0).to_vec();
    let kept = match outgoing.lock() {
        Ok(mut outgoing) => outgoing.keep(now, transfer, bytes).is_ok(),
        Err(_) => false,
    };
    if kept {
        Frame::Head {
            transfer,
            total,
            bytes: first,
        }
    } else {
        failed("too many long replies are on their way; try again".into())
    }
}

/// The port of a call, which is answered whatever happens: a caller that gets nothing waits until
/// its time is over.
struct Answer(Option<RpcReplyPort<Vec<u8>>>);

impl Answer {
    fn send(mut self, frame: Frame) {
        if let Some(port) = self.0.take() {
            // The caller may have given up.
            let _ = port.send(frame.encode());
        }
    }

    fn reply(self, reply: &Reply) {
        self.send(Frame::Whole(reply.encode()));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(port) = self.0.take() {
            let reply = Reply::Failed("the gateway stopped before there was an answer".into());
            let _ = port.send(Frame::Whole(reply.encode()).encode());
        }
    }
}

#[cfg(test)]
mod tests;
