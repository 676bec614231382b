//! Results of changes that are made in parts, of which some may fail.

use super::QueueError;
use bklit_wire::queue::{ChangeError, Edited};

/// Adds up the results of all parts.
///
/// # Errors
/// The first error; if anything was done, [`QueueError::Partly`].
pub fn total(
    parts: impl IntoIterator<Item = Result<Edited, QueueError>>,
) -> Result<Edited, QueueError> {
    let (mut all, mut failure) = (Edited::default(), None);
    for part in parts {
        let (Edited { changed, invalid }, result) = split(part);
        all.changed += changed;
        all.invalid.extend(invalid);
        failure = failure.or(result.err());
    }
    match failure {
        None => Ok(all),
        Some(error) if all == Edited::default() => Err(error),
        Some(QueueError::Unavailable(reason)) => Err(QueueError::Partly { done: all, reason }),
        Some(error) => Err(QueueError::Partly { done: all, reason: error.to_string() }),
    }
}

/// The same for changes that are only counted.
///
/// # Errors
/// As [`total`].
pub fn total_count(
    parts: impl IntoIterator<Item = Result<u64, QueueError>>,
) -> Result<u64, QueueError> {
    total(parts.into_iter().map(counted)).map(|done| done.changed)
}

/// A result that is only a count.
pub fn counted(part: Result<u64, QueueError>) -> Result<Edited, QueueError> {
    part.map(|changed| Edited { changed, ..Edited::default() })
}

/// What was done, and whether that is all.
pub fn split(part: Result<Edited, QueueError>) -> (Edited, Result<(), QueueError>) {
    match part {
        Ok(done) => (done, Ok(())),
        Err(QueueError::Partly { done, reason }) => (done, Err(QueueError::Unavailable(reason))),
        Err(error) => (Edited::default(), Err(error)),
    }
}

/// The result of a part with other ids in it.
///
/// # Errors
/// That of the part.
pub fn with_ids(
    part: Result<Edited, QueueError>,
    rename: impl Fn(&mut String),
) -> Result<Edited, QueueError> {
    let (mut done, result) = split(part);
    done.invalid.iter_mut().for_each(|invalid| rename(&mut invalid.id));
    total([Ok(done), result.map(|()| Edited::default())])
}

impl From<QueueError> for ChangeError {
    fn from(error: QueueError) -> Self {
        let (done, result) = split(Err(error));
        Self { done, error: result.err().map(|error| error.to_string()).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::queue::InvalidEdit;

    fn down() -> QueueError {
        QueueError::Unavailable("down".to_owned())
    }

    fn invalid(id: &str) -> InvalidEdit {
        InvalidEdit { id: id.to_owned(), error: "wrong".to_owned() }
    }

    #[test]
    fn what_was_done_is_known_although_a_part_failed() {
        assert_eq!(total_count([Ok(2), Ok(3)]).unwrap(), 5);
        assert!(matches!(total_count([Ok(0), Err(down())]), Err(QueueError::Unavailable(_))));
        let failed = Edited { changed: 4, invalid: vec![invalid("b")] };
        let partly = || QueueError::Partly { done: failed.clone(), reason: "reset".to_owned() };
        let edited = Edited { changed: 1, invalid: vec![invalid("a")] };
        let Err(QueueError::Partly { done, reason }) =
            total([Err(partly()), Ok(edited), Err(down())])
        else {
            panic!("an error is lost")
        };
        assert_eq!((done.changed, reason.as_str()), (5, "reset"));
        assert_eq!(done.invalid, [invalid("b"), invalid("a")]);
        let error = ChangeError::from(partly());
        assert_eq!((error.done, error.error.as_str()), (failed, "the queue is unavailable: reset"));
    }

    #[test]
    fn ids_are_renamed_in_a_partial_result_too() {
        let done = Edited { changed: 1, invalid: vec![invalid("a")] };
        let partly = QueueError::Partly { done: done.clone(), reason: "reset".to_owned() };
        for part in [Ok(done), Err(partly)] {
            let was_complete = part.is_ok();
            let renamed = with_ids(part, |id| id.insert(0, '7'));
            assert_eq!(renamed.is_ok(), was_complete);
            assert_eq!(split(renamed).0.invalid, [invalid("7a")]);
        }
    }
}
