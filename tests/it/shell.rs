//! Completions and manual pages: of every command, whatever is added.

use crate::program::Sandbox;

/// The commands that `--help` lists below a command.
fn commands(sandbox: &Sandbox, of: &[&str]) -> Vec<String> {
    let help = sandbox.dmad(&[of, &["--help"]].concat()).stdout;
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What is said of a command may go on in a line of its own, further to the right.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(String::from)).filter(|name| name != "help").collect()
}

#[test]
fn bash_completion_names_every_command_and_is_a_script() {
    let sandbox = Sandbox::new();
    let script = sandbox.dmad(&["completions", "bash"]);
    script.says(0, &[]);
    let all = commands(&sandbox, &[]);
    assert!(all.len() > 15 && all.contains(&"init".into()), "{all:?}");
    for command in &all {
        assert!(script.stdout.contains(&format!("dmad,{command})")), "{command} is not completed");
        for below in commands(&sandbox, &[command]) {
            assert!(script.stdout.contains(&format!("{command},{below})")), "{command} {below} is not completed");
        }
    }
    sandbox.write("dmad.bash", &script.stdout);
    let ask =
        "source ./dmad.bash; COMP_WORDS=(dmad data ver); COMP_CWORD=2; _dmad dmad ver data; echo \"${COMPREPLY[@]}\"";
    if let Ok(bash) = std::process::Command::new("bash").args(["-c", ask]).current_dir(sandbox.path(".")).output() {
        assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "verify", "{}", String::from_utf8_lossy(&bash.stderr));
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(sandbox.dmad(&["completions", shell]).stdout.contains("dmad"), "{shell}");
    }
    sandbox.dmad(&["completions", "csh"]).says(2, &["'csh'", "bash"]);
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new();
    let page = sandbox.dmad(&["man"]);
    page.says(0, &[]);
    assert!(page.stdout.contains(".TH dmad 1"), "{}", page.stdout);
    let written = sandbox.dmad(&["man", "--out", "man1"]);
    written.says(0, &[]);
    let mut expected = vec!["man1/dmad.1".to_string()];
    for command in commands(&sandbox, &[]) {
        expected.push(format!("man1/dmad-{command}.1"));
        expected.extend(commands(&sandbox, &[&command]).iter().map(|below| format!("man1/dmad-{command}-{below}.1")));
    }
    let mut paths: Vec<&str> = written.stdout.lines().collect();
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    let run = std::fs::read_to_string(sandbox.path("man1/dmad-run.1")).expect("a page");
    for word in [".TH dmad-run 1", "experiments/quickstart.toml", "fail\\-fast", ".SH OPTIONS"] {
        assert!(run.contains(word), "{word:?} is not in {run}");
    }
}
