//! How far a result is from what is defined, beside what is allowed.
//!
//! Tests print it; `mspipe-bench accept` keeps it ([`take`], in the library of these checks alone).

/// Fails unless `error` is at most `allowed`; `what` says of which result.
#[track_caller]
pub(crate) fn within(what: &str, error: f64, allowed: f64) {
    #[cfg(test)]
    println!("{what}: {error:.1e} of at most {allowed:.0e}");
    #[cfg(not(test))]
    kept::keep(what, error, allowed);
    assert!(
        error <= allowed,
        "{what} differs by {error:e}, at most {allowed:e} is allowed"
    );
}

#[cfg(not(test))]
pub use kept::Measured;
#[cfg(not(test))]
pub(crate) use kept::take;

#[cfg(not(test))]
mod kept {
    use std::sync::Mutex;

    /// A difference that a check measured.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Measured {
        /// Of which result.
        pub what: String,
        /// How far it is from what is defined; mostly relative to the largest number.
        pub error: f64,
        /// The largest that passes.
        pub allowed: f64,
    }

    static KEPT: Mutex<Vec<Measured>> = Mutex::new(Vec::new());

    pub(super) fn keep(what: &str, error: f64, allowed: f64) {
        KEPT.lock().unwrap().push(Measured {
            what: what.to_owned(),
            error,
            allowed,
        });
    }

    /// All that was kept since the last call.
    pub(crate) fn take() -> Vec<Measured> {
        std::mem::take(&mut *KEPT.lock().unwrap())
    }
}
