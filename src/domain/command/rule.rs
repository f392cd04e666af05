//! The rules that refuse an operation, each with a stable code and a sentence for the caller.

use crate::domain::timestamp::Timestamp;

/// Why an operation on a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Nothing was dispatched under this id (yet).
    #[error("there is no such command")]
    Unknown,
    /// Another command has this id.
    #[error("another command was dispatched under this id")]
    Exists,
    /// It has ended.
    #[error("the command is {status}, which nothing changes any more")]
    Final {
        /// How.
        status: &'static str,
    },
    /// It may not run before people have agreed.
    #[error("the command waits for approval: nothing may run, so nothing can have come of it")]
    AwaitingApproval,
    /// An approved command is run under a claim.
    #[error("the command is approved: claim it before running it")]
    NotClaimed,
    /// An outcome under a claim repeats its fencing number.
    #[error("the outcome must repeat the `fence` of the claim")]
    FenceRequired,
    /// The claim is not, or no longer, the caller's.
    #[error(
        "the fence is not that of the current claim: it has ended, or somebody else has taken the command on"
    )]
    StaleFence,
    /// Somebody runs it.
    #[error("the command is claimed by somebody else until {until}")]
    Held {
        /// The version of the event that says by whom.
        fence: u64,
        /// Until when.
        until: Timestamp,
    },
    /// Only what was approved can be claimed.
    #[error("the command is {status}: only an approved command can be claimed")]
    NotApproved {
        /// What it is.
        status: &'static str,
    },
    /// Nobody has to agree to it.
    #[error("the command needs no approval")]
    NoApprovalNeeded,
    /// The person is not on the list.
    #[error("the command lists its approvers, and the actor is not one of them")]
    NotAnApprover,
    /// The person asked for it.
    #[error("whoever asked for a command may not decide on it")]
    RequesterExcluded,
    /// Only the requester takes a command back.
    #[error("only whoever asked for a command may withdraw it")]
    NotTheRequester,
    /// There is enough of this on record: a stream that anybody could make longer for ever would be read
    /// whole for every operation.
    #[error("the command has {most} {what} on record, and takes no more of them")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many it takes.
        most: usize,
    },
    /// It runs, or has run: there is nothing to take back.
    #[error("the command runs or may have run: it cannot be withdrawn any more")]
    Running,
}

impl Rule {
    /// Its stable code, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown-command",
            Self::Exists => "command-exists",
            Self::Final { .. } => "command-ended",
            Self::AwaitingApproval => "awaiting-approval",
            Self::NotClaimed => "not-claimed",
            Self::FenceRequired => "fence-required",
            Self::StaleFence => "stale-fence",
            Self::Held { .. } => "claimed-by-another",
            Self::NotApproved { .. } => "not-approved",
            Self::NoApprovalNeeded => "no-approval-needed",
            Self::NotAnApprover => "not-an-approver",
            Self::RequesterExcluded => "requester-excluded",
            Self::NotTheRequester => "not-the-requester",
            Self::Full { .. } => "command-full",
            Self::Running => "command-running",
        }
    }
}
