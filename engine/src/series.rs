//! Series for dashboards: opened once, taken further at each cut, read by all who may read releases.

pub mod files;
