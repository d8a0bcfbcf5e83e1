//! Which numbers a pair's history is made of, and in which order a row has them.
//!
//! To add one, name it here and say in `encoding` what number it becomes. Counts of one direction
//! alone would need lists of ordered pairs, which the index does not have.

/// Scales over which counts decay.
pub const SCALES: usize = 3;

/// Number of statistics of a pair.
pub const WIDTH: usize = STATISTICS.len();

/// One number of a pair's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// 1 if the two have met before, else 0.
    Met,
    /// Time since they last met.
    SinceMet,
    /// How often they have met.
    Meetings,
    /// Share of the source's events that were with the candidate.
    ShareOfSource,
    /// 1 if the source's last event was with the candidate, else 0.
    LastPartner,
    /// Time since the candidate's last event.
    SinceCandidate,
    /// Number of the candidate's events.
    CandidateEvents,
    /// Time since the source's last event.
    SinceSource,
    /// Number of the source's events.
    SourceEvents,
    /// Meetings, of which those long ago count less: exp(-age / scale) each, for one of the scales.
    RecentMeetings(usize),
    /// The candidate's events, counted in the same way.
    RecentCandidateEvents(usize),
}

/// The statistics of a pair in their order.
pub const STATISTICS: [Statistic; 15] = [
    Statistic::Met,
    Statistic::SinceMet,
    Statistic::Meetings,
    Statistic::ShareOfSource,
    Statistic::LastPartner,
    Statistic::SinceCandidate,
    Statistic::CandidateEvents,
    Statistic::SinceSource,
    Statistic::SourceEvents,
    Statistic::RecentMeetings(0),
    Statistic::RecentMeetings(1),
    Statistic::RecentMeetings(2),
    Statistic::RecentCandidateEvents(0),
    Statistic::RecentCandidateEvents(1),
    Statistic::RecentCandidateEvents(2),
];
