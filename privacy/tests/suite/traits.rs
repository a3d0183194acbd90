//! What must not be: exact integers that are copied, printed or written, and a price that is used twice.

use epiledger_privacy::{accountant::Reserved, release::RawBatches};
use static_assertions::assert_not_impl_any;

assert_not_impl_any!(RawBatches: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
assert_not_impl_any!(Reserved: Clone, std::fmt::Debug, serde::Serialize);
