//! `dmad completions`: what a shell needs to complete commands and options.

use clap_complete::{Shell, generate};

use crate::error::Result;

/// Print completions for a shell.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad completions bash > ~/.local/share/bash-completion/completions/dmad
  dmad completions zsh > ~/.zfunc/_dmad               with fpath+=~/.zfunc before compinit in ~/.zshrc
  dmad completions fish > ~/.config/fish/completions/dmad.fish
Made from the same description as --help, so they are those of this version: make them again after an update.")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut super::command(), "dmad", &mut script);
    super::print(String::from_utf8_lossy(&script).trim_end())
}
