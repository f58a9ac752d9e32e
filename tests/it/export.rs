//! `dmad export`: what other programs read of it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::program::{EXPERIMENT, Outcome, Sandbox};
use crate::server::{Server, send};

/// A recorded study of two runs, of which the second failed, with a figure.
fn recorded() -> Sandbox {
    let sandbox = Sandbox::new();
    let base = EXPERIMENT.replacen("epochs = 1", "epochs = 3", 1).replacen("seeds", "classes = [\"disc\"]\nseeds", 1);
    let rest = "\n[[variant]]\nname = \"broken\"\nclasses = [\"plate\"]\n\n[[figure]]\nkind = \"learning\"\n";
    sandbox.write("experiment.toml", base + rest);
    let picture = "data/parts/plate/train/good/000.png";
    let whole = std::fs::read(sandbox.path(picture)).expect("a picture");
    sandbox.write(picture, &whole[..whole.len() / 2]);
    sandbox.dmad(&["run", "experiment.toml"]).says(1, &["1 runs done", "1 failed"]);
    sandbox
}

fn json_of(outcome: &Outcome) -> Json {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", outcome.stdout, outcome.stderr))
}

/// Id of a run by its variant.
fn id(sandbox: &Sandbox, variant: &str) -> String {
    let list = json_of(&sandbox.dmad(&["runs", "list", "--format", "json", "--where", &format!("variant={variant}")]));
    list[0]["run"].as_str().expect("a run").to_string()
}

/// The image AUROC that `dmad report` gives.
fn image_auroc(sandbox: &Sandbox, run: &str) -> f64 {
    let shown = json_of(&sandbox.dmad(&["runs", "show", run, "--format", "json"]));
    shown["summary"]["image_auroc"].as_f64().expect("a number")
}

/// Runs a Python script that prints JSON, with the Python that has TensorBoard and MLflow.
fn python(sandbox: &Sandbox, script: &str, arguments: &[&str]) -> Json {
    let output = interpreter().args(["-c", script]).args(arguments).current_dir(sandbox.path(".")).output();
    let output = output.expect("Python starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {text} {told}"))
}

/// The Python of `DMAD_PYTHON`, else that of the README's folder, else the system's.
pub fn interpreter() -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/trackers/bin/python");
    let other = if own.is_file() { own } else { PathBuf::from("python3") };
    Command::new(std::env::var_os("DMAD_PYTHON").map_or(other, PathBuf::from))
}

#[test]
fn tables_hold_settings_epochs_metrics_and_the_failed_run() {
    let sandbox = recorded();
    let exported = sandbox.dmad(&["export", "csv", "experiment.toml", "--out", "tables", "--format", "json"]);
    exported.says(0, &[]);
    assert_eq!(json_of(&exported)["runs"], 2);
    let table = |name: &str| {
        let text = std::fs::read_to_string(sandbox.path(&format!("tables/{name}.csv"))).expect("a table");
        text.lines().map(str::to_string).collect::<Vec<_>>()
    };
    let (full, broken) = (id(&sandbox, "full"), id(&sandbox, "broken"));
    let runs = table("runs");
    assert!(runs[0].starts_with("experiment,run,variant,method,dataset,seed,seen_anomalies,status,error"), "{runs:?}");
    assert!(runs[1].starts_with(&format!("experiment,{full},full,dmad,parts,0,1,ok,,")), "{runs:?}");
    assert!(runs[2].contains(&format!("{broken},broken")) && runs[2].contains(",failed,"), "{runs:?}");
    let record = std::fs::read_to_string(sandbox.path(&format!("results/experiment/runs/{full}/run.toml")));
    let record: toml::Table = record.expect("a record").parse().expect("TOML");
    let date = record["environment"]["date"].as_str().expect("a date");
    assert!(runs[1].contains(&format!(",{date},")), "when it ended, as everywhere: {runs:?}");
    let parameters = table("parameters");
    assert!(parameters.contains(&format!("experiment,{full},method.train.epochs,3")), "{parameters:?}");
    assert!(parameters.contains(&format!("experiment,{full},image.size,64")), "{parameters:?}");
    let losses: Vec<String> =
        table("epochs").into_iter().filter(|line| line.contains(&format!("{full},loss,"))).collect();
    assert_eq!(losses.len(), 3, "{losses:?}");
    let mean = format!("experiment,{full},mean,image_auroc,{}", image_auroc(&sandbox, &full));
    assert!(table("metrics").contains(&mean), "{mean}");
    assert!(!table("metrics").iter().any(|line| line.contains(&broken)), "a run that failed has no metric");
    assert!(sandbox.path("tables/figures/experiment/figure1.png").is_file());
    // One run by its id, and nothing twice.
    let one = sandbox.dmad(&["export", "csv", &full[..6], "experiment.toml", "--out", "more", "--format", "json"]);
    assert_eq!(json_of(&one)["runs"], 2, "{}", one.stderr);
    sandbox.dmad(&["export", "csv", "zzzz", "--out", "none"]).says(2, &["no run `zzzz`"]);
    sandbox.dmad(&["export", "csv", "--out", "none"]).says(2, &["<RUNS>"]);
}

#[test]
#[cfg_attr(
    not(dmad_trackers),
    ignore = "needs Python with tensorboard, mlflow, maturin, polars and pandas in target/trackers, or DMAD_PYTHON"
)]
fn tensorboard_reads_scalars_texts_and_figures() {
    let sandbox = recorded();
    let export = || sandbox.dmad(&["export", "tensorboard", "results/experiment", "--out", "logs"]);
    export().says(0, &[]);
    export().says(0, &[]);
    let read = "
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0, 'tensors': 0, 'images': 0})
events.Reload()
tags = events.Tags()
print(json.dumps({
    'scalars': {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags['scalars']},
    'texts': {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags['tensors']},
    'plugins': {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags['tensors']},
    'images': {tag: [events.Images(tag)[0].width, events.Images(tag)[0].height, len(events.Images(tag)[0].encoded_image_string)] for tag in tags['images']},
}))";
    let (full, broken) = (id(&sandbox, "full"), id(&sandbox, "broken"));
    let told = python(&sandbox, read, &[&format!("logs/experiment/{full}")]);
    let losses = told["scalars"]["loss"].as_array().expect("losses");
    assert_eq!(losses.iter().map(|loss| loss[0].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)], "{told}");
    let own = told["scalars"]["image_auroc"][0].as_array().expect("a value").clone();
    let expected = image_auroc(&sandbox, &full);
    assert_eq!(own[0], 3);
    assert!((own[1].as_f64().expect("a number") - expected).abs() < 1e-6, "{own:?} against {expected}");
    assert!(told["scalars"]["pixel_auroc/disc"].is_array(), "{told}");
    assert!(told["texts"]["tags"].as_str().is_some_and(|text| text.contains(&full)), "{told}");
    assert!(
        told["texts"]["parameters"].as_str().is_some_and(|text| text.contains("| method.train.epochs | 3 |")),
        "{told}"
    );
    assert_eq!(told["plugins"]["parameters"], "text");
    let picture = std::fs::read(sandbox.path("results/experiment/figures/figure1.png")).expect("a figure");
    let size = image::load_from_memory(&picture).expect("a picture");
    assert_eq!(told["images"]["figures/figure1"], json!([size.width(), size.height(), picture.len()]));
    let failed = python(&sandbox, read, &[&format!("logs/experiment/{broken}")]);
    assert!(failed["texts"]["failed"].as_str().is_some_and(|text| text.contains("000.png")), "{failed}");
    assert_eq!(failed["scalars"], json!({}));
}

/// A tracking server on the loopback interface, with all that it starts; it ends with the test.
struct Tracking {
    child: Child,
    url: String,
}

impl Tracking {
    fn start(sandbox: &Sandbox, port: u16) -> Tracking {
        let mut command = interpreter();
        let port_text = port.to_string();
        command
            .args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", &port_text, "--workers", "1"])
            .args(["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "mlflow-artifacts"])
            .current_dir(sandbox.path("."))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(sandbox.path("mlflow.log")).expect("a file"))
            .process_group(0);
        let tracking =
            Tracking { child: command.spawn().expect("the server starts"), url: format!("http://127.0.0.1:{port}") };
        let healthy = || dmad::fetch::exchange("GET", &format!("{}/health", tracking.url), None, None).is_ok();
        for _ in 0..300 {
            if healthy() {
                return tracking;
            }
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        panic!("no server: {}", std::fs::read_to_string(sandbox.path("mlflow.log")).unwrap_or_default());
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        // SAFETY: a signal to the group of the process that was started here, which has not been waited for yet.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

#[test]
#[cfg_attr(
    not(dmad_trackers),
    ignore = "needs Python with tensorboard, mlflow, maturin, polars and pandas in target/trackers, or DMAD_PYTHON"
)]
fn mlflow_is_sent_what_waited_while_it_was_away_and_nothing_twice() {
    let sandbox = recorded();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let away = sandbox.dmad(&["export", "mlflow", "experiment.toml", "--url", &url]);
    away.says(1, &["the server is away", "2 runs wait in results/mlflow-spool", "dmad export mlflow --spool"]);
    let tracking = Tracking::start(&sandbox, port);
    let sent = sandbox.dmad(&["export", "mlflow", "--spool", "--url", &tracking.url, "--format", "json"]);
    sent.says(0, &[]);
    assert_eq!(json_of(&sent), json!({ "url": url, "sent": 2, "there": 0, "waiting": 0 }), "{}", sent.stderr);
    let again = sandbox.dmad(&["export", "mlflow", "experiment.toml", "--url", &tracking.url]);
    again.says(0, &[]);
    assert!(again.stdout.contains("0 runs sent") && again.stdout.contains("2 were there"), "{}", again.stdout);
    let read = "
import sys, json, mlflow
client = mlflow.MlflowClient(sys.argv[1])
runs = client.search_runs([client.get_experiment_by_name('experiment').experiment_id])
print(json.dumps({run.data.tags['dmad.variant']: {
    'status': run.info.status, 'name': run.info.run_name, 'tags': run.data.tags, 'parameters': run.data.params,
    'metrics': run.data.metrics, 'losses': [[m.step, m.value] for m in client.get_metric_history(run.info.run_id, 'loss')],
    'figures': [f.path for f in client.list_artifacts(run.info.run_id, 'figures')],
} for run in runs}))";
    let told = python(&sandbox, read, &[&tracking.url]);
    let (full, broken) = (&told["full"], &told["broken"]);
    assert_eq!((&full["status"], &broken["status"]), (&json!("FINISHED"), &json!("FAILED")), "{told}");
    assert_eq!(full["tags"]["dmad.run"], id(&sandbox, "full").as_str());
    assert_eq!(full["parameters"]["method.train.epochs"], "3");
    assert_eq!(full["losses"].as_array().map(Vec::len), Some(3), "{told}");
    assert_eq!(full["metrics"]["image_auroc"].as_f64(), Some(image_auroc(&sandbox, &id(&sandbox, "full"))));
    assert_eq!(full["figures"], json!(["figures/figure1.png"]));
    assert!(broken["tags"]["dmad.error"].as_str().is_some_and(|why| why.contains("000.png")), "{told}");
}

#[test]
fn a_server_that_cannot_is_asked_again_and_one_that_will_not_is_quoted() {
    let sandbox = recorded();
    let answers = Arc::new(Mutex::new("503 Service Unavailable"));
    let told = answers.clone();
    let server = Server::new(move |_, _, stream| {
        let status = *told.lock().expect("whole");
        send(stream, status, &[("Content-Length", "24".into())], b"{\"message\": \"not today\"}")
    });
    let export = |more: &[&str]| sandbox.dmad(&[&["export", "mlflow", "--url", &server.url], more].concat());
    let full = id(&sandbox, "full");
    export(&[&full]).says(1, &["the server is away", "it answers 503", "1 runs wait"]);
    assert_eq!(server.seen().len(), 3, "it is asked three times");
    *answers.lock().expect("whole") = "403 Forbidden";
    export(&["--spool"]).says(2, &["refuses experiments/get-by-name", "not today"]);
    let waiting = std::fs::read_dir(sandbox.path("results/mlflow-spool")).expect("a folder").count();
    assert_eq!(waiting, 1, "what was refused waits on");
    sandbox.write("results/mlflow-spool/other.json", "{}");
    export(&["--spool"]).says(2, &["other.json", "is no run that waits"]);
    export(&[]).says(2, &["<RUNS>"]);
    sandbox.dmad(&["export", "mlflow", &full, "--url", "localhost:5000"]).says(2, &["no address of a server"]);
}

#[test]
fn tracking_tells_while_runs_are_recorded_and_fails_none_of_them() {
    let sandbox = Sandbox::new();
    let plan = json_of(&sandbox.dmad(&["plan", "experiment.toml", "--format", "json"]));
    let url = format!("http://127.0.0.1:{}", free_port());
    let tracking = format!("[tracking]\ncsv = \"tables\"\ntensorboard = \"logs\"\nmlflow = \"{url}\"\n");
    sandbox.write("experiment.toml", format!("{EXPERIMENT}\n{tracking}"));
    let run = sandbox.dmad(&["run", "experiment.toml"]);
    run.says(0, &["1 runs done", "note: tracking: the server is away", "dmad export mlflow --spool"]);
    let full = id(&sandbox, "full");
    assert_eq!(plan["runs"][0]["run"], full.as_str(), "who is told is no setting of a run");
    for path in [format!("logs/experiment/{full}"), format!("results/mlflow-spool/experiment-{full}.json")] {
        assert!(sandbox.path(&path).exists(), "{path}");
    }
    let runs = std::fs::read_to_string(sandbox.path("tables/runs.csv")).expect("a table");
    assert!(runs.contains(&full), "{runs}");
    // A folder that cannot be written is a note as well.
    sandbox.write("blocked", "a file");
    sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[tracking]\ntensorboard = \"blocked/logs\"\n"));
    sandbox.dmad(&["run", "experiment.toml"]).says(0, &["note: tracking:", "blocked", "`dmad export` hands them on"]);
    sandbox.write("experiment.toml", format!("{EXPERIMENT}\n[tracking]\nmlfow = \"x\"\n"));
    sandbox.dmad(&["plan", "experiment.toml"]).says(2, &["unknown key `tracking.mlfow`", "did you mean `mlflow`?"]);
}
