//! Who may do what. [`Role`]s are given per tenant; an operator stands over all tenants.
//!
//! What MUST hold:
//!
//! - A [`Caller`] is made only by what verified it: there is no way to make one from a request.
//! - Every event names two: [`Caller::recorded_by`], which is verified, and [`Caller::acting`], which a
//!   caller without the role `delegate` cannot choose.
//! - A role in one tenant says nothing about another.

mod caller;
mod role;

pub use self::{
    caller::{Caller, Refused},
    role::{Role, Roles},
};
