//! Remembering whom this node has met. A run may be sent to a member as soon as gossip brings it up, so
//! that is when it enters the roster, and not when somebody is asked for a run. Whoever is new is asked
//! for the members that it remembers: one that is away now may have runs of long ago.

use std::collections::BTreeSet;
use std::time::Duration;

use crane_core::NodeName;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Home;
use crate::route::words::{FindAsk, Found};

/// How often it is looked again when nothing changes.
const EVERY: Duration = Duration::from_secs(1);
/// After how long it is said that nobody was met.
const LONELY: Duration = Duration::from_secs(10);

impl Home {
    /// Keeps the roster. Goes on for ever.
    pub(in crate::route) async fn keep_roster(&self) {
        let begun = Instant::now();
        let mut changed = self.field.changed();
        let (mut asked, mut told, mut failed) = (BTreeSet::new(), false, false);
        loop {
            changed.mark_unchanged();
            let written = self.take_note(&mut asked).await;
            if let Err(error) = &written
                && !failed
            {
                tracing::error!(cause = error.cause, "a new member is not written down");
            }
            failed = written.is_err();
            if !told && begun.elapsed() >= LONELY && self.is_stranger() {
                told = true;
                tracing::warn!(
                    "this node has met no other member of its cluster, and refuses submissions with \
                     an Idempotency-Key; are cluster.seeds, cluster.id and the secret right?"
                );
            }
            match tokio::time::timeout(EVERY, changed.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => tokio::time::sleep(EVERY).await,
            }
        }
    }

    /// Enters all present members, and whom those remember that were not `asked` yet.
    async fn take_note(&self, asked: &mut BTreeSet<NodeName>) -> Result<(), crate::api::ApiError> {
        let neighbors = self.field.neighbors().into_iter();
        let present: Vec<NodeName> = neighbors.map(|neighbor| neighbor.node).collect();
        self.have_seen(present.clone()).await?;
        let new = present.into_iter().filter(|node| {
            let is_new = !asked.contains(node);
            is_new && self.field.reaches(node)
        });
        let answers = join_all(new.map(|node| async move {
            let remembered = self.remembered_by(&node).await;
            (node, remembered)
        }));
        for (node, remembered) in answers.await {
            // One that does not answer is asked again.
            if let Some(mut remembered) = remembered {
                remembered.retain(|other| other != self.field.me());
                self.have_seen(remembered).await?;
                asked.insert(node);
            }
        }
        Ok(())
    }

    /// The members that another one remembers: it says them with each answer about a key. No run has
    /// this id.
    async fn remembered_by(&self, node: &NodeName) -> Option<Vec<NodeName>> {
        let me = self.field.me();
        let ask = FindAsk {
            by: me.clone(),
            home: me.clone(),
        };
        match self.find_at(node, self.here.new_id(), &ask).await {
            Ok(Found::Promised(members) | Found::Taken(members)) => Some(members),
            Ok(Found::Here) | Err(_) => None,
        }
    }
}
