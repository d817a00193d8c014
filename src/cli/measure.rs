//! `pye measure`

use super::{Status, output::Format};

/// Measure what processes that map a package really share
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Status> {
    options.format.print(&(), |()| String::new())?;
    Ok(Status::Done)
}
