//! `dmad submit`: experiments as an array job of a scheduler.
//!
//! Owns: the batch script and how it is handed over. Does not own: who computes what, which the store decides: every task of the
//! array is the same `dmad run`, takes what nobody computes, and waits at the end for what others compute.

use std::path::Path;
use std::process::Command;

use super::{Common, choice::Selection, quoted};
use crate::clock;
use crate::error::{Error, Result};
use crate::run::STOPPED;
use crate::store::write_atomically;

/// Hand experiments to a scheduler.
#[derive(clap::Subcommand, Debug)]
pub enum SubmitCommand {
    /// An array job of Slurm over the shared store and results, and a report when it has ended.
    Slurm(Slurm),
}

/// An array job of Slurm.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  dmad submit slurm experiments/real/mini.toml --jobs 8
  dmad submit slurm experiments/paper/*.toml --jobs 16 --device cuda -- --gres=gpu:1 --time=8:00:00 --partition=gpu
  dmad submit slurm experiments/real/mini.toml --jobs 8 --dry-run      the script alone
Every task of the array takes what no other computes. A task that is lost costs its own stage; one that is told to end (SIGTERM, two
minutes before its time is over) leaves a checkpoint and is queued again. Folders must be seen by all nodes.")]
pub struct Slurm {
    #[command(flatten)]
    selection: Selection,
    /// Tasks of the array
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9999))]
    jobs: u16,
    /// Print the script and the commands; submit nothing
    #[arg(long)]
    dry_run: bool,
    /// Options for sbatch, after `--`
    #[arg(last = true, value_name = "SBATCH OPTION")]
    options: Vec<String>,
}

/// Submits.
pub fn run(command: &SubmitCommand, common: &Common) -> Result<()> {
    let SubmitCommand::Slurm(slurm) = command;
    slurm.submit(common)
}

impl Slurm {
    fn submit(&self, common: &Common) -> Result<()> {
        // What is wrong is said here, not by every task.
        let chosen = self.selection.load()?;
        let name = match chosen.as_slice() {
            [(one, _)] => one.name.clone(),
            several => format!("{}-and-{}-more", several[0].0.name, several.len() - 1),
        };
        let program = std::env::current_exe().map_err(Error::io("find", "this program"))?;
        let folder = common.results.join("slurm");
        let script = folder.join(format!("{name}-{}.sh", clock::date().replace(':', "")));
        let text = self.script(&program, &folder, common);
        let array = self.sbatch(&[
            format!("--job-name=dmad-{name}"),
            format!("--array=1-{}", self.jobs),
            script.to_string_lossy().into_owned(),
        ]);
        let report = |job: &str| {
            let report = format!("{} report{}{}", quoted(&program.to_string_lossy()), self.what(), common.given());
            let log = folder.join("%j-report.log");
            self.sbatch(&[
                format!("--job-name=dmad-{name}-report"),
                format!("--dependency=afterany:{job}"),
                format!("--output={}", log.display()),
                format!("--wrap={report}"),
            ])
        };
        if self.dry_run {
            let shown = |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            return super::print(&format!("{text}\n# {}\n# {}", shown(&array), shown(&report("JOB"))));
        }
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        write_atomically(&script, text.as_bytes())?;
        let job = submitted(&array)?;
        let after = submitted(&report(&job))?;
        let log = folder.join(format!("{job}_1.log"));
        super::print(&format!(
            "job {job}: {} tasks ({}), then job {after}: the report\n  what they say: {} …\n  what is done: dmad status{}{}",
            self.jobs,
            script.display(),
            log.display(),
            self.what(),
            common.given()
        ))
    }

    /// The files and what is set of them, for commands that show whatever runs are there.
    fn what(&self) -> String {
        let files = self.selection.files.iter().map(|file| format!(" {}", quoted(&file.to_string_lossy())));
        files.collect::<String>() + &self.selection.overrides.given()
    }

    /// The call of sbatch with these arguments, behind the user's options, which overrule those in the script.
    fn sbatch(&self, own: &[String]) -> Vec<String> {
        let mut words = vec!["sbatch".to_string(), "--parsable".into()];
        words.extend(self.options.iter().cloned());
        words.extend_from_slice(own);
        words
    }

    /// What every task does.
    fn script(&self, program: &Path, folder: &Path, common: &Common) -> String {
        let mut call = format!("{} run{}", quoted(&program.to_string_lossy()), self.selection.given());
        call += &common.given();
        if common.threads.is_none() {
            // Not every site binds a task to its processors.
            call += " --threads \"${SLURM_CPUS_PER_TASK:-1}\"";
        }
        if common.memory.is_none() {
            // In MB, where the site counts memory; the rest is for what does not grow with the data.
            call += " ${SLURM_MEM_PER_NODE:+--memory \"$((SLURM_MEM_PER_NODE / 2))MB\"}";
        }
        format!(
            "#!/bin/bash
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
#SBATCH --output={log}
# A task takes what no other computes, and waits at the end for what others compute.
{call} &
task=$!
trap 'kill -TERM $task' TERM
wait $task; code=$?
while kill -0 $task 2> /dev/null; do wait $task; code=$?; done
# {STOPPED}: it was told to end and has left a checkpoint.
if [ $code -eq {STOPPED} ]; then
    scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\"
fi
exit $code
",
            log = folder.join("%A_%a.log").display()
        )
    }
}

/// Hands a job over; its number.
fn submitted(words: &[String]) -> Result<String> {
    let output = Command::new(&words[0]).args(&words[1..]).output().map_err(|fault| {
        let what = format!("{} cannot be called: {fault}", words[0]);
        Error::usage(what, "run this where Slurm's commands are; --dry-run prints the script for elsewhere")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(Error::usage(format!("{} refused the job: {said}", words[0]), "see `man sbatch`"));
    }
    // `JOB` or `JOB;CLUSTER`.
    let printed = String::from_utf8_lossy(&output.stdout);
    Ok(printed.trim().split(';').next().unwrap_or_default().to_string())
}
