//! The names of a simulated disk: what a process sees, what survives a crash, and the changes in between.
//!
//! No journal is assumed: unsynced changes survive a crash one by one, in any combination, except that a change never
//! survives an earlier one of the same file or the same name that was lost. A rename is atomic.

use super::file::FileNode;
use hayate_rt::sim::Sim;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::rc::Rc;

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Node {
    File(Rc<FileNode>),
    Dir(Rc<DirNode>),
}

type Names = BTreeMap<String, Node>;

/// A folder.
pub(super) struct DirNode {
    id: u64,
    visible: RefCell<Names>,
    durable: RefCell<Names>,
}

/// One atomic change of names, not yet durable.
struct NameChange {
    /// The file or folder whose names change.
    subject: u64,
    slots: Vec<Slot>,
}

/// One name, and what it stands for after the change.
struct Slot {
    dir: Rc<DirNode>,
    name: String,
    node: Option<Node>,
}

/// All names of one disk.
pub(super) struct Tree {
    root: Rc<DirNode>,
    pending: Vec<NameChange>,
    made: u64,
}

impl Node {
    fn id(&self) -> u64 {
        match self {
            Node::File(file) => file.id,
            Node::Dir(dir) => dir.id,
        }
    }
}

impl DirNode {
    fn new(id: u64) -> Rc<DirNode> {
        Rc::new(DirNode { id, visible: RefCell::default(), durable: RefCell::default() })
    }

    /// What a process sees in it, in the order of the names.
    pub(super) fn entries(&self) -> Vec<(String, Node)> {
        self.visible.borrow().iter().map(|(name, node)| (name.clone(), node.clone())).collect()
    }

    fn get(&self, name: &str) -> Option<Node> {
        self.visible.borrow().get(name).cloned()
    }

    fn durable_entries(&self) -> Vec<Node> {
        self.durable.borrow().values().cloned().collect()
    }
}

impl NameChange {
    /// Whether the other change's outcome bears on this one.
    fn keys(&self) -> impl Iterator<Item = (u64, &str)> {
        // The subject counts as a nameless slot of itself.
        let slots = self.slots.iter().map(|slot| (slot.dir.id, slot.name.as_str()));
        slots.chain(std::iter::once((self.subject, "")))
    }

    fn apply(&self, names: impl Fn(&DirNode) -> &RefCell<Names>) {
        for slot in &self.slots {
            let mut names = names(&slot.dir).borrow_mut();
            match &slot.node {
                Some(node) => drop(names.insert(slot.name.clone(), node.clone())),
                None => drop(names.remove(&slot.name)),
            }
        }
    }
}

/// The names on the way to `path`, from the root.
fn names_of(path: &Path) -> impl Iterator<Item = String> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}

impl Tree {
    /// An empty root folder.
    pub(super) fn new() -> Tree {
        Tree { root: DirNode::new(0), pending: Vec::new(), made: 0 }
    }

    fn make_id(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// What a process sees at `path`. Errors are the kernel's numbers, here and below.
    pub(super) fn find(&self, path: &Path) -> Result<Node, i32> {
        let mut node = Node::Dir(self.root.clone());
        for name in names_of(path) {
            let Node::Dir(dir) = &node else { return Err(libc::ENOTDIR) };
            node = dir.get(&name).ok_or(libc::ENOENT)?;
        }
        Ok(node)
    }

    pub(super) fn find_file(&self, path: &Path) -> Result<Rc<FileNode>, i32> {
        match self.find(path)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(libc::EISDIR),
        }
    }

    pub(super) fn find_dir(&self, path: &Path) -> Result<Rc<DirNode>, i32> {
        match self.find(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(libc::ENOTDIR),
        }
    }

    /// What is at `path` for good.
    pub(super) fn find_durable(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Dir(self.root.clone());
        for name in names_of(path) {
            let Node::Dir(dir) = &node else { return None };
            let below = dir.durable.borrow().get(&name).cloned();
            node = below?;
        }
        Some(node)
    }

    fn slot(&self, path: &Path, node: Option<Node>) -> Result<Slot, i32> {
        let name = names_of(path).last().ok_or(libc::EINVAL)?;
        let dir = self.find_dir(crate::disk::parent_of(path))?;
        Ok(Slot { dir, name, node })
    }

    fn change(&mut self, subject: u64, slots: Vec<Slot>) {
        let change = NameChange { subject, slots };
        change.apply(|dir| &dir.visible);
        self.pending.push(change);
    }

    /// Makes an empty file.
    pub(super) fn create_file(&mut self, path: &Path) -> Result<Rc<FileNode>, i32> {
        let file = Rc::new(FileNode::new(self.make_id()));
        self.create(path, Node::File(file.clone()))?;
        Ok(file)
    }

    /// Makes an empty folder.
    pub(super) fn create_dir(&mut self, path: &Path) -> Result<(), i32> {
        let dir = DirNode::new(self.make_id());
        self.create(path, Node::Dir(dir))
    }

    fn create(&mut self, path: &Path, node: Node) -> Result<(), i32> {
        let id = node.id();
        let slot = self.slot(path, Some(node))?;
        if slot.dir.get(&slot.name).is_some() {
            return Err(libc::EEXIST);
        }
        self.change(id, vec![slot]);
        Ok(())
    }

    /// Takes a name away. A folder must be empty.
    pub(super) fn remove(&mut self, path: &Path, dir_wanted: bool) -> Result<(), i32> {
        let node = self.find(path)?;
        match &node {
            Node::Dir(_) if !dir_wanted => return Err(libc::EISDIR),
            Node::File(_) if dir_wanted => return Err(libc::ENOTDIR),
            Node::Dir(dir) if !dir.visible.borrow().is_empty() => return Err(libc::ENOTEMPTY),
            Node::Dir(_) | Node::File(_) => {}
        }
        let slot = self.slot(path, None)?;
        self.change(node.id(), vec![slot]);
        Ok(())
    }

    /// Moves a name, replacing a file or an empty folder of the new name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), i32> {
        let node = self.find(from)?;
        let (source, target) = (self.slot(from, None)?, self.slot(to, Some(node.clone()))?);
        match (&node, target.dir.get(&target.name)) {
            (_, Some(replaced)) if replaced.id() == node.id() => return Ok(()),
            (Node::File(_), Some(Node::Dir(_))) => return Err(libc::EISDIR),
            (Node::Dir(_), Some(Node::File(_))) => return Err(libc::ENOTDIR),
            (Node::Dir(_), Some(Node::Dir(dir))) if !dir.visible.borrow().is_empty() => {
                return Err(libc::ENOTEMPTY);
            }
            (Node::Dir(_), Some(Node::Dir(_))) | (Node::File(_), Some(Node::File(_))) | (_, None) => {}
        }
        self.change(node.id(), vec![source, target]);
        Ok(())
    }

    /// Makes the changes in one folder durable, and those that they build on.
    pub(super) fn sync_dir(&mut self, dir: &DirNode) {
        let mut needed: BTreeSet<(u64, String)> = BTreeSet::new();
        let mut chosen = vec![false; self.pending.len()];
        for (change, chosen) in self.pending.iter().zip(&mut chosen).rev() {
            let here = change.slots.iter().any(|slot| slot.dir.id == dir.id);
            *chosen = here || change.keys().any(|(id, name)| needed.contains(&(id, name.to_owned())));
            if *chosen {
                needed.extend(change.keys().map(|(id, name)| (id, name.to_owned())));
            }
        }
        for (change, chosen) in std::mem::take(&mut self.pending).into_iter().zip(chosen) {
            if chosen {
                change.apply(|dir| &dir.durable);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// The power fails: each unsynced change survives or not. Returns the files that are left.
    pub(super) fn crash(&mut self, sim: &Sim) -> Vec<Rc<FileNode>> {
        let kept_of_ten = [0, 3, 5, 7, 10][sim.random_below(5) as usize];
        let mut lost: BTreeSet<(u64, String)> = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let orphaned = change.keys().any(|(id, name)| lost.contains(&(id, name.to_owned())));
            if !orphaned && sim.chance(kept_of_ten, 10) {
                change.apply(|dir| &dir.durable);
            } else {
                sim.count("fault disk lost name");
                lost.extend(change.keys().map(|(id, name)| (id, name.to_owned())));
            }
        }
        let mut files = Vec::new();
        settle(&self.root, &mut files);
        files
    }

    /// Every file that a process can reach by name.
    pub(super) fn files(&self) -> Vec<Rc<FileNode>> {
        let mut files = Vec::new();
        let mut dirs = vec![self.root.clone()];
        while let Some(dir) = dirs.pop() {
            for (_, node) in dir.entries() {
                match node {
                    Node::File(file) => files.push(file),
                    Node::Dir(below) => dirs.push(below),
                }
            }
        }
        files
    }
}

/// Lets processes see what is durable, from `dir` downwards.
fn settle(dir: &Rc<DirNode>, files: &mut Vec<Rc<FileNode>>) {
    *dir.visible.borrow_mut() = dir.durable.borrow().clone();
    for node in dir.durable_entries() {
        match node {
            Node::File(file) => files.push(file),
            Node::Dir(below) => settle(&below, files),
        }
    }
}
