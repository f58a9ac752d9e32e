//! Processes that are told to end, and file systems without locks: the same bytes in the end.

use std::path::Path;
use std::time::Duration;

use dmad::run::Event;

use crate::resume::{EPOCHS, Place, Process, difference, resumed};

#[test]
fn processes_on_a_file_system_without_locks_leave_the_same_bytes() {
    let place = Place::new();
    place.finish("alone", &[]);
    let processes: Vec<Process> = (0..3).map(|_| place.start("lockless", &["--no-locks"])).collect();
    processes.into_iter().for_each(|process| drop(process.finish()));
    // Views that several make at the same moment may miss another's last run; whoever looks again completes them.
    place.finish("lockless", &["--no-locks"]);
    let (mut found, expected) = (place.recorded("lockless"), place.recorded("alone"));
    // Of several that end at once none need see that it is the last; the finished page does not ask for this file.
    found.remove(Path::new("live.js"));
    assert!(found == expected, "{}", difference(&found, &expected));
    assert_eq!(place.stage_keys("lockless"), place.stage_keys("alone"));
    assert!(!place.path().join("lockless/store/locks").exists(), "a lock was asked for");
}

#[test]
fn a_study_that_is_told_to_end_does_so_at_a_safe_place_and_goes_on_from_there() {
    let place = Place::one_training();
    place.finish("undisturbed", &[]);
    for (attempt, more) in [("told", [].as_slice()), ("told_child", &["--isolate"])] {
        let mut process = place.start(attempt, more);
        while place.newest_checkpoint(attempt).is_none_or(|epoch| epoch < 2) {
            assert!(!process.has_ended(), "it ended before epoch 2 was seen");
            std::thread::sleep(Duration::from_micros(200));
        }
        // SAFETY: a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(process.id() as i32, libc::SIGTERM) }, 0);
        let (code, said) = process.end();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("stopping: ") && said.contains("the same command goes on from here"), "{said}");
        let before = place.newest_checkpoint(attempt).expect("a checkpoint");
        let went_on = resumed(&place.finish(attempt, &[]));
        assert_eq!(went_on, [(before + 1, EPOCHS)], "{attempt}");
        let (found, expected) = (place.recorded(attempt), place.recorded("undisturbed"));
        assert!(found == expected, "{attempt}: {}", difference(&found, &expected));
    }
}

#[test]
fn ctrl_c_in_a_terminal_is_heard_once_by_a_run_with_a_process_of_its_own() {
    let place = Place::one_training();
    // Epochs that are long beside the time until the parent passes on what the terminal has told both.
    let slow = ["--isolate", "--set", "method.mlp.hidden=2048", "--set", "image.size=128"];
    let mut process = place.start_group("group", &slow);
    while place.newest_checkpoint("group").is_none() {
        assert!(!process.has_ended(), "it ended before an epoch was seen");
        std::thread::sleep(Duration::from_micros(200));
    }
    // SAFETY: a signal to a group whose first process was not waited for.
    assert_eq!(unsafe { libc::kill(-(process.id() as i32), libc::SIGINT) }, 0);
    let (code, said) = process.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the same command goes on from here") && !said.contains("FAILED"), "{said}");
    assert!(!place.recorded("group").keys().any(|path| path.ends_with("run.toml")), "a failure was recorded");
}

#[test]
fn a_study_that_is_told_to_end_while_its_figures_are_made_says_so_and_makes_them_later() {
    let place = Place::with_figure();
    let mut process = place.start("told", &[]);
    let is_done = |event: &Event| matches!(event, Event::Done { .. });
    while !process.heard().iter().any(is_done) {
        assert!(!process.has_ended(), "it ended before its run was recorded");
        std::thread::sleep(Duration::from_micros(200));
    }
    // SAFETY: a signal to a child that was not waited for.
    assert_eq!(unsafe { libc::kill(process.id() as i32, libc::SIGTERM) }, 0);
    let (code, said) = process.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(!said.contains("lacks what it shows"), "{said}");
    place.finish("told", &[]);
    let figure = place.path().join("told/results/study/figures/figure1.svg");
    assert!(figure.is_file() && place.path().join("told/results/study/gallery").is_dir());
}
