//! The paper's numbers as printed: reading them, and finding one.

use std::path::Path;

use dmad::metrics::MetricName;
use dmad::paper::settings::{PaperSettings, compare};
use dmad::paper::{EMBEDDED, Printed, PrintedKey, PrintedValue, Published};
use dmad::spec::{Filter, RunSpec};

#[test]
fn a_printed_number_keeps_its_digits_and_its_rounding() {
    for (text, value, half_unit) in [("99.8", 99.8, 0.05), ("100", 100.0, 0.5), ("+1.20", 1.2, 0.005), ("-0", 0.0, 0.5)]
    {
        let printed = Printed::parse(text).expect(text);
        assert_eq!((printed.value(), printed.text()), (value, text));
        assert!((printed.half_unit() - half_unit).abs() < 1e-12, "{text}");
    }
    for text in ["", ".", "+", "1.", ".5", "1e2", " 1", "1,5", "NaN", "inf", "--1", "1.2.3", "9999999999999"] {
        assert_eq!(Printed::parse(text), None, "{text:?}");
    }
}

#[test]
fn the_papers_tables_are_read_whole_and_found_by_key() {
    let published = Published::embedded().expect("the embedded tables");
    assert_eq!(published.cells().len(), 1265);
    let key = |class: &str, metric| PrintedKey {
        table: "table1".into(),
        dataset: "visa".into(),
        class: class.into(),
        method: "dmad".into(),
        variant: "full".into(),
        anomalies_per_class: 10,
        metric,
    };
    let cell = published.find(&key("macaroni1", MetricName::ImageAuroc)).expect("a printed value");
    assert_eq!(cell.value.text(), "97.3");
    let line = "table1,visa,macaroni1,dmad,full,10,image_auroc,97.3,DMAD,2cls_fewshot,unified,48";
    assert_eq!(EMBEDDED.lines().nth(cell.line - 1), Some(line));
    assert_eq!(published.find(&key("macaroni3", MetricName::ImageAuroc)), None);
    assert_eq!(published.find(&key("macaroni1", MetricName::PixelPro)), None);
    assert_eq!(published.table("table2").count(), 15);
}

#[test]
fn a_broken_table_is_refused_with_file_and_line() {
    let head = "table,dataset,class,method,variant,anomalies_per_class,metric,value".to_string();
    let row = "table1,visa,candle,dmad,full,0,image_auroc,90.0";
    let fault = |text: String| Published::parse(&text, Path::new("copy.csv")).expect_err("a broken table").to_string();
    for (text, words) in [
        (String::new(), "line 1: the header is \"\""),
        (row.to_string(), "line 1: the header"),
        (head.clone(), "holds no value"),
        (format!("{head}\n{row}\n{row}"), "line 3: table1 visa candle dmad 0 image_auroc is already on line 2"),
        (format!("{head}\n{row},1"), "line 2: 9 fields"),
        (format!("{head}\n{row}\n\n"), "line 3: 1 fields"),
        (format!("{head}\n{}", row.replace("candle", "")), "class is []"),
        (format!("{head}\n{}", row.replace("candle", " candle")), "class is [ candle]"),
        (format!("{head}\n{}", row.replace("image_auroc", "image_auc")), "image_auc is no metric"),
        (format!("{head}\n{}", row.replace(",0,", ",none,")), "anomalies_per_class is none"),
        (format!("{head}\n{}", row.replace("90.0", "900")), "the value is 900"),
        (format!("{head}\n{}", row.replace("90.0", "-1")), "the value is -1"),
        (format!("{head}\n{}", row.replace("90.0", "nan")), "the value is nan"),
    ] {
        let message = fault(text);
        assert!(message.starts_with("copy.csv: ") && message.contains(words), "{words:?} is not in {message}");
    }
}

/// What DMAD's paper leaves open of systems that are not its own stands behind their names; the rest is what the file declares.
#[test]
fn of_other_methods_the_file_says_what_is_open_and_what_is_declared() {
    let settings = PaperSettings::built_in(&dmad::report::kinds()).unwrap_or_else(|e| panic!("{e}"));
    let published = Published::embedded().expect("the paper");
    let told = |method: &str, edit: &dyn Fn(&mut RunSpec)| {
        let is_own = |cell: &&PrintedValue| cell.key.method == method && cell.key.dataset == "mvtec_ad";
        let key = &published.table("table1").find(is_own).expect("a number").key;
        let declared = settings.behind(key).expect("declared");
        let mut spec = declared.spec.clone();
        edit(&mut spec);
        let found = compare(&spec, &declared, RunSpec::clone);
        (found.differences, found.readings)
    };
    let of = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let epochs = |count: u64| move |spec: &mut RunSpec| spec.method["train"]["epochs"] = count.into();
    assert_eq!(told("simplenet", &epochs(160)), (vec![], of(&["train.epochs 160"])));
    assert_eq!(told("simplenet", &epochs(7)), (of(&["train.epochs 7, declared 48"]), vec![]));
    assert_eq!(told("dmad", &epochs(7)), (of(&["train.epochs 7, the paper 48"]), vec![]));
    let batch = |spec: &mut RunSpec| spec.method["train"]["batch"] = 8.into();
    assert_eq!(told("uniad", &batch), (vec![], of(&["train.batch 8"])));
    let boundary = |spec: &mut RunSpec| spec.method["loss"]["pos_beta"] = 0.05.into();
    assert_eq!(told("bgad", &boundary), (vec![], of(&["loss.pos_beta 0.05"])));
    let filter = |spec: &mut RunSpec| spec.image.filter = Filter::Bilinear;
    assert_eq!(told("bgad", &filter), (of(&["image.filter bilinear, declared lanczos"]), vec![]));
}
