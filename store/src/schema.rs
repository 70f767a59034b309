//! Stored forms, one frozen module per schema version.
//!
//! A stored value is `version u16 (little endian) | body`, where the body is bincode (standard
//! configuration) of the mirror types of that version's module. A module that has been released
//! never changes, except that enums may get new variants at their end; anything else is a new
//! version with a conversion from the one before. Golden bytes of each version are checked in.
//!
//! What never lives here: the types of the domain themselves, so that they may change freely.

pub(crate) mod v1;

/// The version that is written.
pub(crate) const CURRENT: u16 = 1;

#[cfg(test)]
mod tests;
