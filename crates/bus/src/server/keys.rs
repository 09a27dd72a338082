//! Key-value buckets.

use std::error::Error as _;

use anyhow::Context;
use async_nats::jetstream::context::{GetStreamError, KeyValueError};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::Server;
#[cfg(feature = "simulation")]
use crate::simulation::{Change, Connection};
use crate::topology;

/// A bucket.
#[derive(Clone)]
pub(crate) enum Keys {
    Nats(Box<kv::Store>),
    #[cfg(feature = "simulation")]
    Simulated(Connection, &'static str),
}

/// A value and its revision.
pub(crate) struct Entry {
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
}

impl Server {
    /// A bucket, if it is there.
    pub(crate) async fn known_keys(&self, bucket: &'static str) -> anyhow::Result<Option<Keys>> {
        match self {
            Self::Nats(nats) => match nats.jetstream.get_key_value(bucket).await {
                Ok(store) => Ok(Some(Keys::Nats(Box::new(store)))),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(not_there(bucket, error)),
            },
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => Ok(Some(Keys::Simulated(connection.clone(), bucket))),
        }
    }

    pub(crate) async fn keys(&self, bucket: &'static str) -> anyhow::Result<Keys> {
        self.known_keys(bucket).await?.with_context(|| format!("the bucket {bucket} is missing"))
    }

    /// The bucket of tickets, looked up once for all.
    pub(crate) async fn tickets(&self) -> anyhow::Result<Keys> {
        match self {
            Self::Nats(nats) => {
                let look = || nats.jetstream.get_key_value(topology::TICKETS);
                let store = nats.tickets.get_or_try_init(look).await;
                let store = store.map_err(|error| not_there(topology::TICKETS, error))?;
                Ok(Keys::Nats(Box::new(store.clone())))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection) => Ok(Keys::Simulated(connection.clone(), topology::TICKETS)),
        }
    }
}

/// One that is missing is something else than a server that says nothing.
fn not_there(bucket: &str, error: KeyValueError) -> anyhow::Error {
    let what = if is_missing(&error) { "is missing" } else { "cannot be looked at" };
    anyhow::Error::new(error).context(format!("the bucket {bucket} {what}"))
}

fn is_missing(error: &KeyValueError) -> bool {
    let asked = error.source().and_then(|source| source.downcast_ref::<GetStreamError>());
    asked.is_some_and(|error| crate::streams::is_missing(&error.kind()))
}

impl Keys {
    /// Stores a value where there is none. Its revision.
    pub(crate) async fn create(&self, key: &str, value: Bytes) -> anyhow::Result<u64> {
        match self {
            Self::Nats(store) => Ok(store.create(key, value).await?),
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => connection.change(bucket, key, Change::Create(value)).await,
        }
    }

    /// Replaces the value of this revision. The new one's.
    pub(crate) async fn update(&self, key: &str, value: Bytes, revision: u64) -> anyhow::Result<u64> {
        match self {
            Self::Nats(store) => Ok(store.update(key, value, revision).await?),
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => {
                connection.change(bucket, key, Change::Update(value, revision)).await
            }
        }
    }

    /// Stores a value whatever was there.
    pub(crate) async fn put(&self, key: &str, value: Bytes) -> anyhow::Result<u64> {
        match self {
            Self::Nats(store) => Ok(store.put(key, value).await?),
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => connection.change(bucket, key, Change::Put(value)).await,
        }
    }

    /// Deletes the value of this revision.
    pub(crate) async fn delete(&self, key: &str, revision: u64) -> anyhow::Result<()> {
        match self {
            Self::Nats(store) => Ok(store.delete_expect_revision(key, Some(revision)).await?),
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => {
                connection.change(bucket, key, Change::Delete(revision)).await.map(drop)
            }
        }
    }

    /// Takes a value that is not empty away: of several who take it at once one has it, and the others nothing.
    pub(crate) async fn take(&self, key: &str) -> anyhow::Result<Option<Bytes>> {
        match self {
            Self::Nats(store) => {
                // The leader is asked: a replica may not have heard yet of a value that was stored a moment ago.
                let asked = store.stream.get_last_raw_message_by_subject(&format!("{}{key}", store.prefix)).await;
                let found = match asked {
                    Ok(found) => found,
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                // The trace of one that was taken.
                if found.payload.is_empty() {
                    return Ok(None);
                }
                match store.delete_expect_revision(key, Some(found.sequence)).await {
                    Ok(()) => Ok(Some(found.payload)),
                    Err(error) if error.kind() == kv::DeleteErrorKind::WrongLastRevision => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => {
                let found = connection.value(bucket, key).await.map_err(anyhow::Error::msg)?;
                let Some((value, revision)) = found else { return Ok(None) };
                match connection.change(bucket, key, Change::Delete(revision)).await {
                    Ok(_) => Ok(Some(value)),
                    Err(error) if error.to_string().starts_with("wrong last sequence") => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// How many keys `<prefix>.<one word>` there are.
    pub(crate) async fn count(&self, prefix: &str) -> anyhow::Result<usize> {
        match self {
            Self::Nats(store) => {
                let all = format!("{}{prefix}.*", store.prefix);
                let living: Vec<_> = store.stream.info_with_subjects(all).await?.try_collect().await?;
                Ok(living.len())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => connection.count(bucket, prefix).await.map_err(anyhow::Error::msg),
        }
    }

    /// All keys.
    pub(crate) async fn names(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Nats(store) => Ok(store.keys().await?.try_collect().await?),
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => connection.names(bucket).await.map_err(anyhow::Error::msg),
        }
    }

    /// Takes a key away without a trace that would count as one.
    pub(crate) async fn purge(&self, key: &str) -> anyhow::Result<()> {
        match self {
            Self::Nats(store) => {
                store.stream.purge().filter(format!("{}{key}", store.prefix)).await?;
                Ok(())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => connection.change(bucket, key, Change::Purge).await.map(drop),
        }
    }

    pub(crate) async fn entry(&self, key: &str) -> anyhow::Result<Option<Entry>> {
        match self {
            Self::Nats(store) => {
                let found = store.entry(key).await?;
                let put = found.filter(|entry| entry.operation == kv::Operation::Put);
                Ok(put.map(|entry| Entry { value: entry.value, revision: entry.revision }))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(connection, bucket) => {
                let found = connection.value(bucket, key).await.map_err(anyhow::Error::msg)?;
                Ok(found.map(|(value, revision)| Entry { value, revision }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::context::{GetStreamErrorKind, KeyValueErrorKind};

    use super::*;

    #[test]
    fn a_server_that_says_nothing_is_no_missing_bucket() {
        let told = |kind| {
            let error = KeyValueError::with_source(KeyValueErrorKind::GetBucket, GetStreamError::new(kind));
            format!("{:#}", not_there("LEASES", error))
        };
        let timeout = told(GetStreamErrorKind::Request);
        assert!(timeout.starts_with("the bucket LEASES cannot be looked at"), "{timeout}");
        let missing = serde_json::json!({"code": 404, "err_code": 10_059, "description": "stream not found"});
        let missing = told(GetStreamErrorKind::JetStream(serde_json::from_value(missing).unwrap()));
        assert!(missing.starts_with("the bucket LEASES is missing"), "{missing}");
    }
}
