//! Share sessions: what a member fetches is kept here, so that its requests carry only what changed. Pure.
//!
//! A session lives with its connection: when that ends, what the member had acquired is free. A shard's sessions serve the
//! connections of that shard; a session of another one is unknown (122), and the client begins anew, as Kafka's does. After Kafka's
//! `ShareSession` and `SharePartitionManager`.

use crate::placement::PartitionKey;
use hayate_net::error::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A request that begins a session.
pub const INITIAL_EPOCH: i32 = 0;
/// A request that ends its session.
pub const FINAL_EPOCH: i32 = -1;

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionName {
    /// The group.
    pub group: Rc<str>,
    /// The member.
    pub member: Rc<str>,
}

#[derive(Debug)]
struct Session {
    connection: u64,
    epoch: i32,
    partitions: BTreeSet<PartitionKey>,
}

/// What a fetch means within its session.
#[derive(Debug, PartialEq, Eq)]
pub struct ShareContext {
    /// What to fetch, in the order in which it is served: another partition comes first each time.
    pub partitions: Vec<PartitionKey>,
    /// Whether all partitions are answered, or only those with something to tell.
    pub is_full: bool,
    /// Whether the session ends with the request; what it held is given back then.
    pub ends: bool,
}

/// The share sessions of a shard.
#[derive(Debug)]
pub struct ShareSessions {
    sessions: BTreeMap<SessionName, Session>,
    sessions_max: usize,
}

impl ShareSessions {
    /// None; at most so many.
    pub fn new(sessions_max: usize) -> ShareSessions {
        ShareSessions { sessions: BTreeMap::new(), sessions_max }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A fetch of the session's `epoch`, which adds partitions and forgets some.
    ///
    /// # Errors
    /// 122, 123 and 133: the client begins anew.
    pub fn fetch(
        &mut self,
        name: &SessionName,
        connection: u64,
        epoch: i32,
        added: &[PartitionKey],
        forgotten: &[PartitionKey],
    ) -> Result<ShareContext, ErrorCode> {
        if epoch == INITIAL_EPOCH {
            return self.begin(name, connection, added);
        }
        let ends = self.go_on(name, epoch)?;
        let Some(session) = self.sessions.get_mut(name) else { return Err(ErrorCode::ShareSessionNotFound) };
        if ends {
            return Ok(ShareContext { partitions: Vec::new(), is_full: false, ends });
        }
        session.partitions.extend(added.iter().copied());
        forgotten.iter().for_each(|key| _ = session.partitions.remove(key));
        Ok(ShareContext { partitions: rotated(&session.partitions, epoch), is_full: false, ends })
    }

    fn begin(
        &mut self,
        name: &SessionName,
        connection: u64,
        added: &[PartitionKey],
    ) -> Result<ShareContext, ErrorCode> {
        self.sessions.remove(name);
        if self.sessions.len() >= self.sessions_max {
            return Err(ErrorCode::ShareSessionLimitReached);
        }
        let partitions: BTreeSet<PartitionKey> = added.iter().copied().collect();
        let context = ShareContext { partitions: rotated(&partitions, 0), is_full: true, ends: false };
        self.sessions.insert(name.clone(), Session { connection, epoch: 1, partitions });
        Ok(context)
    }

    /// An acknowledgement in the session's `epoch`. Returns whether the session ends with it.
    ///
    /// # Errors
    /// 122 and 123.
    pub fn acknowledge(&mut self, name: &SessionName, epoch: i32) -> Result<bool, ErrorCode> {
        if epoch == INITIAL_EPOCH {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        self.go_on(name, epoch)
    }

    fn go_on(&mut self, name: &SessionName, epoch: i32) -> Result<bool, ErrorCode> {
        let session = self.sessions.get_mut(name).ok_or(ErrorCode::ShareSessionNotFound)?;
        if epoch == FINAL_EPOCH {
            return Ok(true);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        Ok(false)
    }

    /// The session ends: what its member fetched.
    pub fn end(&mut self, name: &SessionName) -> Vec<PartitionKey> {
        self.sessions.remove(name).map(|session| session.partitions.into_iter().collect()).unwrap_or_default()
    }

    /// A connection has ended, and its sessions with it: whose they were, and what was fetched.
    pub fn end_connection(&mut self, connection: u64) -> Vec<(SessionName, Vec<PartitionKey>)> {
        let of_it = self.sessions.iter().filter(|(_, session)| session.connection == connection);
        let names: Vec<SessionName> = of_it.map(|(name, _)| name.clone()).collect();
        names
            .into_iter()
            .map(|name| {
                let partitions = self.end(&name);
                (name, partitions)
            })
            .collect()
    }
}

/// Begins with another one each time.
fn rotated(partitions: &BTreeSet<PartitionKey>, epoch: i32) -> Vec<PartitionKey> {
    let mut partitions: Vec<PartitionKey> = partitions.iter().copied().collect();
    let by = usize::try_from(epoch).unwrap_or(0) % partitions.len().max(1);
    partitions.rotate_left(by);
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn keys(partitions: &[i32]) -> Vec<PartitionKey> {
        partitions
            .iter()
            .map(|partition| PartitionKey { topic_id: Uuid::nil(), partition: *partition })
            .collect()
    }

    fn name(member: &str) -> SessionName {
        SessionName { group: "g".into(), member: member.into() }
    }

    #[test]
    fn a_session_remembers_what_its_member_fetches() {
        let mut sessions = ShareSessions::new(2);
        let mut fetch = |member, epoch, added: &[i32], forgotten: &[i32]| {
            let fetched = sessions.fetch(&name(member), 7, epoch, &keys(added), &keys(forgotten));
            fetched.map(|context| context.partitions.iter().map(|key| key.partition).collect::<Vec<_>>())
        };
        assert_eq!(fetch("a", 1, &[], &[]), Err(ErrorCode::ShareSessionNotFound));
        assert_eq!(fetch("a", -1, &[], &[]), Err(ErrorCode::ShareSessionNotFound));
        assert_eq!(fetch("a", 0, &[0, 1, 2], &[]), Ok(vec![0, 1, 2]));
        assert_eq!(fetch("a", 1, &[3], &[1]), Ok(vec![2, 3, 0]));
        assert_eq!(fetch("a", 1, &[], &[]), Err(ErrorCode::InvalidShareSessionEpoch));
        assert_eq!(fetch("a", 2, &[], &[]), Ok(vec![3, 0, 2]));
        assert_eq!(fetch("b", 0, &[], &[]), Ok(vec![]));
        assert_eq!(fetch("c", 0, &[], &[]), Err(ErrorCode::ShareSessionLimitReached));
        assert_eq!(fetch("a", 0, &[5], &[]), Ok(vec![5]));
        assert_eq!(sessions.acknowledge(&name("a"), 0), Err(ErrorCode::InvalidShareSessionEpoch));
        assert_eq!(sessions.acknowledge(&name("a"), 1), Ok(false));
        assert_eq!(sessions.acknowledge(&name("a"), -1), Ok(true));
        assert_eq!(sessions.end(&name("a")), keys(&[5]));
    }

    #[test]
    fn sessions_end_with_their_connection() {
        let mut sessions = ShareSessions::new(9);
        for (member, connection) in [("a", 1), ("b", 2), ("c", 1)] {
            sessions.fetch(&name(member), connection, 0, &keys(&[4]), &[]).expect("a session");
        }
        let ended = sessions.end_connection(1);
        assert_eq!(ended, [(name("a"), keys(&[4])), (name("c"), keys(&[4]))]);
        assert_eq!(sessions.len(), 1);
    }
}
