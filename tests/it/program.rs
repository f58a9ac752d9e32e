//! Runs the real program in a folder of its own, with a dataset so small that a study takes a second.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dmad::run::Event;
use image::{GrayImage, Luma, Rgb, RgbImage};

/// Two classes in MVTec's layout, two categories of textures.
const CATALOG: &str = r#"
[dataset.parts]
layout = "mvtec"
root = "parts"
classes = ["disc", "plate"]
counts = { disc = { train = 4, test_good = 2, test_bad = 3 }, plate = { train = 4, test_good = 2, test_bad = 3 } }

[dataset.cloth]
layout = "folder"
root = "cloth"
"#;

/// A study of one run of those parts.
pub const EXPERIMENT: &str = r#"# A study of one run.
title = "parts"
dataset = "parts"
seeds = [0]
metrics = ["image_auroc", "pixel_auroc"]

[protocol]
seen.count = 1

[image]
size = 64

[backbone]
name = "efficientnet_lite0"
layers = ["stride8", "stride16"]
weights = "imagenet"

[features]
aggregation = "concat"

[method]
name = "dmad"
bank.normal.ratio = 0.05
bank.normal.projection = 0
bank.outlier.dataset = "cloth"
mlp.hidden = 16
noise.std = 0.1
train.epochs = 1

[evaluation]
size = 64
"#;

/// A folder with `datasets.toml`, `data/`, and whatever a test writes; the program runs inside it.
pub struct Sandbox(tempfile::TempDir);

/// What a run of the program left.
pub struct Outcome {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// What happened, where the program ran studies.
    pub events: Vec<Event>,
}

impl Sandbox {
    /// A folder in which `dmad run experiment.toml` does everything it should.
    pub fn new() -> Sandbox {
        let sandbox = Sandbox(tempfile::tempdir().expect("a folder"));
        sandbox.write("datasets.toml", CATALOG);
        sandbox.write("experiment.toml", EXPERIMENT);
        for (number, class) in ["disc", "plate"].into_iter().enumerate() {
            let seed = 100 * number as u32;
            for image in 0..4 {
                sandbox.picture(&format!("data/parts/{class}/train/good/{image:03}.png"), seed + image, false);
            }
            for image in 0..2 {
                sandbox.picture(&format!("data/parts/{class}/test/good/{image:03}.png"), seed + 10 + image, false);
            }
            for image in 0..3 {
                sandbox.picture(&format!("data/parts/{class}/test/cut/{image:03}.png"), seed + 20 + image, true);
                sandbox.mask(&format!("data/parts/{class}/ground_truth/cut/{image:03}_mask.png"), 64, true);
            }
        }
        for (number, category) in ["linen", "wool"].into_iter().enumerate() {
            for image in 0..2 {
                sandbox.picture(&format!("data/cloth/{category}/{image}.png"), 1000 + 7 * number as u32 + image, false);
            }
        }
        sandbox
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }

    /// Writes the experiment with every first text replaced by the second.
    pub fn edit(&self, edits: &[(&str, &str)]) -> String {
        let text = edits.iter().fold(EXPERIMENT.to_string(), |text, (from, to)| {
            assert!(text.contains(from), "the experiment has no {from:?}");
            text.replacen(from, to, 1)
        });
        self.write("experiment.toml", &text);
        text
    }

    /// Runs the program.
    pub fn dmad(&self, arguments: &[&str]) -> Outcome {
        self.dmad_at(self.0.path(), arguments)
    }

    /// Runs the program in `folder`.
    pub fn dmad_at(&self, folder: &Path, arguments: &[&str]) -> Outcome {
        let heard = tempfile::NamedTempFile::new().expect("a file");
        let mut command = command(folder, arguments);
        if arguments.first() == Some(&"run") {
            command.arg("--events").arg(heard.path());
        }
        let output = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            events: events(heard.path()),
        };
        assert!(!outcome.stderr.contains("panicked"), "{arguments:?}: {}", outcome.stderr);
        outcome
    }

    /// Runs the program with nobody reading its standard output.
    pub fn dmad_unread(&self, arguments: &[&str]) -> Outcome {
        let mut child = command(self.0.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the program ends");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        Outcome { code: output.status.code().unwrap_or(-1), stdout: String::new(), stderr, events: Vec::new() }
    }

    /// A grey-brown picture with a pattern and noise of `seed`; a defect is a bright bar.
    pub fn picture(&self, name: &str, seed: u32, defect: bool) {
        let picture = RgbImage::from_fn(64, 64, |x, y| {
            let noise = ((x * 31 + y * 17 + seed * 101).wrapping_mul(2_654_435_761) >> 27) as u8;
            let wave = (40.0 * ((x + seed) as f32 / 5.0).sin() * (y as f32 / 7.0).cos()) as i32;
            let level = (110 + wave) as u8 + noise;
            if defect && is_bar(x, y) { Rgb([250, 240, 10]) } else { Rgb([level, level - 20, level - 40]) }
        });
        self.write(name, png(|out| picture.write_to(out, image::ImageFormat::Png)));
    }

    /// A mask of `side` × `side` pixels: the bar, or nothing.
    pub fn mask(&self, name: &str, side: u32, filled: bool) {
        let mask = GrayImage::from_fn(side, side, |x, y| Luma([if filled && is_bar(x, y) { 255 } else { 0 }]));
        self.write(name, png(|out| mask.write_to(out, image::ImageFormat::Png)));
    }
}

/// The program with these arguments, in `folder`, without the variables that name real data.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmad"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for variable in ["DMAD_DATA", "DMAD_WEIGHTS", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

/// The events that a program wrote; one that was killed may have left the last line half written.
pub fn events(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"))).collect()
}

/// Keys of the stages that were computed, in order.
pub fn computed(events: &[Event]) -> Vec<&str> {
    let computed = events.iter().filter_map(|event| match event {
        Event::Computed { key, .. } => Some(key.as_str()),
        _ => None,
    });
    computed.collect()
}

/// Runs done now, and runs that were up to date, of the only study that these events end.
pub fn finished(events: &[Event]) -> (usize, usize) {
    match events.iter().rfind(|event| matches!(event, Event::Finished { .. })) {
        Some(Event::Finished { done, current, .. }) => (*done, *current),
        _ => panic!("the study did not end: {events:?}"),
    }
}

fn is_bar(x: u32, y: u32) -> bool {
    (20..44).contains(&x) && (28..36).contains(&y)
}

fn png(write: impl FnOnce(&mut std::io::Cursor<Vec<u8>>) -> image::ImageResult<()>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    write(&mut bytes).expect("a PNG");
    bytes.into_inner()
}

/// `file:line:column` of the first `needle` in `text`.
pub fn place(file: &str, text: &str, needle: &str) -> String {
    let at = text.find(needle).unwrap_or_else(|| panic!("{needle:?} is not in {file}"));
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    format!("{file}:{line}:{}", before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}

impl Outcome {
    /// Exit code 2 and a message with all these words, before any record was made.
    pub fn refuses(&self, sandbox: &Sandbox, words: &[&str]) {
        self.says(2, words);
        assert!(!sandbox.path("results/experiment").exists(), "work had begun: {}", self.stderr);
    }

    /// This exit code, and all these words on standard error.
    pub fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "exit code; stderr: {}\nstdout: {}", self.stderr, self.stdout);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in:\n{}", self.stderr);
        }
    }
}
