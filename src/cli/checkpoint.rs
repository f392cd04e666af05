//! `annals checkpoint`.

use clap::Subcommand;

use super::show;
use crate::checkpoint::SigningKey;

/// `annals checkpoint …`
#[derive(Debug, Subcommand)]
pub(super) enum CheckpointCommand {
    /// Make a key: the secret line belongs into a vault, the public one to everybody who verifies.
    Key {
        /// Its name, such as `annals.example/prod`.
        #[arg(long)]
        name: String,
    },
}

pub(super) fn checkpoint(command: CheckpointCommand) -> anyhow::Result<()> {
    match command {
        CheckpointCommand::Key { name } => {
            let key = SigningKey::generate(&name)?;
            show(&key.secret());
            show(&key.verifier().to_string());
        }
    }
    Ok(())
}
