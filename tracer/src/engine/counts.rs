//! PURE: what went on at each step of the route, counted.

/// What went on at each step of the route, and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read from the ring.
    pub records: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Sections whose end or facts were lost.
    pub incomplete: u64,
    /// Sections that changed a table in a way that has no name yet.
    pub unresolved: u64,
    /// Operations.
    pub operations: u64,
    /// Failing calls that were only counted.
    pub throttled: u64,
    /// Operations that were shown with the id of a container whose name nobody told in time.
    pub unnamed: u64,
}
