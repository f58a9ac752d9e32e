//! `dmad submit slurm` on a real Slurm that the test starts for itself on loopback, and ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::resume::{Place, difference};

/// Slurm's controller, its daemon for this machine, and the service that tells them who is who.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        let cluster = Cluster { folder: tempfile::tempdir().expect("a folder") };
        let at = |name: &str| cluster.folder.path().join(name).to_string_lossy().into_owned();
        for name in ["state", "spool", "run", "log"] {
            std::fs::create_dir(at(name)).expect("a folder");
        }
        std::fs::write(at("run/key"), blake3::hash(at("").as_bytes()).to_hex().repeat(8)).expect("a key");
        let only_mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(at("run/key"), only_mine).expect("a private key");
        std::fs::write(cluster.configuration(), cluster.text()).expect("a configuration");
        let (key, socket, pid) = (at("run/key"), at("run/munge"), at("run/munged.pid"));
        let munged = [&format!("--key-file={key}"), &format!("--socket={socket}"), &format!("--pid-file={pid}")];
        let files = [&format!("--log-file={}", at("log/munged")), &format!("--seed-file={}", at("run/seed"))];
        cluster.does(Command::new("munged").arg("--force").args(munged).args(files));
        cluster.does(&mut Command::new("slurmctld"));
        cluster.does(&mut Command::new("slurmd"));
        cluster.until("a node is idle", |cluster| cluster.says("sinfo", &["-h", "-o", "%t"]).contains("idle"));
        cluster
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    fn text(&self) -> String {
        let (folder, host) = (self.folder.path().display(), host());
        let [controller, daemon] = ports();
        format!(
            "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthInfo=socket={folder}/run/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"
        )
    }

    /// A command with this Slurm as its own.
    fn output(&self, command: &mut Command) -> Output {
        command.env("SLURM_CONF", self.configuration()).output().expect("the command starts")
    }

    fn does(&self, command: &mut Command) -> String {
        let output = self.output(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}{}", self.logs());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn says(&self, command: &str, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(Command::new(command).args(arguments)).stdout).into_owned()
    }

    fn logs(&self) -> String {
        let log = |name| std::fs::read_to_string(self.folder.path().join("log").join(name)).unwrap_or_default();
        ["munged", "slurmctld", "slurmd"].map(log).join("\n")
    }

    fn until(&self, what: &str, is_so: impl Fn(&Cluster) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(180);
        while !is_so(self) {
            let queue = self.says("squeue", &[]);
            assert!(Instant::now() < deadline, "waited in vain until {what}\n{queue}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.output(Command::new("scancel").args(["--user", "root"]));
        for daemon in ["slurmd", "slurmctld", "munged"] {
            let file = self.folder.path().join("run").join(format!("{daemon}.pid"));
            let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else {
                continue;
            };
            // SAFETY: signals to daemons that this test has started; they wait for nobody.
            unsafe {
                libc::kill(pid, libc::SIGTERM);
                let deadline = Instant::now() + Duration::from_secs(10);
                while libc::kill(pid, 0) == 0 && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                }
                libc::kill(pid, libc::SIGKILL);
            }
        }
    }
}

/// The name by which Slurm knows this machine.
fn host() -> String {
    let name = Command::new("hostname").arg("-s").output().expect("a name").stdout;
    String::from_utf8_lossy(&name).trim().to_string()
}

/// Two ports that nobody uses.
fn ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("an address").port())
}

fn submit(cluster: &Cluster, place: &Place, jobs: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
    command.current_dir(place.path()).args(["submit", "slurm", "study.toml", "--jobs", jobs]);
    command.args(["--results", "shared/results", "--store", "shared/store"]);
    cluster.does(&mut command)
}

/// Processes of the study that are at work for this place.
fn tasks(place: &Place) -> Vec<i32> {
    let is_task = |folder: &Path| std::fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd == place.path());
    let own = |folder: &Path| {
        std::fs::read(folder.join("cmdline")).is_ok_and(|line| line.starts_with(env!("CARGO_BIN_EXE_dmad").as_bytes()))
    };
    let all = std::fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
    let found = all.filter(|folder| is_task(folder) && own(folder));
    found.filter_map(|folder| folder.file_name()?.to_str()?.parse().ok()).collect()
}

#[test]
#[cfg_attr(not(dmad_slurm), ignore = "needs Slurm (Debian: slurmctld, slurmd, slurm-client, munge)")]
fn an_array_job_with_a_killed_and_a_requeued_task_leaves_the_bytes_of_one_process() {
    let place = Place::new();
    place.finish("alone", &["--threads", "1"]); // as many as a task of the array has
    let cluster = Cluster::start();
    let said = submit(&cluster, &place, "3");
    let job = said.split([' ', ':']).nth(1).expect("a number").to_string();
    assert!(said.starts_with("job ") && said.contains("3 tasks") && said.contains("dmad status study.toml"), "{said}");
    cluster.until("three tasks are at work", |_| tasks(&place).len() == 3 || !place.stage_keys("shared").is_empty());

    // One task dies, another is queued again by hand.
    if let Some(&pid) = tasks(&place).first() {
        // SAFETY: a signal to a process of this test.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    let task = format!("{job}_3");
    let requeued = cluster.output(Command::new("scontrol").args(["requeue", &task])).status.success();
    if requeued {
        // Slurm holds what is queued again back for two minutes.
        cluster.until("it begins again", |cluster| {
            let begin =
                cluster.output(Command::new("scontrol").args(["update", &format!("JobId={task}"), "StartTime=now"]));
            begin.status.success()
        });
    }
    cluster.until("all has ended", |cluster| cluster.says("squeue", &["-h"]).trim().is_empty());

    let shared = place.recorded("shared");
    let (records, expected) = (place.path().join("shared/results"), place.recorded("alone"));
    assert!(shared == expected, "{}", difference(&shared, &expected));
    assert_eq!(place.stage_keys("shared"), place.stage_keys("alone"), "every stage is there, and no checkpoint");
    let logs: Vec<PathBuf> =
        std::fs::read_dir(records.join("slurm")).expect("a folder").flatten().map(|entry| entry.path()).collect();
    let report = logs.iter().find(|path| path.to_string_lossy().ends_with("-report.log")).expect("a report");
    assert!(std::fs::read_to_string(report).expect("its text").contains("image_auroc"));
    assert!(requeued, "the task had ended before it could be queued again");
}

#[test]
#[cfg_attr(not(dmad_slurm), ignore = "needs Slurm (Debian: slurmctld, slurmd, slurm-client, munge)")]
fn a_task_whose_time_is_nearly_over_leaves_a_checkpoint_and_is_queued_again() {
    let place = Place::long(400);
    let cluster = Cluster::start();
    let said = submit(&cluster, &place, "1");
    let job = said.split([' ', ':']).nth(1).expect("a number").to_string();
    cluster.until("an epoch is over", |_| place.newest_checkpoint("shared").is_some());
    cluster.does(Command::new("scancel").args(["--batch", "--signal=TERM", &format!("{job}_1")]));
    cluster.until("it is queued again", |cluster| {
        cluster.says("squeue", &["-h", "-j", &job, "-o", "%r"]).contains("BeginTime")
    });
    assert!(tasks(&place).is_empty() && place.newest_checkpoint("shared").is_some());
    let log = place.path().join(format!("shared/results/slurm/{job}_1.log"));
    let said = std::fs::read_to_string(log).expect("a log");
    assert!(said.contains("stopping: ") && said.contains("the same command goes on from here"), "{said}");
}

#[test]
fn a_dry_run_prints_the_script_and_submits_nothing() {
    let place = Place::new();
    let submit = |files: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
        // Nothing that could be submitted with is found.
        command.current_dir(place.path()).env("PATH", "/nowhere").args(["submit", "slurm"]).args(files);
        let output =
            command.args(["--device", "cuda", "--jobs", "8", "--seeds", "0"]).output().expect("the program starts");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code(), out, err)
    };
    let (code, script, _) = submit(&["study.toml", "--dry-run"]);
    assert_eq!(code, Some(0));
    for words in [
        "#SBATCH --requeue",
        "--signal=B:TERM",
        " run study.toml --seeds 0 --device cuda",
        "--array=1-8",
        "--dependency=afterany:JOB",
    ] {
        assert!(script.contains(words), "no {words:?} in\n{script}");
    }
    let (code, _, said) = submit(&["study.toml"]);
    assert!(code == Some(2) && said.contains("--dry-run prints the script"), "{said}");
    let (code, script, _) = submit(&["study.toml", "--dry-run", "--only", "f*", "--set", "method.train.epochs=1"]);
    assert!(
        code == Some(0) && script.contains(" run study.toml --set method.train.epochs=1 --seeds 0 --only 'f*' "),
        "{script}"
    );
    assert!(script.contains(" report study.toml --set method.train.epochs=1 "), "{script}");
    // What every task would refuse is refused here.
    for (more, told) in [
        (&["none.toml"][..], "none.toml"),
        (&["study.toml", "--only", "nothing"], "no run matches --only nothing"),
        (&["study.toml", "study.toml"], "would share a results folder"),
        (&["study.toml", "--set", "method.nothing=1"], "nothing"),
        (&["study.toml", "--seeds", "one"], "one"),
    ] {
        let (code, _, said) = submit(more);
        assert!(code == Some(2) && said.contains(told), "{more:?}: {said}");
    }
}
