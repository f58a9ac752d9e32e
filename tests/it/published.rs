//! The paper's numbers as printed: reading them, and finding one.

use std::path::Path;

use dmad::metrics::MetricName;
use dmad::paper::{EMBEDDED, Printed, PrintedKey, Published};

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
