//! A cluster, in one of the two ways in which nodes make one.

use std::sync::Arc;
use std::time::Duration;

use crane_actors::submit::Request;
use crane_core::RunId;

use super::field::Field;
use super::home::Home;
use super::shared::Shared;
use super::words::{Answer, Ask, Trouble};
use crate::api::ApiError;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Far {
    /// Nodes with a common store.
    Shared(Arc<Shared>),
    /// Nodes with a store each.
    Home(Arc<Home>),
}

impl Far {
    pub(super) async fn submit(
        &self,
        request: Request,
        wait: Duration,
    ) -> Result<(RunId, Answer), ApiError> {
        match self {
            Self::Shared(shared) => shared.submit(request, wait).await,
            Self::Home(home) => home.submit(request, wait).await,
        }
    }

    pub(super) async fn ask(&self, run: RunId, ask: &Ask) -> Result<Answer, ApiError> {
        match self {
            Self::Shared(shared) => shared.ask(run, ask).await,
            Self::Home(home) => home.ask(run, ask).await,
        }
    }

    pub(super) fn field(&self) -> &Arc<dyn Field> {
        match self {
            Self::Shared(shared) => shared.field(),
            Self::Home(home) => home.field(),
        }
    }

    /// Answers another node.
    pub(super) async fn answer_other(&self, run: RunId, ask: &Ask) -> Result<Answer, Trouble> {
        match self {
            Self::Shared(shared) => shared.answer_other(run, ask).await,
            Self::Home(home) => home.answer_other(run, ask).await,
        }
    }

    /// Whether another node could take what this one does not.
    pub(super) fn has_company(&self) -> bool {
        self.field()
            .neighbors()
            .iter()
            .any(|neighbor| neighbor.takes)
    }
}
