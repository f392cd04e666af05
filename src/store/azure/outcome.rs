//! What a fault means for the caller: was anything committed, and is it worth another try?

use super::fault::Fault;
use crate::store::table::{Batch, CommitError, Op, ReadError};

/// What became of a batch.
///
/// Only an answer of the service that names a cause proves that nothing was committed.
pub(super) fn commit(fault: &Fault, batch: &Batch) -> CommitError {
    let unknown = || CommitError::Unknown { reason: fault.to_string(), retry_after: fault.retry_after() };
    let Fault::Answer { status, code, index, retry_after } = fault else {
        return match fault {
            // The request was never sent.
            Fault::NoToken => CommitError::Denied { code: "NoToken".to_owned(), retry_after: None },
            _ => unknown(),
        };
    };
    let (index, named) = (*index, || if code.is_empty() { format!("status {status}") } else { code.clone() });
    let denied = || CommitError::Denied { code: named(), retry_after: *retry_after };
    match (status, code.as_str()) {
        (412, _) => CommitError::Changed { index },
        (404 | 409, "TableNotFound" | "TableBeingDeleted") => CommitError::NoTable,
        (404, "ResourceNotFound" | "EntityNotFound") if meets_no_row(batch, index) => {
            CommitError::Missing { index }
        }
        (404, "ResourceNotFound" | "EntityNotFound") => CommitError::Changed { index },
        (409, "EntityAlreadyExists" | "") => CommitError::Exists { index },
        // Without one of those codes the answer is about the way to the rows, not about them.
        (401 | 403 | 404 | 409 | 429, _) => denied(),
        (408, _) => unknown(),
        (400..500, _) => CommitError::Refused { code: named() },
        _ => unknown(),
    }
}

/// Whether "no such row" is about an operation that only wants its row to be there. Where the service
/// names no operation, a replace makes it a change: reading again answers both.
fn meets_no_row(batch: &Batch, index: Option<usize>) -> bool {
    let ops = batch.ops();
    match index.and_then(|index| ops.get(index)) {
        Some(op) => matches!(op, Op::Overwrite(_) | Op::Delete(_)),
        None => !ops.iter().any(|op| matches!(op, Op::Replace(..))),
    }
}

/// Why a read failed, or the making of a table.
pub(super) fn read(fault: &Fault) -> ReadError {
    match fault {
        Fault::Answer { status: 404 | 409, code, .. }
            if code == "TableNotFound" || code == "TableBeingDeleted" =>
        {
            ReadError::NoTable
        }
        Fault::TooLarge => ReadError::TooLarge,
        _ => unavailable(fault),
    }
}

/// Storage cannot be used now.
pub(super) fn unavailable(fault: &Fault) -> ReadError {
    ReadError::Unavailable { reason: fault.to_string(), retry_after: fault.retry_after() }
}

/// Whether the service says that there is no such row. A 404 without that code may come from
/// anything on the way, and must not read as "no row".
pub(super) fn no_row(fault: &Fault) -> bool {
    matches!(fault, Fault::Answer { status: 404, code, .. } if code == "ResourceNotFound" || code == "EntityNotFound")
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::store::table::{ETag, Row};

    fn batch() -> Batch {
        let etag = ETag(Arc::from("W/\"1\""));
        let ops = vec![
            Op::Replace(Row::new("head"), etag),
            Op::Insert(Row::new("a")),
            Op::Upsert(Row::new("b")),
            Op::Delete("c".into()),
            Op::Overwrite(Row::new("d")),
        ];
        Batch::new("p", ops).unwrap()
    }

    fn answer(status: u16, code: &str, index: Option<usize>) -> Fault {
        Fault::Answer { status, code: code.into(), index, retry_after: Some(Duration::from_secs(2)) }
    }

    #[test]
    fn an_answer_that_names_its_cause_proves_that_nothing_was_committed() {
        let retry_after = Some(Duration::from_secs(2));
        let (no, one, three, four) = (None, Some(1), Some(3), Some(4));
        let refused = |code: &str| CommitError::Refused { code: code.into() };
        let denied = |code: &str| CommitError::Denied { code: code.into(), retry_after };
        let unknown = |reason: &str| CommitError::Unknown { reason: reason.into(), retry_after };
        for (status, code, index, wanted) in [
            (412, "UpdateConditionNotSatisfied", Some(0), CommitError::Changed { index: Some(0) }),
            (412, "", no, CommitError::Changed { index: no }),
            (404, "ResourceNotFound", Some(0), CommitError::Changed { index: Some(0) }),
            (404, "ResourceNotFound", three, CommitError::Missing { index: three }),
            (404, "ResourceNotFound", four, CommitError::Missing { index: four }),
            (404, "ResourceNotFound", no, CommitError::Changed { index: no }),
            (404, "TableNotFound", Some(0), CommitError::NoTable),
            (409, "TableBeingDeleted", no, CommitError::NoTable),
            (404, "", no, denied("status 404")),
            (409, "EntityAlreadyExists", one, CommitError::Exists { index: one }),
            (409, "", one, CommitError::Exists { index: one }),
            (409, "AccountIsDisabled", no, denied("AccountIsDisabled")),
            (400, "InvalidInput", no, refused("InvalidInput")),
            (413, "RequestBodyTooLarge", no, refused("RequestBodyTooLarge")),
            (401, "", no, denied("status 401")),
            (403, "AuthorizationFailure", no, denied("AuthorizationFailure")),
            (429, "TooManyRequests", no, denied("TooManyRequests")),
            (408, "", no, unknown("status 408 ")),
            (500, "InternalError", no, unknown("status 500 InternalError")),
            (503, "ServerBusy", one, unknown("status 503 ServerBusy")),
            (302, "", no, unknown("status 302 ")),
        ] {
            assert_eq!(commit(&answer(status, code, index), &batch()), wanted, "{status} {code}");
        }
    }

    #[test]
    fn without_an_answer_nobody_knows() {
        for fault in [Fault::TimedOut, Fault::Broken, Fault::Unreachable, Fault::Senseless, Fault::TooLarge] {
            let CommitError::Unknown { reason, retry_after: None } = commit(&fault, &batch()) else {
                panic!("{fault:?} is an unknown outcome");
            };
            assert_eq!(reason, fault.to_string());
        }
        let denied = CommitError::Denied { code: "NoToken".into(), retry_after: None };
        assert_eq!(commit(&Fault::NoToken, &batch()), denied);
    }

    #[test]
    fn a_missing_row_of_a_batch_of_deletes_is_missing() {
        let deletes = Batch::new("p", vec![Op::Delete("a".into())]).unwrap();
        let missing = CommitError::Missing { index: None };
        assert_eq!(commit(&answer(404, "ResourceNotFound", None), &deletes), missing);
    }

    #[test]
    fn only_the_service_can_say_that_there_is_no_row() {
        assert!(no_row(&answer(404, "ResourceNotFound", None)));
        assert!(!no_row(&answer(404, "", None)), "a gateway's 404");
        assert!(!no_row(&answer(404, "TableNotFound", None)));
        assert_eq!(read(&answer(404, "TableNotFound", None)), ReadError::NoTable);
        assert_eq!(read(&Fault::TooLarge), ReadError::TooLarge);
        assert!(matches!(
            read(&answer(503, "ServerBusy", None)),
            ReadError::Unavailable { retry_after: Some(_), .. }
        ));
    }
}
