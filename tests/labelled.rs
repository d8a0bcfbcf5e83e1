//! Streams whose labels follow a known rule.

use std::fmt::Write as _;

/// Events of a stream.
pub(crate) const EVENTS: usize = 1500;

/// An event, as a rule for labels sees it.
pub(crate) struct Seen {
    /// Its number.
    pub(crate) event: usize,
    /// Its own kind, which its features say.
    pub(crate) kind: usize,
    /// The kind of its user's event before.
    pub(crate) before: usize,
}

/// A stream of 30 users and 10 items as JODIE writes it. Events are of `kinds` kinds, one in its features; of
/// two, every seventh event or so is of kind 1. `label` gives what stands in the column of labels.
pub(crate) fn stream(kinds: usize, label: impl Fn(&Seen) -> String) -> String {
    let mut text = "user_id,item_id,timestamp,state_label,features\n".to_owned();
    let mut last = [0; 30];
    let mut random = random_below(12_345);
    for event in 0..EVENTS {
        let (user, item) = (random(30), random(10));
        let kind = match kinds {
            2 => usize::from(random(7) == 0),
            _ => random(kinds as u64) as usize,
        };
        let seen = Seen {
            event,
            kind,
            before: std::mem::replace(&mut last[user as usize], kind),
        };
        let label = label(&seen);
        write!(text, "{user},{item},{event},{label}").unwrap();
        match kinds {
            2 => write!(text, ",{},0.5", if kind == 1 { 2.0 } else { -1.0 }).unwrap(),
            _ => (0..kinds).for_each(|of| {
                let feature = if of == kind { 2 } else { 0 };
                write!(text, ",{feature}").unwrap();
            }),
        }
        text.push('\n');
    }
    text
}

/// A stream of 30 users, each of one of `groups`, and 10 items. One half of the events tells the group of its
/// user by its features and has no label; the other half has a label and no features. `label` is told the
/// group and a number that nothing else depends on: a label that follows the group is learned from the past
/// alone.
pub(crate) fn grouped(groups: usize, label: impl Fn(usize, u64) -> i32) -> String {
    let mut text = "user_id,item_id,timestamp,state_label,features\n".to_owned();
    let (mut random, mut chance) = (random_below(7), random_below(8));
    for event in 0..EVENTS {
        let (user, item, asks) = (random(30), random(10), random(2) == 0);
        let group = user as usize % groups;
        write!(text, "{user},{item},{event},").unwrap();
        let label = label(group, chance(1 << 20));
        if asks {
            write!(text, "{label}").unwrap();
        }
        for of in 0..groups {
            let told = !asks && of == group;
            write!(text, ",{}", if told { 2 } else { 0 }).unwrap();
        }
        text.push('\n');
    }
    text
}

/// Numbers below another one, from a seed.
fn random_below(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}
