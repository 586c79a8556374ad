//! The house rules, checked over the whole checkout: who may depend on whom, which words stay in which rooms, how
//! long a file may grow, and that the map of the house is true.
//!
//! A rule is a pure function from text to findings. Its module holds two kinds of test: the tree keeps the rule, and
//! the rule catches a bad example. Text is scanned, not compiled: the suite takes a second.

#[path = "tidy/compatibility.rs"]
mod compatibility;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lines.rs"]
mod lines;
#[path = "tidy/loggers.rs"]
mod loggers;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/suites.rs"]
mod suites;
#[path = "tidy/supply.rs"]
mod supply;
#[path = "tidy/tree.rs"]
mod tree;
