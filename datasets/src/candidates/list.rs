//! What every file of candidates comes down to.

/// An event and its candidates, as dense ids.
pub type CandidateList = (usize, Vec<u32>);
