//! What is kept for partitions of topics, sorted and packed: a topic's name is shared by all who have it, and a group
//! of one partition pays for one.
//!
//! It knows nothing of offsets.

use std::collections::BTreeSet;
use std::rc::Rc;

/// The names of topics, each kept once, as long as a [`Topics`] has it.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<Rc<str>>);

impl Names {
    fn share(&mut self, name: &str) -> Rc<str> {
        if let Some(kept) = self.0.get(name) {
            return Rc::clone(kept);
        }
        let name: Rc<str> = Rc::from(name);
        self.0.insert(Rc::clone(&name));
        name
    }

    /// Takes a name back that a [`Topics`] had.
    pub(super) fn give_back(&mut self, name: Rc<str>) {
        let last = Rc::strong_count(&name) == 2; // this one, and the one kept here
        if last {
            self.0.remove(&*name);
        }
    }

    /// Whether somebody has a topic.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The partitions of a topic, sorted.
type Partitions<V> = Vec<(i32, V)>;

/// A map from topic and partition. Whoever drops one that is not empty leaves its names behind.
#[derive(Debug)]
pub(super) struct Topics<V>(Vec<(Rc<str>, Partitions<V>)>);

impl<V> Default for Topics<V> {
    fn default() -> Topics<V> {
        Topics(Vec::new())
    }
}

impl<V> Topics<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&V> {
        get(self.topic(topic), partition)
    }

    pub(super) fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut V> {
        let at = self.find(topic).ok()?;
        let partitions = &mut self.0[at].1;
        find(partitions, partition).ok().map(|at| &mut partitions[at].1)
    }

    /// The partitions of a topic, sorted.
    pub(super) fn topic(&self, topic: &str) -> &[(i32, V)] {
        self.find(topic).map_or(&[], |at| &self.0[at].1)
    }

    /// Each topic with its partitions, sorted.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &[(i32, V)])> {
        self.0.iter().map(|(topic, partitions)| (&**topic, &**partitions))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32, &V)> {
        let each = |(topic, partitions)| partitions_of(topic, partitions);
        self.topics().flat_map(each)
    }

    /// What it holds; the names are to be given back.
    pub(super) fn into_topics(self) -> impl Iterator<Item = (Rc<str>, Partitions<V>)> {
        self.0.into_iter()
    }

    /// Puts a value in, and returns the one that stood there.
    pub(super) fn insert(&mut self, names: &mut Names, topic: &str, partition: i32, value: V) -> Option<V> {
        let partitions = self.partitions(names, topic);
        match find(partitions, partition) {
            Ok(at) => Some(std::mem::replace(&mut partitions[at].1, value)),
            Err(at) => {
                insert_packed(partitions, at, (partition, value));
                None
            }
        }
    }

    /// What stands there; if nothing does, the default is put in.
    pub(super) fn get_or_default(&mut self, names: &mut Names, topic: &str, partition: i32) -> &mut V
    where
        V: Default,
    {
        let partitions = self.partitions(names, topic);
        let at = find(partitions, partition).unwrap_or_else(|at| {
            insert_packed(partitions, at, (partition, V::default()));
            at
        });
        &mut partitions[at].1
    }

    pub(super) fn remove(&mut self, names: &mut Names, topic: &str, partition: i32) -> Option<V> {
        let topic_at = self.find(topic).ok()?;
        let partitions = &mut self.0[topic_at].1;
        let at = find(partitions, partition).ok()?;
        let (_, value) = partitions.remove(at);
        if partitions.is_empty() {
            let (name, _) = self.0.remove(topic_at);
            names.give_back(name);
        }
        Some(value)
    }

    fn find(&self, topic: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (**name).cmp(topic))
    }

    fn partitions(&mut self, names: &mut Names, topic: &str) -> &mut Partitions<V> {
        let at = self.find(topic).unwrap_or_else(|at| {
            insert_packed(&mut self.0, at, (names.share(topic), Vec::new()));
            at
        });
        &mut self.0[at].1
    }
}

/// The value of a partition among sorted ones.
pub(super) fn get<V>(partitions: &[(i32, V)], partition: i32) -> Option<&V> {
    find(partitions, partition).ok().map(|at| &partitions[at].1)
}

fn find<V>(partitions: &[(i32, V)], partition: i32) -> Result<usize, usize> {
    partitions.binary_search_by_key(&partition, |&(partition, _)| partition)
}

fn partitions_of<'a, V>(
    topic: &'a str,
    partitions: &'a [(i32, V)],
) -> impl Iterator<Item = (&'a str, i32, &'a V)> {
    partitions.iter().map(move |(partition, value)| (topic, *partition, value))
}

/// Inserts with a quarter of room to spare at most: most groups have few topics, and most topics few partitions.
fn insert_packed<T>(items: &mut Vec<T>, at: usize, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(items.len() / 4 + 1);
    }
    items.insert(at, item);
}
