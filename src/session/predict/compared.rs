//! What a stream of events to follow is compared with before any of them is followed: what its features are
//! called, and how far its times are ahead.

use mspipe_datasets::asked::{in_units, time_text};
use mspipe_datasets::reading::Like;
use mspipe_datasets::{EventLog, FeatureTable, Unmatched, places_of};

use super::Predictor;
use super::error::PredictError;

/// How far an event may be ahead of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaxJump {
    /// As the stream is long that the model was trained on.
    Stream,
    /// So long, in the stream's unit of time.
    Time(String),
    /// As far as it says.
    Off,
}

impl From<&str> for MaxJump {
    /// `stream`, `off`, or a time.
    fn from(text: &str) -> MaxJump {
        match text {
            "stream" => MaxJump::Stream,
            "off" => MaxJump::Off,
            time => MaxJump::Time(time.to_owned()),
        }
    }
}

impl Predictor {
    /// What the edge features are called that an event must bring, in their order, if that is known.
    pub fn feature_names(&self) -> Option<&[String]> {
        self.standing.feature_names.as_deref()
    }

    /// Takes what the features of `log` are called, which memory has followed, where that was not known before.
    pub(super) fn learn_names(&mut self, log: &EventLog) -> Result<(), PredictError> {
        if self.given_width().is_some() && self.feature_names().is_none() && log.events() > 0 {
            self.standing.feature_names = log.names()?.edge_features;
        }
        Ok(())
    }

    /// How the stream of the run was read, for a table that belongs to it.
    pub fn like(&self) -> Like {
        let reading = &self.standing.config.stream.reading;
        Like {
            columns: reading.columns.clone(),
            features: self.feature_names().unwrap_or_default().to_vec(),
            ids: reading.ids,
            no_header: false,
        }
    }

    /// Where the features of `log` stand that the model reads, if not one after the other.
    ///
    /// # Errors
    /// Unless they have the same names where both have some; else unless they are as many.
    pub(super) fn feature_order(&self, log: &EventLog) -> Result<Option<Vec<usize>>, PredictError> {
        let Some(expected) = self.given_width() else {
            return Ok(None);
        };
        let found = log.edge_features().map_or(0, FeatureTable::width);
        let names = match found {
            0 => Some(Vec::new()),
            _ => log.names()?.edge_features,
        };
        if let (Some(own), Some(names)) = (self.feature_names(), names) {
            let places = places_of(own, &names);
            let places =
                places.map_err(|Unmatched { missing, surplus }| PredictError::Features {
                    expected: own.to_vec(),
                    missing,
                    surplus,
                })?;
            return Ok((!places.is_sorted()).then_some(places));
        }
        match found == expected {
            true => Ok(None),
            false => Err(PredictError::Width {
                what: "the events".to_owned(),
                found,
                expected,
                names: self.feature_names().unwrap_or_default().to_vec(),
            }),
        }
    }

    /// What whoever gives `log` to be followed should know of its features, if the model reads none, or their names
    /// can't be compared with those that it was trained on.
    ///
    /// # Errors
    /// When the names that the store keeps can't be read.
    pub fn feature_note(&self, log: &EventLog) -> Result<Option<String>, PredictError> {
        let shown = |names: &[String]| names.join(", ");
        Ok(match (self.given_width(), self.feature_names()) {
            (None, _) => (log.edge_features().is_some_and(|table| !table.all_zero())).then(|| {
                "the model reads no features of events: those of this table are left out".to_owned()
            }),
            (Some(_), Some(own)) if log.names()?.edge_features.is_none() => Some(format!(
                "the features of these events have no names: they are taken for {}, in this order",
                shown(own)
            )),
            (Some(_), Some(_)) => None,
            (Some(_), None) => log.names()?.edge_features.map(|names| {
                format!(
                    "what the features were called that the model was trained on is not known (to a state of an \
                     earlier version, or because they had no names): {} are taken in this order, and by these \
                     names from now on",
                    shown(&names)
                )
            }),
        })
    }

    /// What to say of a time that is further after the last event than the stream is long, in ticks.
    pub fn far_ahead(&self, time: i64) -> Option<String> {
        let (last, span) = (self.last()?, self.span());
        let ahead = time.saturating_sub(last);
        (span > 0 && ahead > span).then(|| {
            format!(
                "the time {} is {} after the last event, and the whole stream is {} long: is it in the stream's unit \
                 (seconds and not milliseconds)?",
                self.time_text(time),
                self.time_text(ahead),
                self.time_text(span)
            )
        })
    }

    /// Ticks that an event may be ahead of the one before it; any number if none is returned.
    ///
    /// # Errors
    /// For a time that is none.
    pub fn most_ahead(&self, most: &MaxJump) -> Result<Option<i64>, PredictError> {
        match most {
            MaxJump::Off => Ok(None),
            // Of a stream that has but one time nothing is known.
            MaxJump::Stream => Ok(Some(self.span()).filter(|&span| span > 0)),
            MaxJump::Time(text) => {
                let ticks = self.ticks(text).ok().filter(|&ticks| ticks > 0);
                let wrong = || PredictError::MaxJump(text.clone());
                Ok(Some(ticks.ok_or_else(wrong)?))
            }
        }
    }

    /// Refuses a stream with an event that is further ahead of the one before it than `most`: one wrong time in
    /// the future, such as milliseconds for seconds, makes all late that comes after it.
    ///
    /// # Errors
    /// As said; and times finer than the stream's.
    pub fn check_ahead(&self, log: &EventLog, most: &MaxJump) -> Result<(), PredictError> {
        let (Some(most), Some(mut newest)) = (self.most_ahead(most)?, self.last()) else {
            return Ok(());
        };
        for event in 0..log.events() {
            let time = self.time_of(log, event)?;
            let ahead = time.saturating_sub(newest);
            if ahead > most {
                return Err(PredictError::TooFar {
                    what: format!("event {}", event + 1),
                    time: self.time_text(time),
                    ahead: self.time_text(ahead),
                    most: self.time_text(most),
                });
            }
            newest = newest.max(time);
        }
        Ok(())
    }

    /// The time of an event of another stream in ticks of this one.
    pub(super) fn time_of(&self, log: &EventLog, event: usize) -> Result<i64, PredictError> {
        let (ticks, theirs) = (log.time()[event], log.ticks_per_unit());
        in_units(ticks, theirs, self.ticks_per_unit()).map_err(|expected| PredictError::Finer {
            what: format!("event {}", event + 1),
            found: time_text(ticks, theirs),
            expected,
        })
    }
}
