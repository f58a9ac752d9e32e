//! `dmad man`: the manual pages.

use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::error::{Error, Result};
use crate::store::write_atomically;

/// Print the manual page of the program, or write those of all its commands.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad man | man -l -                     read it
  dmad man --out ~/.local/share/man/man1  install all of them: man dmad, man dmad-run, man dmad-data-verify …")]
pub struct Args {
    /// Write the page of every command into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the page, or writes all and prints their paths.
pub(super) fn run(args: &Args) -> Result<()> {
    let mut command = super::command();
    command.build();
    let Some(folder) = &args.out else {
        let page = rendered(&command, Path::new("dmad.1"))?;
        return super::print(String::from_utf8_lossy(&page).trim_end());
    };
    let mut written = Vec::new();
    write(&command, folder, &mut written)?;
    super::print(&written.join("\n"))
}

/// Writes a command's page, then those of the commands below it. What is built knows itself as `dmad-data-verify`.
fn write(command: &Command, folder: &Path, written: &mut Vec<String>) -> Result<()> {
    let path = folder.join(format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name())));
    write_atomically(&path, &rendered(command, &path)?)?;
    written.push(path.display().to_string());
    let mut below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    below.try_for_each(|below| write(below, folder, written))
}

fn rendered(command: &Command, path: &Path) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(Error::io("make", path))?;
    Ok(page)
}
