//! The members of a cluster as the router remembers them: only where nodes have no common store, and
//! each may hold runs that nobody else knows of.

use crane_core::NodeName;

use super::Router;
use super::far::Far;
use crate::api::{ApiError, ErrorType};

impl Router {
    /// Remembers all members that come up, where nodes have no common store. Goes on for ever.
    pub async fn keep_roster(&self) {
        match &self.far {
            Some(Far::Home(home)) => home.keep_roster().await,
            Some(Far::Shared(_)) | None => std::future::pending().await,
        }
    }

    /// Whether this node has never met any of the members that there should be, so that it cannot say
    /// what they hold.
    pub fn is_stranger(&self) -> bool {
        matches!(&self.far, Some(Far::Home(home)) if home.is_stranger())
    }

    /// Whether a member was ever seen and not removed since; true where none are remembered.
    pub fn remembers(&self, node: &NodeName) -> bool {
        match &self.far {
            Some(Far::Home(home)) => home.members().contains(node),
            Some(Far::Shared(_)) | None => true,
        }
    }

    /// Forgets a member that will not come back, at this node and at all that can be reached; gives
    /// whether it was known here.
    ///
    /// # Errors
    /// When members are not remembered in this way of making a cluster, the member is alive, or a
    /// node cannot write it down.
    pub async fn remove_member(&self, node: NodeName) -> Result<bool, ApiError> {
        match &self.far {
            Some(Far::Home(home)) => home.remove_everywhere(node).await,
            Some(Far::Shared(_)) | None => Err(ApiError::new(
                ErrorType::Conflict,
                "members are remembered only where nodes have no common store; there is nothing to \
                 remove",
            )),
        }
    }
}
