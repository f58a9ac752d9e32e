//! What `dmad data fetch` and `dmad weights fetch` have in common: where from, and whether the licence is agreed to.

use std::io::{IsTerminal, Write};

use super::quoted;
use crate::console::{plain, say};
use crate::error::{Error, Result};

/// How something is fetched.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Fetching {
    /// Another place to get it from: the file's address, or, ending in /, that of the folder it is in
    #[arg(long = "from", value_name = "URL")]
    from: Option<String>,
    /// Agree to the licence, which is shown
    #[arg(long)]
    yes: bool,
}

/// Something that can be fetched.
pub(super) struct Offer<'a> {
    /// Which command fetches it, for what to type.
    pub command: &'a str,
    pub name: &'a str,
    pub url: &'a str,
    pub licence: &'a str,
    /// Whom to cite, or who made it.
    pub source: &'a str,
}

impl Fetching {
    /// The address, where another one than the catalog's was named.
    pub(super) fn url(&self, file: &str) -> Option<String> {
        let url = self.from.as_ref()?;
        Some(if url.ends_with('/') { format!("{url}{file}") } else { url.clone() })
    }

    /// Shows what is fetched under which licence, and asks.
    ///
    /// # Errors
    /// Nobody who could agree, or who did.
    pub(super) fn agree(&self, offer: &Offer) -> Result<()> {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_string() } else { text.to_string() };
        say!("{}: {}", offer.name, offer.url);
        say!("  licence: {}", or(offer.licence, "none stated; ask its authors before you rely on it"));
        say!("  source: {}", or(offer.source, "not stated"));
        if self.yes {
            return Ok(());
        }
        let refused = |what: &str| {
            let help = format!("agree with `dmad {} {} --yes`", offer.command, quoted(offer.name));
            Err(Error::usage(format!("{what}, so nothing was fetched"), help))
        };
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return refused("nobody is here to agree to this licence");
        }
        let mut answer = String::new();
        let mut stderr = std::io::stderr();
        let asked = write!(stderr, "{}", plain("Fetch it under this licence? [y/N] ")).and_then(|()| stderr.flush());
        let read = asked.and_then(|()| std::io::stdin().read_line(&mut answer));
        match (read, answer.trim().to_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => refused("the licence was not agreed to"),
        }
    }
}
