//! Generated streams with the shape of published ones; they need no file.
//!
//! `synthetic:NAME[:scale=X][:seed=N]`, NAME one of wikipedia, reddit, mooc,
//! lastfm, gdelt. At scale 1 the counts of events, sources and destinations and
//! the feature widths are the published ones and the share of events that repeat
//! a pair is that of the real stream; the skew of degrees and the bursts are like
//! wikipedia's real ones (top tenth of the users, of the items, events within an
//! hour of the user's last), for the others plausible, not fitted. Scale X multiplies events by X and nodes by √X, which
//! keeps the density of the interaction matrix; the time span stays. (At small
//! scales fewer events repeat a pair, as every source's first event is new:
//! wikipedia 0.83 at scale 0.1.)
//!
//! Same name, scale and seed: same bits, on every platform and any number of
//! threads. A generated stream is always labelled so ([`EventLog::synthetic`])
//! and stands in for the real one in speed measurements and first runs only: an
//! accuracy reached on it says nothing about the real stream. There are no state
//! labels.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::DataError;
use crate::progress::Progress;
use crate::schema::reading::Reading;
use crate::stop::Stop;
use crate::store::{FeatureShape, STORE_EXTENSION, StoreWriter, Stream};
use crate::stream::event_log::{EventLog, IdSpaces};
use crate::stream::features::FeatureType;

mod behaviour;
mod content;

use behaviour::{Behaviour, Habits};
use content::Content;

/// Goes into the cache key; raise it whenever generated bits change.
const GENERATOR_VERSION: u32 = 1;

/// Shape of one published stream.
///
/// Counts: DGL's TGN readme, TGL, APERTURE table 2, ETC. Shares of repeats: wikipedia counted in the
/// real file, reddit, mooc and lastfm as in Poursafaei et al. (NeurIPS 2022), gdelt assumed. Spans:
/// wikipedia counted, the others rounded.
struct Profile {
    name: &'static str,
    events: u64,
    sources: u32,
    /// 0: one node set, every node can be both.
    destinations: u32,
    /// Last time, in the stream's unit (seconds; gdelt: 15 minutes).
    span: i64,
    edge: Option<FeatureShape>,
    node: Option<FeatureShape>,
    habits: Habits,
}

const LIWC: Option<FeatureShape> = Some(FeatureShape {
    feature_type: FeatureType::F32,
    width: 172,
});

const PROFILES: [Profile; 5] = [
    Profile {
        name: "wikipedia",
        events: 157_474,
        sources: 8_227,
        destinations: 1_000,
        span: 2_678_373,
        edge: LIWC,
        node: None,
        habits: Habits {
            repeats: 0.884,
            stay: 0.93,
            session_events: 4.0,
            session_gap: 400.0,
            source_skew: 1.5,
            destination_skew: 0.45,
            communities: 20,
        },
    },
    Profile {
        name: "reddit",
        events: 672_447,
        sources: 10_000,
        destinations: 984,
        span: 2_700_000,
        edge: LIWC,
        node: None,
        // 78,516 distinct pairs
        habits: Habits {
            repeats: 0.883,
            stay: 0.9,
            session_events: 3.0,
            session_gap: 600.0,
            source_skew: 1.3,
            destination_skew: 0.9,
            communities: 20,
        },
    },
    Profile {
        name: "mooc",
        events: 411_749,
        sources: 7_047,
        destinations: 97,
        span: 2_600_000,
        edge: None,
        node: None,
        // 178,443 distinct pairs
        habits: Habits {
            repeats: 0.567,
            stay: 0.6,
            session_events: 8.0,
            session_gap: 120.0,
            source_skew: 0.4,
            destination_skew: 0.5,
            communities: 6,
        },
    },
    Profile {
        name: "lastfm",
        events: 1_293_103,
        sources: 980,
        destinations: 1_000,
        span: 140_000_000,
        edge: None,
        node: None,
        // 154,993 distinct pairs
        habits: Habits {
            repeats: 0.88,
            stay: 0.75,
            session_events: 12.0,
            session_gap: 240.0,
            source_skew: 0.5,
            destination_skew: 0.6,
            communities: 12,
        },
    },
    Profile {
        name: "gdelt",
        events: 191_290_882,
        sources: 16_682,
        destinations: 0,
        span: 180_000,
        edge: Some(FeatureShape {
            feature_type: FeatureType::Bits,
            width: 186,
        }),
        node: Some(FeatureShape {
            feature_type: FeatureType::Bits,
            width: 413,
        }),
        habits: Habits {
            repeats: 0.9,
            stay: 0.6,
            session_events: 3.0,
            session_gap: 0.7,
            source_skew: 0.9,
            destination_skew: 0.9,
            communities: 40,
        },
    },
];

/// A parsed `synthetic:NAME[:scale=X][:seed=N]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticSpec {
    profile: usize,
    scale: f64,
    seed: u64,
}

impl FromStr for SyntheticSpec {
    type Err = DataError;

    fn from_str(spec: &str) -> Result<SyntheticSpec, DataError> {
        let refuse = |problem: String| Err(DataError::source(spec, problem));
        let mut parts = spec.split(':');
        let (Some("synthetic"), Some(name)) = (parts.next(), parts.next()) else {
            return refuse("expected synthetic:NAME[:scale=X][:seed=N]".to_owned());
        };
        let Some(profile) = PROFILES.iter().position(|p| p.name == name) else {
            let names: Vec<&str> = SyntheticSpec::names().collect();
            return refuse(format!(
                "there is no generator `{name}`; known are {}",
                names.join(", ")
            ));
        };
        let mut parsed = SyntheticSpec {
            profile,
            scale: 1.0,
            seed: 1,
        };
        for part in parts {
            match part.split_once('=') {
                Some(("scale", value)) => match value.parse::<f64>() {
                    Ok(scale) if scale > 0.0 && scale.is_finite() => parsed.scale = scale,
                    _ => {
                        return refuse(format!(
                            "scale is `{value}`, a number above 0 expected, such as scale=0.1"
                        ));
                    }
                },
                Some(("seed", value)) => match value.parse() {
                    Ok(seed) => parsed.seed = seed,
                    Err(_) => {
                        return refuse(format!(
                            "seed is `{value}`, a whole number from 0 to 2^64 - 1 expected"
                        ));
                    }
                },
                _ => return refuse(format!("`{part}` is not known; scale=X and seed=N are")),
            }
        }
        let events = PROFILES[profile].events as f64 * parsed.scale;
        if !(10.0..=f64::from(u32::MAX)).contains(&events) {
            return refuse(format!(
                "scale {} gives {events:.0} events, 10 to {} are possible",
                parsed.scale,
                u32::MAX
            ));
        }
        Ok(parsed)
    }
}

impl fmt::Display for SyntheticSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "synthetic:{}", self.profile().name)?;
        if self.scale != 1.0 {
            write!(f, ":scale={}", self.scale)?;
        }
        if self.seed != 1 {
            write!(f, ":seed={}", self.seed)?;
        }
        Ok(())
    }
}

impl SyntheticSpec {
    /// Names of the generators, without `synthetic:`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|profile| profile.name)
    }

    fn profile(&self) -> &'static Profile {
        &PROFILES[self.profile]
    }

    /// Name of the store in the cache.
    pub(crate) fn folder_name(&self) -> String {
        let name = self.profile().name;
        format!(
            "synthetic-{name}-scale-{}-seed-{}-v{GENERATOR_VERSION}.{STORE_EXTENSION}",
            self.scale, self.seed
        )
    }

    /// Events, sources and destinations (0: one node set) at this scale.
    fn counts(&self) -> (u64, u32, u32) {
        let profile = self.profile();
        let events = (profile.events as f64 * self.scale).round() as u64;
        // Every node occurs, so there cannot be more of a side than half the events.
        let nodes = |count: u32| {
            let scaled = (f64::from(count) * libm::sqrt(self.scale)).round() as u64;
            scaled.clamp(2, events / 2) as u32
        };
        (
            events,
            nodes(profile.sources),
            if profile.destinations == 0 {
                0
            } else {
                nodes(profile.destinations)
            },
        )
    }

    /// Generates the stream into a new store at `target`, in bounded memory.
    pub(crate) fn generate(&self, target: &Path, stop: &Stop) -> Result<EventLog, DataError> {
        let _unfinished = stop.unfinished();
        let profile = self.profile();
        let (events, sources, destinations) = self.counts();
        let nodes = sources as usize + destinations as usize;
        let mut writer = StoreWriter::create(target, false, false)?;
        let mut behaviour = Behaviour::new(
            profile.habits,
            events,
            sources,
            destinations,
            profile.span,
            self.seed,
        );
        let content = Content::new(self.seed);
        let mut edge_file = profile
            .edge
            .map(|shape| writer.edge_features(shape))
            .transpose()?;
        let mut progress = Progress::events(format!("generating {self}"), events);

        const PIECE: usize = 1 << 14;
        let (mut src, mut dst, mut time) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::new();
        let mut first = 0;
        while first < events {
            stop.check()?;
            let piece = PIECE.min((events - first) as usize);
            src.clear();
            dst.clear();
            time.clear();
            for event in behaviour.by_ref().take(piece) {
                time.push(event.time);
                src.push(event.source);
                dst.push(event.destination);
            }
            writer.events(&src, &dst, &time)?;
            if let Some(file) = &mut edge_file {
                content.edge_rows(file.shape, first, &src, &dst, &mut rows);
                file.write_rows(&rows)?;
            }
            first += piece as u64;
            progress.advance(piece as u64);
        }
        if let Some(file) = edge_file {
            file.close()?;
        }
        if let Some(shape) = profile.node {
            let mut file = writer.node_features(shape)?;
            content.node_rows(shape, nodes, &mut rows);
            file.write_rows(&rows)?;
            file.close()?;
        }
        writer.finish(
            Stream {
                name: self.to_string(),
                origin: self.to_string(),
                synthetic: true,
                nodes,
                ticks_per_unit: 1,
                reading: Reading::default(),
                notes: Vec::new(),
                id_spaces: if destinations == 0 {
                    IdSpaces::One
                } else {
                    IdSpaces::Two {
                        sources: sources as usize,
                    }
                },
            },
            stop,
        )
    }
}
