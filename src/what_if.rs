//! The pipeline without a model: what stage times would give, before anything is trained.
//!
//! | module | what it holds |
//! |---|---|
//! | [`simulator`] | the pipeline's rules on a stage profile, without threads |
//! | [`queued_device`] | a device that works behind a queue |
//! | [`ranks`] | what exchanges with other ranks add to stage times |
//! | [`recurrences`] | the paper's equations, to compare with |
//! | [`sleeping`] | stages that only sleep, to measure the executor itself |
//! | [`staleness`] | what staleness does to the memory of a stream |
//!
//! Nothing that trains needs it. Source: MSPipe, section 3.

pub mod queued_device;
pub mod ranks;
pub mod recurrences;
pub mod simulator;
pub mod sleeping;
pub mod staleness;
