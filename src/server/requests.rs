//! From hyper's requests to the API's and back, noting what the connection waits for.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use axum::routing::future::RouteFuture;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;
use tower::Service as _;

use super::activity::Activity;

/// The API as one connection sees it.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let has_body = !request.body().is_end_stream();
        self.activity.request(has_body);
        let request = request.map(|incoming| {
            if has_body {
                let activity = Arc::clone(&self.activity);
                Body::new(Received { incoming, activity })
            } else {
                Body::empty()
            }
        });
        Answering {
            // A router is always ready.
            route: self.router.clone().call(request),
            activity: Arc::clone(&self.activity),
        }
    }
}

pin_project! {
    /// An answer in the making.
    pub(super) struct Answering {
        #[pin]
        route: RouteFuture<Infallible>,
        activity: Arc<Activity>,
    }
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match ready!(this.route.poll(cx)) {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if response.body().size_hint().exact().is_none() {
            this.activity.streams();
        }
        let sent = Sent(Arc::clone(this.activity));
        Poll::Ready(Ok(response.map(|body| Answer { body, sent })))
    }
}

/// The body of a request, as it comes.
#[derive(Debug)]
struct Received {
    incoming: Incoming,
    activity: Arc<Activity>,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.activity.received_body(bytes);
                if self.incoming.is_end_stream() {
                    self.activity.body_done();
                }
            }
            Some(Err(_)) | None => self.activity.body_done(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.activity.body_done();
    }
}

/// Says, when it goes, that the answer was handed over.
#[derive(Debug)]
struct Sent(Arc<Activity>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    #[allow(dead_code, reason = "it is there to be dropped")]
    sent: Sent,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
