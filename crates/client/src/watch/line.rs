//! A connection without rooms: for statuses, which are followed apart from it.

use reqwest::Url;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::calls::Command;
use super::handle::ask;
use super::links::{Link, Links};
use super::state::OnState;
use super::{Heard, WAITING, socket};
use crate::credential::Credential;
use crate::{Accepted, Backoff, Error, Status};

/// The connection, which is made again as often as it must. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    links: Links,
    link: Link,
    stands: watch::Receiver<Option<String>>,
    heard: mpsc::Receiver<Heard>,
}

/// What says something over a line.
#[derive(Debug, Clone)]
pub(crate) struct Speaker(Link);

impl Line {
    pub(crate) fn open(url: Url, credential: Credential, backoff: Backoff) -> Result<Self, Error> {
        let (out, heard) = mpsc::channel(WAITING);
        let links = Links::new(socket::address(url)?, credential, (backoff, rand::random), OnState::default(), out);
        let (link, stands) = links.bare();
        Ok(Self { links, link, stands, heard })
    }

    /// How large a message to the server may be.
    pub(crate) fn message_max_bytes(&self) -> usize {
        self.links.message_max_bytes()
    }

    /// Where the connection is, when it stands: what is said now comes after it. Empty where the server does not say it.
    pub(crate) fn stands_at(&self) -> Option<String> {
        self.stands.borrow().clone()
    }

    pub(crate) fn speaker(&self) -> Speaker {
        Speaker(self.link.clone())
    }

    /// Waits until the connection broke, stands again, or is somewhere else; an error is its end.
    pub(crate) async fn changed(&mut self) -> Result<(), Error> {
        let ended = || Error::Ended { why: "its task was stopped".into() };
        tokio::select! {
            biased;
            heard = self.heard.recv() => match heard {
                // Without rooms there is nothing to be told but what answers nobody.
                Some(Heard { message: Ok(message), .. }) => {
                    tracing::debug!(?message, "heard beside statuses");
                    Ok(())
                }
                Some(Heard { message: Err(error), .. }) => Err(error),
                None => Err(ended()),
            },
            changed = self.stands.changed() => match changed {
                Ok(()) => Ok(()),
                // Why it ended says more than that it did.
                Err(_) => match self.heard.recv().await {
                    Some(Heard { message: Err(error), .. }) => Err(error),
                    _ => Err(ended()),
                },
            },
        }
    }
}

impl Speaker {
    /// Stores statuses; an error that is no refusal leaves open whether they are stored.
    pub(crate) async fn update_status(self, statuses: Vec<Status>) -> Result<Vec<Accepted>, Error> {
        let what = json!({"type": "status_update", "statuses": statuses});
        ask(&self.0, |answer| Command::Say { what, answer }).await
    }
}
