//! The form of what a run leaves.

use dmad::record::{ClassResult, ImageRow, MetricRow, RESULTS_VERSION, Results};

/// When this fails: raise `RESULTS_VERSION`, then write the new form here.
#[test]
fn the_form_of_kept_results_is_that_of_its_version() {
    let metric = MetricRow { metric: "m".into(), value: Some(0.5), reason: "r".into(), positives: 1, negatives: 2 };
    let image = ImageRow { class: "c".into(), path: "p".into(), defect: "d".into(), label: true, score: 0.25 };
    let classes = vec![ClassResult {
        name: "c".into(),
        metrics: vec![metric.clone()],
        images: vec![image],
        regions: 3,
        empty_masks: 4,
    }];
    let results = Results { classes, means: vec![metric], epoch: 5, curve: vec![None] };
    let row = r#"{"metric":"m","value":0.5,"reason":"r","positives":1,"negatives":2}"#;
    let image = r#"{"class":"c","path":"p","defect":"d","label":true,"score":0.25}"#;
    let class = format!(r#"{{"name":"c","metrics":[{row}],"images":[{image}],"regions":3,"empty_masks":4}}"#);
    let form = format!(r#"{{"classes":[{class}],"means":[{row}],"epoch":5,"curve":[null]}}"#);
    assert_eq!((RESULTS_VERSION, serde_json::to_string(&results).expect("plain data")), (1, form));
}
