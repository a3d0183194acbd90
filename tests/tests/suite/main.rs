//! Everything that needs more than one crate, or the running binary.

mod budget;
mod crash;
mod edges;
mod first_light;
mod oracle;
mod real_data;
mod refusals;
mod statistics;
mod style;
mod tamper;
mod world;
