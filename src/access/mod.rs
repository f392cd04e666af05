//! Who is calling, and who may do what. [`Role`]s are given per tenant; an operator stands over all.
//!
//! What MUST hold:
//!
//! - A [`Caller`] is made only by what verified it: there is no way to make one from a request.
//! - Every event names two: [`Caller::recorded_by`], which is verified, and [`Caller::acting`], which a
//!   caller without the role `delegate` cannot choose.
//! - A role in one tenant says nothing about another.
//! - Whom a [`token`] vouches for is decided by the configured issuer alone.

mod caller;
pub mod platform;
mod principal;
mod role;
pub mod token;

pub use self::{
    caller::{Caller, Refused},
    principal::Principal,
    role::{Role, Roles},
};
